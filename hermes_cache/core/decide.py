"""Decide: the law of the cache, as one pure function.

`decide(state, message, now)` returns the state after, the transitions that make it, and the effects to run. What
is due by now is done before the message is looked at, so a message never sees a state that a late timer should
have ended. Nothing here knows a clock, a thread or a file.
"""

from collections.abc import Hashable
from dataclasses import replace
from math import inf
from typing import assert_never

from hermes_cache.core import duty
from hermes_cache.core.answering import standing_failure
from hermes_cache.core.building import abandon_overdue, built, failed, request_build
from hermes_cache.core.checking import check_failed, checked, give_up_check, notified, take_check
from hermes_cache.core.effects import Deliver
from hermes_cache.core.events import SessionListChanged, SettingsChanged, StreamStarted, StreamStopped
from hermes_cache.core.following import follow, look_at_concerned, look_at_due, meet_needs, needs_of, unfollow
from hermes_cache.core.freshness import judge, reason_of, refresh_for
from hermes_cache.core.messages import (
    Built,
    Checked,
    CheckFailed,
    Evict,
    Failed,
    Follow,
    Leave,
    Message,
    Notified,
    Publish,
    Put,
    Stop,
    Tick,
    Unfollow,
    Weighed,
)
from hermes_cache.core.policy import Policy
from hermes_cache.core.putting import evict, put
from hermes_cache.core.reading import expire, read, serve
from hermes_cache.core.record import Touch
from hermes_cache.core.requests import Request
from hermes_cache.core.state import HeldBack, Read, Refresh, State
from hermes_cache.core.storing import due_again_s, send_delayed_news, weighed
from hermes_cache.core.streams import Said, Streams
from hermes_cache.core.tables import Table
from hermes_cache.core.transitions import (
    CacheStopped,
    ListsOutdated,
    Rearmed,
    ScopeMoved,
    StreamMoved,
    StreamsExpired,
)
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
    if turn.state.followed:
        look_at_concerned(turn, state)
    return turn.decision()


def next_wake_s(state: State, policy: Policy) -> float:
    """Return the moment of the first timer; infinity if none is set."""
    ends = [build.began_s + policy.build_timeout for build in state.builds.values() if build.began_s is not None]
    news = [due_again_s(news) for news in state.news.values()]
    timers = (state.deadlines, state.scope_timers, state.follow_timers)
    return min((*ends, *news, *[timer.first_s() for timer in timers], state.streams.next_expiry_s()))


def _take_in(turn: Turn, message: Message) -> None:
    match message:
        case Read():
            read(turn, message)
        case Publish():
            _publish(turn, message)
        case Checked():
            checked(turn, message, serve)
        case CheckFailed():
            check_failed(turn, message, serve)
        case Built():
            built(turn, message)
        case Failed():
            failed(turn, message)
        case Leave():
            _leave(turn, message)
        case _:
            _take_in_rarer(turn, message)


def _take_in_rarer(
    turn: Turn, message: Follow | Unfollow | Notified | Put | Evict | Weighed | Tick | Stop
) -> None:
    match message:
        case Follow() | Unfollow():
            _take_in_of_follower(turn, message)
        case Notified():
            notified(turn, message)
        case Put():
            put(turn, message)
        case Evict():
            evict(turn, message)
        case Weighed():
            weighed(turn, message)
        case Stop():
            _stop(turn)
        case Tick():
            return
        case _:
            assert_never(message)


def _take_in_of_follower(turn: Turn, message: Follow | Unfollow) -> None:
    match message:
        case Follow():
            follow(turn, message)
        case Unfollow():
            unfollow(turn, message)
        case _:
            assert_never(message)


def _pass_time(turn: Turn) -> None:
    """Do what is due (H4, B6, R4 to R6, S4, B9, E9), and find the next timer."""
    if turn.state.streams.next_expiry_s() <= turn.now_s:
        turn.record(StreamsExpired(turn.now_s))
    abandon_overdue(turn)
    _expire_waiters(turn)
    _run_scope_timers(turn)
    send_delayed_news(turn)
    look_at_due(turn)
    turn.record(Rearmed(next_wake_s(turn.state, turn.policy)))


def _expire_waiters(turn: Turn) -> None:
    due = map(turn.state.waiter_of, turn.state.deadlines.due(turn.now_s))
    for waiter in turn.dismiss(filter(None, due)):
        expire(turn, waiter)


def _run_scope_timers(turn: Turn) -> None:
    for name in turn.state.scope_timers.due(turn.now_s):
        scope = turn.state.scopes[name]
        if scope.due_s <= turn.now_s:
            take_check(turn, turn.state.scopes[scope.target.scope])
        if scope.give_up_at_s() <= turn.now_s:
            give_up_check(turn, turn.state.scopes[scope.target.scope])
        if scope.release_at_s() <= turn.now_s:
            _release(turn, scope.target.scope)


def _release(turn: Turn, name: object) -> None:
    """Refresh together the keys that were asked for while refreshes were held back, if they still need it (B9)."""
    scope = turn.state.scopes[name]
    turn.record(ScopeMoved(replace(scope, held_back=Table(), held_for=None)))
    needs = needs_of(turn, scope.held_back)
    for held in scope.held_back.values():
        if held.refresh is Refresh.EVENT:
            continue
        if scope.held_for is not Refresh.SOURCE and duty.is_held_back(turn, held.target, held.refresh):
            duty.hold_back(turn, [held])
        else:
            _refresh_if_stale(turn, held)
    meet_needs(turn, needs)


def _refresh_if_stale(turn: Turn, held: HeldBack) -> None:
    target, request = held.target, Request(turn.now_s, builder=held.builder)
    reason = reason_of(judge(turn.state, turn.policy, target, request, turn.now_s, check_by_s=-inf))
    forbidden = target.key in turn.state.builds or standing_failure(turn, target) is not None
    if not forbidden and reason in ("age", "source"):
        refresh = refresh_for(turn.state, target, reason)
        request_build(turn, target, reason, refresh=refresh, request=request)


def _publish(turn: Turn, message: Publish) -> None:
    event, position, state = message.event, turn.state.position + 1, turn.state
    until_s = turn.now_s + turn.policy.stream_lease - message.age_s
    match event:
        case SessionListChanged():
            touch = Touch(position, event, message.profile)
            turn.record(ListsOutdated(touch, state.settings, _valid_keys(state, message.profile)))
        case SettingsChanged():
            touch = Touch(position, event, message.profile)
            turn.record(ListsOutdated(touch, state.settings + 1, _valid_keys(state, message.profile)))
        case StreamStarted():
            said = Said(event.session_id, event.at_s)
            streams = state.streams.start(
                event.stream_id, message.profile, position=position, until_s=until_s, said=said
            )
            _move_streams(turn, event, message.profile, streams, until_s)
        case StreamStopped():
            known = state.streams.active.get(event.stream_id)
            streams = state.streams.stop(event.stream_id, position=position, until_s=until_s)
            _move_streams(turn, event, known.profile if known else None, streams, until_s)
        case _:
            assert_never(event)


def _valid_keys(state: State, profile: str | None) -> tuple[Hashable, ...]:
    """Return the keys of the payloads that an event of a profile, or of all (None), outdates now."""
    reaches = state.held_of.keys() if profile is None else (profile, ALL_PROFILES)
    held = [state.entries[key] for reach in reaches for key in state.held_of.get(reach, ())]
    return tuple([entry.target.key for entry in held if entry.version >= state.versions.of(entry.target.reach)])


def _move_streams(
    turn: Turn, event: StreamStarted | StreamStopped, profile: str | None, streams: Streams, until_s: float
) -> None:
    position = turn.state.position + 1
    # A start that names another profile than the one before touches all.
    touched = None if streams.moves.everything == position else profile
    turn.record(StreamMoved(Touch(position, event, touched), streams, until_s))


def _leave(turn: Turn, message: Leave) -> None:
    turn.dismiss(filter(None, [turn.state.waiter_of(message.read)]))


def _stop(turn: Turn) -> None:
    for followed in turn.state.followed.values():
        turn.do(Deliver(followed.followers, followed.target.key, CacheStoppedError()))
    turn.record(CacheStopped())
    for waiter in turn.dismiss(turn.state.all_waiters()):
        turn.answer(waiter.read, CacheStoppedError())
