"""The state of a cache: one immutable value, a fold over what has happened.

Waiters, queue and timers are in it, so that a simulation sees all of it. Recency and counters are not: a hit
changes nothing here. Times are monotonic seconds. Mappings are never changed, only replaced.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf
from typing import Final, Literal, TypeAlias

from hermes_cache.core.events import EventId
from hermes_cache.core.record import Record
from hermes_cache.core.requests import Request
from hermes_cache.core.stamps import Check, Stamp
from hermes_cache.core.streams import Marker, Streams
from hermes_cache.core.tables import Index, Table, Timers
from hermes_cache.core.versions import Versions
from hermes_cache.payload.content import Content

Reason: TypeAlias = Literal["age", "source", "event", "miss"]
Outcome: TypeAlias = Literal["hit", "stale", "built", "waited", "outdated"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a read asks for: a key, and what it shares with others.

    Attributes:
        key: The view, with its canonical profile.
        scope: What it shares checks and refreshes with.
        reach: The profile that it shows, or all: the events of that touch it.
        watched: Whether there is anything to check: without it only events, streams and age outdate.
    """

    key: Hashable
    scope: Hashable
    reach: str
    watched: bool


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A payload that was built.

    Attributes:
        target: What it answers.
        content: The payload.
        version: The key's version that its build noted.
        stamp: What it was built from.
        built_at_s: When its build ended.
        build_s: How long that took.
        build_id: The number of that build.
        read_from_s: When its build began, or the moment of its mark: its builder read the sources later.
    """

    target: Target
    content: Content
    version: int
    stamp: Stamp
    built_at_s: float
    build_s: float
    build_id: int
    read_from_s: float = 0.0

    def is_newer_than(self, other: "Entry") -> bool:
        """Say whether it was read from the sources later than another one of its key: one of them was put (V2)."""
        return self.read_from_s > other.read_from_s


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A read that could not be answered from what was at hand.

    Attributes:
        reader: The reader to answer; means nothing here.
        target: The key that it reads.
        request: What it asks for.
        settings: How many `SettingsChanged` were applied when its profile's alias was asked for; None if no alias
            was (K3).
    """

    reader: Hashable
    target: Target
    request: Request
    settings: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """A read that waits.

    Attributes:
        read: The read.
        version: The key's version when it began (R1).
        moves: The position of the last stream that moved its reach when it began (H2).
        awaits: What it waits for.
        until_s: When it stops waiting for that.
        check_by_s: Until when it may wait for a check, in all (S4).
        reason: Why it was no hit.
        outcome: What it will have been, once a build answers it.
        overtaken_by: The event that overtook a build which it waited for.
        kept: The stale payload that it may fall back to, whatever is evicted meanwhile (R4).
        number: Counts all waits; orders those that end at one moment.
    """

    read: Read
    version: int
    moves: int
    awaits: Literal["check", "build"]
    until_s: float
    check_by_s: float
    reason: Reason | None = None
    outcome: Literal["built", "waited"] = "waited"
    overtaken_by: EventId | None = None
    kept: Entry | None = None
    number: int = 0

    @property
    def request(self) -> Request:
        """What the read asks for."""
        return self.read.request


Waiters: TypeAlias = Table[Read, Waiter]
"""Those who wait for one thing, in the order in which they came."""

NO_WAITERS: Final[Waiters] = Table()


class Refresh(Enum):
    """What a build is asked for that replaces a payload which may still be served (B9).

    `AGE`: the payload is over its age, or its sources may have moved but were not seen to. `SOURCE`: a commit
    moved its sources. `URGENT`: settings moved, or a stream started. `STOP`: a stream stopped. `EVENT`: an event
    outdated it, and only followers wait for it (R13).
    """

    AGE = auto()
    SOURCE = auto()
    URGENT = auto()
    STOP = auto()
    EVENT = auto()


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A refresh that was asked for in a pause (B9).

    Attributes:
        target: What to refresh.
        refresh: What it is asked for.
        builder: The builder of the newest reader; None for the cache's.
    """

    target: Target
    refresh: Refresh
    builder: object = None


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry that waiting readers may fall back to (R4).

    Attributes:
        entry: The entry; it may have been evicted.
        readers: How many they are.
    """

    entry: Entry
    readers: int


@dataclass(frozen=True, slots=True)
class Build:
    """One run of a builder, queued or running.

    Attributes:
        id: Grows from 1.
        target: The key that is built.
        reason: Why it is built.
        refresh: Why it replaces a payload that may still be served; None if it does not.
        builder: The builder of a reader; None for the cache's.
        trace: What a tracer knows the read by with which it began; None if there is none.
        began_s: When it left the queue; None before.
        version: The key's version then.
        streams: The streams then.
        overtaken_by: The first event that touched its key since.
    """

    id: int
    target: Target
    reason: Reason
    refresh: Refresh | None = None
    builder: object = None
    trace: object = None
    began_s: float | None = None
    version: int = 0
    streams: Streams = field(default_factory=Streams)
    overtaken_by: EventId | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Failure:
    """The failures in a row of a key's builds, and the last of them.

    Attributes:
        count: How many in a row.
        at_s: When the last one failed.
        retry_at_s: When the next read may try again (R7).
        version: The key's version that the failed build noted.
        seen: The last check of its scope then.
        why: What went wrong, in words.
        cause: What was raised; None if the build was abandoned for its length.
    """

    count: int
    at_s: float
    retry_at_s: float
    version: int
    seen: Check | None
    why: str
    cause: BaseException | None = None


CHECK_TIMEOUT_S: Final = 1.0
"""A check that is not back after so long has failed (S4)."""


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """The failed checks in a row of a scope, and the last of them.

    Attributes:
        count: How many in a row.
        at_s: When the last one failed.
        why: What went wrong, in words.
    """

    count: int
    at_s: float
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class ScopeState:
    """What is known of a scope.

    Attributes:
        target: One of its keys, to check with.
        check: The last check that succeeded.
        asked_s: Since when one is out; None if none is.
        is_late: The one that is out was given up; none other is begun before it is back.
        is_notified: Its sources may have moved since the one that is out began: another one follows (X10).
        failure: Why the last check failed; None after one that succeeded.
        due_s: When the next one is due; infinity while nobody reads (S4).
        refreshing: The builds of the refresh that is under way (B9).
        refreshing_by: What those of it were asked for, also those that are over.
        refresh_began_s: When the first of them began.
        pause_until_s: When the next refresh by source or by age may begin.
        age_pause_until_s: When the next refresh by age may begin, unless the other pause is longer.
        stop_until_s: Another stop's refresh that begins earlier begins a pause.
        event_pause_until_s: When the next build that only followers wait for may begin, unless the pause for
            refreshes by source is longer.
        held_back: What was asked for meanwhile, by key.
        held_for: The strongest of what that was asked for; None if nothing is held back.
        number: Counts all scopes; orders those whose timers fall on one moment.
    """

    target: Target
    check: Check | None = None
    asked_s: float | None = None
    is_late: bool = False
    is_notified: bool = False
    failure: CheckFailure | None = None
    due_s: float = inf
    refreshing: frozenset[int] = frozenset()
    refreshing_by: frozenset[Refresh] = frozenset()
    refresh_began_s: float | None = None
    pause_until_s: float = 0.0
    age_pause_until_s: float = 0.0
    stop_until_s: float = 0.0
    event_pause_until_s: float = 0.0
    held_back: Table[Hashable, HeldBack] = field(default_factory=Table)
    held_for: Refresh | None = None
    number: int = 0

    def is_refreshed_by_source(self) -> bool:
        """Say whether the refresh that is under way counts as one by source."""
        return Refresh.SOURCE in self.refreshing_by or Refresh.URGENT in self.refreshing_by

    def release_at_s(self) -> float:
        """Return when all that is held back may start; infinity if none is, or while a refresh is under way."""
        if self.held_for is None or self.is_refreshed_by_source():
            return inf
        if self.held_for is Refresh.SOURCE:
            return self.pause_until_s
        if self.held_for is Refresh.EVENT:
            return self.followers_pause_until_s()
        return inf if self.refreshing else max(self.pause_until_s, self.age_pause_until_s)

    def followers_pause_until_s(self) -> float:
        """Return when a build may begin that only followers wait for; infinity while one is under way (R13)."""
        is_under_way = self.is_refreshed_by_source() or Refresh.EVENT in self.refreshing_by
        return inf if is_under_way else max(self.pause_until_s, self.event_pause_until_s)

    def give_up_at_s(self) -> float:
        """Return the moment when the check that is out has failed; infinity if none is out, or it has."""
        return inf if self.asked_s is None or self.is_late else self.asked_s + CHECK_TIMEOUT_S

    def wake_at_s(self) -> float:
        """Return the moment of its next timer."""
        return min(self.due_s, self.release_at_s(), self.give_up_at_s())


@dataclass(frozen=True, slots=True)
class News:
    """What subscribers heard of a profile's rows (E9).

    Attributes:
        sent_at_s: When they last heard that rows moved.
        is_due_again: Whether they are to hear it once more.
    """

    sent_at_s: float
    is_due_again: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """A key that is followed (R13).

    Attributes:
        target: The key.
        followers: Those who follow it, which mean nothing here; whether each wants what an event changed, too.
        builder: The builder of the newest follower that brought one; None for the cache's.
        delivered: What was delivered last, without its content; None if nothing was.
        needed: The key's version when more than that was first needed; None while it is current.
        may_miss_events: Events of other processes may be missed, so it is refreshed by age.
        due_s: When it must be looked at again though nothing happens; infinity for never.
        number: Counts all keys that were ever followed; orders those that are due at one moment.
    """

    target: Target
    followers: Table[Hashable, bool]
    builder: object = None
    delivered: Entry | None = None
    needed: int | None = None
    may_miss_events: bool = False
    due_s: float = inf
    number: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """All that a cache knows.

    Attributes:
        position: How many events were applied.
        versions: The last of them that touched each reach.
        settings: How many of them were `SettingsChanged`.
        streams: The streams.
        entries: The payloads held.
        held_of: The keys of those, by reach.
        held_bytes: Their size together, shared rows once.
        builds: The builds that are queued or running, by key: one a key (B1).
        queue: The keys of the queued ones by build id, oldest first.
        abandoned: Builds that hang (B6).
        last_build: The last build id given.
        waiters: The reads that wait for a build, by key.
        for_checks: The reads that wait for a check, by scope.
        waiting: How many they are, both together.
        deadlines: When each of them stops waiting for that.
        last_wait: How many waits there were.
        kept: The entries that they may fall back to, by build id.
        failures: The failures that no success has ended, by key.
        scopes: What is known of each scope.
        scope_timers: When something is due in one.
        last_scope: How many scopes there were.
        most_scopes: Past so many, those that nobody uses are forgotten.
        newest_check: The check of any scope that began last.
        news: What subscribers heard of each profile's rows.
        followed: The keys that are followed.
        followed_by_reach: The same, by reach.
        followed_by_scope: The same, by scope.
        follow_timers: When one of them is due.
        last_followed: How many keys were ever followed.
        record: What happened lately (J7).
        wake_at_s: No timer is due before; at times none is due then either.
        stopped: Whether the cache was stopped.
    """

    position: int = 0
    versions: Versions = field(default_factory=Versions)
    settings: int = 0
    streams: Streams = field(default_factory=Streams)
    entries: Table[Hashable, Entry] = field(default_factory=Table)
    held_of: Index[str] = field(default_factory=Table)
    held_bytes: int = 0
    builds: Mapping[Hashable, Build] = field(default_factory=dict)
    queue: Mapping[int, Hashable] = field(default_factory=dict)
    abandoned: frozenset[int] = frozenset()
    last_build: int = 0
    waiters: Table[Hashable, Waiters] = field(default_factory=Table)
    for_checks: Table[Hashable, Waiters] = field(default_factory=Table)
    waiting: int = 0
    deadlines: Timers = field(default_factory=Timers)
    last_wait: int = 0
    kept: Table[int, Kept] = field(default_factory=Table)
    failures: Mapping[Hashable, Failure] = field(default_factory=dict)
    scopes: Table[Hashable, ScopeState] = field(default_factory=Table)
    scope_timers: Timers = field(default_factory=Timers)
    last_scope: int = 0
    most_scopes: int = 1_024
    newest_check: Check | None = None
    news: Mapping[str | None, News] = field(default_factory=dict)
    followed: Table[Hashable, Followed] = field(default_factory=Table)
    followed_by_reach: Index[str] = field(default_factory=Table)
    followed_by_scope: Index[Hashable] = field(default_factory=Table)
    follow_timers: Timers = field(default_factory=Timers)
    last_followed: int = 0
    record: Record = field(default_factory=Record)
    wake_at_s: float = inf
    stopped: bool = False

    def version_of(self, target: Target) -> int:
        """Return the version of a key (V2)."""
        return self.versions.of(target.reach)

    def entry_of(self, target: Target) -> Entry | None:
        """Return what is held for a key."""
        return self.entries.get(target.key)

    def for_build(self, target: Target) -> Waiters:
        """Return the reads that wait for a build of a key."""
        return self.waiters.get(target.key, NO_WAITERS)

    def for_check(self, target: Target) -> Waiters:
        """Return the reads that wait for a check of a key's scope."""
        return self.for_checks.get(target.scope, NO_WAITERS)

    def waiter_of(self, read: Read) -> Waiter | None:
        """Return what a read waits for; None if it does not."""
        return self.for_build(read.target).get(read) or self.for_check(read.target).get(read)

    def all_waiters(self) -> Iterator[Waiter]:
        """Yield all reads that wait; no message but a stop may need them all."""
        for waiters in (*self.waiters.values(), *self.for_checks.values()):
            yield from waiters.values()

    def holds(self, content: Content, target: Target) -> bool:
        """Say whether a content is held for a key; a builder may return what it returned before."""
        held = self.entries.get(target.key)
        return held is not None and held.content is content

    def is_kept(self, entry: Entry) -> bool:
        """Say whether the content of an entry is held, or a waiting reader may fall back to it."""
        return entry.build_id in self.kept or self.holds(entry.content, entry.target)

    def check_of(self, target: Target) -> Check | None:
        """Return the last check of a key's scope."""
        scope = self.scopes.get(target.scope)
        return scope.check if scope else None

    def marker_of(self, target: Target) -> Marker:
        """Return the marker of a key: streams of the bus as of now, listed ones as of the last check (H2)."""
        check = self.check_of(target)
        return self.streams.marker(target.reach, check.listed if check else ())

    def running(self) -> int:
        """Count the builds that are out of the queue."""
        return len(self.builds) - len(self.queue)

    def before_a_start(self) -> "State":
        """Return what is known of events alone: with it the next life of a cache starts."""
        return State(
            position=self.position,
            versions=self.versions,
            settings=self.settings,
            record=self.record.before_a_start(),
        )

    def active_stream_ids(self) -> frozenset[str]:
        """Return the ids of the active streams: of the bus, and of the newest check of all."""
        # The newest alone: a scope that is read no more would keep a turn that ended.
        return self.streams.all_ids(self.newest_check.listed if self.newest_check else ())
