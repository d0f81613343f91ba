"""Event loops: what they must not do is done on threads of the cache's own, and awaited.

A loop hands a call over in one step and waits for no thread, not even for one to start; the result comes by
`call_soon_threadsafe`. Its default executor is never used: a gateway may keep that busy.
Source: rules R6, L6, W4.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from time import monotonic
from typing import Final, TypeVar

from hermes_cache.threads.aside import aside
from hermes_cache.threads.calls import Call
from hermes_cache.threads.interrupts import on_main_thread
from hermes_cache.threads.pool import Threads

T = TypeVar("T")

_LOOK_S: Final = 0.5
"""A loop may have no memory when it is woken; so the coroutine that waits also looks now and then."""

_THREADS: Final = 16
"""So many calls wait at once for a journal that is slow."""


class Waker:
    """Wakes a coroutine that waits on the event loop that runs now."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Let the coroutine that waits go on; from any thread, and more than once."""
        # The loop may be closed by now: nobody waits there any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._woken.set)

    async def wait(self, timeout_s: float) -> None:
        """Wait to be woken, at most so many seconds; what woke it is forgotten then."""
        # Not `wait_for`, which up to Python 3.11 may swallow that this task is cancelled.
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        self._woken.clear()


async def over_on_loop(call: Call[object], timeout_s: float) -> bool:
    """Wait on an event loop until a call is over, at most so many seconds; say whether it is."""
    waker, ends_at_s = Waker(), monotonic() + max(0.0, timeout_s)
    call.when_over(waker.wake)
    try:
        while not call.is_over and (left_s := ends_at_s - monotonic()) > 0:
            await waker.wait(min(left_s, _LOOK_S))
    finally:
        call.leave(waker.wake)
    return call.is_over


async def result_on_loop(call: Call[T], timeout_s: float) -> T:
    """Wait on an event loop for the result of a call; a call that nobody waits for any more is not begun.

    Raises:
        TimeoutError: It took longer.
    """
    if not await over_on_loop(call, timeout_s):
        call.is_unwanted = True
        raise TimeoutError
    return call.result()


async def aside_on_loop(act: Callable[[], T]) -> T:
    """Do on an event loop what `aside.do` does elsewhere, without a wait that blocks the loop.

    A coroutine that is cancelled waits no more; what it asked for is done all the same.
    """
    if not on_main_thread() or sys.is_finalizing():
        return act()
    return await elsewhere(act)


async def elsewhere(act: Callable[[], T]) -> T:
    """Do something that may wait on another thread of the process; as `aside_on_loop`, whatever thread this is."""
    call = aside.begin(act)
    while not await over_on_loop(call, _LOOK_S):
        aside.start_for(call)
    # The machine refuses a thread, so this one does it after all.
    return call.result() if call.is_begun else act()


class Away:
    """Runs calls for event loops, on threads that start when they are needed.

    One thread has the others run what may wait, as the start of a thread is a wait, too.
    """

    def __init__(self) -> None:
        self._starter = Threads("hermes_cache.away", 1)
        self._threads = Threads("hermes_cache.away", _THREADS)

    async def run(self, act: Callable[[], T], timeout_s: float = inf) -> T:
        """Do something that may wait.

        Raises:
            CacheStoppedError: The cache was stopped meanwhile.
            TimeoutError: It took longer.
        """
        call = Call(act)
        begun = Call(partial(self._threads.run, call))
        begun.when_over(lambda: call.fail(begun.error) if begun.error else None)
        self._starter.run(begun)
        return await result_on_loop(call, timeout_s)

    async def ask(self, act: Callable[[], Call[T]], timeout_s: float) -> T:
        """Begin a call, which must be quick, and wait for its result; raises as `run`."""
        begun = Call(act)
        self._starter.run(begun)
        return await result_on_loop(await result_on_loop(begun, timeout_s), timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """Let waiting calls go, and end the threads; return whether all ended in time. It may be called twice."""
        ended = [threads.stop(timeout_s) for threads in (self._starter, self._threads)]
        return all(ended)
