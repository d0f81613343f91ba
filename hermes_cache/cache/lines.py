"""Lines: calls of foreign code on threads of the cache's own, those of one name one after the other.

A call that hangs keeps the line of its own name and one thread, and nobody waits for it longer than he wants to.
Half of the threads are open to every name. The other half serve the names whose last call came back after the
oldest one that is out began: so those that answer are served while others hang. Source: rules S4, R6.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from math import inf
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from hermes_cache.builders.turns import Turns
from hermes_cache.builders.workers import Workers
from hermes_cache.errors import CacheStoppedError
from hermes_cache.threads import aside

T = TypeVar("T")

_HANGS_AFTER_S: Final = 1.0

_MOST_NAMES: Final = 4_096
"""Names come from outside: past so many it is forgotten which of them answered."""


class Call(Generic[T]):
    """One call, its result once it is over, and those who wait for that."""

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._waiters: deque[Callable[[], object]] = deque()
        self._value: T | None = None
        self._error: BaseException | None = None
        self.is_over = False
        self.is_unwanted = False
        self.refusal: Exception | None = None

    def run(self) -> None:
        """Do it; on a thread of the lines."""
        try:
            if not (self.is_unwanted or self.is_over):
                self._value = self._do()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            self._error = self._error or error
        self._end()

    def fail(self, error: BaseException) -> None:
        """Let those who wait go with an error; the call itself may go on."""
        if not self.is_over:
            self._error = error
            self._end()

    def refuse(self, error: Exception) -> None:
        """Let those who wait go: it gets no thread, and will not be done."""
        self.refusal = error
        self.fail(error)

    def tell(self, wake: Callable[[], object]) -> None:
        """Have something called once it is over, at once if it is; maybe twice. It must be quick."""
        self._waiters.append(wake)
        # A look after that one stands there: whoever ends the call finds it, or this thread finds the end.
        if self.is_over:
            wake()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is over; return whether it is. Any number of threads may wait."""
        gate = threading.Lock()
        gate.acquire()
        release = gate.release
        self._waiters.append(release)
        if not self.is_over:
            gate.acquire(timeout=min(max(0.0, timeout_s), threading.TIMEOUT_MAX))
        with suppress(ValueError):
            self._waiters.remove(release)
        return self.is_over

    def result(self) -> T:
        """Return what it returned, or raise what it raised; only once it is over."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set by `run`

    def _end(self) -> None:
        self.is_over = True
        while self._waiters:
            # What could not wake somebody, for lack of memory, must not keep the others: they look by themselves.
            with suppress(Exception):
                self._waiters.popleft()()


class Lines:
    """Runs calls.

    Args:
        thread_name: The name of the threads.
        threads: How many there are at most; they start when they are needed.
    """

    def __init__(self, thread_name: str, threads: int) -> None:
        self._workers = Workers(thread_name)
        self._threads = threads
        self._turns = Turns()
        self._is_stopped = False
        self._calls: dict[Hashable, deque[Call[Any]]] = {}
        self._waiting: deque[Hashable] = deque()
        self._began_s: dict[Hashable, float] = {}
        self._answered_s: dict[Hashable, float] = {}

    def call(self, name: Hashable, do: Callable[[], T]) -> Call[T]:
        """Have something called, after the calls of the same name that came before.

        Args:
            name: Of the line.
            do: What to call; it may raise anything.

        Raises:
            CacheStoppedError: The threads were stopped; nothing was called.
            RuntimeError: The machine refuses a thread; nothing was called.
        """
        call = Call(do)
        aside.do(lambda: self.add(name, call))
        return call

    def add(self, name: Hashable, call: Call[T]) -> None:
        """Put a call in line; as `call`, for threads that signal handlers cannot strike.

        Where that is left to a thread that is at another one, the call itself tells what this would raise.
        """

        def late(_: None, error: Exception | None) -> None:
            if error is not None:
                call.refuse(error)

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
            name: Of its line.
            call: Which.
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
        """Let go who waits, and end the threads; return whether all ended in time. It may be called twice."""
        self._is_stopped = True
        self._turns.do(self._fail_all)
        return self._workers.stop(timeout_s)

    def _fail_all(self) -> None:
        for call in [call for line in self._calls.values() for call in line]:
            call.fail(CacheStoppedError())

    def _start(self, newcomer: Hashable) -> None:
        name = self._next()
        if name is None:
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
        self._workers.run(lambda: self._run(name, call), refused=lambda error: self._refuse(name, call, error))

    def _run(self, name: Hashable, call: Call[Any]) -> None:
        todo: tuple[Hashable, Call[Any]] | None = (name, call)
        del call
        while todo is not None:
            todo[1].run()
            todo = self._turns.do(partial(self._after, todo[0]), self._run_elsewhere)

    def _after(self, name: Hashable) -> tuple[Hashable, Call[Any]] | None:
        self._note_end(name)
        following = self._next()
        return None if following is None else (following, self._calls[following][0])

    def _run_elsewhere(self, todo: tuple[Hashable, Call[Any]] | None, _: Exception | None) -> None:
        """Have what comes after a call done, where the thread of that one did not wait to hear of it."""
        if todo is None:
            return
        try:
            self._let_run(todo[0])
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            self._refuse(*todo, error)

    def _refuse(self, name: Hashable, call: Call[Any], error: Exception) -> None:
        """Let a call go that gets no thread, and what comes after it have its turn."""
        call.refuse(error)
        self._turns.do(partial(self._after, name), self._run_elsewhere)

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

    def _next(self) -> Hashable | None:
        """Take the first name whose call may begin now."""
        for name in self._waiting:
            if self._may_begin(name):
                self._waiting.remove(name)
                self._began_s[name] = monotonic()
                return name
        return None

    def _may_begin(self, name: Hashable) -> bool:
        out = len(self._began_s)
        if out < self._threads // 2:
            return True
        answered_s = self._answered_s.get(name)
        return out < self._threads and answered_s is not None and answered_s > min(self._began_s.values())
