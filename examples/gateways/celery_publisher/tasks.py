"""A worker of Celery that only publishes: it has no cache, and its gateway hears of each task through the journal.

`celery --app examples.gateways.celery_publisher.tasks worker`, beside a gateway such as
`HERMES_CACHE_JOURNAL=sqlite:///example-data/journal.db flask --app examples.gateways.flask_app.app run`
"""

from celery import Celery

from examples.gateways.database import FOLDER, JOURNAL, rename
from hermes_cache import Bus

folders = dict.fromkeys(("data_folder_in", "data_folder_out", "control_folder"), f"{FOLDER}/mail")
app = Celery("publisher", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {**folders, "polling_interval": 0.05}
bus = Bus(journal=JOURNAL)


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def rename_session(session_id: str, title: str) -> str | None:
    rename(session_id, title)
    bus.session_list_changed.send(None, reason="session_rename")
    return bus.session_list_changed.ticket()
