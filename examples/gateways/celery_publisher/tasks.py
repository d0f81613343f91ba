"""A worker of Celery that only publishes: it has no cache, and its gateway hears of each task through the journal.

`celery --app examples.gateways.celery_publisher.tasks worker`, beside a gateway such as
`HERMES_CACHE_JOURNAL=sqlite:///example-data/journal.db flask --app examples.gateways.flask_app.app run`
"""

from celery import Celery

from examples.gateways.database import FOLDER, JOURNAL, rename
from hermes_cache import Bus

FOLDER.mkdir(parents=True, exist_ok=True)
app = Celery("publisher", broker=f"sqla+sqlite:///{FOLDER}/tasks.db", backend=f"db+sqlite:///{FOLDER}/results.db")
bus = Bus(journal=JOURNAL)


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def rename_session(session_id: str, title: str) -> str | None:
    rename(session_id, title)
    bus.session_list_changed.send(None, reason="session_rename")
    return bus.session_list_changed.ticket()
