"""Transitions: what happened to a cache, each with the state that it makes.

Only these make new state; `fold` of all that a cache went through gives the state that it has. They carry no
judgement: whether something may happen is decided before, in `decide`.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from math import inf
from typing import Final, Protocol, TypeVar

from hermes_cache.core.events import (
    AppliedEvent,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.core.history import PastBuild, Touch, with_build
from hermes_cache.core.keys import SessionListKey
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Build, Entry, Failure, Kept, ScopeState, State, Target, Told, Waiter
from hermes_cache.core.versions import Versions

_MAX_FAILURES: Final = 1_024
_MAX_SCOPES: Final = 1_024
_MAX_TOLD: Final = 1_024
"""Keys and profiles come from outside: what is remembered of them is bounded, the oldest go."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Transition(Protocol):
    """Something that happened."""

    def apply(self, state: State) -> State:
        """Give the state after it."""


def fold(state: State, transitions: Iterable[Transition]) -> State:
    """Give the state after all of them, in order."""
    for transition in transitions:
        state = transition.apply(state)
    return state


@dataclass(frozen=True, slots=True)
class EventApplied:
    """An event took its place in this process's order.

    Attributes:
        event: Which.
        profile: Its canonical profile; None for all.
        until_s: When the lease of a stream that it speaks of ends.
    """

    event: AppliedEvent
    profile: str | None
    until_s: float

    def apply(self, state: State) -> State:  # noqa: D102 - see Transition
        if isinstance(self.event, SessionListChanged | SettingsChanged):
            return self._outdate(state, self.event)
        return self._move(state, self.event)

    def _outdate(self, state: State, event: SessionListChanged | SettingsChanged) -> State:
        position = state.position + 1
        versions = state.versions.touched(self.profile, position)
        return replace(
            state,
            position=position,
            versions=versions,
            settings=state.settings + isinstance(event, SettingsChanged),
            builds=_overtaken(state, versions, event),
            changes=state.changes.after(Touch.of(versions, position, event, self.profile)),
        )

    def _move(self, state: State, event: StreamStarted | StreamStopped) -> State:
        position, before = state.position + 1, state.streams
        if isinstance(event, StreamStarted):
            profile = self.profile
            streams = before.start(event.stream_id, profile, position=position, until_s=self.until_s)
        else:
            known = before.active.get(event.stream_id)
            profile = known.profile if known else None
            streams = before.stop(event.stream_id, position=position, until_s=self.until_s)
        # A repeated start is a sign of life, and moves nothing.
        moved = streams.moves is not before.moves
        touched = state.moves.after(Touch.of(streams.moves, position, event, profile)) if moved else state.moves
        wake_at_s = min(state.wake_at_s, self.until_s)
        return replace(state, position=position, streams=streams, moves=touched, wake_at_s=wake_at_s)


@dataclass(frozen=True, slots=True)
class StreamsExpired:
    """The leases that end by now ended."""

    now_s: float

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, streams=state.streams.without_expired(self.now_s))


@dataclass(frozen=True, slots=True)
class Waited:
    """A read began to wait, or waits for something else now."""

    waiter: Waiter

    def apply(self, state: State) -> State:  # noqa: D102
        key = self.waiter.read.target.key
        waiters = {**state.waiters, key: (*state.waiters.get(key, ()), self.waiter)}
        wake_at_s = min(state.wake_at_s, self.waiter.until_s)
        kept = _kept(state.kept, self.waiter.kept, 1)
        return replace(state, waiters=waiters, waiting=state.waiting + 1, kept=kept, wake_at_s=wake_at_s)


@dataclass(frozen=True, slots=True)
class Left:
    """Reads of a key wait no more."""

    key: SessionListKey
    left: frozenset[Waiter]

    def apply(self, state: State) -> State:  # noqa: D102
        before = state.waiters.get(self.key, ())
        after = tuple([waiter for waiter in before if waiter not in self.left])
        waiters = _with(state.waiters, self.key, after) if after else _without(state.waiters, self.key)
        left = Counter(waiter.kept for waiter in self.left)
        kept = reduce(lambda kept, entry: _kept(kept, entry, -left[entry]), left, state.kept)
        return replace(state, waiters=waiters, waiting=state.waiting - len(before) + len(after), kept=kept)


@dataclass(frozen=True, slots=True)
class Queued:
    """A build was asked for."""

    build: Build

    def apply(self, state: State) -> State:  # noqa: D102
        key = self.build.target.key
        builds = {**state.builds, key: self.build}
        return replace(state, builds=builds, queue=(*state.queue, key), last_build=self.build.id)


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
        key = self.build.target.key
        queue = tuple([queued for queued in state.queue if queued != key])
        builds = {**state.builds, key: self.build}
        return replace(state, builds=builds, queue=queue, wake_at_s=min(state.wake_at_s, self.until_s))


@dataclass(frozen=True, slots=True)
class Ended:
    """A build is over: finished, failed or abandoned.

    Attributes:
        build: Which.
        hangs: Whether its thread still runs.
    """

    build: Build
    hangs: bool = False

    def apply(self, state: State) -> State:  # noqa: D102
        abandoned = state.abandoned | {self.build.id} if self.hangs else state.abandoned
        key = self.build.target.key
        queue = tuple([queued for queued in state.queue if queued != key])
        return replace(state, builds=_without(state.builds, key), queue=queue, abandoned=abandoned)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What became of a build is remembered."""

    key: SessionListKey
    build: PastBuild

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, past_builds=with_build(state.past_builds, self.key, self.build))


@dataclass(frozen=True, slots=True)
class Returned:
    """An abandoned build came back after all."""

    build_id: int

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, abandoned=state.abandoned - {self.build_id})


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry took the place of its key's last."""

    entry: Entry

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, entries={**state.entries, self.entry.target.key: self.entry})


@dataclass(frozen=True, slots=True)
class Evicted:
    """An entry had to go."""

    key: SessionListKey

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, entries=_without(state.entries, self.key))


@dataclass(frozen=True, slots=True)
class Measured:
    """The entries were measured."""

    held_bytes: int

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, held_bytes=self.held_bytes)


@dataclass(frozen=True, slots=True)
class FailedAgain:
    """A build of a key failed."""

    key: SessionListKey
    failure: Failure

    def apply(self, state: State) -> State:  # noqa: D102
        failures = _bounded(_with(_without(state.failures, self.key), self.key, self.failure), _MAX_FAILURES)
        return replace(state, failures=failures)


@dataclass(frozen=True, slots=True)
class Mended:
    """A build of a key that had failed succeeded."""

    key: SessionListKey

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, failures=_without(state.failures, self.key))


@dataclass(frozen=True, slots=True)
class ScopeMoved:
    """Something about a scope changed."""

    scope: ScopeState

    def apply(self, state: State) -> State:  # noqa: D102
        scopes = _with(state.scopes, self.scope.target.scope, self.scope)
        if len(scopes) > _MAX_SCOPES:
            scopes = _used(scopes, state)
        return replace(state, scopes=scopes, wake_at_s=min(state.wake_at_s, self.scope.wake_at_s()))


@dataclass(frozen=True, slots=True)
class SubscribersTold:
    """Subscribers heard that rows of a profile moved, or are to hear it later.

    Attributes:
        profile: Whose.
        told: When, and whether again.
        again_at_s: When they are to hear it again; infinity for not at all.
    """

    profile: str | None
    told: Told
    again_at_s: float = inf

    def apply(self, state: State) -> State:  # noqa: D102
        told = _bounded(_with(_without(state.told, self.profile), self.profile, self.told), _MAX_TOLD)
        return replace(state, told=told, wake_at_s=min(state.wake_at_s, self.again_at_s))


@dataclass(frozen=True, slots=True)
class Rearmed:
    """The moment of the first timer was found anew."""

    wake_at_s: float

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, wake_at_s=self.wake_at_s)


@dataclass(frozen=True, slots=True)
class CacheStopped:
    """The cache was stopped: nothing is built, checked or told any more, and no timer is set."""

    def apply(self, state: State) -> State:  # noqa: D102
        return replace(state, stopped=True, builds={}, queue=(), scopes={}, told={}, wake_at_s=inf)


def scope_of(state: State, target: Target) -> ScopeState:
    """Give what is known of a key's scope."""
    return state.scopes.get(target.scope) or ScopeState(target)


def newer(check: Check, than: Check | None) -> bool:
    """Say whether a check began after another (B3)."""
    return than is None or check.began_s > than.began_s


def _kept(kept: Mapping[int, Kept], entry: Entry | None, more: int) -> Mapping[int, Kept]:
    if entry is None:
        return kept
    known = kept.get(entry.build_id)
    readers = (known.readers if known else 0) + more
    return _with(kept, entry.build_id, Kept(entry, readers)) if readers else _without(kept, entry.build_id)


def _overtaken(state: State, versions: Versions, event: AppliedEvent) -> Mapping[SessionListKey, Build]:
    overtaken = {
        key: replace(build, overtaken_by=event.id)
        for key, build in state.builds.items()
        if build.began_s is not None and not build.overtaken_by and versions.of(build.target.reach) > build.version
    }
    return {**state.builds, **overtaken} if overtaken else state.builds


def _used(scopes: Mapping[Hashable, ScopeState], state: State) -> dict[Hashable, ScopeState]:
    used = {entry.target.scope for entry in state.entries.values()}
    used.update(build.target.scope for build in state.builds.values())
    used.update(waiters[0].read.target.scope for waiters in state.waiters.values())
    newest = next(reversed(scopes))
    return {name: scope for name, scope in scopes.items() if name in used or name == newest}


def _with(mapping: Mapping[K, V], key: K, value: V) -> dict[K, V]:
    return {**mapping, key: value}


def _without(mapping: Mapping[K, V], key: K) -> Mapping[K, V]:
    return {name: value for name, value in mapping.items() if name != key} if key in mapping else mapping


def _bounded(mapping: dict[K, V], most: int) -> dict[K, V]:
    while len(mapping) > most:
        del mapping[next(iter(mapping))]
    return mapping
