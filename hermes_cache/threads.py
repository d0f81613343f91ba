"""The threads of the package, and the calls that they run.

A signal handler may strike the main thread at any bytecode, and raise (`aside.py`). A finalizer may strike any
thread at any bytecode, and publish or read. So no lock here guards values: each change is one operation of a
deque, a dict or a simple queue. The locks of `Gate` (`gates.py`) and `Call.wait` only put a thread to sleep.
Source: rules L1, L6, L7.
"""

import _thread
import asyncio
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, Generic, TypeVar, cast

from hermes_cache.errors import CacheStoppedError, CallLostError, NoThreadError, UnsupportedError
from hermes_cache.gates import Gate, OwnThread
from hermes_cache.interrupts import is_interrupt, on_main_thread

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_RETRY_S: Final = 1.0
"""The shortest time between two attempts to start a thread that ended or could not be started (L7)."""


def _is_patched() -> bool:
    """Say whether gevent has replaced the threads of the standard library; gevent is not imported for that."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


_WAS_PATCHED: Final = _is_patched()
"""Whether that was so when this module got the queues and clocks of the standard library."""


def refuse_late_patch() -> None:
    """Raise `UnsupportedError` if gevent replaced the threads of the standard library after that (L8).

    Locks from before are no locks of its greenlets: one that waits stops all of them.
    """
    if _is_patched() is not _WAS_PATCHED:
        reason = "gevent patched the standard library after hermes_cache was imported"
        raise UnsupportedError("a cache", reason, "call gevent.monkey.patch_all() first")


_made_anew: Final[Counter[str]] = Counter()


def threads_made_anew() -> int:
    """Return how often kept threads of this process ended by mistake, or did not start, and were made anew."""
    return sum(list(_made_anew.values()))


class Call(Generic[T_co]):
    """A function that is called once, by the thread that claims it first, and its result for all who wait.

    Attributes:
        is_over: It returned, raised or was given up; it has a result.
        is_unwanted: Nobody waits for it any more; it is not begun.
    """

    def __init__(self, do: Callable[[], T_co]) -> None:
        self._do = do
        self._owner: dict[None, object] = {}
        self._waiters: deque[Callable[[], object]] = deque()
        self._value: T_co | None = None
        self._error: BaseException | None = None
        self.is_over = False
        self.is_unwanted = False

    @property
    def is_begun(self) -> bool:
        """Whether a thread has claimed it."""
        return bool(self._owner)

    @property
    def error(self) -> BaseException | None:
        """What the function raised, or why it was not called; None before, and if it returned."""
        return self._error

    def claim(self, owner: object) -> bool:
        """Take the right to call the function for an owner, unless another has it; say whether this one has it."""
        return self._owner.setdefault(None, owner) is owner

    def run(self, owner: object = None) -> None:
        """Call the function on this thread, unless another owner has claimed it; by default the run is its own."""
        owner = owner or object()
        try:
            if self.claim(owner) and not (self.is_unwanted or self.is_over):
                self._value = self._do()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
            # Something thrown into the thread may have come before the claim.
            if self.claim(owner):
                self._error = self._error or error
        finally:
            if self.claim(owner):
                self._end()

    def fail(self, error: BaseException) -> None:
        """Let those who wait go with an error; a call that runs goes on, and its result is dropped."""
        if not self.is_over:
            self._error = error
            self._end()

    def when_over(self, wake: Callable[[], object]) -> None:
        """Have something called once it is over, at once if it is; maybe twice. It must be quick."""
        self._waiters.append(wake)
        # Looked at after `wake` was added: the thread that ends the call finds `wake`, or this look finds the end.
        if self.is_over:
            wake()

    def leave(self, wake: Callable[[], object]) -> None:
        """Take back what `when_over` was given; it is not called any more, unless it is being called just now."""
        with suppress(ValueError):
            self._waiters.remove(wake)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is over; return whether it is. Any number of threads may wait."""
        gate = threading.Lock()
        gate.acquire()
        release = gate.release
        self._waiters.append(release)
        if not self.is_over:
            gate.acquire(timeout=min(max(0.0, timeout_s), threading.TIMEOUT_MAX))
        self.leave(release)
        return self.is_over

    def result(self) -> T_co:
        """Return what the function returned, or raise what it raised; only once the call is over."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set by `run`

    def found(self) -> T_co | None:
        """Return what the function returned; None before the call is over, and if it failed."""
        return self._value if self.is_over and self._error is None else None

    def _end(self) -> None:
        self.is_over = True
        while self._waiters:
            # If one wake-up fails, for lack of memory, the others must still come. The thread that was not woken
            # goes on at its timeout.
            with suppress(Exception):
                self._waiters.popleft()()


class KeptThread:
    """One daemon thread, made anew if it ended although its owner did not end it.

    Args:
        run: What it does; returning before `end` counts as ended by mistake.
        name: Of the thread.
    """

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self._run = run
        self._name = name
        self._is_wanted = False
        self._has_ended = False
        self._tried_s = -inf
        self._thread: OwnThread | None = None

    @property
    def name(self) -> str:
        """The thread's name."""
        return self._name

    @property
    def is_alive(self) -> bool:
        """Whether it runs now."""
        thread = self._thread
        return thread is not None and thread.lives

    @property
    def is_missing(self) -> bool:
        """Whether it should run and does not; for `health()`."""
        return self._is_wanted and not self.is_alive

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this one."""
        return self._thread is threading.current_thread()

    def keep(self) -> bool:
        """Start it with the first call, and make it anew if it is missing; say whether it runs.

        It is tried at most once a second; the machine may refuse a thread. After `end` nothing is started.
        """
        thread = self._thread
        if self._has_ended or (thread is not None and thread.lives):
            return not self._has_ended
        self._is_wanted = True
        now_s = monotonic()
        # No call between the two: of several threads that come here at once, one sees the old moment.
        tried_s, self._tried_s = self._tried_s, now_s
        if now_s - tried_s < _RETRY_S:
            return False
        if thread is not None:
            _made_anew[self._name] += 1
        # Known before it runs: a call that an interrupt ends in the middle leaves no second thread.
        self._thread = thread = OwnThread(self._run, self._name)
        return started(thread)

    def end(self) -> None:
        """Note that its owner ends it; it is not made anew any more."""
        self._has_ended = True
        self._is_wanted = False

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for it to end; say whether it did. The thread itself does not wait."""
        thread = self._thread
        if thread is None or thread is threading.current_thread() or not thread.lives:
            return True
        return thread.wait_for_end(timeout_s)

    def forget(self) -> None:
        """Begin anew in a forked child, which has no such thread."""
        self._is_wanted = False
        self._has_ended = False
        self._tried_s = -inf
        self._thread = None


class Threads:
    """Daemon threads that run calls in the order in which they come.

    A thread starts if a call comes and none is free. A thread that has run a call leaves a token, unless more
    calls wait than there may be threads; who brings a call takes a token, or starts a thread. So a call that hangs
    keeps its own thread and no other.

    Args:
        name: Of the threads.
        most: How many there are at most; past it, calls wait.
        idle_s: How long a thread waits for a call before it ends; None for ever, without wake-ups. Who brings a
            call then waits for it, and sees that there is a thread (`start_one`).
    """

    def __init__(self, name: str, most: int | None = None, idle_s: float | None = None) -> None:
        self._name = name
        self._most = most
        self._idle_s = idle_s
        self._is_stopped = False
        self.start_anew()

    def start_anew(self) -> None:
        """Begin anew in a forked child, which has none of the threads."""
        self._calls: SimpleQueue[Call[Any] | None] = SimpleQueue()
        self._threads: dict[OwnThread, Call[Any] | None] = {}
        self._free: deque[bool] = deque()
        self._waiting: deque[bool] = deque()
        self._slots = None if self._most is None else deque([True] * self._most)
        self._refused: deque[bool] = deque()
        self._round = 0

    @property
    def is_alive(self) -> bool:
        """Whether any of the threads runs."""
        return any(thread.lives for thread in list(self._threads))

    def run(self, call: Call[Any]) -> None:
        """Have a call run by the next thread that is free; after a stop it fails with `CacheStoppedError`.

        Raises:
            NoThreadError: The machine refuses a thread; the call is not begun. On an event loop, the call may
                fail with that error instead.
        """
        if not (_took_one(self._free) or self.start_one()):
            self._waiting.append(True)
        self._calls.put(call)
        self._settle_refused()
        if self._is_stopped:
            self._fail_all(CacheStoppedError())

    def start_one(self) -> bool:
        """Start another thread; return false if there are as many as may be.

        Raises:
            NoThreadError: The machine refuses it.
        """
        if self._slots is not None and not self._slots:
            return False
        thread = OwnThread(self._run, self._name, self._round)
        if not started(thread, self._note_refused):
            raise NoThreadError
        return True

    def give_up(self, call: Call[Any]) -> None:
        """Wait no longer for a call that runs: its thread ends with it, and is waited for by no stop."""
        for thread, running in list(self._threads.items()):
            if running is call:
                self._threads.pop(thread, None)

    def rest(self) -> list[OwnThread]:
        """End the threads that are free, and the others once they are; return them. The next call starts one."""
        self._round += 1
        self._free.clear()
        threads = list(self._threads)
        # One for each that may wait; those that are left over are passed over in the next round.
        for _ in threads:
            self._calls.put(None)
        return [thread for thread in threads if thread is not threading.current_thread()]

    def stop(self, timeout_s: float) -> bool:
        """Let calls go that wait, and end all threads but those given up; say whether they ended in time.

        A thread of its own may call it, and it may be called twice.
        """
        self._is_stopped = True
        self._fail_all(CacheStoppedError())
        ends_at_s = monotonic() + timeout_s
        threads = self.rest()
        return all(thread.wait_for_end(max(0.0, ends_at_s - monotonic())) for thread in threads)

    def _run(self, round_: int) -> None:
        # Known from its own beginning to its own end: an interrupt of the main thread divides neither.
        if self._slots is not None and not _took_one(self._slots):
            self._waiting.append(True)
            return
        own = cast("OwnThread", threading.current_thread())
        self._threads[own] = None
        # It may begin after the round in which it was started ended; nobody sends it home then.
        is_wanted = self._is_on(round_) or not self._calls.empty()
        while is_wanted:
            # What somebody throws into the thread costs the call in hand at most; who waits for it gets an error.
            with suppress(BaseException):
                is_wanted = self._goes_on(own, round_)
        if self._threads.pop(own, self) is None and self._slots is not None:
            self._slots.append(True)

    def _goes_on(self, own: OwnThread, round_: int) -> bool:
        """Wait for a call and run it; say whether to wait for another."""
        call: Call[Any] | None = None
        try:
            # What is thrown into a thread that waits strikes it when it got a call. A loop takes the call in hand
            # before that; after a plain `get` the call would be lost, and those who wait for it hear nothing.
            for call in iter(partial(self._calls.get, timeout=self._idle_s), self):  # noqa: B007 - taken in hand
                break
            return self._is_on(round_) if call is None else self._ran(call, own, round_)
        except Empty:
            # A call that is on its way to this thread meanwhile has somebody who waits for it, and sees to it.
            _took_one(self._free)
            return False
        finally:
            if call is not None and not call.is_over and call.claim(own):
                call.fail(CallLostError())

    def _ran(self, call: Call[Any], own: OwnThread, round_: int) -> bool:
        """Run a call; say whether the thread waits for another, and leave a token if it does."""
        self._threads[own] = call
        call.run(own)
        if own not in self._threads:
            return False
        self._threads[own] = None
        if not self._is_on(round_):
            return False
        if not (self._waiting and _took_one(self._waiting)):
            self._free.append(True)
        # Looked at again: who ends the round after the first look finds the token.
        return self._is_on(round_)

    def _is_on(self, round_: int) -> bool:
        return not self._is_stopped and self._round == round_

    def _note_refused(self) -> None:
        """Know that a thread was refused for which nobody waited."""
        self._refused.append(True)
        self._settle_refused()

    def _settle_refused(self) -> None:
        """Let calls go for which a thread was refused; of the call and the refusal, the later one finds both."""
        if not (self._refused and not self._calls.empty() and _took_one(self._refused)):
            return
        if self.is_alive:
            self._waiting.append(True)
        else:
            self._fail_all(NoThreadError())

    def _fail_all(self, error: Exception) -> None:
        refused: list[Call[Any] | None] = []
        with suppress(Empty):
            while True:
                refused.append(self._calls.get_nowait())
        for call in refused:
            # In the place of each: a thread may be on its way to it, or wait for its own end.
            self._calls.put(None)
            if call is not None:
                call.fail(error)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs on this thread; None if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def started(thread: threading.Thread, refused: Callable[[], object] | None = None) -> bool:
    """Start a thread; false where the machine refuses it, or the interpreter ends.

    `Thread.start` takes an `Exception` that a signal handler raises for a refusal, and leaves a thread that fails.
    It also waits for the thread. So the main thread and event loops have it called by another one, which they
    start in one step. An event loop does not wait for that one either.

    Args:
        thread: The thread to start.
        refused: Called if the machine refuses the thread though this returned true, on an event loop.
    """
    is_on_loop = running_loop() is not None
    if not (is_on_loop or on_main_thread()):
        return _is_started(thread)
    done, outcomes = Gate(), deque[bool]()
    try:
        _thread.start_new_thread(_start_for_another, (thread, outcomes, done, refused if is_on_loop else None))
    except RuntimeError as error:
        if is_interrupt(error):
            raise
        return False
    if is_on_loop:
        return True
    done.wait()
    return outcomes.pop()


def _start_for_another(
    thread: threading.Thread, outcomes: deque[bool], done: Gate, refused: Callable[[], object] | None
) -> None:
    is_started = _is_started(thread)
    outcomes.append(is_started)
    done.open()
    if refused is not None and not is_started:
        refused()


def _is_started(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


def _took_one(tokens: deque[bool]) -> bool:
    try:
        return tokens.pop()
    except IndexError:
        return False
