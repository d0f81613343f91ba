"""Checking: when the sources of a scope are looked at, and which readers wait for that.

A scope is checked while it is read, at most once per `stamp_interval`, and not at all while it is not read. It has
one check out at a time. `health()` names one that fails or is not back in time; the next is asked for after
a pause that grows with the failures. Source: rules S4, B3.
"""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Final

from hermes_cache.core.effects import TakeCheck
from hermes_cache.core.messages import Checked, CheckFailed, Notified
from hermes_cache.core.policy import Policy
from hermes_cache.core.state import (
    CHECK_TIMEOUT_S,
    NO_WAITERS,
    CheckFailure,
    ScopeState,
    Target,
    Waiter,
    Waiters,
)
from hermes_cache.core.transitions import ScopeMoved, newer, scope_of
from hermes_cache.core.turn import Turn

Resume = Callable[[Turn, Waiter], None]
"""What a waiting read does next."""

_LEAST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
"""The pause after a failed check doubles from the stamp interval, or the first, to the second."""


def want_check(turn: Turn, target: Target, *, at_once: bool = False) -> None:
    """See that a check of a key's scope comes, unless one is under way.

    Args:
        turn: The turn that decides it.
        target: One of the scope's keys.
        at_once: A reader insists on a check that begins now: it does not wait for the interval.
    """
    if not target.watched:
        return
    scope = scope_of(turn.state, target)
    if scope.asked_s is not None:
        return
    due_s = turn.now_s if at_once else max(turn.now_s, _earliest_s(scope, turn.policy))
    if due_s <= turn.now_s:
        take_check(turn, scope)
    elif due_s < scope.due_s:
        turn.record(ScopeMoved(replace(scope, due_s=due_s)))


def notified(turn: Turn, message: Notified) -> None:
    """Check a followed scope whose sources may have moved: now, or once the check that is out is back (X10)."""
    keys = turn.state.followed_by_scope.get(message.scope)
    if not keys:
        return
    target = turn.state.followed[next(iter(keys))].target
    scope = scope_of(turn.state, target)
    if scope.asked_s is not None:
        turn.record(ScopeMoved(replace(scope, is_notified=True)))
    want_check(turn, target)


def no_check_will_come_in_time(turn: Turn, target: Target) -> bool:
    """Say whether no check can come be back in time: the one that is out hangs, or the last failed."""
    scope = scope_of(turn.state, target)
    return scope.is_late or (scope.failure is not None and scope.asked_s is None)


def take_check(turn: Turn, scope: ScopeState) -> None:
    """Begin a check."""
    turn.record(ScopeMoved(replace(scope, asked_s=turn.now_s, due_s=inf)))
    turn.do(TakeCheck(scope.target, turn.state.streams, turn.state.settings, turn.now_s))


def give_up_check(turn: Turn, scope: ScopeState) -> None:
    """Count the check that is out as failed; it still counts if it comes back."""
    failure = _failed_again(turn, scope, f"it was not back after {CHECK_TIMEOUT_S:g} s")
    turn.record(ScopeMoved(replace(scope, is_late=True, failure=failure)))


def checked(turn: Turn, message: Checked, resume: Resume) -> None:
    """Take in a check, let the readers go on that waited for one, and see to the next."""
    if turn.state.stopped:
        return
    scope = scope_of(turn.state, message.target)
    waiting = turn.state.for_check(message.target)
    latest = message.check if newer(message.check, scope.check) else scope.check
    is_back = _is_back(scope, message)
    if is_back or (scope.failure and not scope.is_late and message.check.began_s > scope.failure.at_s):
        scope = replace(scope, failure=None)
    if is_back:
        again = _is_read(turn, message, waiting) or scope.is_notified
        due_s = message.check.began_s + turn.policy.stamp_interval if again else scope.due_s
        due_s = min(due_s, _followers_look_s(turn, scope, message.check.began_s))
        scope = replace(scope, asked_s=None, is_late=False, is_notified=False, due_s=due_s)
    turn.record(ScopeMoved(replace(scope, check=latest)))
    _go_on(turn, waiting, resume)


def check_failed(turn: Turn, message: CheckFailed, resume: Resume) -> None:
    """Take in that a check failed: readers that waited for it go by the last one, and the next is asked for."""
    if turn.state.stopped:
        return
    scope = scope_of(turn.state, message.target)
    failure = replace(scope.failure, why=message.why) if scope.is_late and scope.failure else None
    failure = failure or _failed_again(turn, scope, message.why)
    scope = replace(scope, failure=failure)
    waiting = NO_WAITERS
    if _is_back(scope, message):
        waiting = turn.state.for_check(message.target)
        again = _is_read(turn, message, waiting) or scope.is_notified
        due_s = _earliest_s(scope, turn.policy) if again else scope.due_s
        due_s = min(due_s, max(_followers_look_s(turn, scope, turn.now_s), _earliest_s(scope, turn.policy)))
        scope = replace(scope, asked_s=None, is_late=False, is_notified=False, due_s=due_s)
    turn.record(ScopeMoved(scope))
    _go_on(turn, waiting, lambda turn, waiter: resume(turn, replace(waiter, check_by_s=-inf)))


def _earliest_s(scope: ScopeState, policy: Policy) -> float:
    """Return the moment before which no check is begun unless a read insists."""
    earliest_s = scope.check.began_s + policy.stamp_interval if scope.check else -inf
    if scope.failure is None:
        return earliest_s
    first_s = max(policy.stamp_interval, _LEAST_PAUSE_S)
    pause_s = min(first_s * float(2 ** min(scope.failure.count - 1, 10)), max(first_s, _LONGEST_PAUSE_S))
    return max(earliest_s, scope.failure.at_s + pause_s)


def _followers_look_s(turn: Turn, scope: ScopeState, since_s: float) -> float:
    """Return when a check is due for followers (R13); infinity if none of the scope's keys is followed."""
    is_followed = scope.target.scope in turn.state.followed_by_scope
    return since_s + max(turn.policy.follow_interval, turn.policy.stamp_interval) if is_followed else inf


def _is_read(turn: Turn, message: Checked | CheckFailed, waiting: Waiters) -> bool:
    """Say whether the scope is read so that another check is to follow by itself."""
    return (message.read_since or bool(waiting)) and turn.policy.stamp_interval > 0


def _failed_again(turn: Turn, scope: ScopeState, why: str) -> CheckFailure:
    return CheckFailure(scope.failure.count + 1 if scope.failure else 1, turn.now_s, why)


def _is_back(scope: ScopeState, message: Checked | CheckFailed) -> bool:
    """Say whether a message is of the check that is out: another may come late, and twice."""
    return not message.by_build and message.asked_s in (None, scope.asked_s)


def _go_on(turn: Turn, waiting: Waiters, resume: Resume) -> None:
    for waiter in turn.dismiss(waiting.values()):
        resume(turn, waiter)
