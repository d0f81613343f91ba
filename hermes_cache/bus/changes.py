"""What a subscriber gets: changes, and how they merge when they do not fit.

A merged change covers all that it was merged from: a subscriber may refresh more than it must, never
less. Pure: no clock, no lock. Source: rules E7, E8.

A merged change keeps two numbers: `number` is the newest that it covers, `oldest_number` the oldest. Another
change may have a number between the two. A subscriber that has seen only that one must not resume behind it.
`resume_number` returns the number from which nothing is lost.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final, assert_never

from hermes_cache.core.events import (
    Event,
    SessionListChanged,
    SettingsChanged,
    SourceChanged,
    StreamStarted,
    StreamStopped,
)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a subscriber should look at again.

    Attributes:
        number: Its number among the changes of its feed; of a merged one, its newest part's.
        reason: The reason of its newest part.
        profile: The profile whose list changed; None means 'refresh everything'.
        session_id: The session that changed; None if it is not exactly one.
        oldest_number: The number of its oldest part; None if it has only one part.
        version: With this a subscriber that has handled the change resumes; empty until it is handed out.
    """

    number: int
    reason: str
    profile: str | None = None
    session_id: str | None = None
    oldest_number: int | None = None
    version: str = ""

    @property
    def everything(self) -> bool:
        """Whether it means 'refresh everything'."""
        return self.profile is None

    @property
    def first_number(self) -> int:
        """The oldest number that it covers."""
        return self.number if self.oldest_number is None else self.oldest_number

    def concerns(self, profile: str | None) -> bool:
        """Say whether a subscriber of a profile gets it; None is a subscriber of all profiles."""
        return profile is None or self.profile is None or self.profile == profile


def change_of(event: Event, number: int, profile: str | None) -> Change:
    """Say what an event means to subscribers.

    Args:
        profile: The event's profile as the cache knows it (rule K3); of a stop, its start's.
    """
    match event:
        case SessionListChanged():
            return Change(number, event.reason, profile, event.session_id)
        case StreamStarted():
            return Change(number, "stream_started", profile, event.session_id)
        case StreamStopped():
            return Change(number, "stream_stopped", profile)
        case SettingsChanged():
            return Change(number, "settings_changed")
        case SourceChanged():
            return Change(number, "source_changed", profile)
    assert_never(event)


def merge(older: Change, newer: Change) -> Change:
    """Return one change that covers two.

    Source: rule E7.
    """
    same_profile = older.profile == newer.profile
    same_session = same_profile and older.session_id == newer.session_id
    return replace(
        newer,
        profile=newer.profile if same_profile else None,
        session_id=newer.session_id if same_session else None,
        oldest_number=min(older.first_number, newer.first_number),
    )


def merge_all(changes: Iterable[Change]) -> Change | None:
    """Return one change that covers all, oldest first; None if there are none."""
    ordered = tuple(changes)
    return reduce(merge, ordered) if ordered else None


_COARSER: Final[tuple[Callable[[Change], Hashable], ...]] = (
    lambda change: (change.profile, change.session_id),
    lambda change: change.profile,
    lambda _change: None,
)
"""What is merged, from the grouping that loses least to the one that always fits."""


def add(changes: tuple[Change, ...], change: Change, size: int) -> tuple[Change, ...]:
    """Put a change behind those that wait, and merge them as far as needed to hold at most `size`.

    Source: rule E7.
    """
    grown = (*changes, change)
    for group in _COARSER:
        if len(grown) <= size:
            return grown
        grown = _merge_by(group, grown)
    return grown


def _merge_by(group: Callable[[Change], Hashable], changes: tuple[Change, ...]) -> tuple[Change, ...]:
    merged: dict[Hashable, Change] = {}
    for change in changes:
        # Taken out first: the merged one stands where its newest part stood.
        older = merged.pop(group(change), None)
        merged[group(change)] = merge(older, change) if older else change
    return tuple(merged.values())


def resume_number(taken: Change, waiting: Iterable[Change]) -> int:
    """Return the number up to which a subscriber has seen all, once it took the first of those that waited."""
    return min([taken.number, *(change.first_number - 1 for change in waiting)])
