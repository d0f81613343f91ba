"""One thread that is kept running, and a count of those that had to be made anew. Source: rules L6, L7."""

import threading
from collections import Counter
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final

from hermes_cache.threads.gates import OwnThread
from hermes_cache.threads.starting import started

_RETRY_S: Final = 1.0
"""The shortest time between two attempts to start a thread that ended or could not be started (L7)."""

_made_anew: Final[Counter[str]] = Counter()


def threads_made_anew() -> int:
    """Return how often kept threads of this process ended by mistake, or did not start, and were made anew."""
    return sum(list(_made_anew.values()))


class KeptThread:
    """One daemon thread, made anew if it ended although its owner did not end it.

    Args:
        run: What it does; returning before `end` counts as ended by mistake.
        name: The name of the thread.
    """

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self._run = run
        self._name = name
        self._is_wanted = False
        self._has_ended = False
        self._tried_s = -inf
        self._thread: OwnThread | None = None

    @property
    def name(self) -> str:
        """The thread's name."""
        return self._name

    @property
    def is_alive(self) -> bool:
        """Whether it runs now."""
        thread = self._thread
        return thread is not None and thread.lives

    @property
    def is_missing(self) -> bool:
        """Whether it should run and does not; for `health()`."""
        return self._is_wanted and not self.is_alive

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this one."""
        return self._thread is threading.current_thread()

    def ensure_running(self) -> bool:
        """Start it with the first call, and make it anew if it is missing; say whether it runs.

        It is tried at most once a second; the machine may refuse a thread. After `end` nothing is started.
        """
        thread = self._thread
        if self._has_ended or (thread is not None and thread.lives):
            return not self._has_ended
        self._is_wanted = True
        now_s = monotonic()
        # No call between the two: of several threads that come here at once, one sees the old moment.
        tried_s, self._tried_s = self._tried_s, now_s
        if now_s - tried_s < _RETRY_S:
            return False
        if thread is not None:
            _made_anew[self._name] += 1
        # Known before it runs: a call that an interrupt ends in the middle leaves no second thread.
        self._thread = thread = OwnThread(self._run, self._name)
        return started(thread)

    def end(self) -> None:
        """Note that its owner ends it; it is not made anew any more."""
        self._has_ended = True
        self._is_wanted = False

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for it to end; say whether it did. The thread itself does not wait."""
        thread = self._thread
        if thread is None or thread is threading.current_thread() or not thread.lives:
            return True
        return thread.wait_for_end(timeout_s)

    def forget(self) -> None:
        """Begin anew in a forked child, which has no such thread."""
        self._is_wanted = False
        self._has_ended = False
        self._tried_s = -inf
        self._thread = None
