"""Turns: steps that come one at a time, without a lock that anybody waits for.

A finalizer may run at any bytecode, and may publish or read. One that runs under a lock waits for the mailbox, and
the thread that runs the mailbox would wait for that lock, for ever. So a step that comes while another is at work
is left to that one's thread. Source: rules L4, L6.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Turn(Generic[T]):
    """One step. Its token goes to who leaves first: the caller, or who did it."""

    def __init__(self, act: Callable[[], T], late: Callable[[T | None, Exception | None], object] | None) -> None:
        self._act = act
        self._late = late
        self._token = deque([True])
        self._value: T | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._value = self._act()
        except Exception as error:  # noqa: BLE001 - whoever asked for it is told
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
            late: Told what it returned or raised, as a part of that step, where it was left.

        Returns:
            What the step returned; None where it was left. What it raised is raised here.
        """
        turn = _Turn(act, late)
        self._turns.append(turn)
        # Looked at again after the lock was given back: a step that came meanwhile found it locked.
        while self._turns and self._lock.acquire(blocking=False):
            try:
                while self._turns:
                    self._turns.popleft().run()
            finally:
                self._lock.release()
        return turn.result()
