"""Checks of the journal: one at a time, on the thread of the read that wants one, or on a thread for those.

A check usually takes microseconds, so a read runs it on its own thread if nothing forbids that. Three things do.
Another thread runs one: that thread may hang, or wait for something that this one holds. The read has a bound of
its own: nobody can end a check that hangs. The thread is the main one, where signal handlers strike. Then a thread
for checks runs one, and the read waits as long as it may. Source: rules J3, L6, R6.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from threading import RLock, get_ident

from hermes_cache.errors import NoThreadError
from hermes_cache.journal.follower import Follower
from hermes_cache.threads.calls import Call
from hermes_cache.threads.interrupts import on_main_thread
from hermes_cache.threads.pool import Threads


class Checks:
    """Runs the checks.

    Args:
        follower: Does them.

    Attributes:
        has_threads: Whether there may be a thread for checks; a simulation has none.
    """

    def __init__(self, follower: Follower) -> None:
        self.has_threads = True
        self._follower = follower
        self._threads = Threads("hermes_cache.journal_check", 1)
        self._turn = RLock()
        self._checking: int | None = None
        self._next: Call[None] | None = None
        self._is_stopped = False

    def run(self, since_s: float, until_s: float, patience_s: float, *, here: bool) -> None:
        """Have what the journal holds applied, or go on without once patience ends.

        Inside a check already, a callable that reads gets what is applied so far.

        Args:
            since_s: A check that began then or later will do.
            until_s: When to leave the rest to the next check, if this thread runs it.
            patience_s: How long to wait for another thread.
            here: Whether this thread may run it.
        """
        if self._is_stopped or self._checking == get_ident():
            return
        if (here and not on_main_thread()) or not self.has_threads:
            with self._my_turn(wait=False) as is_mine:
                if is_mine:
                    self._follower.check(since_s, until_s)
                    return
        try:
            call = self._shared()
        except NoThreadError:
            return
        call.wait(patience_s)

    def run_in_turn(self, since_s: float) -> None:
        """Check, once no other thread does; for threads that may wait for as long as it takes."""
        with self._my_turn(wait=True):
            if not self._is_stopped:
                self._follower.check(since_s)

    def stop(self, timeout_s: float) -> bool:
        """Let waiting readers go, and end the thread; say whether it ended in time."""
        self._is_stopped = True
        return self._threads.stop(timeout_s)

    def _shared(self) -> Call[None]:
        """Return a check of another thread that is not begun yet; those who come before it begins share it."""
        call = self._next
        if call is None or call.is_begun or call.is_over:
            call = Call(lambda: self.run_in_turn(inf))
            self._threads.run(call)
            # Known only now: an interrupt may keep it from being brought.
            self._next = call
        return call

    @contextmanager
    def _my_turn(self, *, wait: bool) -> Iterator[bool]:
        """Keep the other threads from checking; return whether they are kept."""
        try:
            is_mine = self._turn.acquire(blocking=wait)
            if is_mine:
                self._checking = get_ident()
            yield is_mine
        finally:
            # Whatever was thrown into this thread; only the thread that has the lock can release it.
            if self._checking == get_ident():
                self._checking = None
            with suppress(RuntimeError):
                self._turn.release()
