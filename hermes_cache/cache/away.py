"""Away: what an event loop must not do is done on threads of the cache's own, and awaited.

The loop hands a call over in one step and waits for no thread; the result comes by `call_soon_threadsafe`. Its
default executor is never used: a gateway may keep that busy. Source: rules R6, L6, W4.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from math import inf
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from hermes_cache.cache.lines import Call, Lines
from hermes_cache.errors import CacheStoppedError
from hermes_cache.threads import KeptThread

T = TypeVar("T")

_LOOK_S: Final = 0.5
"""A loop may be out of memory at the moment when it is to be woken: whoever waits looks by himself."""

_THREADS: Final = 32
"""Half of them wait at once for a journal that is slow; started when needed."""


class Away:
    """Runs calls for event loops; its threads start with the first."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Call[Any] | None] = SimpleQueue()
        self._lines = Lines("hermes_cache.away", _THREADS)
        self._thread = KeptThread(self._run, "hermes_cache.away")
        self._starts = deque([True])
        self._is_stopped = False

    async def run(self, act: Callable[[], T], timeout_s: float = inf) -> T:
        """Do something that may wait.

        Raises:
            CacheStoppedError: The cache was stopped meanwhile.
            TimeoutError: It took longer.
        """
        call = Call(act)
        self._put(Call(lambda: self._begin(call)))
        return await result_of(call, timeout_s)

    async def ask(self, act: Callable[[], Call[T]], timeout_s: float) -> T:
        """Begin a call, which must be quick, and wait for its result; raises as `run`."""
        begun = Call(act)
        self._put(begun)
        return await result_of(await result_of(begun, timeout_s), timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """Let go who waits, and end the threads; return whether all ended in time."""
        self._is_stopped = True
        self._thread.end()
        self._calls.put(None)
        self._refuse_all()
        return all([self._lines.stop(timeout_s), self._thread.join(timeout_s)])

    def _begin(self, call: Call[T]) -> None:
        try:
            # A name of its own: it waits for no other.
            self._lines.add(object(), call)
        except Exception as refused:  # noqa: BLE001 - whoever awaits it is told, whatever it is
            call.fail(refused)

    def _put(self, call: Call[T]) -> None:
        self._calls.put(call)
        if self._is_stopped:
            self._refuse_all()
        elif self._starts:
            with contextlib.suppress(IndexError):
                self._starts.pop()
                self._thread.start()
        else:
            self._thread.see_to()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            del call

    def _refuse_all(self) -> None:
        # The thread's own end is put again: another may have taken it out.
        while not self._calls.empty():
            call = self._calls.get()
            if call is not None:
                call.fail(CacheStoppedError())
        self._calls.put(None)


async def result_of(call: Call[T], timeout_s: float) -> T:
    """Wait on an event loop for the result of a call; a call that nobody waits for is not begun.

    Raises:
        TimeoutError: It took longer.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        # The loop may be closed by now: nobody waits there any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, over)

    call.tell(wake)
    ends_at_s = loop.time() + max(0.0, timeout_s)
    while not call.is_over:
        # Not `wait_for`, which up to Python 3.11 may swallow that this call is cancelled.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(ends_at_s - loop.time(), _LOOK_S)):
                await asyncio.shield(over)
        if not call.is_over and loop.time() >= ends_at_s:
            call.is_unwanted = True
            raise TimeoutError
    return call.result()


def finish(over: asyncio.Future[None]) -> None:
    """Wake who awaits a future, once."""
    if not over.done():
        over.set_result(None)
