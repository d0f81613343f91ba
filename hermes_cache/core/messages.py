"""Messages: what the mailbox of a cache takes in, besides `Read`.

Each is safe to handle late.
"""

from collections.abc import Hashable, Reversible
from dataclasses import dataclass, field
from typing import TypeAlias

from hermes_cache.core.events import AppliedEvent
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Build, Read, Target
from hermes_cache.core.streams import Marker
from hermes_cache.payload.content import Content

Recency: TypeAlias = Reversible[Hashable]
"""The keys of all that is held, those first that are evicted first (`use_order.py`); it may name others too.

It is looked at from that end, and only while the message is decided: the shell hands in its own order
of use, which changes later, and not a copy.
"""


@dataclass(frozen=True, slots=True)
class Leave:
    """A reader waits no more."""

    read: Read


@dataclass(frozen=True, slots=True)
class Publish:
    """An event is to be applied.

    Attributes:
        event: The event.
        profile: Its canonical profile; None for all.
        age_s: How old it is on arrival, by its own time; 0 if its time lies in the future.
        settings: As in `Read`.
    """

    event: AppliedEvent
    profile: str | None
    age_s: float = 0.0
    settings: int | None = None

    @classmethod
    def at(cls, event: AppliedEvent, profile: str | None, wall_s: float, settings: int | None = None) -> "Publish":
        """Say what arrives at a moment in epoch seconds."""
        return cls(event, profile, max(0.0, wall_s - event.at_s), settings)


@dataclass(frozen=True, slots=True)
class Checked:
    """The sources of a scope were checked.

    Attributes:
        target: One of its keys.
        check: What was found.
        by_build: A build took it for its stamp (B3), or a reader for itself: it is not the check that is out.
        read_since: Whether the scope was read since the check before (S4).
        asked_s: As in `TakeCheck`; None for the one that is out, whichever that is.
    """

    target: Target
    check: Check
    by_build: bool = False
    read_since: bool = False
    asked_s: float | None = None


@dataclass(frozen=True, slots=True)
class CheckFailed:
    """A check of a scope raised, or could not be started.

    Attributes:
        target: One of its keys.
        why: What went wrong, in words.
        by_build: As in `Checked`.
        read_since: As in `Checked`.
        asked_s: As in `Checked`.
    """

    target: Target
    why: str
    by_build: bool = False
    read_since: bool = False
    asked_s: float | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A builder returned.

    Attributes:
        build: As it began.
        content: What it returned.
        check: What it was built from.
        took_s: How long it took.
        held_bytes: The size of all contents, this one included.
        moved: The profiles whose rows differ from those of the content that it replaces (E9).
        recency: The keys by use.
    """

    build: Build
    content: Content
    check: Check
    took_s: float
    held_bytes: int
    moved: frozenset[str | None] = frozenset()
    recency: Recency = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A builder raised, or returned what cannot be a payload.

    Attributes:
        build: As it began.
        cause: What was raised.
        why: Its text. It is foreign code that says it, so not the core asks for it.
    """

    build: Build
    cause: BaseException
    why: str


@dataclass(frozen=True, slots=True)
class Mark:
    """The moment from which on a gateway reads what it puts into a cache (V2).

    Attributes:
        key: The key, as the gateway gave it.
        version: The key's version then.
        target: What the key meant then.
        marker: The streams then.
        at_s: When that was, in monotonic seconds.
        cache: The cache that made it; means nothing here.
        life: Its life from a start to a stop, in one process; means nothing here.
    """

    key: Hashable
    version: int
    target: Target = field(repr=False)
    marker: Marker = field(repr=False)
    at_s: float = field(repr=False)
    cache: Hashable = field(default=None, repr=False)
    life: Hashable = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Put:
    """A gateway hands in a payload that it made itself (V2).

    Attributes:
        mark: From when on it read.
        content: What it made.
        held_bytes: The size of all contents, this one included.
        moved: As in `Built`.
        recency: The keys by use.
    """

    mark: Mark
    content: Content
    held_bytes: int
    moved: frozenset[str | None] = frozenset()
    recency: Recency = ()


@dataclass(frozen=True, slots=True)
class Evict:
    """A gateway wants nothing held for some keys.

    Attributes:
        keys: Their keys, with canonical profiles; None for all.
    """

    keys: tuple[Hashable, ...] | None = None


@dataclass(frozen=True, slots=True)
class Follow:
    """Somebody follows a key from now on, or the journal of one who does is away or back (R13).

    Attributes:
        follower: The follower, which means nothing here.
        target: The key.
        builder: Its own builder; None for the cache's.
        may_miss_events: Whether events of other processes may be missed.
        wants_events: Whether it wants what an event changed, too, and not only what moved at the sources.
    """

    follower: Hashable
    target: Target
    builder: object = None
    may_miss_events: bool = False
    wants_events: bool = True


@dataclass(frozen=True, slots=True)
class Unfollow:
    """A follower follows its key no more."""

    follower: Hashable
    target: Target


@dataclass(frozen=True, slots=True)
class Notified:
    """Somebody noticed that the sources of a followed scope may have moved (X10)."""

    scope: Hashable


@dataclass(frozen=True, slots=True)
class Weighed:
    """The size of what is held was measured again: a content was let go, or decoded.

    Attributes:
        held_bytes: The size of what is held.
        recency: The keys by use.
        leaving: Other contents are still to be let go, and weigh in.
    """

    held_bytes: int
    recency: Recency = ()
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The cache stops."""


Message: TypeAlias = (
    Read
    | Leave
    | Publish
    | Follow
    | Unfollow
    | Checked
    | CheckFailed
    | Notified
    | Built
    | Failed
    | Put
    | Evict
    | Weighed
    | Tick
    | Stop
)
"""Anything that a cache decides on."""
