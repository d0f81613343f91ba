"""What a cache tells its monitors of its own work: immutable values, each about one key.

Nothing in the cache depends on them; they are sent by the notifier, late or not at all under load.
Source: rule E6.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from hermes_cache.core.events import EventId


@dataclass(frozen=True, slots=True)
class BuildStarted:
    """A build left the queue.

    Attributes:
        key: What is built.
        build_id: Which build it is; the notice of its end carries it too.
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
        build_id: Which build it was.
        took_s: From its start to its end.
    """

    key: Hashable
    build_id: int
    took_s: float


@dataclass(frozen=True, slots=True)
class BuildFailed:
    """A build gave no payload.

    Attributes:
        key: What was to be built.
        build_id: Which build it was.
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
        build_id: Which build it was.
        overtaken_by: The event that outdated it meanwhile; None where it came too late or was too large.
    """

    key: Hashable
    build_id: int
    overtaken_by: EventId | None


@dataclass(frozen=True, slots=True)
class EntryStored:
    """A payload is held from now on.

    Attributes:
        key: Whose payload.
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
        key: Whose payload.
        by: The event.
    """

    key: Hashable
    by: EventId


@dataclass(frozen=True, slots=True)
class EntryEvicted:
    """A payload was dropped to make room.

    Attributes:
        key: Whose payload.
        reason: The bound that was reached: the number of entries, or of bytes.
    """

    key: Hashable
    reason: Literal["entries", "bytes"]


Notice: TypeAlias = (
    BuildStarted | BuildFinished | BuildFailed | BuildDiscarded | EntryStored | EntryInvalidated | EntryEvicted
)
"""Anything that a monitor is told."""
