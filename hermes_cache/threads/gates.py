"""Gates, at which threads wait, and threads at whose end one opens.

Both are safe where a signal handler strikes: on the main thread, at any bytecode. Source: rules L6, L7.
"""

import os
import threading
from collections.abc import Callable
from math import inf
from time import monotonic, sleep
from typing import Final

_LOOK_S: Final = 0.5
"""A wait is cut in parts: to see whether a thread lives, and so that a process that was suspended for long does
not count all of that."""

_LAST_STEPS_S: Final = 0.000_5
"""The system's thread ends so long after the last line of its function."""


class Gate:
    """A gate at which threads wait until somebody opens it; it never closes again. Safe in signal handlers.

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
        """Let all threads go on that wait, and those that come later; a second call changes nothing."""
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


class OwnThread(threading.Thread):
    """A daemon thread that notes its own end.

    `Thread.is_alive` and `Thread.join` do not tell it safely before Python 3.13: if a signal handler raises an
    exception inside them, a thread that runs counts as ended for good.

    Args:
        run: What it does.
        name: Its name.
        args: What `run` gets.
    """

    def __init__(self, run: Callable[..., None], name: str, *args: object) -> None:
        super().__init__(target=run, name=name, args=args, daemon=True)
        self._in_process = os.getpid()
        self._over = Gate(shared=True)

    def run(self) -> None:
        """Do what it is for, and note the end."""
        try:
            super().run()
        finally:
            # Twice: what is thrown into the thread may strike the first time.
            try:
                self._over.open()
            finally:
                self._over.open()

    @property
    def lives(self) -> bool:
        """Whether it was started in this process and has not come to its end."""
        return self.ident is not None and not self._over.is_open and self._in_process == os.getpid()

    def wait_for_end(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; say whether it has come."""
        ends_at_s = inf if timeout_s is None else monotonic() + timeout_s
        if self.lives and not self._over.wait(timeout_s):
            return False
        while self in threading.enumerate():
            if monotonic() >= ends_at_s:
                return False
            sleep(_LAST_STEPS_S)
        return True
