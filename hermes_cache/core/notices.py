"""Notices: what monitors and subscribers hear of the work of a cache, as values made from its transitions.

Nothing in the cache depends on them; the notifier sends them, late or not at all under load.
Source: rules E6, E9.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from hermes_cache.core.events import EventId
from hermes_cache.core.followed import FollowedMoved, Unfollowed
from hermes_cache.core.transitions import (
    Begun,
    Bound,
    CacheStopped,
    Ended,
    Evicted,
    Left,
    ListsOutdated,
    Measured,
    NewsDelayed,
    NewsSent,
    PutIn,
    Queued,
    Rearmed,
    Returned,
    ScopeMoved,
    Stored,
    StreamMoved,
    StreamsExpired,
    Transition,
    Waited,
    WaitedOn,
)


@dataclass(frozen=True, slots=True)
class BuildStarted:
    """A build left the queue.

    Attributes:
        key: What is built.
        build_id: The number of the build; the notice of its end has it too.
        reason: Why it was asked for, such as `age`, `source`, `event` or `miss`.
    """

    key: Hashable
    build_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class BuildFinished:
    """A build gave a payload.

    Attributes:
        key: What was built.
        build_id: The number of the build.
        took_s: How long it took, from its start to its end.
    """

    key: Hashable
    build_id: int
    took_s: float


@dataclass(frozen=True, slots=True)
class BuildFailed:
    """A build gave no payload.

    Attributes:
        key: What was to be built.
        build_id: The number of the build.
        error: Why, in words.
    """

    key: Hashable
    build_id: int
    error: str


@dataclass(frozen=True, slots=True)
class BuildDiscarded:
    """A payload was built and is not stored.

    Attributes:
        key: What was built.
        build_id: The number of the build.
        overtaken_by: The event that outdated it meanwhile; None if it came too late or was too large.
    """

    key: Hashable
    build_id: int
    overtaken_by: EventId | None


@dataclass(frozen=True, slots=True)
class EntryStored:
    """A payload is held from now on.

    Attributes:
        key: The key of the payload.
        version: The version that its build noted.
        size_bytes: Its encoded size.
    """

    key: Hashable
    version: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class EntryInvalidated:
    """An event outdated a payload that is held.

    Attributes:
        key: The key of the payload.
        by: The event.
    """

    key: Hashable
    by: EventId


@dataclass(frozen=True, slots=True)
class EntryEvicted:
    """A payload was dropped.

    Attributes:
        key: The key of the payload.
        reason: The bound that was reached, the number of entries or of bytes; "gone" with its profile, or
            "asked" if the gateway asked for that.
    """

    key: Hashable
    reason: Bound


Notice: TypeAlias = (
    BuildStarted | BuildFinished | BuildFailed | BuildDiscarded | EntryStored | EntryInvalidated | EntryEvicted
)
"""Anything that a monitor hears (E6)."""


@dataclass(frozen=True, slots=True)
class RowsMoved:
    """Rows of a profile moved at the source: subscribers hear of it, as `SourceChanged` (E9)."""

    profile: str | None


def notices_of(happened: Transition) -> tuple[Notice | RowsMoved, ...]:
    """Return the notices of a transition; most of them have none."""
    match happened:
        case Waited() | WaitedOn() | Left() | ScopeMoved() | Measured() | Rearmed() | Queued() | StreamMoved():
            return ()
        case Begun(build=build):
            return (BuildStarted(build.target.key, build.id, build.reason),)
        case Ended():
            return _notices_of_end(happened)
        case Stored(entry=entry):
            return (EntryStored(entry.target.key, entry.version, entry.content.size_bytes),)
        case ListsOutdated(touch=touch, keys=keys):
            return tuple([EntryInvalidated(key, touch.event.id) for key in keys])
        case _:
            return _notices_of_rarer(happened)


def _notices_of_rarer(
    happened: Evicted
    | Returned
    | PutIn
    | NewsSent
    | NewsDelayed
    | StreamsExpired
    | FollowedMoved
    | Unfollowed
    | CacheStopped,
) -> tuple[Notice | RowsMoved, ...]:
    match happened:
        case Evicted(key=key, bound=bound):
            return (EntryEvicted(key, bound),)
        case Returned(key=key, build_id=build_id):
            return (BuildDiscarded(key, build_id, None),)
        case NewsSent(profile=profile):
            return (RowsMoved(profile),)
        case PutIn() | NewsDelayed() | StreamsExpired() | FollowedMoved() | Unfollowed() | CacheStopped():
            return ()
        case _:
            assert_never(happened)


def _notices_of_end(ended: Ended) -> tuple[Notice, ...]:
    key, build = ended.key, ended.build
    match build.outcome:
        case "stored":
            return (BuildFinished(key, build.id, ended.build_s),)
        case "discarded":
            discarded = BuildDiscarded(key, build.id, build.overtaken_by)
            return (BuildFinished(key, build.id, ended.build_s), discarded)
        case "failed" | "abandoned":
            # A queued build that was refused never started, as far as monitors know.
            return () if build.began_s is None else (BuildFailed(key, build.id, build.why or ""),)
        case _:
            assert_never(build.outcome)
