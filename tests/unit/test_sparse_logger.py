"""A log that an attacker cannot fill (W6)."""

import logging

import pytest

from hermes_cache.logs import SparseLogger
from hermes_cache.testing import ManualClock


def test_an_event_is_written_once_in_a_while_with_the_count_of_those_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Proves W6.
    clock = ManualClock()
    logger = SparseLogger("hermes_cache.test", every_s=10, clock=clock.monotonic_s)

    for _ in range(1_000):
        logger.warning("hermes_cache.one")
        logger.failure("hermes_cache.other", ValueError("no"))
    clock.advance(10)
    logger.warning("hermes_cache.one", extra={"hermes_cache.path": "/"})

    written = [(each.message, each.levelno, each.__dict__["hermes_cache.left_out"]) for each in caplog.records]
    assert written == [
        ("hermes_cache.one", logging.WARNING, 0),
        ("hermes_cache.other", logging.ERROR, 0),
        ("hermes_cache.one", logging.WARNING, 999),
    ]
    assert caplog.records[-1].__dict__["hermes_cache.path"] == "/"
