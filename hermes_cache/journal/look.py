"""Looks into the journal, on threads of their own: the journal may hang, its callers may not.

What is being looked for is not looked for twice, and a journal that hangs keeps no more than so many threads.
Source: rules J8, R6.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar

from hermes_cache.threads import Gate, started

T = TypeVar("T")

_MOST: Final = 32


class Look(Generic[T]):
    """Looks once.

    Args:
        look: Returns what it finds; it may wait.

    Attributes:
        found: What `look` returned; None before, and if it raised or gets no thread.
    """

    def __init__(self, look: Callable[[], T]) -> None:
        self.found: T | None = None
        self._look = look
        self._wakers: deque[Callable[[], object]] = deque()
        self._over = Gate()

    def run(self) -> None:
        """Look, on this thread."""
        try:
            self.found = self._look()
        finally:
            self.end()

    def end(self) -> None:
        """Let go who waits; what is not known by now is not known."""
        self._over.open()
        while self._wakers:
            # What could not wake somebody, for lack of memory, must not keep the others.
            with contextlib.suppress(Exception):
                self._wakers.popleft()()

    def tell(self, wake: Callable[[], object]) -> None:
        """Have something called once it is over, at once if it is; maybe twice."""
        self._wakers.append(wake)
        if self._over.is_open:
            wake()

    def wait(self, timeout_s: float) -> T | None:
        """Wait until it is over, at most so many seconds; return what is known then."""
        self._over.wait(timeout_s)
        return self.found

    async def wait_on_loop(self, timeout_s: float) -> T | None:
        """Do what `wait` does without blocking the event loop."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            # The loop may be closed by now: nobody waits there any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(over.set)

        self.tell(wake)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await over.wait()
        finally:
            with contextlib.suppress(ValueError):
                self._wakers.remove(wake)
        return self.found


class Looks:
    """The looks that are out.

    Args:
        most: How many threads look at once; past it nothing is found.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._out: dict[Hashable, Look[Any]] = {}

    def at(self, name: Hashable, look: Callable[[], T]) -> Look[T]:
        """Begin a look, or join the one of that name that is out.

        Args:
            name: Of what is looked for.
            look: Returns what it finds; it may wait.
        """
        made = Look(look)
        out = self._out.get(name)
        if out is not None:
            return out
        if len(self._out) >= self._most:
            made.end()
            return made
        out = self._out.setdefault(name, made)
        if out is made:
            self._begin(name, made)
        return out

    def _begin(self, name: Hashable, look: Look[Any]) -> None:
        def run() -> None:
            try:
                look.run()
            finally:
                self._out.pop(name, None)

        is_begun = False
        try:
            is_begun = started(threading.Thread(target=run, name="hermes_cache.look", daemon=True))
        finally:
            if not is_begun:
                self._out.pop(name, None)
                look.end()
