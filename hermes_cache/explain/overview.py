"""An overview: all that a cache holds and does now, as values of bounded number.

Source: rules W1, J7.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from hermes_cache.core.policy import Policy
from hermes_cache.core.state import ScopeState, State, Target
from hermes_cache.explain.explaining import Moment, builds_of, explain, touched_by
from hermes_cache.explain.explanations import BuiltBy, Explanation, TouchedBy

_MOST: Final = 500
"""Of each kind: about 400 KB of JSON in all. A cache holds 64 entries unless its policy says otherwise."""


@dataclass(frozen=True, slots=True)
class KeyBuild:
    """A build, and the key that it was for."""

    key: Hashable
    build: BuiltBy


@dataclass(frozen=True, slots=True)
class ActiveStream:
    """A stream that holds keys down.

    Attributes:
        stream_id: Names the turn.
        profile: Its profile; None if it is not known, or if the gateway's callable listed the stream.
        ends_in_s: Seconds until it is forgotten unless there is a sign of life; None if the callable listed it.
    """

    stream_id: str
    profile: str | None
    ends_in_s: float | None


@dataclass(frozen=True, slots=True)
class KnownScope:
    """What is known of the sources that some keys share.

    Attributes:
        name: The scope.
        check_age_s: Seconds since the last check that succeeded began; None if there was none.
        check_took_s: How long that took.
        is_checking: Whether a check is out.
        failure: Why the last check failed; None after one that succeeded.
        refreshing: How many builds refresh it now.
        held_back: The keys whose refresh waits for a pause to end.
        pause_left_s: Seconds until that pause ends; 0 if there is none.
    """

    name: str
    check_age_s: float | None
    check_took_s: float | None
    is_checking: bool
    failure: str | None
    refreshing: int
    held_back: tuple[Hashable, ...]
    pause_left_s: float


@dataclass(frozen=True, slots=True)
class Overview:
    """All that a cache holds and does.

    Attributes:
        at_s: When this was found out, in epoch seconds.
        entries: What is known of each key that is held or being built, the coldest first.
        builds: The builds under way and the last ones, newest first.
        events: The last events that touched something, newest first.
        streams: The active streams, by id.
        scopes: What is known of each scope.
        left_out: How many of each of these are not in it, by its name.
        incarnation: Names this life of the bus: the numbers of builds of another one mean nothing here.
        ttl_s: How old an entry may be, and likewise `streaming_ttl_s` while a stream holds it down.
    """

    at_s: float
    entries: tuple[Explanation, ...]
    builds: tuple[KeyBuild, ...]
    events: tuple[TouchedBy, ...]
    streams: tuple[ActiveStream, ...]
    scopes: tuple[KnownScope, ...]
    left_out: Mapping[str, int]
    incarnation: str
    ttl_s: float
    streaming_ttl_s: float


def overview_of(
    state: State,
    policy: Policy,
    now: Moment,
    *,
    incarnation: str,
    served: Callable[[Hashable], Mapping[str, int]],
) -> Overview:
    """Tell all that a state says.

    Args:
        state: What the cache knows.
        policy: The spans by which a read would judge.
        now: The time.
        incarnation: This process's own; events of others have another.
        served: Returns what the readers of a key got.
    """
    targets = {entry.target.key: entry.target for entry in state.entries.values()}
    targets |= {build.target.key: build.target for build in state.builds.values()}
    keys = dict.fromkeys((*state.record.builds, *state.builds))
    builds = [KeyBuild(key, build) for key in keys for build in builds_of(state, key, now)]
    builds.sort(key=lambda each: each.build.id, reverse=True)
    touches = [*state.record.changes.latest, *state.record.moves.latest]
    touches.sort(key=lambda touch: touch.position, reverse=True)
    streams, scopes = _streams(state, now), list(state.scopes.values())
    found = {"entries": len(targets), "builds": len(builds), "streams": len(streams), "scopes": len(scopes)}

    def known(target: Target) -> Explanation:
        return explain(state, target, policy, now, incarnation=incarnation, served=served(target.key))

    return Overview(
        at_s=now.at_s,
        entries=tuple(map(known, islice(targets.values(), _MOST))),
        builds=tuple(builds[:_MOST]),
        events=tuple([touched_by(touch, incarnation, is_unseen=False) for touch in touches]),
        streams=tuple(streams[:_MOST]),
        scopes=tuple([_scope(scope, now) for scope in scopes[:_MOST]]),
        left_out={name: max(0, count - _MOST) for name, count in found.items()},
        incarnation=incarnation,
        ttl_s=policy.ttl,
        streaming_ttl_s=policy.ttl_s(streaming=True),
    )


def _streams(state: State, now: Moment) -> list[ActiveStream]:
    active = state.streams.active
    known = [
        ActiveStream(name, stream.profile, stream.until_s - now.monotonic_s) for name, stream in active.items()
    ]
    listed = [ActiveStream(name, None, None) for name in state.active_stream_ids() if name not in active]
    return sorted([*known, *listed], key=lambda stream: stream.stream_id)


def _scope(scope: ScopeState, now: Moment) -> KnownScope:
    check, now_s = scope.check, now.monotonic_s
    return KnownScope(
        name=str(scope.target.scope),
        check_age_s=now_s - check.began_s if check else None,
        check_took_s=check.took_s if check else None,
        is_checking=scope.asked_s is not None,
        failure=scope.failure.why if scope.failure else None,
        refreshing=len(scope.refreshing),
        held_back=tuple(scope.held_back),
        pause_left_s=max(0.0, max(scope.pause_until_s, scope.age_pause_until_s) - now_s),
    )
