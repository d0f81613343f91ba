"""History: the last events that touched each reach, and the last builds of each key, for `explain` alone.

Nothing is decided by it. It is bounded: profiles and keys come from outside. Source: rule J7.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.core.versions import ALL_PROFILES, Versions

_MOST_EVENTS: Final = 16
"""Remembered of each reach."""

_MOST_BUILDS: Final = 8
"""Remembered of each key."""

_MOST_NAMES: Final = 256
"""Profiles and keys remembered; past them the one that was quiet the longest goes. A few MB at the worst."""

PastOutcome: TypeAlias = Literal["stored", "discarded", "failed", "abandoned"]


class Touch(NamedTuple):
    """An event, and what it touched.

    Attributes:
        position: Its position in this process's order of applied events.
        event: Which.
        profile: The canonical profile whose keys it touched; None for all.
    """

    position: int
    event: AppliedEvent
    profile: str | None

    @classmethod
    def of(cls, versions: Versions, position: int, event: AppliedEvent, profile: str | None) -> "Touch":
        """Tell of an event by the versions that it made: past too many profiles, one's event touches all (V2)."""
        return cls(position, event, None if versions.everything == position else profile)


@dataclass(frozen=True, slots=True)
class Touches:
    """The last events of one kind, by what they touched; each list oldest first.

    Attributes:
        latest: Of any reach: what the keys that show all profiles were touched by.
        of_all: Those that touched everything.
        of_profiles: Those that touched one profile, by its name.
    """

    latest: tuple[Touch, ...] = ()
    of_all: tuple[Touch, ...] = ()
    of_profiles: Mapping[str, tuple[Touch, ...]] = field(default_factory=dict)

    def after(self, touch: Touch) -> "Touches":
        """Return what is remembered after one more."""
        latest = _with_last(self.latest, touch)
        if touch.profile is None:
            return Touches(latest, _with_last(self.of_all, touch), self.of_profiles)
        of_profiles = dict(self.of_profiles)
        of_profiles[touch.profile] = _with_last(of_profiles.pop(touch.profile, ()), touch)
        if len(of_profiles) > _MOST_NAMES:
            del of_profiles[next(iter(of_profiles))]
        return Touches(latest, self.of_all, of_profiles)

    def of(self, reach: str) -> tuple[Touch, ...]:
        """Return the last that touched a reach, newest first."""
        if reach == ALL_PROFILES:
            return self.latest[::-1]
        both = (*self.of_all, *self.of_profiles.get(reach, ()))
        return tuple(sorted(both, key=lambda touch: touch.position, reverse=True)[:_MOST_EVENTS])


@dataclass(frozen=True, slots=True)
class PastBuild:
    """A build that is over. Times in monotonic seconds.

    Attributes:
        id: As in `Build`.
        reason: Why it was asked for.
        began_s: When it left the queue; None where it never did.
        took_s: How long it ran.
        outcome: What became of it.
        why: Why it was not stored, in words; None where it was.
        overtaken_by: The first event that touched its key while it ran.
    """

    id: int
    reason: str
    began_s: float | None
    took_s: float
    outcome: PastOutcome
    why: str | None
    overtaken_by: EventId | None


PastBuilds: TypeAlias = Mapping[Hashable, tuple[PastBuild, ...]]
"""The last builds of each key, oldest first."""


def with_build(builds: PastBuilds, key: Hashable, build: PastBuild) -> PastBuilds:
    """Return what is remembered after one more build of a key."""
    after = dict(builds)
    after[key] = (*after.pop(key, ())[1 - _MOST_BUILDS :], build)
    if len(after) > _MOST_NAMES:
        del after[next(iter(after))]
    return after


def _with_last(touches: tuple[Touch, ...], touch: Touch) -> tuple[Touch, ...]:
    return (*touches[1 - _MOST_EVENTS :], touch)
