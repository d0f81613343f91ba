"""Threads that run calls: what hangs costs itself, none is lost, and all end (B6, L1, L6, L7, S4)."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from hermes_cache.errors import CacheStoppedError, CallLostError, NoThreadError
from hermes_cache.threads.calls import Call
from hermes_cache.threads.gates import Gate, OwnThread
from hermes_cache.threads.kept_thread import KeptThread
from hermes_cache.threads.loops import Away
from hermes_cache.threads.pool import Threads
from tests.integration.thrown import AlarmError, throw_into, without_collector
from tests.waiting import WAIT_S


@pytest.fixture
def one() -> Iterator[Threads]:
    threads = Threads("hermes_cache.test", 1)
    yield threads
    assert threads.stop(WAIT_S)


@pytest.fixture
def many() -> Iterator[Threads]:
    threads = Threads("hermes_cache.test")
    yield threads
    assert threads.stop(WAIT_S)


def _held(threads: Threads) -> tuple[Call[bool], Gate]:
    """Return a call that has begun, and what lets it end."""
    began, goes_on = Gate(), Gate()

    def hold() -> bool:
        began.open()
        return goes_on.wait(WAIT_S)

    call = Call(hold)
    threads.run(call)
    assert began.wait(WAIT_S)
    return call, goes_on


def _ran(threads: Threads, do: Callable[[], object]) -> Call[object]:
    call = Call(do)
    threads.run(call)
    return call


def test_a_call_that_hangs_keeps_its_own_thread_and_no_other(many: Threads) -> None:
    """S4, B6"""
    hanging, goes_on = _held(many)

    others = [_ran(many, int) for _ in range(20)]

    assert all(call.wait(WAIT_S) for call in others)
    assert not hanging.is_over
    goes_on.open()
    assert hanging.wait(WAIT_S)


def test_past_their_bound_calls_wait_in_their_order(one: Threads) -> None:
    """S4"""
    order: list[int] = []
    hanging, goes_on = _held(one)

    waiting = [_ran(one, lambda number=number: order.append(number)) for number in range(50)]  # type: ignore[misc]
    goes_on.open()

    assert all(call.wait(WAIT_S) for call in (hanging, *waiting))
    assert order == list(range(50))


def test_no_call_is_left_whoever_brings_it(many: Threads) -> None:
    """L6"""
    few, calls = Threads("hermes_cache.test", 3), list[Call[object]]()

    def bring() -> None:
        for _ in range(300):
            calls.extend((_ran(few, int), _ran(many, int)))

    bringing = [threading.Thread(target=bring) for _ in range(4)]
    for thread in bringing:
        thread.start()
    for thread in bringing:
        thread.join(WAIT_S)

    assert all(call.wait(WAIT_S) for call in calls)
    assert few.stop(WAIT_S)


def test_a_call_that_is_given_up_is_not_waited_for(many: Threads) -> None:
    """B6, L1"""
    hanging, goes_on = _held(many)

    many.give_up(hanging)

    assert many.stop(WAIT_S)
    assert not hanging.is_over
    goes_on.open()
    assert hanging.wait(WAIT_S)


def test_what_a_call_raises_ends_no_thread(one: Threads) -> None:
    """L7"""

    def leave() -> None:
        raise SystemExit(3)

    failed, after = _ran(one, leave), _ran(one, threading.current_thread)

    assert after.wait(WAIT_S)
    assert isinstance(failed.error, SystemExit)


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_thread_that_something_was_thrown_into_goes_on(one: Threads, error: type[BaseException]) -> None:
    """L7"""
    own = _ran(one, threading.get_ident)
    assert own.wait(WAIT_S)

    throw_into(own.result(), error)  # type: ignore[arg-type]
    calls = [_ran(one, threading.get_ident) for _ in range(3)]

    assert all(call.wait(WAIT_S) for call in calls)
    assert [call.error is not None for call in calls] in ([True, False, False], [False, False, False])


def test_who_waits_for_a_call_that_its_thread_lost_gets_an_error(one: Threads) -> None:
    """L6, L7: a thread that waits for work drops the call that it got when the error strikes."""
    own = _ran(one, threading.get_ident)
    assert own.wait(WAIT_S)

    outcomes: list[type[object]] = []
    # The error may also strike before the thread waits again.
    while CallLostError not in outcomes and len(outcomes) < 2_000:
        throw_into(own.result(), AlarmError)  # type: ignore[arg-type]
        call = _ran(one, int)
        assert call.wait(WAIT_S)
        outcomes.append(type(call.error))

    assert CallLostError in outcomes
    assert set(outcomes) <= {CallLostError, AlarmError, type(None)}


def test_a_call_that_is_struck_at_its_claim_is_over() -> None:
    """L6"""

    class _Struck(dict[None, object]):
        strikes = 1

        def setdefault(self, key: None, default: object = None, /) -> object:
            owner = super().setdefault(key, default)
            self.strikes -= 1
            if self.strikes == 0:
                raise AlarmError
            return owner

    call = Call(int)
    call._owner = _Struck()

    call.run()

    assert call.is_over
    assert isinstance(call.error, AlarmError)


def test_a_call_that_another_has_claimed_is_not_ended_by_the_thread_that_leaves_it(one: Threads) -> None:
    """L6"""
    call, after = Call(int), Call(int)
    assert call.claim("another")

    one.run(call)
    one.run(after)

    assert after.wait(WAIT_S)
    assert not call.is_over


def test_waiting_calls_are_let_go_at_a_stop_and_later_ones_refused() -> None:
    """L1"""
    threads = Threads("hermes_cache.test", 1)
    hanging, goes_on = _held(threads)
    waiting = _ran(threads, int)

    ended = [threads.stop(0.0)]
    late = _ran(threads, int)
    goes_on.open()
    ended += [threads.stop(WAIT_S), threads.stop(WAIT_S)]

    assert ended == [False, True, True]
    assert isinstance(waiting.error, CacheStoppedError)
    assert isinstance(late.error, CacheStoppedError)
    assert hanging.result()


def test_a_refused_thread_leaves_nothing_behind(one: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    """L7"""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as machine:
        machine.setattr(threading.Thread, "start", refuse)
        with pytest.raises(NoThreadError):
            _ran(one, int)

    assert _ran(one, int).wait(WAIT_S)


def test_a_call_is_made_once_whoever_claims_it() -> None:
    """L6"""
    made: list[int] = []
    call = Call(lambda: made.append(1))

    claiming = [threading.Thread(target=call.run) for _ in range(8)]
    for thread in claiming:
        thread.start()
    for thread in claiming:
        thread.join(WAIT_S)

    assert made == [1]
    assert call.wait(0.0)


def _here(call: Call[int]) -> Call[int]:
    call.run()
    return call


def test_an_event_loop_gets_an_error_for_a_call_that_was_lost_on_its_way() -> None:
    """L6"""
    away = Away()

    async def run() -> list[type[object]]:
        starter: Call[int] = Call(threading.get_ident)
        await away.ask(lambda: _here(starter), WAIT_S)
        outcomes: list[type[object]] = []
        while CallLostError not in outcomes and len(outcomes) < 2_000:
            throw_into(starter.result(), AlarmError)
            try:
                outcomes.append(type(await away.run(int, WAIT_S)))
            except (CallLostError, AlarmError) as error:
                outcomes.append(type(error))
        return outcomes

    outcomes = asyncio.run(run())

    assert set(outcomes) <= {int, CallLostError, AlarmError}
    assert CallLostError in outcomes
    assert away.stop(WAIT_S)


def test_a_thread_that_begins_after_its_round_goes_home() -> None:
    # Proves L1: an event loop waits for no thread to start, so one may come after all were sent home.
    threads = Threads("hermes_cache.late", 1, idle_s=2 * WAIT_S)
    threads.end_free()
    late = threading.Thread(target=threads._run, args=(0,), daemon=True)

    late.start()
    late.join(WAIT_S)

    assert not late.is_alive()


def _struck_at(step: int, act: Callable[[], object]) -> bool:
    """Do something, and raise at one of its bytecodes, as a signal handler may; say whether it has so many."""
    left = step

    def strike(frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        left -= 1
        if left == 0:
            raise AlarmError
        return strike

    before = sys.gettrace()
    with without_collector():
        # Python 3.12 traces opcodes only if a frame wanted that before the tracing began.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(strike)
        try:
            act()
        except AlarmError:
            return True
        finally:
            sys.settrace(before)
    return left <= 0


@pytest.mark.parametrize(
    "act", [lambda kept: kept.is_alive, KeptThread.ensure_running, lambda kept: kept.join(0.0)]
)
def test_an_alarm_while_a_thread_is_asked_whether_it_lives_does_not_end_it(
    act: Callable[[KeptThread], object],
) -> None:
    """L6, L7: wherever it strikes, the thread still counts as running, and is not made a second time."""
    go = Gate()

    def run() -> None:
        go.wait()

    kept = KeptThread(run, "asked")
    kept.ensure_running()
    own = kept._thread

    step = 1
    while _struck_at(step, lambda: act(kept)):
        assert (kept.is_alive, kept._thread) == (True, own)
        step += 1
    kept.end()
    go.open()

    assert step > 5
    assert kept.join(WAIT_S)
    assert own not in threading.enumerate()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_of_its_own_is_over_whatever_ends_it() -> None:
    """L7"""

    def fail() -> None:
        raise SystemExit

    thread = OwnThread(fail, "ends")

    before = thread.lives
    thread.start()
    ended = thread.wait_for_end(WAIT_S)

    assert (before, ended, thread.lives) == (False, True, False)
