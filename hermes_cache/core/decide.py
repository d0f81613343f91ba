"""Decide: the law of the cache, as one pure function.

`decide(state, message, now)` gives the state after, the transitions that make it, and the effects to run. Time
comes first: what is due is done before the message is looked at, so a late timer never lets a message see a world
that is over. Nothing here knows a clock, a thread or a file.
"""

from dataclasses import replace
from math import inf
from typing import assert_never

from hermes_cache.core.answering import standing_failure
from hermes_cache.core.building import abandon_overdue, built, failed, request_build
from hermes_cache.core.checking import check_failed, checked, give_up_check, take_check
from hermes_cache.core.effects import Tell
from hermes_cache.core.events import AppliedEvent, StreamStarted, StreamStopped
from hermes_cache.core.freshness import Verdict, judge
from hermes_cache.core.messages import (
    Built,
    Checked,
    CheckFailed,
    Failed,
    Leave,
    Message,
    Publish,
    Stop,
    Tick,
    Weighed,
)
from hermes_cache.core.notices import EntryInvalidated
from hermes_cache.core.policy import Policy
from hermes_cache.core.reading import expire, read, serve
from hermes_cache.core.state import Entry, Read, Reason, State
from hermes_cache.core.storing import again_at_s, tell_again, weighed
from hermes_cache.core.transitions import CacheStopped, EventApplied, Rearmed, ScopeMoved, StreamsExpired
from hermes_cache.core.turn import Decision, Turn
from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.errors import CacheStoppedError


def decide(state: State, message: Message, now_s: float, policy: Policy) -> Decision:
    """Say what a message does.

    Args:
        state: What the cache knows.
        message: What came in.
        now_s: Monotonic seconds, never less than at the message before.
        policy: The bounds and spans.
    """
    turn = Turn.over(state, policy, now_s)
    if now_s >= state.wake_at_s:
        _pass_time(turn)
    _take_in(turn, message)
    return turn.decision()


def next_wake_s(state: State, policy: Policy) -> float:
    """Return the moment of the first timer; infinity where none is set."""
    ends = [build.began_s + policy.build_timeout for build in state.builds.values() if build.began_s is not None]
    news = [again_at_s(told) or inf for told in state.told.values()]
    timers = (state.deadlines.first_s(), state.scope_timers.first_s(), state.streams.next_expiry_s())
    return min((*ends, *news, *timers))


def _take_in(turn: Turn, message: Message) -> None:
    match message:
        case Read():
            read(turn, message)
        case Publish():
            _publish(turn, message)
        case Checked():
            checked(turn, message, serve)
        case Built():
            built(turn, message)
        case _:
            _take_in_rarer(turn, message)


def _take_in_rarer(turn: Turn, message: CheckFailed | Failed | Leave | Weighed | Tick | Stop) -> None:
    match message:
        case CheckFailed():
            check_failed(turn, message, serve)
        case Failed():
            failed(turn, message)
        case Leave():
            _leave(turn, message)
        case Weighed():
            weighed(turn, message)
        case Stop():
            _stop(turn)
        case Tick():
            return
        case _:
            assert_never(message)


def _pass_time(turn: Turn) -> None:
    """Do what is due (H4, B6, R4 to R6, S4, B9, E9), and find the next timer."""
    if turn.state.streams.next_expiry_s() <= turn.now_s:
        turn.record(StreamsExpired(turn.now_s))
    abandon_overdue(turn)
    _expire_waiters(turn)
    _see_to_scopes(turn)
    tell_again(turn)
    turn.record(Rearmed(next_wake_s(turn.state, turn.policy)))


def _expire_waiters(turn: Turn) -> None:
    due = map(turn.state.waiter_of, turn.state.deadlines.due(turn.now_s))
    for waiter in turn.dismiss(filter(None, due)):
        expire(turn, waiter)


def _see_to_scopes(turn: Turn) -> None:
    for name in turn.state.scope_timers.due(turn.now_s):
        scope = turn.state.scopes[name]
        if scope.due_s <= turn.now_s:
            take_check(turn, turn.state.scopes[scope.target.scope])
        if scope.give_up_at_s() <= turn.now_s:
            give_up_check(turn, turn.state.scopes[scope.target.scope])
        if scope.release_at_s() <= turn.now_s:
            _release(turn, scope.target.scope)


def _release(turn: Turn, name: object) -> None:
    """Refresh together what was asked for while refreshes were held back, where it still needs it (B9)."""
    scope = turn.state.scopes[name]
    turn.record(ScopeMoved(replace(scope, held_back={})))
    for held in scope.held_back.values():
        target, request = held.target, replace(held.request, began_s=turn.now_s)
        verdict = judge(turn.state, turn.policy, target, request, turn.now_s, check_by_s=-inf)
        forbidden = target.key in turn.state.builds or standing_failure(turn, target) is not None
        if not forbidden and verdict in (Verdict.AGED, Verdict.MOVED):
            reason: Reason = "age" if verdict is Verdict.AGED else "source"
            request_build(turn, target, reason, refresh=True, builder=request.builder)


def _publish(turn: Turn, message: Publish) -> None:
    event, before = message.event, turn.state.versions
    turn.record(EventApplied(event, message.profile, _lease_end_s(turn, event, message.age_s)))
    after, position = turn.state.versions, turn.state.position
    if after is before:
        return
    for entry in _touched(turn.state, message.profile):
        reach = entry.target.reach
        if after.of(reach) == position and entry.version >= before.of(reach):
            turn.do(Tell(EntryInvalidated(entry.target.key, event.id)))


def _touched(state: State, profile: str | None) -> list[Entry]:
    if profile is None:
        return list(state.entries.values())
    both = (state.held_of.get(reach) for reach in (profile, ALL_PROFILES))
    return [state.entries[key] for keys in both for key in keys or ()]


def _lease_end_s(turn: Turn, event: AppliedEvent, age_s: float) -> float:
    if isinstance(event, StreamStarted | StreamStopped):
        return turn.now_s + turn.policy.stream_lease - age_s
    return inf


def _leave(turn: Turn, message: Leave) -> None:
    turn.dismiss(filter(None, [turn.state.waiter_of(message.read)]))


def _stop(turn: Turn) -> None:
    turn.record(CacheStopped())
    for waiter in turn.dismiss(turn.state.all_waiters()):
        turn.answer(waiter.read, CacheStoppedError())
