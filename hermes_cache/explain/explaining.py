"""Explaining: why a key is as it is, from what its state holds.

Source: rule J7.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import inf
from typing import assert_never

from hermes_cache.core.answering import retry_at_s
from hermes_cache.core.freshness import Verdict, judge
from hermes_cache.core.policy import Policy
from hermes_cache.core.record import PastBuild, Touch
from hermes_cache.core.requests import Request
from hermes_cache.core.stamps import moved_parts
from hermes_cache.core.state import Build, State, Target
from hermes_cache.explain.explanations import BuiltBy, Condition, Explanation, TouchedBy


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks.

    Attributes:
        monotonic_s: Monotonic seconds, as the state counts them.
        at_s: Epoch seconds, as events and readers count them.
    """

    monotonic_s: float
    at_s: float

    def epoch_s(self, monotonic_s: float) -> float:
        """Return the epoch seconds of another moment."""
        return self.at_s - (self.monotonic_s - monotonic_s)


def explain(
    state: State,
    target: Target,
    policy: Policy,
    now: Moment,
    *,
    incarnation: str = "",
    served: Mapping[str, int] | None = None,
) -> Explanation:
    """Say why a key is as it is.

    Args:
        state: What the cache knows.
        target: The key.
        policy: The spans by which a read would judge.
        now: The time.
        incarnation: This process's own; events of others have another.
        served: Its reads, counted beside the state.
    """
    entry, build, check = state.entry_of(target), state.builds.get(target.key), state.check_of(target)
    failure, moved, now_s = state.failures.get(target.key), _moved(state, target), now.monotonic_s
    return Explanation(
        key=target.key,
        at_s=now.at_s,
        condition=_condition(state, target, policy, now_s, moved),
        age_s=now_s - entry.built_at_s if entry else None,
        built_at_s=now.epoch_s(entry.built_at_s) if entry else None,
        build_id=entry.build_id if entry else None,
        build_s=entry.build_s if entry else None,
        stamp=entry.stamp.as_mapping() if entry else {},
        moved_parts=moved,
        check_age_s=now_s - check.began_s if check else None,
        version=entry.version if entry else None,
        current_version=state.version_of(target),
        building_for_s=now_s - build.began_s if build and build.began_s is not None else None,
        overtaken_by=build.overtaken_by if build else None,
        waiting=_waiting(state, target),
        failures=failure.count if failure else 0,
        failure=failure.why if failure else None,
        retry_in_s=max(0.0, retry_at_s(state, failure, target) - now_s) if failure else None,
        held_back_for_s=_held_back_for_s(state, target, now_s),
        events=_events(state, target, incarnation),
        builds=builds_of(state, target.key, now),
        served=served or {},
    )


def _condition(state: State, target: Target, policy: Policy, now_s: float, moved: tuple[str, ...]) -> Condition:
    verdict = judge(state, policy, target, Request(now_s), now_s, check_by_s=-inf)
    match verdict:
        case Verdict.MISSING:
            return "missing"
        case Verdict.OUTDATED:
            return "outdated"
        case Verdict.AGED:
            return "aged"
        case Verdict.FRESH:
            return "fresh"
        case Verdict.MOVED | Verdict.UNCHECKED:
            return "moved" if moved else "unchecked"
        case _:
            assert_never(verdict)


def _waiting(state: State, target: Target) -> int:
    for_check = [each for each in state.for_check(target).values() if each.read.target.key == target.key]
    return len(state.for_build(target)) + len(for_check)


def _moved(state: State, target: Target) -> tuple[str, ...]:
    entry, check = state.entry_of(target), state.check_of(target)
    if entry is None:
        return ()
    own = entry.stamp.check
    # One that leaves out what a stream moves has found nothing of those parts.
    comparable = check is not None and check.held == own.held and check.began_s > own.began_s
    parts = moved_parts(own.parts, check.parts) if check and comparable else ()
    return (*parts, "streams") if state.marker_of(target) != entry.stamp.marker else parts


def _held_back_for_s(state: State, target: Target, now_s: float) -> float | None:
    scope = state.scopes.get(target.scope)
    if scope is None or target.key not in scope.held_back:
        return None
    release_at_s = scope.release_at_s()
    return max(0.0, release_at_s - now_s) if release_at_s < inf else 0.0


def _events(state: State, target: Target, incarnation: str) -> tuple[TouchedBy, ...]:
    entry = state.entry_of(target)
    version, moves = (entry.version, entry.stamp.marker.moves) if entry else (inf, inf)
    touches = [(touch, touch.position > version) for touch in state.record.changes.of(target.reach)]
    touches += [(touch, touch.position > moves) for touch in state.record.moves.of(target.reach)]
    touches.sort(key=lambda each: each[0].position, reverse=True)
    return tuple([touched_by(touch, incarnation, is_unseen=is_unseen) for touch, is_unseen in touches])


def touched_by(touch: Touch, incarnation: str, *, is_unseen: bool) -> TouchedBy:
    """Return an event of the record as an explanation tells it."""
    return TouchedBy(touch.event, touch.profile, touch.event.id.incarnation != incarnation, is_unseen)


def builds_of(state: State, key: Hashable, now: Moment) -> tuple[BuiltBy, ...]:
    """Return the builds of a key, newest first: the one under way, and the last that are over."""
    live = state.builds.get(key)
    past = [_past(build, now) for build in reversed(state.record.builds.get(key, ()))]
    return (_live(state, live, now), *past) if live else tuple(past)


def _live(state: State, build: Build, now: Moment) -> BuiltBy:
    waited = len(state.for_build(build.target))
    if build.began_s is None:
        return BuiltBy(build.id, build.reason, None, 0.0, "queued", None, None, waited)
    took_s = now.monotonic_s - build.began_s
    began_at_s = now.epoch_s(build.began_s)
    return BuiltBy(build.id, build.reason, began_at_s, took_s, "running", None, build.overtaken_by, waited)


def _past(build: PastBuild, now: Moment) -> BuiltBy:
    began_at_s = None if build.began_s is None else now.epoch_s(build.began_s)
    return BuiltBy(
        build.id,
        build.reason,
        began_at_s,
        build.took_s,
        build.outcome,
        build.why,
        build.overtaken_by,
        build.waited,
        build.sent_on,
    )
