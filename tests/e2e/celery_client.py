"""Sends tasks to the worker of the example for Celery, one after the other, and prints what came back.

The worker takes its application from here, so that it looks for tasks more often than once a second.
"""

from itertools import count

from kombu.transport.sqlalchemy import Transport

from examples.gateways.celery_publisher.tasks import app, rename_session
from tests.waiting import PROCESS_S

__all__ = ["app"]

Transport.polling_interval = 0.02

if __name__ == "__main__":
    for number in count(1):
        ticket = rename_session.delay("s000", str(number)).get(timeout=PROCESS_S, interval=0.01)
        print(number, ticket, flush=True)  # noqa: T201 - the test reads it
