"""What a receiver raises stays with it; what a signal handler raises goes to the thread that it struck (E4, L6).

The tests run in the main thread, where Python runs signal handlers.
"""

import asyncio
import logging
import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import pytest

from hermes_cache import Bus
from hermes_cache.core.events import AppliedEvent
from tests.integration.log_handlers import raising_log_handler
from tests.integration.thrown import AlarmError, EndOfTask, without_collector


class _OwnError(BaseException):
    """No `Exception`."""


_FAILED = "hermes_cache.receiver_failed"


def _hear(bus: Bus, count: int) -> list[int]:
    """Connect so many receivers; gives the list to which they add."""
    heard: list[int] = []
    for _ in range(count):
        bus.settings_changed.connect(lambda _sender, event: heard.append(event.id.number))
    return heard


@contextmanager
def _handling(error: type[BaseException]) -> Iterator[None]:
    """Have SIGUSR1 raise an error."""

    def handle(_number: int, _frame: FrameType | None) -> NoReturn:
        raise error

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


class _Gone:
    """Ends before the proxies that stand for it."""


def test_what_a_receiver_raises_stays_with_it_whatever_it_held_then(caplog: pytest.LogCaptureFixture) -> None:
    """E4, on the main thread: even to ask for the class of a proxy of what is gone raises"""
    bus = Bus()

    def bad(_sender: object, event: AppliedEvent) -> NoReturn:
        proxy = weakref.proxy(_Gone())
        raise ValueError(event.id, id(proxy))

    bus.settings_changed.connect(bad)
    heard = _hear(bus, 1)

    bus.settings_changed.send()

    assert heard == [1]
    assert [record.message for record in caplog.records] == [_FAILED]


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, asyncio.CancelledError, GeneratorExit, StopIteration, _OwnError]
)
def test_whatever_a_receiver_raises_stays_with_it(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """E4, on the main thread"""
    bus = Bus()

    def bad(_sender: object, event: AppliedEvent) -> NoReturn:
        raise error(event)

    before = _hear(bus, 3)
    bus.settings_changed.connect(bad)
    after = _hear(bus, 3)

    answers = bus.settings_changed.send()

    assert (before, after, len(answers)) == ([1] * 3, [1] * 3, 6)
    assert [record.getMessage() for record in caplog.records] == [_FAILED]
    assert bus.settings_changed.ticket() is not None


@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError, _OwnError])
def test_a_log_handler_that_raises_reaches_neither_publisher_nor_receivers(error: type[BaseException]) -> None:
    """E4"""
    bus = Bus()

    def bad(_sender: object, event: AppliedEvent) -> NoReturn:
        raise error(event)

    bus.settings_changed.connect(bad)
    heard = _hear(bus, 2)

    with raising_log_handler(error) as logged:
        bus.settings_changed.send()

    assert heard == [1, 1]
    assert logged == [_FAILED]


def test_a_receiver_without_a_name_is_logged_by_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    """E4"""

    class Nameless:
        def __getattr__(self, name: str) -> NoReturn:
            raise RuntimeError(name)

        def __call__(self, sender: object, event: object) -> NoReturn:
            raise ValueError(sender, event)

    bus = Bus()
    bus.settings_changed.connect(Nameless())
    heard = _hear(bus, 1)

    bus.settings_changed.send()

    assert heard == [1]
    assert "Nameless" in caplog.records[0].__dict__["hermes_cache.receiver"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, EndOfTask])
def test_an_interrupt_in_a_receiver_reaches_the_publisher_after_the_event_was_applied(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """E4, E5, J8, L6"""
    bus = Bus()
    applied: list[AppliedEvent] = []
    bus.attach(applied.append)
    before = _hear(bus, 1)
    bus.settings_changed.connect(lambda _sender, event: signal.raise_signal(signal.SIGUSR1))  # noqa: ARG005
    after = _hear(bus, 1)

    with _handling(error), pytest.raises(error):
        bus.settings_changed.send()

    assert (len(applied), before, after) == (1, [1], [])
    assert bus.settings_changed.ticket() is None
    assert not caplog.records


def test_an_alarm_that_strikes_inside_a_receiver_counts_as_its_failure(caplog: pytest.LogCaptureFixture) -> None:
    """E4, L6"""
    bus = Bus()
    bus.settings_changed.connect(lambda _sender, event: signal.raise_signal(signal.SIGUSR1))  # noqa: ARG005
    after = _hear(bus, 1)

    with _handling(AlarmError):
        bus.settings_changed.send()

    assert after == [1]
    assert [record.getMessage() for record in caplog.records] == [_FAILED]


def test_no_alarm_is_lost_wherever_it_strikes(caplog: pytest.LogCaptureFixture) -> None:
    """E4, L6: it is the publisher's, or the one failure of the receiver that it struck."""
    caplog.set_level(logging.WARNING)
    bus, raised, caught = Bus(), 0, 0
    rounds: list[int] = []

    def handle(_number: int, _frame: FrameType | None) -> NoReturn:
        nonlocal raised
        raised += 1
        raise AlarmError

    def publish(after_s: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, after_s)
        for _ in range(10):
            bus.settings_changed.send()
        signal.setitimer(signal.ITIMER_REAL, 0)

    for _ in range(5):
        bus.settings_changed.connect(lambda _sender, event: rounds.append(event.id.number))
    before = signal.signal(signal.SIGALRM, handle)
    try:
        with without_collector():
            for number in range(2_000):
                try:
                    publish(1e-6 * (1 + number % 200))
                except AlarmError:
                    caught += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    failed = [record for record in caplog.records if record.getMessage() == _FAILED]

    assert raised == caught + len(failed) > 0
