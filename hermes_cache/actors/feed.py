"""The feed: numbers what happens and hands it to the subscriptions of a cache.

Its law: telling takes microseconds, runs no foreign code and waits for no reader; what is held is bounded. The
lock is re-entrant: a finalizer or a signal handler may publish or close a subscription while its thread holds it.
Source: rules E7, E8.
"""

import weakref
from collections import OrderedDict, deque
from itertools import count
from threading import RLock
from typing import Final
from uuid import uuid4

from hermes_cache.actors.subscription import Subscription
from hermes_cache.core.changes import Change, change_of, merge_all
from hermes_cache.core.events import Event, EventId, StreamStarted, StreamStopped
from hermes_cache.forks import after_fork_in_child

_REFRESH: Final = "resumed"
"""The reason of the change that tells a subscriber to refresh since nobody knows what it missed."""


class Feed:
    """Gives every subscription the changes that concern it, and what a resumed one missed.

    A version is the feed's name and a number. Subscriptions are held weakly; the references to those that are gone
    or closed are dropped at the next `subscribe`. A forked child's copy closes them and is another feed, with a
    name of its own.

    Args:
        name: Names this incarnation in versions.
        size: Changes that a subscription holds before it merges.
        remembered: Changes, and starts of streams, that are kept for those who resume.
    """

    def __init__(self, name: str, *, size: int, remembered: int = 1024) -> None:
        self._name = name
        self._size = size
        self._remembered = remembered
        self._subscriptions: tuple[weakref.ref[Subscription], ...] = ()
        self._last_number = 0
        self._begin()
        after_fork_in_child(self._begin_in_child)

    @property
    def version(self) -> str:
        """The version of who has seen all so far."""
        return f"{self._name}:{self._last_number}"

    def tell(self, event: Event, profile: str | None) -> None:
        """Hand an event to the subscriptions that it concerns.

        Args:
            profile: The event's, as the cache knows it (rule K3); ignored for a stop, which has its start's.
        """
        with self._lock:
            number = next(self._numbers)
            change = change_of(event, number, self._profile_of(event, profile))
            self._last_number = max(self._last_number, number)
            self._history.append(change)
            for reference in self._subscriptions:
                if subscription := reference():
                    subscription.offer(change)

    def subscribe(self, profile: str | None = None, since: str | None = None) -> Subscription:
        """Open a subscription.

        Args:
            profile: Hear of this profile and of what concerns every profile; None for all.
            since: The last version that the subscriber saw: it gets what it missed as one change, or 'refresh
                everything' where that is not known. None for only what comes from now on.
        """
        with self._lock:
            seen = self._last_number if since is None else self._number_of(since)
            version = "" if seen is None else f"{self._name}:{seen}"
            subscription = Subscription(
                self._lock, name=self._name, profile=profile, size=self._size, version=version
            )
            if missed := self._missed(seen, profile):
                subscription.offer(missed)
            living = [held for held in self._subscriptions if (each := held()) and not each.closed]
            self._subscriptions = (*living, weakref.ref(subscription))
            return subscription

    def close(self) -> None:
        """Close every subscription; the feed goes on, and knows what to tell those who resume."""
        with self._lock:
            references, self._subscriptions = self._subscriptions, ()
            for reference in references:
                if subscription := reference():
                    subscription.close()

    def _profile_of(self, event: Event, profile: str | None) -> str | None:
        match event:
            case StreamStarted() if profile is not None:
                self._profiles[event.stream_id] = profile
                self._profiles.move_to_end(event.stream_id)
                if len(self._profiles) > self._remembered:
                    self._profiles.popitem(last=False)
            case StreamStopped():
                return self._profiles.get(event.stream_id)
        return profile

    def _number_of(self, version: str) -> int | None:
        try:
            seen = EventId.parse(version)
        except ValueError:
            return None
        known = seen.incarnation == self._name and self._forgotten() <= seen.number <= self._last_number
        return seen.number if known else None

    def _forgotten(self) -> int:
        return self._history[0].number - 1 if self._history else 0

    def _missed(self, seen: int | None, profile: str | None) -> Change | None:
        if seen is None:
            return Change(self._last_number, _REFRESH)
        return merge_all(change for change in self._history if change.number > seen and change.concerns(profile))

    def _begin(self) -> None:
        self._lock = RLock()
        self._numbers = count(1)
        self._last_number = 0
        self._history: deque[Change] = deque(maxlen=self._remembered)
        self._profiles: OrderedDict[str, str] = OrderedDict()

    def _begin_in_child(self) -> None:
        self._name = uuid4().hex
        self._begin()
        references, self._subscriptions = self._subscriptions, ()
        for reference in references:
            if subscription := reference():
                subscription.close_in_child(self._lock)
