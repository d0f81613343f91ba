"""Calls for the main thread on other threads.

Signal handlers run in the main thread, at any bytecode, and may raise anything there. So work that an interrupt
must not cut in two is done by another thread: the main thread hands the call over in one step and waits. An
interrupt ends the wait, never the call. Source: rule L6.
"""

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

from hermes_cache.errors import CallBlockedError, NoThreadError
from hermes_cache.threads.calls import Call
from hermes_cache.threads.forks import after_fork_in_child
from hermes_cache.threads.interrupts import on_main_thread
from hermes_cache.threads.pool import Threads
from hermes_cache.threads.starting import refuse_late_patch

T = TypeVar("T")

PATIENCE_S: Final = 5.0
"""How long the main thread waits for a call. A longer one waits for something that the main thread holds."""

_LOOK_S: Final = 0.5
_FIRST_LOOK_S: Final = 0.05
"""A wait is cut in parts, to see whether a thread lives."""

_MOST_THREADS: Final = 8

_IDLE_S: Final = 10.0
"""A thread ends after so long without work, because nothing closes the last bus of a process."""

_END_WAIT_S: Final = 0.1
"""How long to wait for a thread to end: a free one needs less, a busy one may wait for the caller."""


class Aside:
    """Calls for the main thread, on daemon threads of its own that start when they are needed.

    Calls run one after the other. Only the call of a signal handler, which strikes while another call is waited
    for, may run beside that one.
    """

    def __init__(self) -> None:
        self._threads = Threads("hermes_cache.aside", _MOST_THREADS, _IDLE_S)
        self._last: Call[Any] | None = None
        after_fork_in_child(self._threads.start_anew)

    def do(self, act: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
        """Do something that no interrupt may divide, and return what it returns, or raise what it raises.

        On any thread but the main one, and if no thread can be had, it is done on this thread.

        Args:
            act: What to do.
            patience_s: How long to wait for it; infinity for what takes its time and needs nothing of this thread.

        Raises:
            CallBlockedError: It was not done in time: it needs what an interrupted call of the main thread holds.
                It may still be done later.
            UnsupportedError: The threads of the standard library were replaced too late.
        """
        if not on_main_thread() or sys.is_finalizing():
            return act()
        return self.on_another_thread(act, patience_s)

    def on_another_thread(self, act: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
        """Do something on a thread with a whole stack, whatever thread this is; else as `do`."""
        refuse_late_patch()
        call = Call(act)
        if on_main_thread():
            before, self._last = self._last, call
            if before is not None and not before.is_over:
                # An interrupt ended the wait for it: it comes first, unless it waits for what this thread holds.
                before.wait(_FIRST_LOOK_S)
        try:
            self._threads.run(call)
        except NoThreadError:
            return act()
        self._wait(call, patience_s)
        if self._last is call:
            # What it was done for must not outlive its last holder.
            self._last = None
        return call.result()

    def begin(self, act: Callable[[], T]) -> Call[T]:
        """Have something done on another thread, and return at once.

        Whoever waits for it looks now and then, and calls `start_for`. If no thread can be had, it is done on this
        thread.
        """
        call = Call(act)
        try:
            self._threads.run(call)
        except NoThreadError:
            call.run()
        return call

    def end_threads(self, wait_s: float = _END_WAIT_S) -> None:
        """End all threads that are free, and the others once they are; the next call starts another.

        Args:
            wait_s: How long to wait for each to end.
        """
        for thread in self._threads.end_free():
            thread.wait_for_end(wait_s)

    def start_for(self, call: Call[T]) -> None:
        """Start another thread for a call that is not begun: the others are busy, or ended."""
        if call.is_begun:
            return
        try:
            self._threads.start_one()
        except NoThreadError:
            if not self._threads.is_alive:
                call.run()

    def _wait(self, call: Call[T], patience_s: float) -> None:
        look_s, left_s = min(_FIRST_LOOK_S, patience_s), patience_s
        while not call.wait(look_s):
            if left_s <= 0:
                raise CallBlockedError(patience_s)
            self.start_for(call)
            look_s = min(_LOOK_S, left_s)
            left_s -= look_s


aside: Final = Aside()
"""Of this process."""
