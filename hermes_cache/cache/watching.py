"""Watching: the part of a cache that hears of moved sources, so that nobody must poll.

A watch runs while somebody follows a view or subscribes. What it says has the sources checked. If they moved,
followed keys are built, and subscribers hear of rows that moved. While somebody subscribes, the view of each scope
that was built last is followed here too, as only a build tells whether rows moved. No lock is held: a finalizer or
a signal handler may subscribe at any moment. Source: rules X10, E9, R13.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Sized
from contextlib import suppress
from dataclasses import replace
from typing import Final

from hermes_cache.bus.feed import Feed
from hermes_cache.cache.life import Life
from hermes_cache.core.messages import Follow, Notified, Unfollow
from hermes_cache.core.policy import Policy
from hermes_cache.core.state import State, Target
from hermes_cache.errors import CacheStoppedError
from hermes_cache.ports import RunningWatch, Watch
from hermes_cache.threads.callables import check_callable

_LOOKS_EVERY_S: Final = 5.0
"""Whatever a watch says, the sources of what is followed are checked so often (X10)."""


class Watching:
    """Keeps the watch of a cache.

    Args:
        watch: Begins it; None if the sources have none.
        life: Returns the life of the cache, if it has one.
        feed: Knows whether somebody subscribes.
        followers: Those who follow views.
    """

    def __init__(self, watch: Watch | None, life: Callable[[], Life | None], feed: Feed, followers: Sized) -> None:
        check_callable(watch, "watch")
        self._watch = watch
        self._life = life
        self._feed = feed
        self._followers = followers
        self._runs: dict[None, RunningWatch] = {}
        self._followed: dict[Hashable, Target] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the watch."""
        running = self._runs.get(None)
        trouble = running.trouble if running is not None else None
        return () if trouble is None else (trouble,)

    @property
    def _is_wanted(self) -> bool:
        return self._feed.has_subscribers or len(self._followers) > 0

    def check_policy(self, policy: Policy) -> Policy:
        """Return the policy by which sources are checked; with a watch, followed ones are seldom checked."""
        if self._watch is None:
            return policy
        return replace(policy, follow_interval=max(policy.follow_interval, _LOOKS_EVERY_S))

    def watch_wanted(self) -> None:
        """Begin to watch if somebody follows or subscribes, or have the scopes asked for anew; never waits."""
        if self._watch is None or self._life() is None or not self._is_wanted:
            return
        running = self._runs.get(None)
        if running is None:
            begun = self._watch(self._scopes, self._moved)
            running = self._runs.setdefault(None, begun)
            if running is begun:
                return
            # Another thread began one meanwhile.
            begun.close()
        running.scopes_changed()

    def watch_new_scopes(self) -> None:
        """Have the scope of a view that was just built watched, for those who subscribed before."""
        life = self._life()
        if self._watch is None or life is None or not self._feed.has_subscribers:
            return
        targets = [entry.target for entry in life.state.entries.values()]
        if any(target.watched and target.scope not in self._followed for target in targets):
            self.watch_wanted()

    def close(self) -> None:
        """End the watch, and follow nothing any more."""
        running = self._runs.pop(None, None)
        self._unfollow(list(self._followed.items()))
        if running is not None:
            running.close()

    def forget(self) -> None:
        """Begin anew in a forked child, where no thread watches."""
        self._runs = {}
        self._followed = {}

    def take(self, answer: object) -> None:
        """Take what is delivered to followers; nothing is to be done, as subscribers hear of rows that moved."""

    def _scopes(self) -> Collection[Hashable]:
        life = self._life()
        if life is None or not self._is_wanted:
            self.close()
            # Somebody may have come before the close, and found a watch that ran.
            self.watch_wanted()
            return ()
        with suppress(CacheStoppedError):
            self._follow_for_subscribers(life, life.state)
        followed = {*life.state.followed_by_scope, *self._followed}
        return {_of_sources(scope) for scope in followed}

    def _moved(self, names: Collection[Hashable]) -> None:
        life = self._life()
        if life is None:
            return
        for scope in life.state.followed_by_scope:
            if _of_sources(scope) in names:
                with suppress(CacheStoppedError):
                    life.tell(Notified(scope))

    def _follow_for_subscribers(self, life: Life, state: State) -> None:
        wanted: dict[Hashable, Target] = {}
        if self._feed.has_subscribers:
            entries = sorted(state.entries.values(), key=lambda entry: entry.build_id)
            wanted = {entry.target.scope: entry.target for entry in entries if entry.target.watched}
        followed = list(self._followed.items())
        self._unfollow([each for each in followed if each[0] not in wanted or each[1].key not in state.entries])
        for scope, target in wanted.items():
            if scope not in self._followed:
                self._followed[scope] = target
                life.tell(Follow(self, target, wants_events=False))

    def _unfollow(self, followed: Iterable[tuple[Hashable, Target]]) -> None:
        life = self._life()
        for scope, target in followed:
            self._followed.pop(scope, None)
            if life is not None:
                with suppress(CacheStoppedError):
                    life.tell(Unfollow(self, target))


def _of_sources(scope: Hashable) -> Hashable:
    """Return a scope as the sources name it; a target's scope is that with the target's reach."""
    return scope[1] if isinstance(scope, tuple) else scope
