"""Duty: the cost of refreshes bounds how often they come.

The refreshes of one scope that run at one time count as one. After one that took d, a pause begins that takes
d x (1 / max_build_duty - 1), `duty_window` at most. A refresh by source holds back the next ones by source and by
age; one by age holds back only those by age, so the first change after a calm is built at once. The refresh for a
stream's stop begins no pause, as the turn's last commit comes after it; but one that ran within the pause of
another stop's does. What is asked for in a pause starts together when the pause is over. A build after an event
that only followers wait for begins a pause for such builds alone. Source: rules B9, R3, R13.
"""

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Final, TypeVar, assert_never

from hermes_cache.core.state import Build, HeldBack, Refresh, ScopeState, Target
from hermes_cache.core.transitions import ScopeMoved, scope_of
from hermes_cache.core.turn import Turn

_BY_STRENGTH: Final = (Refresh.AGE, Refresh.EVENT, Refresh.SOURCE)
"""What may be held back; of what one key, or one scope, is asked for, the last of these counts."""

T = TypeVar("T", Build, HeldBack)


def is_held_back(turn: Turn, target: Target, refresh: Refresh) -> bool:
    """Say whether a refresh of a key has to wait."""
    if turn.policy.max_build_duty >= 1:
        return False
    scope = scope_of(turn.state, target)
    match refresh:
        case Refresh.AGE:
            return bool(scope.refreshing) or turn.now_s < max(scope.pause_until_s, scope.age_pause_until_s)
        case Refresh.SOURCE:
            return scope.is_refreshed_by_source() or turn.now_s < scope.pause_until_s
        case Refresh.EVENT:
            return turn.now_s < scope.followers_pause_until_s()
        case Refresh.URGENT | Refresh.STOP:
            return False
        case _:
            assert_never(refresh)


def hold_back(turn: Turn, asked: Iterable[HeldBack]) -> None:
    """Remember what was asked for; the end of the pause refreshes it, with the newest reader's builder of each."""
    for of_scope in _by_scope(asked):
        scope = scope_of(turn.state, of_scope[0].target)
        news: dict[Hashable, HeldBack] = {}
        for held in of_scope:
            known = scope.held_back.get(held.target.key)
            strongest = held if known is None else replace(held, refresh=_strongest(known.refresh, held.refresh))
            if strongest != known:
                news[held.target.key] = strongest
        if news:
            held_for = _strongest(*[held.refresh for held in news.values()], scope.held_for)
            held_back = scope.held_back.with_all(news)
            turn.record(ScopeMoved(replace(scope, held_back=held_back, held_for=held_for)))


def join(turn: Turn, builds: Iterable[Build]) -> None:
    """Count queued builds to the refreshes of their scopes."""
    for of_scope in _by_scope(builds):
        scope = scope_of(turn.state, of_scope[0].target)
        refreshing = scope.refreshing.union([build.id for build in of_scope])
        kinds = scope.refreshing_by.union([build.refresh for build in of_scope if build.refresh])
        turn.record(ScopeMoved(replace(scope, refreshing=refreshing, refreshing_by=kinds)))


def begin(turn: Turn, build: Build) -> None:
    """Let the refresh begin with its first build."""
    scope = scope_of(turn.state, build.target)
    if scope.refresh_began_s is None:
        turn.record(ScopeMoved(replace(scope, refresh_began_s=turn.now_s)))


def leave(turn: Turn, build: Build) -> None:
    """Take an ended build out of the refresh; the last one begins the pause."""
    scope = scope_of(turn.state, build.target)
    rest = scope.refreshing - {build.id}
    if rest or build.id not in scope.refreshing:
        turn.record(ScopeMoved(replace(scope, refreshing=rest)))
        return
    over = replace(_paused(turn, scope), refreshing=rest, refreshing_by=frozenset(), refresh_began_s=None)
    turn.record(ScopeMoved(over))


def _paused(turn: Turn, scope: ScopeState) -> ScopeState:
    """Return a scope with the pause that its refresh begins; it may end within the pause of a costlier one."""
    began_s = turn.now_s if scope.refresh_began_s is None else scope.refresh_began_s
    until_s = turn.now_s + turn.policy.duty_pause_s(turn.now_s - began_s)
    if Refresh.EVENT in scope.refreshing_by:
        scope = replace(scope, event_pause_until_s=max(scope.event_pause_until_s, until_s))
    if scope.refreshing_by == {Refresh.EVENT}:
        return scope
    if not scope.is_refreshed_by_source():
        if Refresh.STOP not in scope.refreshing_by:
            return replace(scope, age_pause_until_s=max(scope.age_pause_until_s, until_s))
        if began_s >= scope.stop_until_s:
            return replace(scope, stop_until_s=until_s)
        scope = replace(scope, stop_until_s=max(scope.stop_until_s, until_s))
    return replace(scope, pause_until_s=max(scope.pause_until_s, until_s))


def _by_scope(things: Iterable[T]) -> Iterable[list[T]]:
    groups: dict[Hashable, list[T]] = {}
    for thing in things:
        groups.setdefault(thing.target.scope, []).append(thing)
    return groups.values()


def _strongest(*asked_for: Refresh | None) -> Refresh:
    return max(filter(None, asked_for), key=_BY_STRENGTH.index)
