"""Followed keys: what happens to them, each with the state that it makes.

They are found by reach, for events, by scope, for checks, and by the moment when they are due. So with nobody
following, and for the keys that nothing concerns, they cost nothing. Source: rules R13, B5.
"""

from dataclasses import dataclass, replace
from typing import Final

from hermes_cache.core.state import Entry, Followed, State
from hermes_cache.core.tables import with_name, without_name
from hermes_cache.payload.content import Content

_NOTHING: Final = Content(b"{}", None)


def without_content(entry: Entry) -> Entry:
    """Return an entry without its content, to remember that it was delivered: that must not keep its rows."""
    return replace(entry, content=_NOTHING)


@dataclass(frozen=True, slots=True)
class FollowedMoved:
    """Keys are followed, or something about them changed.

    Attributes:
        followed: What is known of each key now.
    """

    followed: tuple[Followed, ...]

    def apply(self, state: State) -> State:
        """Return the state after it, as every `apply` here."""
        by_reach, by_scope, timers = state.followed_by_reach, state.followed_by_scope, state.follow_timers
        for followed in self.followed:
            target = followed.target
            known = state.followed.get(target.key)
            if known is None:
                by_reach = with_name(by_reach, target.reach, target.key)
                by_scope = with_name(by_scope, target.scope, target.key)
            elif known.due_s != followed.due_s:
                timers = timers.without(known.due_s, known.number)
            if known is None or known.due_s != followed.due_s:
                timers = timers.with_one(followed.due_s, followed.number, target.key)
        return replace(
            state,
            followed=state.followed.with_all({followed.target.key: followed for followed in self.followed}),
            followed_by_reach=by_reach,
            followed_by_scope=by_scope,
            follow_timers=timers,
            last_followed=max(state.last_followed, *[followed.number for followed in self.followed]),
            wake_at_s=min(state.wake_at_s, *[followed.due_s for followed in self.followed]),
        )


@dataclass(frozen=True, slots=True)
class Unfollowed:
    """The last follower of a key left."""

    followed: Followed

    def apply(self, state: State) -> State:  # noqa: D102 - see `FollowedMoved.apply`
        followed, target = self.followed, self.followed.target
        return replace(
            state,
            followed=state.followed.without([target.key]),
            followed_by_reach=without_name(state.followed_by_reach, target.reach, target.key),
            followed_by_scope=without_name(state.followed_by_scope, target.scope, target.key),
            follow_timers=state.follow_timers.without(followed.due_s, followed.number),
        )
