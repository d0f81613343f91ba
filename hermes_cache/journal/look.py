"""A look into the journal, on a thread of its own: the journal may hang, its caller may not.

Source: rules J8, R6.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from hermes_cache.threads import Gate

T = TypeVar("T")


class Look(Generic[T]):
    """Looks once, as soon as it is made.

    Args:
        look: Returns what it finds; it may wait.
        wake: Called on the look's thread when it is over.

    Attributes:
        found: What `look` returned; None before, and if it raised.
    """

    def __init__(self, look: Callable[[], T], wake: Callable[[], None] | None = None) -> None:
        self.found: T | None = None
        self._look = look
        self._wake = wake
        self._over = Gate()
        try:
            threading.Thread(target=self._run, name="hermes_cache.look", daemon=True).start()
        except RuntimeError:
            # The machine refuses a thread: nothing more is known.
            self._end()

    def wait(self, timeout_s: float) -> T | None:
        """Wait until it is over, at most so many seconds; return what is known then."""
        self._over.wait(timeout_s)
        return self.found

    def _run(self) -> None:
        try:
            self.found = self._look()
        finally:
            self._end()

    def _end(self) -> None:
        self._over.open()
        if self._wake is not None:
            self._wake()


async def looked(look: Callable[[], T], timeout_s: float) -> T | None:
    """Look, and wait for it at most so many seconds without blocking the event loop."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        # The loop may be closed by now: nobody waits there any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(over.set)

    started = Look(look, wake)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await over.wait()
    return started.found
