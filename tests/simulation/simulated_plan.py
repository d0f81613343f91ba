"""What a simulated run is like: its time line, and what its seed draws for it."""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from random import Random

from hermes_cache.core.policy import Policy
from hermes_cache.core.state import Target
from hermes_cache.sessions.keys import SessionListKey, reach_of
from tests.simulation.simulated_world import PROFILES


class TimeLine:
    """What is going to happen, in order; what falls on one moment is ordered by the seed."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._heap: list[tuple[float, float, int, Callable[[], None]]] = []
        self._count = 0

    def add(self, at_s: float, act: Callable[[], None]) -> None:
        """Let something happen then."""
        self._count += 1
        heappush(self._heap, (at_s, self._random.random(), self._count, act))

    def next_s(self) -> float:
        """Return the moment of the first act; infinity where none is left."""
        return self._heap[0][0] if self._heap else inf

    def pop(self) -> Callable[[], None]:
        """Take the first act."""
        return heappop(self._heap)[3]


@dataclass(frozen=True, slots=True)
class Faults:
    """How often things go wrong in a run, as shares, and how late timers are.

    Attributes:
        fails: Builders that raise.
        hangs: Builders that come back after `build_timeout`.
        unreadable: Checks that find a locked source.
        checks_fail: Checks that raise, or get no thread.
        effects_fail: What is asked of the world, and fails once.
        checks_hang: Checks that come back late, or never.
        repeats: Messages that come twice.
        leaves: Readers that give up.
        late_s: The most that a timer is late.
        stops: Whether the cache is stopped before the run ends.
    """

    fails: float = 0.0
    hangs: float = 0.0
    unreadable: float = 0.0
    checks_fail: float = 0.0
    effects_fail: float = 0.0
    checks_hang: float = 0.0
    repeats: float = 0.0
    leaves: float = 0.0
    late_s: float = 0.0
    stops: bool = False


def draw_faults(random: Random) -> Faults:
    """Draw a random subset of the faults, each with its own rate."""
    pick = random.choice
    return Faults(
        fails=pick((0.0, 0.02, 0.02, 0.4)),
        hangs=pick((0.0, 0.02, 0.02, 0.3)),
        unreadable=pick((0.0, 0.1, 0.5)),
        checks_fail=pick((0.0, 0.0, 0.1, 0.8)),
        effects_fail=pick((0.0, 0.0, 0.05, 0.3)),
        checks_hang=pick((0.0, 0.02, 0.02, 0.2)),
        repeats=pick((0.0, 0.05)),
        leaves=pick((0.0, 0.1)),
        late_s=pick((0.0, 0.0, 0.3)),
        stops=pick((False, False, True)),
    )


def draw_policy(random: Random) -> Policy:
    """Draw bounds, often so tight that they are reached."""
    pick = random.choice
    build_timeout = pick((2.0, 5.0))
    return Policy(
        ttl=pick((0.0, 0.5, 2.5)),
        owner_wait=pick((0.0, 1.0, build_timeout)),
        follower_wait=pick((0.1, 0.1, build_timeout)),
        pool_size=pick((1, 2, 4)),
        max_queue=pick((1, 3, 256)),
        max_waiters=pick((2, 10_000, 10_000)),
        max_entries=pick((1, 3, 64, 64)),
        max_bytes=pick((300, 600, 2_000, 2**28, 2**28)),
        max_abandoned=pick((1, 8)),
        max_build_duty=pick((0.2, 0.5, 1.0)),
        duty_window=pick((1.0, 10.0)),
        retry_delay=pick((0.1, 1.0)),
        build_timeout=build_timeout,
        stamp_interval=pick((0.0, 0.05, 0.05)),
        stream_lease=pick((3.0, 900.0)),
    )


def targets(*, pages: int, watched: bool) -> list[Target]:
    """Return the views that are read.

    Args:
        pages: How many pages there are of each view: two of a profile, which share a scope, and one of all.
        watched: Whether there are sources.
    """
    keys: list[SessionListKey] = []
    for page in range(pages):
        both = [(profile, flag) for profile in PROFILES for flag in (False, True)]
        keys += [SessionListKey(profile, show_cron=flag, archived_offset=page) for profile, flag in both]
        keys.append(SessionListKey(all_profiles=True, archived_offset=page))
    return [Target(key, (reach_of(key),), reach_of(key), watched) for key in keys]
