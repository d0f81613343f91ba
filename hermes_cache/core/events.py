"""The facts that are published on the bus: immutable values with a time and an id.

Source: rule E1.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from hermes_cache.arguments import bus_name
from hermes_cache.errors import shown

SESSIONS: Final = "sessions"
"""The name of a bus that is given no other; an event in a journal that names no bus is of this one."""


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """The id of an event: on which bus it was published, in which life of that bus, and as which of its events.

    Attributes:
        incarnation: One life of one bus in one process; a fork starts another.
        number: Grows within the incarnation, from 1.
        bus: The name of the bus.
    """

    incarnation: str
    number: int
    bus: str = SESSIONS

    def __str__(self) -> str:
        named = "" if self.bus == SESSIONS and "/" not in self.incarnation else f"{self.bus}/"
        return f"{named}{self.incarnation}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> "EventId":
        """Read what `str` wrote.

        Raises:
            ValueError: `text` is no event id.
        """
        named, _, number = text.rpartition(":")
        bus, slash, incarnation = named.partition("/") if "/" in named else (SESSIONS, "", named)
        if not (incarnation and number.isascii() and number.isdigit() and len(number) < _DIGITS):
            raise ValueError(
                f"{shown(text)} is no event id; it must look like 'incarnation:7' or 'bus/incarnation:7'"
            )
        return cls(incarnation, int(number), bus_name(bus) if slash else bus)


_DIGITS = 19
"""A longer number does not fit the 64 bits of a journal's column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionListChanged:
    """The list of a profile changed; without a profile, every list.

    Attributes:
        id: Names it.
        at_s: When it was published, in epoch seconds.
        reason: A word for why, such as `session_rename`.
        profile: The profile whose list changed; None for all.
        session_id: The session, or in another list the row, that moved, if it was one.
    """

    id: EventId
    at_s: float
    reason: str = "session_changed"
    profile: str | None = None
    session_id: str | None = None

    @property
    def row_id(self) -> str | None:
        """The row that moved, if it was one: its name in lists that are no session lists."""
        return self.session_id


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStarted:
    """A chat turn began to produce tokens.

    Attributes:
        id: Names it.
        at_s: When it was published, in epoch seconds.
        stream_id: Names one turn.
        profile: The turn's profile; None if it is not known.
        session_id: The turn's session, if it is known.
    """

    id: EventId
    at_s: float
    stream_id: str
    profile: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStopped:
    """A chat turn ended, for good.

    Attributes:
        id: Names it.
        at_s: When it was published, in epoch seconds.
        stream_id: Names the turn.
    """

    id: EventId
    at_s: float
    stream_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChanged:
    """Settings changed that may touch every list.

    Attributes:
        id: Names it.
        at_s: When it was published, in epoch seconds.
    """

    id: EventId
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChanged:
    """Rows moved at the source; stamps do the invalidating, this only tells.

    Attributes:
        id: Names it.
        at_s: When it was published, in epoch seconds.
        profile: The profile whose rows moved; None if it is not known.
    """

    id: EventId
    at_s: float
    profile: str | None = None


Event: TypeAlias = SessionListChanged | StreamStarted | StreamStopped | SettingsChanged | SourceChanged
"""Any fact."""

AppliedEvent: TypeAlias = SessionListChanged | StreamStarted | StreamStopped | SettingsChanged
"""A fact that moves the state of a cache."""


def is_of_stream(event: AppliedEvent) -> bool:
    """Say whether an event is about a stream; no other event can stand for one that was lost."""
    match event:
        case StreamStarted() | StreamStopped():
            return True
        case SessionListChanged() | SettingsChanged():
            return False
        case _:
            assert_never(event)


def profile_of(event: Event) -> str | None:
    """Return the profile that an event names, as its publisher gave it; None for all, or if it names none."""
    match event:
        case SessionListChanged() | StreamStarted() | SourceChanged():
            return event.profile
        case StreamStopped() | SettingsChanged():
            return None
        case _:
            assert_never(event)
