"""A pool of threads that run calls in the order in which they come. Source: rules L1, L6, L7."""

import threading
from collections import deque
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, cast

from hermes_cache.errors import CacheStoppedError, CallLostError, NoThreadError
from hermes_cache.threads.calls import Call
from hermes_cache.threads.gates import OwnThread
from hermes_cache.threads.starting import started


class Threads:
    """Daemon threads that run calls in the order in which they come.

    A thread starts if a call comes and none is free. A thread that has run a call leaves a token, unless more
    calls wait than there may be threads; the caller of `run` takes a token, or starts a thread. So a call that
    hangs keeps its own thread and no other.

    Args:
        name: The name of the threads.
        most: How many there are at most; past it, calls wait.
        idle_s: How long a thread waits for a call before it ends; None for ever, without wake-ups. With a
            bound, the caller waits for its call, and sees that there is a thread (`start_one`).
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

    def end_free(self) -> list[OwnThread]:
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
        threads = self.end_free()
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
            # What somebody throws into the thread costs the call in hand at most; those who wait for it get an
            # error.
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
        # Looked at again: whatever ends the round after the first look finds the token.
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
            # One for each: a thread may be on its way to it, or wait for its own end.
            self._calls.put(None)
            if call is not None:
                call.fail(error)


def _took_one(tokens: deque[bool]) -> bool:
    try:
        return tokens.pop()
    except IndexError:
        return False
