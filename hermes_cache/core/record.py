"""The record: what happened lately to each list, as the transitions tell it; `explain` is made from it.

It is a part of the state: a transition puts what it carries into it, and nothing else does. Nothing is decided by
it. It is bounded, since profiles and keys come from outside: each tail by its length, and the tails by their
number. So one key's tail is found at once, and a busy list pushes out nothing of a quiet one.

What readers got is counted beside it, as a hit is no event and makes no new state. Source: rule J7.
"""

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.core.versions import ALL_PROFILES

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

BUILD_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Builds are counted by these durations: a small list takes milliseconds, `Policy.build_timeout` is 60 s."""

_MOST_EVENTS: Final = 16
"""Kept of each profile, and of all together."""

_MOST_BUILDS: Final = 8
"""Kept of each key."""

_MOST_TAILS: Final = 256
"""Profiles and keys that are kept; past them the one that was quiet the longest goes. A few MB at the worst."""

_MOST_COUNTED: Final = 1_024
"""Keys whose readers are counted; past them the one that was counted first is forgotten."""

PastOutcome: TypeAlias = Literal["stored", "discarded", "failed", "abandoned"]


class Touch(NamedTuple):
    """An event, and what it touched.

    Attributes:
        position: Its position in this process's order of applied events.
        event: The event.
        profile: The canonical profile whose keys it touched; None for all.
    """

    position: int
    event: AppliedEvent
    profile: str | None


@dataclass(frozen=True, slots=True)
class Touches:
    """The last events of one kind, by what they touched; each tail oldest first.

    Attributes:
        latest: The last of any.
        of_all: The last that touched everything.
        of_profiles: The last that touched one profile, by its name.
    """

    latest: tuple[Touch, ...] = ()
    of_all: tuple[Touch, ...] = ()
    of_profiles: Mapping[str, tuple[Touch, ...]] = field(default_factory=dict)

    def after(self, touch: Touch) -> "Touches":
        """Return what is kept after one more."""
        latest = (*self.latest[1 - _MOST_EVENTS :], touch)
        if touch.profile is None:
            return replace(self, latest=latest, of_all=(*self.of_all[1 - _MOST_EVENTS :], touch))
        of_profiles = _with_last(self.of_profiles, touch.profile, touch, _MOST_EVENTS)
        return replace(self, latest=latest, of_profiles=of_profiles)

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
        reason: As in `Build`.
        began_s: When it left the queue; None if it never did.
        took_s: How long it ran.
        outcome: What became of it.
        why: Why it was not stored, in words; None if it was.
        overtaken_by: The first event that touched its key while it ran.
        waited: How many readers waited for it when it ended.
        sent_on: How many of these it could not answer, because they came after what overtook it.
    """

    id: int
    reason: str
    began_s: float | None
    took_s: float
    outcome: PastOutcome
    why: str | None
    overtaken_by: EventId | None
    waited: int = 0
    sent_on: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """What happened lately.

    Attributes:
        changes: The events that outdated something.
        moves: The starts and stops of streams that moved something.
        builds: The builds of each key that are over, oldest first.
    """

    changes: Touches = field(default_factory=Touches)
    moves: Touches = field(default_factory=Touches)
    builds: Mapping[Hashable, tuple[PastBuild, ...]] = field(default_factory=dict)

    def after_change(self, touch: Touch) -> "Record":
        """Return the record after an event that outdated something."""
        return replace(self, changes=self.changes.after(touch))

    def after_move(self, touch: Touch) -> "Record":
        """Return the record after a stream moved something."""
        return replace(self, moves=self.moves.after(touch))

    def after_build(self, key: Hashable, build: PastBuild) -> "Record":
        """Return the record after a build of a key ended."""
        return replace(self, builds=_with_last(self.builds, key, build, _MOST_BUILDS))

    def before_a_start(self) -> "Record":
        """Return what the next life of a cache knows of this one: its builds begin anew."""
        return replace(self, builds={})


@dataclass(frozen=True, slots=True)
class Durations:
    """How long builds took, as a histogram.

    Attributes:
        counts: How many took at most as long as each of `BUILD_BOUNDS_S`, and longer than the bound before it; at
            the end, how many took longer than the last bound.
        sum_s: The seconds of all of them.
    """

    counts: tuple[int, ...] = (0,) * (len(BUILD_BOUNDS_S) + 1)
    sum_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted since a cache was started.

    Attributes:
        outcomes: Reads by outcome, and by the name of the error for those that raised.
        reasons: Reads that were no hit, by outcome and then by reason.
        ended: Builds by what became of them.
        overtaken: Of these, builds that an event overtook.
        durations: How long the builds took that began.
        evicted: Entries by the bound for which they had to go.
    """

    outcomes: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    overtaken: int = 0
    durations: Durations = field(default_factory=Durations)
    evicted: Mapping[str, int] = field(default_factory=dict)


class Counts:
    """How many reads got what, and what became of builds and entries.

    Whoever runs the mailbox counts; any thread may read.
    """

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._ended: Counter[str] = Counter()
        self._evicted: Counter[str] = Counter()
        self._overtaken = 0
        self._durations = Durations()
        self._of_keys: OrderedDict[Hashable, Counter[str]] = OrderedDict()

    def tally(self, remembered_hits: int = 0) -> Tally:
        """Return what was counted.

        Args:
            remembered_hits: The reads that remembered hits answered.
        """
        outcomes, reasons = dict(self._outcomes), dict[str, dict[str, int]]()
        if hits := outcomes.get("hit", 0) + remembered_hits:
            outcomes["hit"] = hits
        for (outcome, reason), count in dict(self._reasons).items():
            reasons.setdefault(outcome, {})[reason] = count
        return Tally(outcomes, reasons, dict(self._ended), self._overtaken, self._durations, dict(self._evicted))

    def add(self, key: Hashable, outcome: str, reason: str | None = None) -> None:
        """Count a read of a key."""
        self._outcomes[outcome] += 1
        if reason is not None:
            self._reasons[outcome, reason] += 1
        self.add_remembered(key, outcome, 1)

    def add_remembered(self, key: Hashable, outcome: str, times: int) -> None:
        """Count reads for their key alone: those that a remembered hit answered."""
        counted = self._of_keys.get(key)
        if counted is None:
            counted = self._of_keys[key] = Counter()
            if len(self._of_keys) > _MOST_COUNTED:
                self._of_keys.popitem(last=False)
        counted[outcome] += times

    def add_build(self, build: PastBuild) -> None:
        """Count a build that ended."""
        self._ended[build.outcome] += 1
        if build.overtaken_by is not None:
            self._overtaken += 1
        if build.began_s is not None:
            counts = list(self._durations.counts)
            counts[bisect_left(BUILD_BOUNDS_S, build.took_s)] += 1
            self._durations = Durations(tuple(counts), self._durations.sum_s + build.took_s)

    def add_evicted(self, bound: str) -> None:
        """Count an entry that had to go."""
        self._evicted[bound] += 1

    def begin(self, key: Hashable) -> None:
        """Begin to count a key anew: it holds another payload, or none any more."""
        self._of_keys.pop(key, None)

    def of(self, key: Hashable) -> Counter[str]:
        """Return what the readers of a key got since the payload that it holds was built; a copy."""
        return Counter(self._of_keys.get(key))


def _with_last(tails: Mapping[K, tuple[V, ...]], name: K, last: V, most: int) -> dict[K, tuple[V, ...]]:
    """Return tails of which one has one more; that one counts as the least quiet."""
    after = dict(tails)
    after[name] = (*after.pop(name, ())[1 - most :], last)
    if len(after) > _MOST_TAILS:
        del after[next(iter(after))]
    return after
