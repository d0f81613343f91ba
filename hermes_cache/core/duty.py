"""Duty: the cost of refreshes bounds how often they come.

After a refresh that took d, the next of its scope waits d x (1 / max_build_duty - 1), `duty_window` at most. What
is asked for meanwhile is remembered, starts together when the pause is over, and counts as one.
Source: rule B9.
"""

from dataclasses import replace

from hermes_cache.core.requests import Request
from hermes_cache.core.state import Build, Read, Target
from hermes_cache.core.transitions import ScopeMoved, scope_of
from hermes_cache.core.turn import Turn


def is_paused(turn: Turn, target: Target) -> bool:
    """Say whether refreshes of a scope are held back now."""
    scope = scope_of(turn.state, target)
    return turn.policy.max_build_duty < 1 and (bool(scope.refreshing) or turn.now_s < scope.pause_until_s)


def hold_back(turn: Turn, target: Target, builder: object = None) -> None:
    """Remember that a key was asked for; the end of the pause refreshes it, with the newest reader's builder."""
    scope = scope_of(turn.state, target)
    held = scope.held_back.get(target.key)
    if held is None or held.request.builder is not builder:
        asked = Read(None, target, Request(turn.now_s, builder=builder))
        turn.record(ScopeMoved(replace(scope, held_back={**scope.held_back, target.key: asked})))


def join(turn: Turn, build: Build) -> None:
    """Count a queued build to its scope's refresh."""
    scope = scope_of(turn.state, build.target)
    turn.record(ScopeMoved(replace(scope, refreshing=scope.refreshing | {build.id})))


def begin(turn: Turn, build: Build) -> None:
    """Let the refresh begin with its first build."""
    scope = scope_of(turn.state, build.target)
    if scope.refresh_began_s is None:
        turn.record(ScopeMoved(replace(scope, refresh_began_s=turn.now_s)))


def leave(turn: Turn, build: Build) -> None:
    """Take an ended build out of the refresh; the last one starts the pause."""
    scope = scope_of(turn.state, build.target)
    rest = scope.refreshing - {build.id}
    if rest or build.id not in scope.refreshing:
        turn.record(ScopeMoved(replace(scope, refreshing=rest)))
        return
    took_s = turn.now_s - (turn.now_s if scope.refresh_began_s is None else scope.refresh_began_s)
    # A refresh that nothing holds back may end within the pause of a costlier one.
    pause_until_s = max(scope.pause_until_s, turn.now_s + turn.policy.duty_pause_s(took_s))
    over = replace(scope, refreshing=rest, refresh_began_s=None, pause_until_s=pause_until_s)
    turn.record(ScopeMoved(over))
