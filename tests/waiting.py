"""How tests wait for other threads and processes: for a condition, with a bound, never for a span of time."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from hermes_cache import BuildTimeoutError, SessionListCache

T = TypeVar("T")

WAIT_S: Final = 30.0
"""What takes longer than this hangs, even on a busy machine."""

_PAUSE_S: Final = 0.001


def until(
    holds: Callable[[], object], what: str = "the condition never held", *, within_s: float = WAIT_S
) -> None:
    """Wait until a condition holds.

    Args:
        holds: The condition; it is asked again and again.
        what: The failure's message.
        within_s: The bound.

    Raises:
        AssertionError: The condition did not hold within the bound.
    """
    pause, ends_at_s = threading.Event(), time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends_at_s, what
        pause.wait(_PAUSE_S)


def await_readers(cache: SessionListCache, count: int) -> None:
    """Wait until so many readers wait for a build."""
    until(lambda: cache.stats().waiting == count)


def answered(read: Callable[[], T]) -> T:
    """Read until there is an answer, where a busy machine may exceed the `build_timeout` of the policy."""
    for _ in range(50):
        with suppress(BuildTimeoutError):
            return read()
    raise AssertionError("every build took too long")
