"""Acts that the main thread has done by others: whole, once, and in place where no thread can be had (L6, L7)."""

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from hermes_cache.threads.aside import Aside
from hermes_cache.threads.gates import Gate
from hermes_cache.threads.interrupts import belongs_to_caller, is_interrupt
from hermes_cache.threads.starting import started
from tests.integration.thrown import without_collector
from tests.waiting import WAIT_S


@pytest.fixture
def aside() -> Iterator[Aside]:
    made = Aside()
    yield made
    made.end_threads()


def test_an_act_of_the_main_thread_is_done_by_another_one(aside: Aside) -> None:
    """L6"""
    done_by = aside.do(threading.current_thread)

    assert done_by is not threading.main_thread()


def test_what_an_act_raises_is_raised_where_it_was_asked_for(aside: Aside) -> None:
    with pytest.raises(ZeroDivisionError):
        aside.do(lambda: 1 // 0)


def test_an_act_is_done_in_place_while_no_thread_can_be_had(aside: Aside, monkeypatch: pytest.MonkeyPatch) -> None:
    """L7"""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as machine:
        machine.setattr(threading.Thread, "start", refuse)
        refused = [aside.do(threading.current_thread) for _ in range(3)]

    assert refused == [threading.main_thread()] * 3
    assert aside.do(threading.current_thread) is not threading.main_thread()


def test_an_act_that_a_signal_handler_asks_for_does_not_wait_for_the_one_that_waits(aside: Aside) -> None:
    """L1, L6"""
    inner: list[str] = []
    goes_on = Gate()

    def handle(_number: int, _frame: FrameType | None) -> None:
        inner.append(aside.do(lambda: "done"))
        goes_on.open()

    before = signal.signal(signal.SIGUSR1, handle)
    try:

        def act() -> bool:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            return goes_on.wait(WAIT_S)

        outer = aside.do(act)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert (outer, inner) == (True, ["done"])


@pytest.mark.parametrize("error", [RuntimeError, OSError, ValueError])
def test_an_alarm_while_a_thread_is_started_is_no_refusal(error: type[Exception]) -> None:
    """L6: `Thread.start` itself takes it for one"""
    raised = caught = 0
    armed = False
    threads: list[threading.Thread] = []

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal raised, armed
        if armed:
            armed = False
            raised += 1
            raise error

    before = signal.signal(signal.SIGALRM, handle)
    running = _thread._count()
    try:
        with without_collector():
            for number in range(300):
                # Kept, as is all other garbage: what an alarm raises while something is forgotten is lost there.
                threads.append(thread := threading.Thread(target=lambda: None))
                try:
                    armed = True
                    signal.setitimer(signal.ITIMER_REAL, 0.000_01 * (1 + number % 20))
                    assert started(thread)
                    armed = False
                except error:
                    caught += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    while _thread._count() > running:  # those, too, that only start others
        threading.Event().wait(0.01)
    assert caught == raised


def _told(error: BaseException) -> tuple[bool, bool]:
    return belongs_to_caller(error), is_interrupt(error)


def test_a_handler_that_takes_itself_back_before_it_raises_is_known_all_the_same() -> None:
    """L6"""

    def handle_once(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise SystemExit

    before = signal.signal(signal.SIGUSR1, handle_once)
    try:
        signal.raise_signal(signal.SIGUSR1)
    except SystemExit as error:
        belongs = _told(error)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert belongs == (True, True)


def test_what_code_raises_by_itself_is_its_own() -> None:
    """E4"""
    try:
        sys.exit()
    except SystemExit as error:
        belongs = _told(error)

    assert belongs == (False, False)


def test_threads_that_rest_end_and_others_take_their_position(aside: Aside) -> None:
    """L1"""
    first = aside.do(threading.current_thread)

    aside.end_threads()
    first.join(WAIT_S)
    second = aside.do(threading.current_thread)

    assert not first.is_alive()
    assert second is not first
