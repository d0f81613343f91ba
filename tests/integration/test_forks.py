"""What hears of forks and of the interpreter's end, and who is told in which order (rules L2, L3)."""

import gc
import os
import subprocess
import sys
import threading
from itertools import count

import pytest

from hermes_cache import Bus, SessionListCache, SessionListKey
from hermes_cache.journal.memory import MemoryJournal
from hermes_cache.ports import Journal
from hermes_cache.testing import GatedBuilder
from hermes_cache.threads import forks
from hermes_cache.threads.forks import ForkGate, after_fork_in_child
from tests.waiting import PROCESS_S, WAIT_S

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    # Python warns of forks beside threads; such a fork is what is tested.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

_ENDING = """
import threading
from hermes_cache.threads.forks import before_exit, come_first_at_exit

class Listener:
    def __init__(self, name):
        self.name = name
        before_exit(self.hear)

    def hear(self):
        print(self.name)

Listener("gone")
first, second = Listener("first"), Listener("second")
threading._register_atexit(print, "earlier than ours")
come_first_at_exit()
threading._register_atexit(print, "later than ours")
"""


class _Listener:
    def __init__(self, name: str, calls: list[str]) -> None:
        self._name = name
        self._calls = calls
        after_fork_in_child(self.hear)

    def hear(self) -> None:
        self._calls.append(self._name)


class _Failing:
    def __init__(self) -> None:
        after_fork_in_child(self.fail)

    def fail(self) -> None:
        raise ValueError("this one fails")


@pytest.mark.parametrize("journal", [None, MemoryJournal()])
def test_a_hundred_starts_and_stops_leave_no_hook_behind(
    journal: Journal | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1, L2: nor is the interpreter given one, which it would never take back."""
    cache = SessionListCache(GatedBuilder(is_open=True), bus=Bus(), journal=journal)
    _live(cache)
    gc.collect()
    known, given = len(forks._registry), count()
    monkeypatch.setattr(os, "register_at_fork", lambda **_: next(given))
    monkeypatch.setattr(threading, "_register_atexit", lambda *_: next(given))

    for _ in range(100):
        _live(cache)
    gc.collect()

    assert len(forks._registry) == known
    assert next(given) == 0


def _live(cache: SessionListCache) -> None:
    cache.start()
    cache.get(SessionListKey())
    cache.stop()


def test_who_registered_first_hears_first_and_one_that_fails_keeps_nobody_from_hearing() -> None:
    """L2"""
    calls: list[str] = []
    listening = [_Listener("a", calls), _Failing(), _Listener("b", calls), _Listener("c", calls)]

    pid = os.fork()
    if pid == 0:
        os._exit(0 if calls == ["a", "b", "c"] else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (len(listening), calls) == (4, [])


def test_a_gate_that_is_made_while_a_fork_waits_at_another_holds_nobody_up() -> None:
    """L2"""
    first, entered, made = ForkGate(), threading.Event(), list[ForkGate]()

    def make() -> None:
        with first:
            entered.set()
            while not first._forks:
                threading.Event().wait(0.001)
            made.append(ForkGate())

    making = threading.Thread(target=make)
    making.start()
    entered.wait(WAIT_S)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    making.join(WAIT_S)

    assert not made[0]._forks


def test_a_fork_whose_end_was_interrupted_holds_up_only_those_who_come_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """L2, L6"""
    monkeypatch.setattr(forks, "_GATE_WAIT_S", 0.2)
    gate = ForkGate()
    forking = threading.Thread(target=gate._shut)
    forking.start()
    forking.join(WAIT_S)
    assert gate._is_shut(threading.get_ident())

    with gate:
        pass

    assert not gate._is_shut(threading.get_ident())


def test_who_is_inside_comes_out_before_another_threads_fork_and_none_enter_meanwhile() -> None:
    """L2"""
    gate, entered, leaves = ForkGate(), threading.Event(), threading.Event()
    order: list[str] = []

    def stay() -> None:
        with gate:
            entered.set()
            leaves.wait(WAIT_S)
            order.append("out")

    def fork() -> None:
        gate._shut()
        order.append("forked")
        gate._open()

    def come() -> None:
        with gate:
            order.append("in")

    threads = [threading.Thread(target=each) for each in (stay, fork, come)]
    threads[0].start()
    entered.wait(WAIT_S)
    threads[1].start()
    while not gate._forks:
        threading.Event().wait(0.001)
    threads[2].start()
    leaves.set()
    for thread in threads:
        thread.join(WAIT_S)

    assert order == ["out", "forked", "in"]


def test_at_the_end_each_that_lives_is_called_once_before_whom_it_overtook() -> None:
    """L3"""
    ended = subprocess.run(  # noqa: S603  # our own script
        [sys.executable, "-c", _ENDING], capture_output=True, text=True, timeout=PROCESS_S, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["later than ours", "second", "first", "earlier than ours"]
