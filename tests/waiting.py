"""How tests wait for other threads and processes: for a condition, with a bound, never for a span of time."""

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from hermes_cache import BuildTimeoutError, Policy, SessionListCache
from hermes_cache.threads import aside

T = TypeVar("T")
P = ParamSpec("P")

WAIT_S: Final = 30.0
"""What takes longer than this hangs, even on a busy machine."""

PROCESS_S: Final = 120.0
"""The same for what a new process must do first: it imports for seconds if many others do."""

LASTING: Final = Policy(ttl=600.0)
"""What is held does not age, however long a busy machine holds a test up."""

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


def at_its_best(*, under_s: float) -> Callable[[Callable[P, float]], Callable[P, None]]:
    """Make a test of what returns how long something took: it is done again until it took less than a bound.

    A busy machine makes it late at times, and a fault makes it late each time.

    Args:
        under_s: The bound, on a machine that does nothing else.
    """

    def decorated(act: Callable[P, float]) -> Callable[P, None]:
        @wraps(act)
        def repeated(*arguments: P.args, **named: P.kwargs) -> None:
            late = f"it never took less than {under_s:g} s"
            until(lambda: act(*arguments, **named) / _slowness() < under_s, late, within_s=PROCESS_S)

        return repeated

    return decorated


def _slowness() -> float:
    """Return how many times its CPU time a new process takes now: 1 on a machine that does nothing else."""
    began_s, cpu_s = time.monotonic(), _cpu_of_children_s()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return max(1.0, (time.monotonic() - began_s) / (_cpu_of_children_s() - cpu_s))


def _cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def await_readers(cache: SessionListCache, count: int) -> None:
    """Wait until so many readers wait for a build."""
    until(lambda: cache.stats().waiting == count)


def threads_left() -> list[str]:
    """Return the names of the threads of caches that a stop has left.

    The thread that makes calls for the main thread is sent home by a stop, which waits a moment for it. On a busy
    machine it takes longer; but not so long as one that nobody sent home.
    """
    ends_at_s = time.monotonic() + aside._IDLE_S / 2
    while set(left := _names_of_threads()) == {"hermes_cache.aside"} and time.monotonic() < ends_at_s:
        threading.Event().wait(_PAUSE_S)
    return left


def _names_of_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("hermes_cache")]


def answered(read: Callable[[], T]) -> T:
    """Read until there is an answer, where a busy machine may exceed the `build_timeout` of the policy."""
    answers: list[T] = []

    def is_answered() -> bool:
        with suppress(BuildTimeoutError):
            answers.append(read())
        return bool(answers)

    until(is_answered, "every build took too long", within_s=PROCESS_S)
    return answers[0]
