"""Inquiries: questions to the journal on threads of their own, as the journal may hang and its callers may not.

Two that ask the same share one inquiry, and a journal that hangs keeps no more than so many threads.
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


class Inquiry(Generic[T]):
    """One question.

    Args:
        ask: Returns the answer; it may wait.

    Attributes:
        answer: What `ask` returned; None before, and if it raised or gets no thread.
    """

    def __init__(self, ask: Callable[[], T]) -> None:
        self.answer: T | None = None
        self._ask = ask
        self._wakers: deque[Callable[[], object]] = deque()
        self._over = Gate()

    def run(self) -> None:
        """Ask, on this thread."""
        try:
            self.answer = self._ask()
        finally:
            self.end()

    def end(self) -> None:
        """Let those who wait go on; what is not known by now is not known."""
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
        return self.answer

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
        return self.answer


class Inquiries:
    """The inquiries that are out.

    Args:
        most: How many threads ask at once; past it an inquiry has no answer.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._out: dict[Hashable, Inquiry[Any]] = {}

    def about(self, name: Hashable, ask: Callable[[], T]) -> Inquiry[T]:
        """Begin an inquiry, or join the one of that name that is out.

        Args:
            name: Of what is asked for.
            ask: Returns the answer; it may wait.
        """
        made = Inquiry(ask)
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

    def _begin(self, name: Hashable, inquiry: Inquiry[Any]) -> None:
        def run() -> None:
            try:
                inquiry.run()
            finally:
                self._out.pop(name, None)

        is_begun = False
        try:
            is_begun = started(threading.Thread(target=run, name="hermes_cache.look", daemon=True))
        finally:
            if not is_begun:
                self._out.pop(name, None)
                inquiry.end()
