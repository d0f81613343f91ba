"""Transitions: what happened to a cache, each with the state that it makes.

Only these make new state: `fold` over all of them returns the state that a cache has. They decide nothing: whether
something may happen is decided before, in `decide`. What tells of the past is made from them, too
(`core/record.py`, `core/notices.py`).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Final, Literal, TypeAlias, TypeVar

from hermes_cache.core.events import AppliedEvent
from hermes_cache.core.followed import FollowedMoved, Unfollowed
from hermes_cache.core.record import PastBuild, Touch
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import (
    Build,
    Entry,
    Failure,
    Kept,
    News,
    Read,
    ScopeState,
    State,
    Target,
    Waiter,
    Waiters,
)
from hermes_cache.core.streams import Streams
from hermes_cache.core.tables import Table, Timers, bounded, with_name, with_value, without, without_name
from hermes_cache.core.versions import Versions

_MAX_FAILURES: Final = 1_024
_MOST_SCOPES: Final = 1_024
_MAX_NEWS: Final = 1_024
"""Keys and profiles come from outside: what is remembered of them is bounded, the oldest go."""

K = TypeVar("K", bound=Hashable)

Bound: TypeAlias = Literal["entries", "bytes", "gone", "asked"]
"""Why an entry had to go: the number of entries, their bytes, its profile is gone, or a gateway asked for that."""


@dataclass(frozen=True, slots=True)
class ListsOutdated:
    """An event outdated lists.

    Attributes:
        touch: The event, with its position and whose lists it outdated.
        settings: How many `SettingsChanged` there were with it.
        keys: Those of the payloads held that it outdated.
    """

    touch: Touch
    settings: int
    keys: tuple[Hashable, ...]

    def apply(self, state: State) -> State:
        """Return the state after it, as every `apply` here."""
        touch = self.touch
        versions = state.versions.touched(touch.profile, touch.position)
        return replace(
            state,
            position=touch.position,
            versions=versions,
            settings=self.settings,
            builds=_overtaken(state, versions, touch.event),
            record=state.record.after_change(touch),
        )


@dataclass(frozen=True, slots=True)
class StreamMoved:
    """A stream started, stopped or gave a sign of life.

    Attributes:
        touch: The event, with its position and whose lists it touched.
        streams: The streams after it.
        until_s: When the lease of the stream ends.
    """

    touch: Touch
    streams: Streams
    until_s: float

    def apply(self, state: State) -> State:  # noqa: D102 - see `ListsOutdated.apply`
        # A repeated start is a sign of life, and moves nothing.
        is_news = self.streams.moves is not state.streams.moves
        return replace(
            state,
            position=self.touch.position,
            streams=self.streams,
            record=state.record.after_move(self.touch) if is_news else state.record,
            wake_at_s=min(state.wake_at_s, self.until_s),
        )


@dataclass(frozen=True, slots=True)
class StreamsExpired:
    """The leases that end by now ended."""

    now_s: float

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, streams=state.streams.without_expired(self.now_s))


@dataclass(frozen=True, slots=True)
class Waited:
    """A read began to wait, or waits for something else now.

    Attributes:
        waiter: The read; its number is the next one.
    """

    waiter: Waiter

    def apply(self, state: State) -> State:  # noqa: D102
        waiter, target = self.waiter, self.waiter.read.target
        waiters, for_checks = state.waiters, state.for_checks
        if waiter.awaits == "build":
            group = state.for_build(target).with_one(waiter.read, waiter)
            waiters = waiters.with_one(target.key, group)
        else:
            group = state.for_check(target).with_one(waiter.read, waiter)
            for_checks = for_checks.with_one(target.scope, group)
        return replace(
            state,
            waiters=waiters,
            for_checks=for_checks,
            waiting=state.waiting + 1,
            deadlines=state.deadlines.with_one(waiter.until_s, waiter.number, waiter.read),
            last_wait=waiter.number,
            kept=_kept(state.kept, waiter.kept, 1),
            wake_at_s=min(state.wake_at_s, waiter.until_s),
        )


@dataclass(frozen=True, slots=True)
class WaitedOn:
    """Reads wait for the next build of their key, as an event overtook the one that they waited for.

    Attributes:
        waiters: What each waits for from here on; all of one key, and as long as before.
    """

    waiters: tuple[Waiter, ...]

    def apply(self, state: State) -> State:  # noqa: D102
        target = self.waiters[0].read.target
        group = state.for_build(target).with_all({waiter.read: waiter for waiter in self.waiters})
        return replace(state, waiters=state.waiters.with_one(target.key, group))


@dataclass(frozen=True, slots=True)
class Left:
    """Reads wait no more.

    Attributes:
        left: The reads that waited, each of them until now.
    """

    left: tuple[Waiter, ...]

    def apply(self, state: State) -> State:  # noqa: D102
        for_builds = [waiter for waiter in self.left if waiter.awaits == "build"]
        for_checks = [waiter for waiter in self.left if waiter.awaits == "check"]
        deadlines, kept = state.deadlines, state.kept
        for waiter in self.left:
            deadlines = deadlines.without(waiter.until_s, waiter.number)
        for entry, readers in Counter(waiter.kept for waiter in self.left).items():
            kept = _kept(kept, entry, -readers)
        return replace(
            state,
            waiters=_without_those(state.waiters, for_builds, lambda waiter: waiter.read.target.key),
            for_checks=_without_those(state.for_checks, for_checks, lambda waiter: waiter.read.target.scope),
            waiting=state.waiting - len(self.left),
            deadlines=deadlines,
            kept=kept,
        )


@dataclass(frozen=True, slots=True)
class Queued:
    """Builds were asked for, in this order; their ids are the next ones."""

    builds: tuple[Build, ...]

    def apply(self, state: State) -> State:  # noqa: D102
        builds = {**state.builds, **{build.target.key: build for build in self.builds}}
        queue = {**state.queue, **{build.id: build.target.key for build in self.builds}}
        return replace(state, builds=builds, queue=queue, last_build=self.builds[-1].id)


@dataclass(frozen=True, slots=True)
class Begun:
    """A build left the queue, with what it noted.

    Attributes:
        build: As it is now.
        until_s: When it is abandoned.
    """

    build: Build
    until_s: float

    def apply(self, state: State) -> State:  # noqa: D102
        queue = without(state.queue, self.build.id)
        builds = {**state.builds, self.build.target.key: self.build}
        return replace(state, builds=builds, queue=queue, wake_at_s=min(state.wake_at_s, self.until_s))


@dataclass(frozen=True, slots=True)
class Ended:
    """A build is over.

    Attributes:
        key: What it built.
        build: What became of it.
        build_s: How long its builder took, by the builder's own measure.
        failure: The failures in a row that it ends; None if it gave a payload, or never began.
    """

    key: Hashable
    build: PastBuild
    build_s: float = 0.0
    failure: Failure | None = None

    def apply(self, state: State) -> State:  # noqa: D102
        key, build = self.key, self.build
        failures = state.failures
        if self.failure is not None:
            failures = bounded(with_value(without(failures, key), key, self.failure), _MAX_FAILURES)
        elif build.outcome in ("stored", "discarded"):
            failures = without(failures, key)
        return replace(
            state,
            builds=without(state.builds, key),
            queue=without(state.queue, build.id),
            # Its thread still runs.
            abandoned=state.abandoned | {build.id} if build.outcome == "abandoned" else state.abandoned,
            failures=failures,
            record=state.record.after_build(key, build),
        )


@dataclass(frozen=True, slots=True)
class Returned:
    """An abandoned build came back after all."""

    key: Hashable
    build_id: int

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, abandoned=state.abandoned - {self.build_id})


@dataclass(frozen=True, slots=True)
class PutIn:
    """A gateway handed in a payload.

    Attributes:
        key: What for.
        build: How it went, with an id of its own: from its mark until now.
    """

    key: Hashable
    build: PastBuild

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, last_build=self.build.id, record=state.record.after_build(self.key, self.build))


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry replaced the last one of its key, or is the first."""

    entry: Entry

    def apply(self, state: State) -> State:  # noqa: D102
        target = self.entry.target
        held_of = with_name(state.held_of, target.reach, target.key)
        return replace(state, entries=state.entries.with_one(target.key, self.entry), held_of=held_of)


@dataclass(frozen=True, slots=True)
class Evicted:
    """An entry had to go.

    Attributes:
        key: What it answered.
        bound: The bound that was reached, the number of entries or of bytes; "gone" with its profile, or
            "asked" if the gateway asked for that.
    """

    key: Hashable
    bound: Bound

    def apply(self, state: State) -> State:  # noqa: D102
        held_of = without_name(state.held_of, state.entries[self.key].target.reach, self.key)
        return replace(state, entries=state.entries.without([self.key]), held_of=held_of)


@dataclass(frozen=True, slots=True)
class Measured:
    """The entries were measured."""

    held_bytes: int

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, held_bytes=self.held_bytes)


@dataclass(frozen=True, slots=True)
class ScopeMoved:
    """Something about a scope changed."""

    scope: ScopeState

    def apply(self, state: State) -> State:  # noqa: D102
        scope, name = self.scope, self.scope.target.scope
        known = state.scopes.get(name)
        timers = state.scope_timers.without(known.wake_at_s(), known.number) if known else state.scope_timers
        newest, wake_at_s = state.newest_check, scope.wake_at_s()
        if scope.check is not None and newer(scope.check, newest):
            newest = scope.check
        moved = replace(
            state,
            scopes=state.scopes.with_one(name, scope),
            scope_timers=timers.with_one(wake_at_s, scope.number, name),
            last_scope=max(scope.number, state.last_scope),
            newest_check=newest,
            wake_at_s=min(state.wake_at_s, wake_at_s),
        )
        return _with_fewer_scopes(moved, name) if len(moved.scopes) > moved.most_scopes else moved


@dataclass(frozen=True, slots=True)
class NewsSent:
    """Subscribers hear that rows of a profile moved.

    Attributes:
        profile: The profile; None if it is not known whose rows moved.
        at_s: The moment.
    """

    profile: str | None
    at_s: float

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, news=_with_news(state.news, self.profile, News(self.at_s)))


@dataclass(frozen=True, slots=True)
class NewsDelayed:
    """Subscribers are to hear later that rows of a profile moved.

    Attributes:
        profile: As in `NewsSent`.
        until_s: When they are to hear it.
    """

    profile: str | None
    until_s: float

    def apply(self, state: State) -> State:  # noqa: D102
        news = replace(state.news[self.profile], is_due_again=True)
        return replace(
            state,
            news=_with_news(state.news, self.profile, news),
            wake_at_s=min(state.wake_at_s, self.until_s),
        )


@dataclass(frozen=True, slots=True)
class Rearmed:
    """The moment of the first timer was found anew."""

    wake_at_s: float

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, wake_at_s=self.wake_at_s)


@dataclass(frozen=True, slots=True)
class CacheStopped:
    """The cache was stopped: nothing is built, checked or announced any more, and no timer is set."""

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(
            state,
            stopped=True,
            builds={},
            queue={},
            scopes=Table(),
            scope_timers=Timers(),
            newest_check=None,
            news={},
            followed=Table(),
            followed_by_reach=Table(),
            followed_by_scope=Table(),
            follow_timers=Timers(),
            wake_at_s=inf,
        )


Transition: TypeAlias = (
    ListsOutdated
    | StreamMoved
    | StreamsExpired
    | Waited
    | WaitedOn
    | Left
    | Queued
    | Begun
    | Ended
    | Returned
    | PutIn
    | Stored
    | Evicted
    | Measured
    | ScopeMoved
    | FollowedMoved
    | Unfollowed
    | NewsSent
    | NewsDelayed
    | Rearmed
    | CacheStopped
)
"""Something that happened."""


def fold(state: State, transitions: Iterable[Transition]) -> State:
    """Return the state after all of them, in order."""
    for transition in transitions:
        state = transition.apply(state)
    return state


def scope_of(state: State, target: Target) -> ScopeState:
    """Return what is known of a key's scope."""
    return state.scopes.get(target.scope) or ScopeState(target, number=state.last_scope + 1)


def newer(check: Check, than: Check | None) -> bool:
    """Say whether a check began after another (B3)."""
    return than is None or check.began_s > than.began_s


def _kept(kept: Table[int, Kept], entry: Entry | None, more: int) -> Table[int, Kept]:
    if entry is None:
        return kept
    known = kept.get(entry.build_id)
    readers = (known.readers if known else 0) + more
    return kept.with_one(entry.build_id, Kept(entry, readers)) if readers else kept.without([entry.build_id])


def _without_those(
    groups: Table[K, Waiters], left: list[Waiter], name_of: Callable[[Waiter], K]
) -> Table[K, Waiters]:
    by_name: dict[K, list[Read]] = {}
    for waiter in left:
        by_name.setdefault(name_of(waiter), []).append(waiter.read)
    for name, reads in by_name.items():
        group = groups[name].without(reads)
        groups = groups.with_one(name, group) if group else groups.without([name])
    return groups


def _overtaken(state: State, versions: Versions, event: AppliedEvent) -> Mapping[Hashable, Build]:
    overtaken = {
        key: replace(build, overtaken_by=event.id)
        for key, build in state.builds.items()
        if build.began_s is not None and not build.overtaken_by and versions.of(build.target.reach) > build.version
    }
    return {**state.builds, **overtaken} if overtaken else state.builds


def _with_fewer_scopes(state: State, newest: Hashable) -> State:
    """Forget the scopes that nobody uses; what is left may double before they are looked through again."""
    used = {newest, *state.for_checks}
    used.update(entry.target.scope for entry in state.entries.values())
    used.update(build.target.scope for build in state.builds.values())
    used.update(state.followed_by_scope)
    unused = [name for name in state.scopes if name not in used]
    timers = state.scope_timers
    for name in unused:
        timers = timers.without(state.scopes[name].wake_at_s(), state.scopes[name].number)
    scopes = state.scopes.without(unused)
    return replace(state, scopes=scopes, scope_timers=timers, most_scopes=max(_MOST_SCOPES, 2 * len(scopes)))


def _with_news(
    news: Mapping[str | None, News], profile: str | None, of_profile: News
) -> Mapping[str | None, News]:
    return bounded(with_value(without(news, profile), profile, of_profile), _MAX_NEWS)
