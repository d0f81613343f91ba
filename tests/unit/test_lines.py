"""Calls of foreign code on threads of the cache's own (S4, R6)."""

import sys
import threading
from collections.abc import Hashable, Iterator
from functools import partial
from types import FrameType

import pytest

from hermes_cache.cache import lines as cache_lines
from hermes_cache.cache.lines import Lines, Turns
from hermes_cache.testing import ManualClock
from tests.integration.thrown import AlarmError, throw_into
from tests.waiting import WAIT_S


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines("hermes_cache.test_line", 4)
    yield lines
    assert lines.stop(WAIT_S)


def test_calls_of_one_name_come_one_after_the_other(lines: Lines) -> None:
    """S4"""
    at_once, most = 0, 0

    def call() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        at_once -= 1

    calls = [lines.call("one", call) for _ in range(100)]

    assert all(call.wait(WAIT_S) for call in calls)
    assert most == 1


@pytest.mark.parametrize("name", [None, False, "", ()], ids=repr)
def test_any_value_may_be_the_name_of_a_line(lines: Lines, name: Hashable) -> None:
    """S4: None too, which is the profile of keys that have none"""
    calls = [lines.call(name, int), lines.call("another", int), lines.call(name, int)]

    assert all(call.wait(WAIT_S) for call in calls)


def test_many_threads_may_wait_for_one_call(lines: Lines) -> None:
    """R6"""
    goes_on = threading.Event()
    call = lines.call("one", lambda: goes_on.wait(WAIT_S))
    waited: list[bool] = []
    waiting = [threading.Thread(target=lambda: waited.append(call.wait(WAIT_S))) for _ in range(5)]
    for thread in waiting:
        thread.start()

    assert not call.wait(0.0)
    goes_on.set()
    for thread in waiting:
        thread.join(WAIT_S)
    assert waited == [True] * 5
    assert call.result()


def test_what_a_call_raises_is_raised_where_the_result_is_wanted(lines: Lines) -> None:
    """S4"""

    def leave() -> None:
        raise SystemExit(3)

    call = lines.call("one", leave)
    call.wait(WAIT_S)

    with pytest.raises(SystemExit):
        call.result()


def test_half_of_the_threads_may_hang_and_names_that_answer_are_served(lines: Lines) -> None:
    """S4"""
    goes_on, began = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        began.release()
        goes_on.wait(WAIT_S)

    first = lines.call("hangs", hang)
    began.acquire(timeout=WAIT_S)
    served = [lines.call("answers", int).wait(WAIT_S)]
    others = [lines.call(f"hangs {number}", hang) for number in range(5)]
    began.acquire(timeout=WAIT_S)
    served += [lines.call("answers", int).wait(WAIT_S) for _ in range(5)]

    assert served == [True] * 6
    assert not began.acquire(blocking=False)
    goes_on.set()
    assert all(call.wait(WAIT_S) for call in (first, *others))


def test_a_call_that_nobody_wants_is_not_begun(lines: Lines) -> None:
    """S4"""
    goes_on, called = threading.Event(), []
    first = lines.call("one", lambda: goes_on.wait(WAIT_S))
    second = lines.call("one", lambda: called.append("second"))

    second.is_unwanted = True
    goes_on.set()

    assert first.wait(WAIT_S)
    assert second.wait(WAIT_S)
    assert called == []


def test_a_refused_thread_leaves_nothing_behind(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """L7"""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            lines.call("one", int)

    assert lines.call("one", int).wait(WAIT_S)


def test_the_second_of_a_call_begins_when_its_turn_comes(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """S4: two that take 0.6 s each are both in time; the wait is not longer than the bound of who waits."""
    clock, is_waited_for, is_looked_at_late = ManualClock(), threading.Event(), threading.Event()
    began_s = clock.monotonic_s()

    def now_s() -> float:
        is_waited_for.set()
        if clock.monotonic_s() > began_s + 1.0:
            is_looked_at_late.set()
        return clock.monotonic_s()

    def take_its_time(goes_on: threading.Event) -> None:
        is_waited_for.wait(WAIT_S)
        clock.advance(0.6)
        goes_on.wait(WAIT_S)

    monkeypatch.setattr(cache_lines, "monotonic", clock.monotonic_s)
    first, second = (
        lines.call("one", partial(take_its_time, each)) for each in (is_waited_for, is_looked_at_late)
    )

    assert not lines.wait("one", second, 0.0)
    monkeypatch.setattr(cache_lines, "monotonic", now_s)
    assert lines.wait("one", second, WAIT_S)
    assert first.is_over


def test_nobody_waits_in_line_behind_a_call_that_hangs(lines: Lines) -> None:
    """S4"""
    goes_on = threading.Event()
    lines.call("one", lambda: goes_on.wait(WAIT_S))
    behind = lines.call("one", lambda: None)

    assert not lines.wait("one", behind, WAIT_S)
    assert lines.hangs("one")
    goes_on.set()


def test_a_line_goes_on_after_its_thread_lost_a_call(lines: Lines) -> None:
    """L6, S4: an exception that is thrown into a thread costs one call, and who waits for that hears of it."""
    own = lines.call("one", threading.get_ident)
    assert own.wait(WAIT_S)

    throw_into(own.result(), AlarmError)
    calls = [lines.call("one", threading.get_ident) for _ in range(3)]

    assert all(call.wait(WAIT_S) for call in calls)
    assert [call.error for call in calls[1:]] == [None, None]
    assert not lines.hangs("one")


@pytest.mark.parametrize("event", ["call", "return"])
def test_lines_go_on_after_their_thread_was_struck_between_two_calls(lines: Lines, event: str) -> None:
    """L6, S4: before the end of one is noted, or before the next one is in hand"""

    def strike(frame: FrameType, seen: str, _of: object) -> None:
        if frame.f_code is Turns.do.__code__ and seen == event:
            sys.setprofile(None)
            raise AlarmError

    goes_on = threading.Event()

    def be_struck() -> None:
        goes_on.wait(WAIT_S)
        sys.setprofile(strike)

    calls = [lines.call("one", be_struck), *[lines.call(name, int) for name in ("one", "two", "one", "two")]]
    goes_on.set()

    assert all(call.wait(WAIT_S) for call in calls)
    assert lines.call("one", int).wait(WAIT_S)
    assert [call.error for call in calls] == [None] * 5
    assert not lines.hangs("one")
