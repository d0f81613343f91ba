"""The threads of the package: one that is made anew where it ended, and those that act for the main thread.

Signal handlers run in the main thread, at any bytecode, and may raise anything there. So what must not be divided
is done on another thread: the main thread hands it over in one step and waits. An interrupt ends the wait, never
the act. Source: rules L1, L6, L7.
"""

import _thread
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Final, Generic, TypeVar

from hermes_cache.errors import CallBlockedError
from hermes_cache.forks import after_fork_in_child
from hermes_cache.interrupts import is_interrupt, on_main_thread

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_RETRY_S: Final = 1.0
"""How often a thread that ended, or could not be started, is made anew at most (L7)."""

PATIENCE_S: Final = 5.0
"""How long the main thread waits for an act: past it, it waits for something that it holds itself."""

_LOOK_S: Final = 0.5
_FIRST_LOOK_S: Final = 0.05
"""A wait is cut in parts: to see whether a thread lives, and so that a process that was suspended for long does
not count all of that."""

_MOST_THREADS: Final = 8

_IDLE_S: Final = 10.0
"""Nothing closes a process's last bus: a thread that has nothing to do for so long ends."""

_REST_S: Final = 0.1
"""A thread that is free ends in less; one that is not may be waiting for the caller."""


class Gate:
    """What threads wait for and one opens, for good; safe in signal handlers.

    A `threading.Event` is not: its inner lock may be held by the very call that a signal handler interrupts, and
    an exception raised in the middle of its `wait` leaves that lock in disorder.

    Args:
        shared: Several threads wait, the main thread among them: an interrupt may keep it from passing the lock
            on, so the others look now and then.
    """

    __slots__ = ("_lock", "_look_s", "is_open")

    def __init__(self, *, shared: bool = False) -> None:
        self.is_open = False
        self._look_s = _LOOK_S if shared else threading.TIMEOUT_MAX
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let all go on who wait, and who come; a second call changes nothing."""
        # Nothing is called between the look and the store: of two who open it, one releases the lock.
        if not self.is_open:
            self.is_open = True
            self._lock.release()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is open, at most so many seconds; say whether it is."""
        ends_at_s = inf if timeout_s is None else monotonic() + timeout_s
        while not self.is_open:
            left_s = ends_at_s - monotonic()
            if self._lock.acquire(timeout=max(0.0, min(left_s, self._look_s))):
                self._lock.release()
            elif left_s <= self._look_s:
                return self.is_open
        return True


class KeptThread:
    """One daemon thread, made anew where it ended before it was told to.

    Args:
        run: What it does; returning before `end` counts as ended by mistake.
        name: Of the thread.
    """

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self._run = run
        self._name = name
        self._wanted = False
        self._tried_s = -inf
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The thread's name."""
        return self._name

    @property
    def is_alive(self) -> bool:
        """Whether it runs now."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    @property
    def is_missing(self) -> bool:
        """Whether it should run and does not; for `health()`."""
        return self._wanted and not self.is_alive

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this one."""
        return self._thread is threading.current_thread()

    def start(self) -> bool:
        """Start it; false where the machine refuses a thread, or the interpreter ends. `see_to` tries again."""
        self._wanted = True
        self._tried_s = monotonic()
        return self._start()

    def need(self) -> bool:
        """Start it with the first call that needs it, and see to it from then on; say whether it runs."""
        self._wanted = True
        return self.see_to()

    def see_to(self) -> bool:
        """Make it anew where it is missing, at most once a second; say whether it runs."""
        if not self.is_missing:
            return self._wanted
        now_s = monotonic()
        # No call between the two: of several threads that come here at once, one sees the old moment.
        tried_s, self._tried_s = self._tried_s, now_s
        return now_s - tried_s >= _RETRY_S and self._start()

    def end(self) -> None:
        """Know that it is going to end; whoever owns it has told it to."""
        self._wanted = False

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for it to end; say whether it did. The thread itself does not wait."""
        thread = self._thread
        if thread is None or thread is threading.current_thread() or not thread.is_alive():
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def forget(self) -> None:
        """Begin anew in a forked child, where it does not exist."""
        self._wanted = False
        self._tried_s = -inf
        self._thread = None

    def _start(self) -> bool:
        # Known before it runs: a call that an interrupt ends in the middle leaves no second thread.
        self._thread = thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        return started(thread)


def started(thread: threading.Thread) -> bool:
    """Start a thread; false where the machine refuses it, or the interpreter ends.

    `Thread.start` takes an `Exception` that a signal handler raises for a refusal, and leaves a thread that fails.
    So the main thread has it called by another one, which it starts in one step.
    """
    if not on_main_thread():
        return _is_started(thread)
    done, outcomes = Gate(), deque[bool]()
    try:
        _thread.start_new_thread(_start_for_another, (thread, outcomes, done))
    except RuntimeError as error:
        if is_interrupt(error):
            raise
        return False
    done.wait()
    return outcomes.pop()


def _start_for_another(thread: threading.Thread, outcomes: deque[bool], done: Gate) -> None:
    outcomes.append(_is_started(thread))
    done.open()


def _is_started(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


class _Act(Generic[T_co]):
    """Something to be done once, by whoever claims it first."""

    def __init__(self, do: Callable[[], T_co]) -> None:
        self._do = do
        self._claims = deque([True])
        self._done = Gate()
        self._error: BaseException | None = None
        self._value: T_co | None = None

    @property
    def is_begun(self) -> bool:
        return not self._claims

    def claim(self) -> bool:
        try:
            return self._claims.pop()
        except IndexError:
            return False

    def run(self) -> None:
        try:
            self._value = self._do()
        except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
            self._error = error
        finally:
            self._done.open()

    def wait(self, timeout_s: float) -> bool:
        return self._done.wait(timeout_s)

    def result(self) -> T_co:
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set by `run`


class Aside:
    """Acts for the main thread, on daemon threads of its own that start when they are needed.

    Acts of one thread come one after the other; a signal handler that asks while an act waits gets another thread.
    """

    _threads: list[threading.Thread]

    def __init__(self) -> None:
        self._begin()
        after_fork_in_child(self._begin)

    def do(self, act: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
        """Do something that no interrupt may divide, and return what it returns, or raise what it raises.

        On any thread but the main one, and where no thread can be had, it is done in place.

        Args:
            act: What to do.
            patience_s: How long to wait for it; infinity for what takes its time and needs nothing of this thread.

        Raises:
            CallBlockedError: It was not done in time: it needs what an interrupted call of the main thread holds.
                It may still be done later.
        """
        if not on_main_thread() or sys.is_finalizing():
            return act()
        return self.on_another_thread(act, patience_s)

    def on_another_thread(self, act: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
        """Do something on a thread with a whole stack, whatever thread this is; else as `do`."""
        handed = _Act(act)
        self._acts.put(handed)
        if not self._threads and not self._start_one() and handed.claim():
            return act()
        return self._awaited(handed, patience_s)

    def rest(self) -> None:
        """End all threads that are free, and the others once they are; the next act starts another."""
        self._round += 1
        # One for each that may wait; those that are left over are passed over in the next round.
        for _ in range(len(self._threads) + _MOST_THREADS):
            self._acts.put(None)
        for thread in self._threads.copy():
            if thread is not threading.current_thread():
                thread.join(_REST_S)

    def _awaited(self, handed: _Act[T], patience_s: float) -> T:
        look_s, left_s = min(_FIRST_LOOK_S, patience_s), patience_s
        while not handed.wait(look_s):
            if not handed.is_begun and not self._start_one() and not self._threads and handed.claim():
                handed.run()
            elif left_s <= 0:
                raise CallBlockedError(patience_s)
            look_s = min(_LOOK_S, left_s)
            left_s -= look_s
        return handed.result()

    def _start_one(self) -> bool:
        if len(self._threads) >= _MOST_THREADS:
            return False
        run = partial(self._run, self._acts, self._threads, self._round)
        return started(threading.Thread(target=run, name="hermes_cache.aside", daemon=True))

    def _run(self, acts: "SimpleQueue[_Act[object] | None]", threads: list[threading.Thread], round_: int) -> None:
        # Each is known from its own beginning to its own end: an interrupt of the main thread divides neither.
        threads.append(threading.current_thread())
        try:
            while self._round == round_:
                handed = acts.get(timeout=_IDLE_S)
                if handed is not None and handed.claim():
                    handed.run()
                del handed
        except Empty:
            pass
        finally:
            threads.remove(threading.current_thread())

    def _begin(self) -> None:
        self._acts: SimpleQueue[_Act[object] | None] = SimpleQueue()
        self._threads = []
        self._round = 0


aside: Final = Aside()
"""Of this process."""
