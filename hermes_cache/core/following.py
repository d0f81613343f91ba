"""Following: a followed key is read again whenever something says that there may be more to read.

It is looked at when an event, a stream, a check or the end of a build concerns it, and when its own timer is due.
If what was delivered last is outdated, it is built: at once after a calm, then no sooner than the pause of rule B9
after the end of the last build that only followers waited for. A build that readers wait for is not held back, and
serves the followers, too. So a follower has what an event changed after two builds at most. Source: rule R13.
"""

from collections.abc import Hashable, Iterable
from dataclasses import replace
from math import inf
from typing import Final, NamedTuple

from hermes_cache.core import duty
from hermes_cache.core.answering import deliver, retry_at_s, standing_failure
from hermes_cache.core.building import Wanted, hanging_error, queue_builds, too_many_hang
from hermes_cache.core.checking import want_check
from hermes_cache.core.effects import Deliver, Served
from hermes_cache.core.followed import FollowedMoved, Unfollowed, without_content
from hermes_cache.core.freshness import has_moved_since, refresh_for
from hermes_cache.core.messages import Follow, Unfollow
from hermes_cache.core.state import Followed, HeldBack, Reason, Refresh, State
from hermes_cache.core.tables import Table
from hermes_cache.core.transitions import (
    Ended,
    ListsOutdated,
    ScopeMoved,
    StreamMoved,
    StreamsExpired,
    Transition,
    scope_of,
)
from hermes_cache.core.turn import Turn
from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.errors import CacheStoppedError

_LEAST_AGE_S: Final = 1.0
"""However short the TTL, and however long the interval of looks, followers are refreshed by age no sooner."""

_PACED: Final = (Refresh.EVENT, Refresh.SOURCE)
"""What the pause after a build that only followers waited for holds back."""


class Need(NamedTuple):
    """What is to be done for a followed key.

    Attributes:
        followed: What is known of the key now.
        wanted: The build that it needs now; None if it needs none, or may have none yet.
        held_back: The build that it needs once a pause is over (B9); None if none is held back.
        due_s: When it must be looked at again though nothing happens.
    """

    followed: Followed
    wanted: Wanted | None = None
    held_back: HeldBack | None = None
    due_s: float = inf


def follow(turn: Turn, message: Follow) -> None:
    """Add a follower to a key.

    What is held is delivered to a new follower: its first read may have got an older one from memory.
    """
    target, state = message.target, turn.state
    if state.stopped:
        turn.do(Deliver((message.follower,), target.key, CacheStoppedError()))
        return
    entry, followed = state.entry_of(target), state.followed.get(target.key)
    if followed is None:
        delivered = without_content(entry) if entry else None
        followed = Followed(target, Table(), delivered=delivered, number=state.last_followed + 1)
    if followed.target != target:
        # Settings changed, and the key has another scope since.
        turn.record(Unfollowed(followed))
        followed = replace(followed, target=target)
    if entry is not None and message.follower not in followed.followers:
        turn.do(Deliver((message.follower,), target.key, Served(entry, "hit")))
    followers = followed.followers.with_one(message.follower, message.wants_events)
    builder = message.builder or followed.builder
    may_miss = message.may_miss_events
    followed = replace(followed, followers=followers, builder=builder, may_miss_events=may_miss)
    turn.record(FollowedMoved((followed,)))
    want_check(turn, target)


def unfollow(turn: Turn, message: Unfollow) -> None:
    """Take a follower from a key."""
    followed = turn.state.followed.get(message.target.key)
    if followed is None or message.follower not in followed.followers:
        return
    left = followed.followers.without([message.follower])
    turn.record(FollowedMoved((replace(followed, followers=left),)) if left else Unfollowed(followed))


def look_at_concerned(turn: Turn, before: State) -> None:
    """Look at the followed keys that this turn concerns.

    Args:
        turn: The turn, at its end.
        before: The state at its beginning.
    """
    concerned: dict[Hashable, None] = {}
    for happened in tuple(turn.transitions):
        keys = [key for key in _concerned(turn.state, before, happened) if key in turn.state.followed]
        concerned.update(dict.fromkeys(keys))
        if isinstance(happened, StreamMoved | StreamsExpired):
            for key in keys:
                turn.do(Deliver(turn.state.followed[key].followers, key, None))
    meet_needs(turn, needs_of(turn, concerned))


def look_at_due(turn: Turn) -> None:
    """Look at the followed keys that are due."""
    meet_needs(turn, needs_of(turn, turn.state.follow_timers.due(turn.now_s)))


def needs_of(turn: Turn, keys: Iterable[Hashable]) -> list[Need]:
    """Say what the followed ones of some keys need; all are judged before one is built, so they go together."""
    known = turn.state.followed
    needs = [_need_of(turn, known[key]) for key in keys if key in known]
    _note(turn, [need.followed for need in needs])
    duty.hold_back(turn, [need.held_back for need in needs if need.held_back is not None])
    return needs


def meet_needs(turn: Turn, needs: list[Need]) -> None:
    """Build the keys that need it, and note when each key must be looked at again."""
    wanted = [need.wanted for need in needs if need.wanted is not None]
    queue_builds(turn, [each for each in wanted if each.target.key not in turn.state.builds])
    for_later = [(turn.state.followed[need.followed.target.key], need.due_s) for need in needs]
    _note(turn, [replace(followed, due_s=due_s) for followed, due_s in for_later if followed.due_s != due_s])


def _note(turn: Turn, followed: list[Followed]) -> None:
    """Take over what changed about keys, in one step: there may be a thousand of one scope."""
    known = turn.state.followed
    moved = tuple([each for each in followed if each is not known[each.target.key]])
    if moved:
        turn.record(FollowedMoved(moved))


def _need_of(turn: Turn, followed: Followed) -> Need:
    target, state = followed.target, turn.state
    is_building = target.key in state.builds
    # If its build is under way or queued, whatever else happened asks for no more.
    reason = None if is_building and followed.needed is not None else _reason_for(turn, followed)
    if reason is not None and followed.needed is None:
        followed = replace(followed, needed=state.version_of(target))
    if is_building:
        return Need(followed)
    if reason is None:
        return Need(followed, due_s=_ages_at_s(turn, followed))
    failure = standing_failure(turn, target)
    if failure is not None:
        return Need(followed, due_s=retry_at_s(state, failure, target))
    refresh = _refresh_for(state, followed, reason)
    held_by = Refresh.EVENT if refresh in _PACED else refresh
    if held_by is not None and duty.is_held_back(turn, target, held_by):
        return Need(followed, held_back=HeldBack(target, held_by, followed.builder))
    if too_many_hang(turn):
        deliver(turn, target, hanging_error(turn, target))
        return Need(followed, due_s=turn.now_s + turn.policy.retry_delay_max)
    return Need(followed, Wanted(target, reason, refresh, followed.builder))


def _reason_for(turn: Turn, followed: Followed) -> Reason | None:
    """Say why a key must be built for its followers; None if they have what a read would get."""
    state, target, delivered = turn.state, followed.target, followed.delivered
    if delivered is not None and delivered.stamp.marker != state.marker_of(target):
        # First: the start and the stop of a stream are not held back, also if an event is.
        return "source"
    if delivered is None or delivered.version < state.version_of(target):
        wanted = any(followed.followers.values())
        return ("miss" if delivered is None else "event") if wanted else None
    if has_moved_since(state, target, delivered):
        return "source"
    return "age" if turn.now_s >= _ages_at_s(turn, followed) else None


def _ages_at_s(turn: Turn, followed: Followed) -> float:
    """Return when what was delivered is too old; infinity if a change of its sources would be noticed."""
    state, policy, target, delivered = turn.state, turn.policy, followed.target, followed.delivered
    if delivered is None or delivered.version < state.version_of(target):
        return inf
    is_held = delivered.stamp.marker.held
    is_blind = not target.watched or scope_of(state, target).failure is not None or followed.may_miss_events
    if not (is_held or is_blind):
        return inf
    return delivered.built_at_s + max(policy.ttl_s(streaming=is_held), min(policy.follow_interval, _LEAST_AGE_S))


def _refresh_for(state: State, followed: Followed, reason: Reason) -> Refresh | None:
    match reason:
        case "miss":
            return None
        case "event":
            return Refresh.EVENT
        case "source" | "age":
            return refresh_for(state, followed.target, reason, replaced=followed.delivered)


def _concerned(state: State, before: State, happened: Transition) -> Iterable[Hashable]:
    """Return the keys that something concerns; those that are not followed may be among them."""
    match happened:
        case ListsOutdated(touch=touch) | StreamMoved(touch=touch):
            return _of_profile(state, touch.profile)
        case StreamsExpired():
            return state.followed
        case ScopeMoved(scope=scope):
            known = before.scopes.get(scope.target.scope)
            is_news = known is None or known.check is not scope.check or known.failure is not scope.failure
            return state.followed_by_scope.get(scope.target.scope, ()) if is_news else ()
        case Ended(key=key):
            return (key,)
        case FollowedMoved(followed=followed):
            return [each.target.key for each in followed]
        case _:
            return ()


def _of_profile(state: State, profile: str | None) -> Iterable[Hashable]:
    reaches = state.followed_by_reach if profile is None else (profile, ALL_PROFILES)
    return [key for reach in reaches for key in state.followed_by_reach.get(reach, ())]
