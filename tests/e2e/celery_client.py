"""Sends tasks to the worker of the example for Celery, one after the other, and prints what came back."""

from itertools import count
from pathlib import Path

from examples.gateways.celery_publisher.tasks import rename_session
from examples.gateways.database import FOLDER

if __name__ == "__main__":
    for name in ("mail", "results"):
        Path(FOLDER, name).mkdir(parents=True, exist_ok=True)
    for number in count(1):
        ticket = rename_session.delay("s000", str(number)).get(timeout=30, interval=0.01)
        print(number, ticket, flush=True)  # noqa: T201 - the test reads it
