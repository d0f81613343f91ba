"""Lines: calls of foreign code on threads of the cache's own, those of one name one after the other.

A call that hangs keeps the line of its own name and one thread; a reader waits for it within its own bound.
Half of the threads are open to every name. The other half serve the names whose last call came back after the
oldest one that is out began: so those that answer are served while others hang. Source: rules S4, R6.

The bookkeeping is done in steps that come one at a time, without a lock that anybody waits for. A finalizer may
run at any bytecode, and may publish or read. One that runs under a lock waits for the mailbox, and the thread that
runs the mailbox would wait for that lock, for ever. So a step that comes while another is at work is left to that
one's thread. Source: rules L4, L6.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from math import inf
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from hermes_cache.errors import CacheStoppedError, NoThreadError
from hermes_cache.threads.aside import aside
from hermes_cache.threads.calls import Call
from hermes_cache.threads.pool import Threads

T = TypeVar("T")

_HANGS_AFTER_S: Final = 1.0

_MOST_NAMES: Final = 4_096
"""Names come from outside: past so many it is forgotten which of them answered."""

_NO_NAME: Final = object()
"""Stands for no name at all; any other value may be the name of a line, None too."""


class Lines:
    """Runs calls.

    Args:
        thread_name: The name of the threads.
        threads: How many there are at most; they start when they are needed.
    """

    def __init__(self, thread_name: str, threads: int) -> None:
        self._threads = Threads(thread_name)
        self._most = threads
        self._turns = Turns()
        self._is_stopped = False
        self._calls: dict[Hashable, deque[Call[Any]]] = {}
        self._waiting: deque[Hashable] = deque()
        self._began_s: dict[Hashable, float] = {}
        self._answered_s: dict[Hashable, float] = {}

    def call(self, name: Hashable, do: Callable[[], T]) -> Call[T]:
        """Have something called, after the calls of the same name that came before.

        Args:
            name: The name of the line.
            do: What to call; it may raise anything.

        Raises:
            CacheStoppedError: The threads were stopped; nothing was called.
            NoThreadError: The machine refuses a thread; nothing was called.
        """
        call = Call(do)
        aside.do(lambda: self.add(name, call))
        return call

    def add(self, name: Hashable, call: Call[T]) -> None:
        """Put a call in line; as `call`, for threads that signal handlers cannot strike.

        If it is left to another thread, the call fails with what this would raise.
        """

        def late(_: None, error: Exception | None) -> None:
            if error is not None:
                call.fail(error)

        self._turns.do(lambda: self._add(name, call), late)

    def _add(self, name: Hashable, call: Call[T]) -> None:
        if self._is_stopped:
            raise CacheStoppedError
        line = self._calls.setdefault(name, deque())
        line.append(call)
        if len(line) == 1:
            self._waiting.append(name)
            self._start(name)

    def hangs(self, name: Hashable) -> bool:
        """Return whether a call of that name has been out for too long: none comes after it before it is back."""
        began_s = self._began_s.get(name)
        return began_s is not None and monotonic() - began_s > _HANGS_AFTER_S

    def wait(self, name: Hashable, call: Call[T], patience_s: float) -> bool:
        """Wait until a call is over, and return whether it is; its time in line does not count as its own.

        Args:
            name: The name of its line.
            call: The call to wait for.
            patience_s: How long at most. The wait ends earlier if the call, or one before it, is out for too long,
                or if none of them is begun for as long.
        """
        asked_s = monotonic()
        while not call.is_over:
            moved_s = self._began_s.get(name) or max(asked_s, self._answered_s.get(name, -inf))
            left_s = min(asked_s + patience_s, moved_s + _HANGS_AFTER_S) - monotonic()
            if left_s <= 0.0:
                return False
            call.wait(left_s)
        return True

    def give_up(self, call: Call[T]) -> None:
        """Say that nobody waits for a call any more: it is not begun, and its result goes nowhere."""
        call.is_unwanted = True

    def stop(self, timeout_s: float) -> bool:
        """Let waiting calls go, and end the threads; return whether all ended in time. It may be called twice."""
        self._is_stopped = True
        self._turns.do(self._fail_all)
        return self._threads.stop(timeout_s)

    def _fail_all(self) -> None:
        for call in [call for line in self._calls.values() for call in line]:
            call.fail(CacheStoppedError())

    def _start(self, newcomer: Hashable) -> None:
        name = self._next()
        if name is _NO_NAME:
            return
        try:
            self._let_run(name)
        except BaseException:
            del self._began_s[name]
            if name != newcomer:
                self._waiting.appendleft(name)
                self._waiting.remove(newcomer)
            del self._calls[newcomer]
            raise

    def _let_run(self, name: Hashable) -> None:
        call = self._calls[name][0]
        running = Call(partial(self._run, name, call))
        running.when_over(lambda: self._go_on_without(call, running.error))
        self._threads.run(running)

    def _go_on_without(self, call: Call[Any], error: BaseException | None) -> None:
        """Let the lines go on if something struck their thread before it began a call, or between two."""
        if error is None:
            return
        if call.claim(error):
            call.fail(error)
        self._turns.do(self._run_what_is_left)

    def _run_what_is_left(self) -> None:
        # Which of them the thread had is not known. So some have a thread on its way, and two for one do no harm.
        for name in list(self._began_s):
            call = self._calls[name][0]
            if call.is_over:
                self._run_elsewhere(self._after(name, call), None)
            elif not call.is_begun:
                self._run_elsewhere((name, call), None)

    def _run(self, name: Hashable, call: Call[Any]) -> None:
        todo: tuple[Hashable, Call[Any]] | None = (name, call)
        del call
        while todo is not None:
            owner = object()
            todo[1].run(owner)
            if not todo[1].claim(owner):
                return
            todo = self._turns.do(partial(self._after, *todo), self._run_elsewhere)

    def _after(self, name: Hashable, call: Call[Any]) -> tuple[Hashable, Call[Any]] | None:
        """Note the end of a call, unless that was done, and return what to run next."""
        line = self._calls.get(name)
        if not line or line[0] is not call:
            return None
        self._note_end(name)
        following = self._next()
        return None if following is _NO_NAME else (following, self._calls[following][0])

    def _run_elsewhere(self, todo: tuple[Hashable, Call[Any]] | None, _: Exception | None) -> None:
        """Have what comes after a call done, if the thread of that one did not wait to hear of it."""
        if todo is None:
            return
        name, call = todo
        try:
            self._let_run(name)
        except NoThreadError as refused:
            # Those who wait for it go on, and the next call of the line has its turn.
            call.fail(refused)
            self._turns.do(partial(self._after, name, call), self._run_elsewhere)

    def _note_end(self, name: Hashable) -> None:
        if len(self._answered_s) >= _MOST_NAMES:
            self._answered_s.clear()
        self._answered_s[name] = monotonic()
        del self._began_s[name]
        line = self._calls[name]
        line.popleft()
        if line:
            self._waiting.append(name)
        else:
            del self._calls[name]

    def _next(self) -> Hashable:
        """Take the first name whose call may begin now; `_NO_NAME` if there is none."""
        for name in self._waiting:
            if self._may_begin(name):
                self._waiting.remove(name)
                self._began_s[name] = monotonic()
                return name
        return _NO_NAME

    def _may_begin(self, name: Hashable) -> bool:
        out = len(self._began_s)
        if out < self._most // 2:
            return True
        answered_s = self._answered_s.get(name)
        return out < self._most and answered_s is not None and answered_s > min(self._began_s.values())


class _Turn(Generic[T]):
    """One step. Its token goes to the thread that leaves it first: that of the caller, or the one that did it."""

    def __init__(self, act: Callable[[], T], late: Callable[[T | None, Exception | None], object] | None) -> None:
        self._act = act
        self._late = late
        self._token = deque([True])
        self._value: T | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._value = self._act()
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
            self._error = error
        if not self._leave() and self._late is not None:
            self._late(self._value, self._error)

    def result(self) -> T | None:
        if self._leave():
            return None
        if self._error is not None:
            raise self._error
        return self._value

    def _leave(self) -> bool:
        try:
            return self._token.pop()
        except IndexError:
            return False


class Turns:
    """Does steps, each whole before the next begins; they must be quick, and a thread may be amid one already."""

    def __init__(self) -> None:
        self._turns: deque[_Turn[Any]] = deque()
        self._lock = threading.Lock()

    def do(
        self, act: Callable[[], T], late: Callable[[T | None, Exception | None], object] | None = None
    ) -> T | None:
        """Do a step, or leave it to the thread that is at one.

        Args:
            act: The step.
            late: Called with what it returned or raised, as a part of that step, if it was left.

        Returns:
            What the step returned; None if it was left. What it raised is raised here.
        """
        if self._lock.acquire(blocking=False):
            try:
                return act()
            finally:
                self._lock.release()
                if self._turns:
                    self._do_what_was_left()
        turn = _Turn(act, late)
        self._turns.append(turn)
        self._do_what_was_left()
        return turn.result()

    def _do_what_was_left(self) -> None:
        # Looked at again after the lock was given back: a step that came meanwhile found it locked.
        while self._turns and self._lock.acquire(blocking=False):
            try:
                while self._turns:
                    self._turns.popleft().run()
            finally:
                self._lock.release()
