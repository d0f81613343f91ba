"""A scheduler (APScheduler) that only publishes: `python -m examples.gateways.scheduler_publisher.jobs`.

Its gateway hears of each job through the journal, such as
`HERMES_CACHE_JOURNAL=sqlite:///example-data/journal.db flask --app examples.gateways.flask_app.app run`
"""

from itertools import count

from apscheduler.schedulers.blocking import BlockingScheduler

from examples.gateways.database import JOURNAL, rename
from hermes_cache import Bus

numbers = count(1)


def rename_session(bus: Bus) -> None:
    number = next(numbers)
    rename("s000", str(number))
    bus.session_list_changed.send(None, reason="nightly_import")
    print(number, bus.session_list_changed.ticket(), flush=True)


if __name__ == "__main__":
    with Bus(journal=JOURNAL) as journaled:
        scheduler = BlockingScheduler()
        scheduler.add_job(rename_session, "interval", [journaled], seconds=0.1)
        scheduler.start()
