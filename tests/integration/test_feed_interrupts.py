"""Signal handlers that strike the main thread while it subscribes, takes changes and closes (L6, E7).

The tests run in the main thread, where Python runs signal handlers.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from types import FrameType
from typing import NoReturn

import pytest

from hermes_cache.bus.feed import Feed
from hermes_cache.bus.subscription import Subscription
from hermes_cache.core.events import EventId, SessionListChanged
from tests.integration.thrown import AlarmError, EndOfTask, without_collector
from tests.waiting import WAIT_S

_MAIN = threading.main_thread()


class _Teller:
    """Tells a feed of sessions, each with a number of its own."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._numbers = count(1)

    def tell(self) -> str:
        number = next(self._numbers)
        event = SessionListChanged(
            id=EventId("life", number), at_s=0.0, reason="changed", profile="p", session_id=f"s{number}"
        )
        self._feed.tell(event, "p")
        return f"s{number}"


@contextmanager
def _handling(handle: Callable[[], None]) -> Iterator[None]:
    """Have SIGUSR1 do something in the main thread."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        handle()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _raise(error: type[BaseException]) -> Callable[[], NoReturn]:
    def handle() -> NoReturn:
        raise error

    return handle


def _strike_main() -> None:
    assert _MAIN.ident is not None
    signal.pthread_kill(_MAIN.ident, signal.SIGUSR1)


def _strike_when_a_change_is_taken(subscription: Subscription) -> None:
    """Strike the main thread in the middle of the next `get`: once the change is off the queue."""
    version_of = subscription._version_of

    def strike(number: int) -> str:
        subscription._version_of = version_of
        _strike_main()
        return version_of(number)

    subscription._version_of = strike


@pytest.mark.parametrize("error", [AlarmError, KeyboardInterrupt, EndOfTask])
def test_a_get_that_an_interrupt_ends_puts_back_what_it_took(error: type[BaseException]) -> None:
    """L6, E7"""
    feed = Feed("life", size=64)
    subscription, teller = feed.subscribe(), _Teller(feed)
    told = [teller.tell(), teller.tell()]
    version = subscription.version

    _strike_when_a_change_is_taken(subscription)
    with _handling(_raise(error)), pytest.raises(error):
        subscription.get(WAIT_S)
    afterwards = subscription.version
    taken = [subscription.get(0), subscription.get(0)]

    assert afterwards == version
    assert [change and change.session_id for change in taken] == told


@pytest.mark.parametrize("error", [AlarmError, KeyboardInterrupt, EndOfTask])
def test_an_interrupt_ends_a_get_that_waits_and_holds_nobody_up(error: type[BaseException]) -> None:
    """L6"""
    feed = Feed("life", size=64)
    subscription, teller = feed.subscribe(), _Teller(feed)
    striking = threading.Thread(target=_strike_once_it_waits, args=(subscription,))

    with _handling(_raise(error)):
        striking.start()
        with pytest.raises(error):
            subscription.get(WAIT_S)
    striking.join()
    told = teller.tell()
    change = subscription.get(0)

    assert change is not None
    assert change.session_id == told
    assert not subscription._turns


def _strike_once_it_waits(subscription: Subscription) -> None:
    ends = threading.Event()
    while not subscription._turns:
        ends.wait(0.001)
    _strike_main()


def test_a_handler_may_publish_subscribe_and_close_while_a_get_is_in_the_middle() -> None:
    """L6: what it interrupts holds no lock that it needs."""
    feed = Feed("life", size=64)
    subscription, teller = feed.subscribe(), _Teller(feed)
    opened: list[Subscription] = []
    told = [teller.tell()]

    def handle() -> None:
        told.append(teller.tell())
        opened.append(feed.subscribe())
        opened[0].close()

    _strike_when_a_change_is_taken(subscription)
    with _handling(handle):
        taken = [subscription.get(0), subscription.get(0)]

    assert [change and change.session_id for change in taken] == told
    assert opened[0].closed


def test_alarms_at_random_moments_leave_the_feed_whole() -> None:
    """L6: nothing but the alarm is raised, and whoever listens elsewhere misses nothing."""
    feed = Feed("life", size=100_000)
    teller, elsewhere, stops = _Teller(feed), feed.subscribe(), threading.Event()
    told: list[str] = []
    struck = 0

    def tell() -> None:
        while not stops.wait(0.000_1):
            told.append(teller.tell())

    def handle(_number: int, _frame: FrameType | None) -> NoReturn:
        raise AlarmError

    def use(after_s: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, after_s)
        with feed.subscribe("p", since=feed.version) as subscription:
            subscription.get(0.01)
        signal.setitimer(signal.ITIMER_REAL, 0)

    telling = threading.Thread(target=tell)
    before = signal.signal(signal.SIGALRM, handle)
    telling.start()
    try:
        with without_collector():
            for number in range(1_000):
                try:
                    use(1e-6 * (1 + number))
                except AlarmError:
                    struck += 1
    finally:
        stops.set()
        telling.join(WAIT_S)
        with suppress(AlarmError):
            signal.signal(signal.SIGALRM, before)
    last = teller.tell()
    heard: list[str | None] = []
    while not heard or heard[-1] != last:
        change = elsewhere.get(WAIT_S)
        assert change is not None
        heard.append(change.session_id)

    assert struck
    assert heard == [*told, last]
