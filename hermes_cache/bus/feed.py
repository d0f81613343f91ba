"""The feed: numbers what happens and hands it to the subscriptions of a cache.

Its law: handing an event out takes microseconds, runs no foreign code and waits for no reader; what is held is
bounded. The lock is re-entrant: a finalizer may publish or close a subscription while its thread holds it. The
main thread never holds it, as its signal handlers may publish, too: what needs the lock is done aside for it.
Source: rules E7, E8, L6.
"""

import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import inf
from threading import RLock
from typing import Final, TypeAlias, TypeVar, assert_never
from uuid import uuid4

from hermes_cache.bus.changes import Change, change_of, merge_all
from hermes_cache.bus.feed_versions import FeedVersion, Positions
from hermes_cache.bus.subscription import Subscription
from hermes_cache.core.events import (
    AppliedEvent,
    Event,
    EventId,
    SessionListChanged,
    SettingsChanged,
    SourceChanged,
    StreamStarted,
    StreamStopped,
    profile_of,
)
from hermes_cache.errors import JournalError
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Position
from hermes_cache.threads.aside import aside
from hermes_cache.threads.forks import after_fork_in_child
from hermes_cache.threads.interrupts import is_interrupt

logger = QuietLogger(__name__)

MissedSince: TypeAlias = Callable[[Position], Iterable[AppliedEvent] | None]
"""Returns the events after a position in a journal, oldest first.

Behind them come the events that this process handed to the journal before the call and that are not yet committed.
None if they are not known, or too many. It may wait, and raise `JournalError`.
"""

Canonical: TypeAlias = Callable[[str | None], str | None]
"""Returns a profile as the cache knows it; None for all."""

_REFRESH: Final = "resumed"
"""The reason of the change that tells a subscriber to refresh since nobody knows what it missed."""


_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a subscription begins: behind a number of the feed, with what was missed that is not in its history.

    Attributes:
        restarted: The version is another feed's, or forgotten: rows may have moved that no event tells of.
    """

    number: int
    missed: tuple[Change, ...] = ()
    restarted: bool = False


class Feed:
    """Hands every subscription the changes that concern it, and what a resumed one missed.

    A version is the feed's name and a number; with a journal, its position in that stands before it.
    Subscriptions are held weakly; the references to those that are gone or closed are dropped at the next
    `subscribe`. A forked child's copy closes them and is another feed, with a name of its own.

    Args:
        name: Names this incarnation in versions.
        size: Changes that a subscription holds before it merges.
        remembered: Changes, ids of events, and starts of streams, that are kept for those who resume.
        missed_since: Reads the journal for those who resume beyond that; called on their thread, without the lock.
        canonical: Returns the profile of an event that was missed as the cache knows it; called in the same way.
    """

    def __init__(
        self,
        name: str,
        *,
        size: int,
        remembered: int = 1024,
        missed_since: MissedSince = lambda _position: None,
        canonical: Canonical = lambda profile: profile,
    ) -> None:
        self._name = name
        self._size = size
        self._remembered = remembered
        self._missed_since = missed_since
        self._canonical = canonical
        self._subscriptions: tuple[weakref.ref[Subscription], ...] = ()
        self._last_number = 0
        self._begin()
        after_fork_in_child(self._start_anew)

    @property
    def version(self) -> str:
        """The version of a subscriber that has seen all so far."""
        return aside.do(self._newest_version)

    @property
    def has_subscribers(self) -> bool:
        """Whether a subscription is open."""
        return any((each := held()) is not None and not each.closed for held in self._subscriptions)

    @property
    def journaled(self) -> bool:
        """Whether its position in a journal is known."""
        return self._positions.known

    def tell(self, event: Event, profile: str | None) -> None:
        """Hand an event to the subscriptions that it concerns; one that was handed out before is passed over.

        Args:
            profile: The event's, as the cache knows it (rule K3); ignored for a stop, which has its start's.
        """
        aside.do(partial(self._tell, event, profile))

    def _tell(self, event: Event, profile: str | None) -> None:
        with self._lock:
            if event.id in self._handed_out:
                return
            self._keep(self._handed_out, event.id, None)
            number = next(self._numbers)
            change = change_of(event, number, self._profile_of(event, profile, self._profiles))
            self._last_number = max(self._last_number, number)
            self._history.append(change)
            for reference in self._subscriptions:
                if subscription := reference():
                    subscription.offer(change)

    def note_position(self, position: Position) -> None:
        """Remember that every event of a journal up to a position was handed out, this process's own too."""
        aside.do(partial(self._note_position, position))

    def subscribe(self, profile: str | None = None, since: str | None = None) -> Subscription:
        """Open a subscription.

        Args:
            profile: Hear of this profile and of what concerns every profile; None for all.
            since: The last version that the subscriber saw: it gets what it missed as one change, or 'refresh
                everything' if that is not known. None for only what comes from now on. If the journal tells
                what was missed, one more change says that rows moved (rule E9).
        """
        version = _parsed(since)
        journaled = self._journaled(version, profile) if version else None
        return aside.do(partial(self._open, profile, since, version, journaled))

    def close(self) -> None:
        """Close every subscription; the feed goes on, and knows what to tell those who resume."""
        aside.do(self._close)

    def _newest_version(self) -> str:
        with self._lock:
            return self._version_of(self._last_number)

    def _note_position(self, position: Position) -> None:
        with self._lock:
            self._positions.note(position, self._last_number)

    def _open(
        self, profile: str | None, since: str | None, version: FeedVersion | None, journaled: _Start | None
    ) -> Subscription:
        with self._lock:
            start = self._start(version, journaled) if since is not None else _Start(self._last_number)
            subscription = Subscription(
                self._lock,
                version_of=self._version_of,
                profile=profile,
                size=self._size,
                version=self._version_of(start.number) if since is None else since,
                number=start.number,
            )
            for missed in self._missed(start, profile):
                subscription.offer(missed)
            living = [held for held in self._subscriptions if (each := held()) and not each.closed]
            self._subscriptions = (*living, weakref.ref(subscription))
            return subscription

    def _close(self) -> None:
        with self._lock:
            references, self._subscriptions = self._subscriptions, ()
            for reference in references:
                if subscription := reference():
                    subscription.close()

    def _version_of(self, number: int) -> str:
        return str(self._positions.version(self._name, number))

    def _journaled(self, version: FeedVersion, profile: str | None) -> _Start | None:
        """Read what was missed up to the feed's last position; None if the feed knows it, or nobody does."""
        known = aside.do(partial(self._last_position, version))
        if known is None:
            return None
        number, starts = known
        events = aside.do(partial(self._read_missed, version), inf)
        if events is None:
            return None
        missed = merge_all(self._changes(events, number, profile, starts))
        return _Start(number, (missed,) if missed else (), restarted=True)

    def _last_position(self, version: FeedVersion) -> tuple[int, OrderedDict[str, str]] | None:
        """Return the number up to which the journal tells what was missed, and the starts of streams."""
        with self._lock:
            number = self._positions.number_behind(version)
            return None if number is None or self._knows(version) else (number, self._profiles.copy())

    def _read_missed(self, version: FeedVersion) -> Iterable[AppliedEvent] | None:
        """Return what was said after a version's position; what cannot be read is not known."""
        try:
            return self._missed_since(Position(version.journal, version.seq, version.mark))
        except JournalError:
            # The journal's other readers tell why.
            return None
        except BaseException as error:
            if is_interrupt(error):
                raise
            logger.warning("hermes_cache.missed_not_read", exc_info=True)
            return None

    def _changes(
        self, events: Iterable[AppliedEvent], number: int, profile: str | None, starts: OrderedDict[str, str]
    ) -> Iterator[Change]:
        for event in events:
            canonical = self._canonical(profile_of(event))
            change = change_of(event, number, self._profile_of(event, canonical, starts))
            if change.concerns(profile):
                yield change

    def _start(self, version: FeedVersion | None, journaled: _Start | None) -> _Start:
        if version and self._knows(version):
            return _Start(version.number)
        if journaled and journaled.number >= self._forgotten():
            return journaled
        return _Start(self._last_number, (Change(self._last_number, _REFRESH),))

    def _missed(self, start: _Start, profile: str | None) -> Iterator[Change]:
        later = (each for each in self._history if each.number > start.number and each.concerns(profile))
        if missed := merge_all((*start.missed, *later)):
            yield missed
        if start.restarted:
            yield Change(self._last_number, "source_changed", profile, oldest_number=start.number)

    def _profile_of(self, event: Event, profile: str | None, starts: OrderedDict[str, str]) -> str | None:
        match event:
            case StreamStopped():
                return starts.get(event.stream_id)
            case StreamStarted():
                if profile is not None:
                    self._keep(starts, event.stream_id, profile)
                return profile
            case SessionListChanged() | SettingsChanged() | SourceChanged():
                return profile
            case _:
                assert_never(event)

    def _keep(self, kept: OrderedDict[_K, _V], key: _K, value: _V) -> None:
        kept[key] = value
        kept.move_to_end(key)
        if len(kept) > self._remembered:
            kept.popitem(last=False)

    def _knows(self, version: FeedVersion) -> bool:
        return version.feed == self._name and self._forgotten() <= version.number <= self._last_number

    def _forgotten(self) -> int:
        return self._history[0].number - 1 if self._history else 0

    def _begin(self) -> None:
        self._lock = RLock()
        self._numbers = count(1)
        self._last_number = 0
        self._history: deque[Change] = deque(maxlen=self._remembered)
        self._handed_out: OrderedDict[EventId, None] = OrderedDict()
        self._profiles: OrderedDict[str, str] = OrderedDict()
        self._positions = Positions(self._remembered)

    def _start_anew(self) -> None:
        self._name = uuid4().hex
        self._begin()
        references, self._subscriptions = self._subscriptions, ()
        for reference in references:
            if subscription := reference():
                subscription.close_in_child(self._lock)


def _parsed(version: str | None) -> FeedVersion | None:
    try:
        return FeedVersion.parse(version) if version else None
    except ValueError:
        return None
