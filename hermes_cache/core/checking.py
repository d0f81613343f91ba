"""Checking: when the sources of a scope are looked at, and who waits for that.

A scope is checked while it is read, at most once per `stamp_interval`, and not at all when nobody reads.
Source: rules S4, B3.
"""

from collections.abc import Callable
from dataclasses import replace
from math import inf

from hermes_cache.core.effects import TakeCheck
from hermes_cache.core.messages import Checked
from hermes_cache.core.state import ScopeState, State, Target, Waiter
from hermes_cache.core.transitions import ScopeMoved, newer, scope_of
from hermes_cache.core.turn import Turn


def want_check(turn: Turn, target: Target, *, at_once: bool = False) -> None:
    """See that a check of a key's scope comes, unless one is under way.

    Args:
        turn: Where.
        target: One of the scope's keys.
        at_once: Somebody insists on one begun from now on: it does not wait for the interval.
    """
    if not target.watched:
        return
    scope = scope_of(turn.state, target)
    if scope.asked_s is not None:
        return
    due_s = scope.check.began_s + turn.policy.stamp_interval if scope.check and not at_once else turn.now_s
    if due_s <= turn.now_s:
        take_check(turn, scope)
    elif due_s < scope.due_s:
        turn.record(ScopeMoved(replace(scope, due_s=due_s)))


def take_check(turn: Turn, scope: ScopeState) -> None:
    """Begin a check."""
    turn.record(ScopeMoved(replace(scope, asked_s=turn.now_s, due_s=inf)))
    turn.do(TakeCheck(scope.target, turn.state.streams, turn.state.settings))


def checked(turn: Turn, message: Checked, resume: Callable[[Turn, Waiter], None]) -> None:
    """Take in a check, let those go on that waited for one, and see to the next.

    Args:
        turn: Where.
        message: The check.
        resume: What a waiting read does next.
    """
    if turn.state.stopped:
        return
    scope = scope_of(turn.state, message.target)
    waiting = _waiting(turn.state, message.target)
    again = not message.by_build and (message.read_since or bool(waiting)) and turn.policy.stamp_interval > 0
    due_s = message.check.began_s + turn.policy.stamp_interval if again else scope.due_s
    latest = message.check if newer(message.check, scope.check) else scope.check
    asked_s = scope.asked_s if message.by_build else None
    turn.record(ScopeMoved(replace(scope, check=latest, asked_s=asked_s, due_s=due_s)))
    for waiters in waiting:
        turn.dismiss(waiters)
        for waiter in waiters:
            resume(turn, waiter)


def _waiting(state: State, target: Target) -> list[list[Waiter]]:
    by_key = (waiters for waiters in state.waiters.values() if waiters[0].read.target.scope == target.scope)
    waiting = [[waiter for waiter in waiters if waiter.awaits == "check"] for waiters in by_key]
    return [waiters for waiters in waiting if waiters]
