"""The workers that run builds and checks (rules B6, L1)."""

import threading

from hermes_cache.builders.workers import Workers

_WAIT_S = 10.0


def test_workers_may_be_stopped_twice() -> None:
    """L1"""
    workers = Workers("hermes_cache.test")
    ran = threading.Event()
    workers.run(ran.set)
    assert ran.wait(_WAIT_S)

    ended = [workers.stop(_WAIT_S), workers.stop(_WAIT_S)]

    assert ended == [True, True]
