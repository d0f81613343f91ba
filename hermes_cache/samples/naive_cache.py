"""The classic cache of a list, for demos: a lock, a time to live, and an event that forgets.

It has the three faults that this package is about. Whoever asks while it builds waits at the lock. A build that
an event overtook is stored all the same, and served until it is too old. What nobody published is not seen before
that.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

TTL_S: Final = 5.0
"""As gateways had it: the cadence of a tab that polls."""

_BUILD_S: Final = 0.3
"""A list of thousands of sessions takes as long."""

_MOST_EVENTS: Final = 64


@contextmanager
def as_in_a_large_home(_key: object) -> Iterator[None]:
    """Make a build of a small home take as long as in a home of thousands of sessions.

    It has read the home before it waits, so that what changes meanwhile is not in the list.
    """
    yield
    time.sleep(_BUILD_S)


@dataclass(frozen=True, slots=True)
class NaiveAnswer:
    """What a poll got.

    Attributes:
        payload: The list.
        age_s: How long ago it was built.
        waited_s: How long the poll took.
        behind: Events that came after its build began and before the poll: none of them is in it. Each with the
            seconds since it came.
    """

    payload: Mapping[str, object]
    age_s: float
    waited_s: float
    behind: Sequence[tuple[Mapping[str, object], float]]


class NaiveCache:
    """A cache of one list under one lock.

    Args:
        build: Returns the list.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self, build: Callable[[], Mapping[str, object]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._build = build
        self._clock = clock
        self._lock = threading.Lock()
        self._held: tuple[Mapping[str, object], float, float] | None = None
        self._events: deque[tuple[Mapping[str, object], float]] = deque(maxlen=_MOST_EVENTS)
        self.polls = 0
        self.outdated = 0

    def forget(self, event: Mapping[str, object]) -> None:
        """Forget what is held, because of an event; a build that runs knows nothing of it."""
        self._events.append((event, self._clock()))
        self._held = None

    def get(self) -> NaiveAnswer:
        """Return the list, and what it is behind."""
        asked_s = self._clock()
        with self._lock:
            payload, began_s, ended_s = self._fresh() or self._built()
        behind = [(event, at_s) for event, at_s in list(self._events) if began_s < at_s < asked_s]
        self.polls += 1
        self.outdated += bool(behind)
        now_s = self._clock()
        return NaiveAnswer(
            payload, now_s - ended_s, now_s - asked_s, [(event, now_s - at_s) for event, at_s in behind]
        )

    def _fresh(self) -> tuple[Mapping[str, object], float, float] | None:
        held = self._held
        return held if held is not None and self._clock() - held[2] < TTL_S else None

    def _built(self) -> tuple[Mapping[str, object], float, float]:
        began_s = self._clock()
        self._held = built = (self._build(), began_s, self._clock())
        return built
