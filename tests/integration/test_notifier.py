"""The notifier's one thread (rules E6, L1)."""

import logging
import signal
import threading
import time
from asyncio import CancelledError
from types import FrameType

import pytest

from hermes_cache.actors.notifier import Notifier
from hermes_cache.threads import kept_thread
from tests.integration.log_handlers import raising_log_handler
from tests.integration.thrown import throw_into

_WAIT_S = 30.0


class _Gate:
    """Receives items; holds the notifier's thread until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.items: list[object] = []
        self.threads: set[str] = set()

    def receive(self, item: object) -> None:
        self.entered.set()
        self.opened.wait(_WAIT_S)
        self.items.append(item)
        self.threads.add(threading.current_thread().name)


def test_items_are_sent_in_order_on_one_thread_of_its_own() -> None:
    """E6"""
    gate = _Gate()
    gate.opened.set()
    notifier = Notifier(gate.receive)

    for number in range(100):
        notifier.put(number)
    notifier.stop(_WAIT_S)

    assert gate.items == list(range(100))
    assert gate.threads == {"hermes_cache.notifier"}
    assert notifier.dropped == 0


def test_there_is_no_thread_before_the_first_item() -> None:
    """E6"""
    before = set(threading.enumerate())

    notifier = Notifier(lambda _item: None)

    assert set(threading.enumerate()) <= before
    notifier.stop(_WAIT_S)


def test_first_items_put_at_once_start_one_thread() -> None:
    """E6"""
    gate = _Gate()
    gate.opened.set()
    notifier = Notifier(gate.receive)
    together = threading.Barrier(8)

    def put() -> None:
        together.wait(_WAIT_S)
        for number in range(100):
            notifier.put(number)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WAIT_S)
    running = [thread for thread in threading.enumerate() if thread.name == "hermes_cache.notifier"]
    notifier.stop(_WAIT_S)

    assert len(running) == 1
    assert len(gate.items) == 800


def test_past_its_size_the_oldest_go_and_are_counted() -> None:
    """E6"""
    gate = _Gate()
    notifier = Notifier(gate.receive, size=3)
    notifier.put("held")
    assert gate.entered.wait(_WAIT_S)

    for number in range(10):
        notifier.put(number)
    dropped = notifier.dropped
    gate.opened.set()
    notifier.stop(_WAIT_S)

    assert dropped == 7
    assert gate.items[:1] == ["held"]
    assert gate.items[-2:] == [8, 9]


def test_what_send_raises_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """E4, E6"""
    sent: list[object] = []

    def send(item: object) -> None:
        if item == "bad":
            raise RuntimeError(item)
        sent.append(item)

    notifier = Notifier(send)
    with caplog.at_level(logging.WARNING):
        for item in ("one", "bad", "two"):
            notifier.put(item)
        notifier.stop(_WAIT_S)

    assert sent == ["one", "two"]
    assert [record.getMessage() for record in caplog.records] == ["hermes_cache.notice_failed"]


def test_a_receiver_that_hangs_makes_nobody_wait_to_put() -> None:
    """E6"""
    gate = _Gate()
    notifier = Notifier(gate.receive, size=10)
    notifier.put("held")
    assert gate.entered.wait(_WAIT_S)
    started_s = time.monotonic()

    for number in range(10_000):
        notifier.put(number)

    assert time.monotonic() - started_s < _WAIT_S / 2
    gate.opened.set()
    notifier.stop(_WAIT_S)


def test_stopping_waits_no_longer_than_it_may_and_what_is_left_is_dropped() -> None:
    """L1"""
    gate = _Gate()
    notifier = Notifier(gate.receive)
    notifier.put("held")
    notifier.put("left")
    assert gate.entered.wait(_WAIT_S)
    started_s = time.monotonic()

    notifier.stop(0.05)

    assert 0.05 <= time.monotonic() - started_s < _WAIT_S / 2
    gate.opened.set()
    _join_notifiers()
    assert gate.items == ["held"]


def _join_notifiers() -> None:
    for thread in threading.enumerate():
        if thread.name == "hermes_cache.notifier":
            thread.join(_WAIT_S)


def test_a_receiver_can_stop_its_own_notifier() -> None:
    """L1"""
    sent: list[object] = []
    stopped = threading.Event()
    two_wait = threading.Event()

    def send(item: object) -> None:
        two_wait.wait(_WAIT_S)
        sent.append(item)
        notifier.stop(_WAIT_S)
        stopped.set()

    notifier = Notifier(send)
    notifier.put("one")
    notifier.put("two")
    two_wait.set()

    assert stopped.wait(_WAIT_S)
    _join_notifiers()
    assert sent == ["one", "two"]


def test_stopping_twice_or_before_the_first_item_is_no_error() -> None:
    """L1"""
    sent: list[object] = []
    notifier = Notifier(sent.append)

    notifier.stop(_WAIT_S)
    notifier.put("late")
    notifier.stop(_WAIT_S)

    assert sent == []
    assert not [thread for thread in threading.enumerate() if thread.name == "hermes_cache.notifier"]


def test_putting_from_a_signal_handler_is_safe() -> None:
    """E6"""
    sent: list[object] = []
    notifier = Notifier(sent.append, size=10**6)
    handled: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        handled.append(number)
        notifier.put("signal")

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        for _ in range(2000):
            notifier.put("plain")
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    notifier.stop(_WAIT_S)

    assert sent.count("plain") == 2000
    assert sent.count("signal") == len(handled) > 0


def test_the_end_is_never_dropped_to_make_room() -> None:
    """L1; as when a put and a stop run at once."""
    notifier = Notifier(lambda _item: None, size=1)
    notifier.stop(_WAIT_S)

    notifier._drop_oldest()

    assert notifier._queue.qsize() == 1
    assert notifier.dropped == 0


def test_dropping_from_a_queue_that_was_just_emptied_counts_nothing() -> None:
    """E6; as when the thread takes the last item meanwhile."""
    notifier = Notifier(lambda _item: None)

    notifier._drop_oldest()

    assert notifier.dropped == 0


@pytest.mark.parametrize("error", [SystemExit, CancelledError, GeneratorExit, KeyboardInterrupt])
def test_a_receiver_that_ends_its_thread_does_not_end_the_news(error: type[BaseException]) -> None:
    """E4, E6, L7"""
    heard: list[object] = []

    def receive(item: object) -> None:
        if item == "first":
            raise error
        heard.append(item)

    notifier = Notifier(receive)
    notifier.put("first")
    notifier.put("second")
    notifier.stop(_WAIT_S)

    assert heard == ["second"]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_log_handler_that_raises_does_not_end_the_news(error: type[BaseException]) -> None:
    """E4, L7"""
    heard: list[object] = []

    def receive(item: object) -> None:
        if item == "first":
            raise RuntimeError(item)
        heard.append(item)

    with raising_log_handler(error) as records:
        notifier = Notifier(receive)
        notifier.put("first")
        notifier.put("second")
        notifier.stop(_WAIT_S)

    assert heard == ["second"]
    assert records == ["hermes_cache.notice_failed"]


def test_an_exception_thrown_into_its_thread_ends_the_item_in_hand_alone() -> None:
    """L7"""
    heard: list[object] = []

    def receive(item: object) -> None:
        if item == "first":
            throw_into(threading.get_ident(), SystemExit)
        heard.append(item)

    notifier = Notifier(receive)
    notifier.put("first")
    notifier.put("second")
    notifier.stop(_WAIT_S)

    assert heard == ["second"]


def test_a_thread_that_ended_all_the_same_is_missing_until_a_later_item_brings_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """L7"""
    heard: list[object] = []
    notifier = Notifier(heard.append)
    with monkeypatch.context() as ends_at_once:
        ends_at_once.setattr(notifier._thread, "_run", lambda: None)
        notifier.put("first")
        notifier._thread.join()

    monkeypatch.setattr(kept_thread, "_RETRY_S", 3_600)
    notifier.put("too early to try again")
    missing = notifier.missing_threads
    monkeypatch.setattr(kept_thread, "_RETRY_S", 0)
    notifier.put("later")
    notifier.stop(_WAIT_S)

    assert missing == {"hermes_cache.notifier"}
    assert heard == ["first", "too early to try again", "later"]
    assert notifier.missing_threads == frozenset()
