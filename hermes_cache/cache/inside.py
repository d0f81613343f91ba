"""Inside: whether a thread runs foreign code for a cache, so that a read from there waits for nobody.

A builder, a stamp or another callable that reads its own cache may be what that read would wait for. In a child
that it forks it is not: the child's cache begins anew. Source: rules L2, L5.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class _Depth(threading.local):
    depth = 0


class Inside:
    """Knows which threads run foreign code of one cache."""

    def __init__(self) -> None:
        self._here = _Depth()

    def is_here(self) -> bool:
        """Return whether the calling thread does."""
        return self._here.depth > 0

    def call(self, function: Callable[[], T]) -> T:
        """Call foreign code."""
        here = self._here
        # Plain steps, since signal handlers may raise after any call: what was added is taken away.
        here.depth += 1
        try:
            return function()
        finally:
            here.depth -= 1
