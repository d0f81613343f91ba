"""Turns events into plain mappings, and those into bytes with a checksum, and back.

What is read back may be anything: a flipped byte, another program's row, a later version's event. All of that is
a `JournalDamagedError` that names the row. Fields that are not known are passed over. Source: rules J1, J5.
"""

from collections.abc import Callable
from math import isfinite
from typing import Final, Literal, TypeAlias, assert_never, get_args
from zlib import crc32

import orjson

from hermes_cache import arguments
from hermes_cache.core.events import (
    SESSIONS,
    AppliedEvent,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.errors import EventError, JournalDamagedError, JournalError

Kind: TypeAlias = Literal["session_list_changed", "stream_started", "stream_stopped", "settings_changed"]
"""The kinds of events that a journal keeps, by the names that they have there."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_Maker: TypeAlias = tuple[Callable[..., AppliedEvent], Callable[..., arguments.Fields], tuple[str, ...]]
"""What makes an event, what checks its fields, and their names."""


def to_plain(event: AppliedEvent) -> dict[str, object]:
    """Return an event as a mapping of JSON values; fields that are None are left out.

    The name of a bus that is not `sessions` stands in the id, and once more for those who look for it.
    """
    kind, fields = _apart(event)
    plain: dict[str, object] = {"kind": kind, "id": str(event.id), "at_s": event.at_s}
    if event.id.bus != SESSIONS:
        plain["bus"] = event.id.bus
    return plain | {name: value for name, value in fields.items() if value is not None}


def from_plain(plain: object) -> AppliedEvent:
    """Return the event that `to_plain` took apart.

    Raises:
        ValueError: It is none; the message says why.
    """
    if not isinstance(plain, dict):
        raise ValueError("it is no mapping")  # noqa: TRY004  # whatever a journal held, it is a bad value
    kind = plain.get("kind")
    if kind not in KINDS:
        raise ValueError(f"its kind is {kind!r}")
    make, check, names = _maker(kind)
    fields = check(**{name: plain[name] for name in names if name in plain})
    return make(id=_event_id(plain.get("id")), at_s=_moment(plain.get("at_s")), **fields)


def encode(event: AppliedEvent) -> bytes:
    """Return an event as JSON.

    Raises:
        JournalError: It holds what cannot be read back, which no bus publishes.
    """
    try:
        body = orjson.dumps(to_plain(event))
        from_plain(orjson.loads(body))
    except (ValueError, TypeError) as error:
        raise JournalError(f"{event} cannot be kept: {error}; publish it on a bus") from error
    return body


def checksum(seq: int, body: bytes) -> int:
    """Return the checksum of a row: it tells any four neighbouring bytes that changed, and rows that moved."""
    return crc32(body, crc32(b"%d:" % seq))


def decode(seq: int, body: object, expected: object) -> AppliedEvent:
    """Return the event of a row.

    Args:
        seq: The row's sequence number.
        body: What `encode` gave.
        expected: The row's checksum.

    Raises:
        JournalDamagedError: They do not fit each other, or are no event; it names the row.
    """
    try:
        return from_plain(orjson.loads(verified(seq, body, expected)))
    except EventError as error:
        raise JournalDamagedError(seq, f"its {error.field} is {error.value!r}") from error
    except ValueError as error:
        raise JournalDamagedError(seq, str(error)) from error


def verified(seq: int, body: object, expected: object) -> bytes:
    """Return the bytes of a row whose checksum is right.

    Raises:
        JournalDamagedError: It is not; it names the row.
    """
    if not isinstance(body, bytes):
        raise JournalDamagedError(seq, f"its body is {type(body).__name__}, not bytes")
    if checksum(seq, body) != expected:
        raise JournalDamagedError(seq, "its checksum is wrong")
    return body


def _apart(event: AppliedEvent) -> tuple[Kind, dict[str, str | None]]:
    match event:
        case SessionListChanged():
            fields = {"reason": event.reason, "profile": event.profile, "session_id": event.session_id}
            return "session_list_changed", fields
        case StreamStarted():
            fields = {"stream_id": event.stream_id, "profile": event.profile, "session_id": event.session_id}
            return "stream_started", fields
        case StreamStopped():
            return "stream_stopped", {"stream_id": event.stream_id}
        case SettingsChanged():
            return "settings_changed", {}
        case _:
            assert_never(event)


def _maker(kind: Kind) -> _Maker:
    match kind:
        case "session_list_changed":
            return SessionListChanged, arguments.session_list_changed, ("reason", "profile", "session_id")
        case "stream_started":
            return StreamStarted, arguments.stream_started, ("stream_id", "profile", "session_id")
        case "stream_stopped":
            return StreamStopped, arguments.stream_stopped, ("stream_id",)
        case "settings_changed":
            return SettingsChanged, arguments.settings_changed, ()
        case _:
            assert_never(kind)


def _event_id(value: object) -> EventId:
    if not isinstance(value, str):
        raise ValueError(f"its id is {value!r}")  # noqa: TRY004  # as above
    return EventId.parse(value)


def _moment(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"its at_s is {value!r}")
    return float(value)
