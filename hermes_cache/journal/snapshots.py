"""Snapshots: the agreed state as bytes, which stand in a journal for the events that were compacted.

Source: rules J2, J6.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from hermes_cache.bus.codec import from_plain, to_plain
from hermes_cache.core.events import (
    AppliedEvent,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.errors import JournalDamagedError
from hermes_cache.journal.agreed import AgreedState, Numbers, Outdating, StreamFacts

_FORM: Final = 1
"""The form of the bytes; another one is not read."""


def to_bytes(state: AgreedState) -> bytes:
    """Return an agreed state as JSON."""
    return orjson.dumps(
        {
            "form": _FORM,
            "applied": {incarnation: numbers.ranges for incarnation, numbers in state.applied.items()},
            "streams": [[to_plain(event) for event in facts.said()] for facts in state.streams.values()],
            "outdated": {profile: to_plain(event) for profile, event in state.outdated.items()},
        }
    )


def from_bytes(body: bytes) -> AgreedState:
    """Return the agreed state that `to_bytes` wrote.

    Raises:
        JournalDamagedError: It did not write this.
    """
    try:
        return _state(orjson.loads(body))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise JournalDamagedError(None, f"its snapshot cannot be read: {error}") from error


def fold_snapshot(body: bytes | None, events: Sequence[AppliedEvent]) -> bytes:
    """Fold the events after a snapshot into it.

    Args:
        body: The snapshot; None for the start. One that cannot be read counts as empty, as it does for who joins:
            otherwise the journal would not be compacted any more.
    """
    return to_bytes(_readable_state(body).after(events))


def _readable_state(body: bytes | None) -> AgreedState:
    try:
        return from_bytes(body) if body is not None else AgreedState()
    except JournalDamagedError:
        return AgreedState()


def _state(plain: object) -> AgreedState:
    if not isinstance(plain, dict) or plain["form"] != _FORM:
        raise ValueError(f"it is not of form {_FORM}")
    return AgreedState(
        {name: Numbers(tuple(map(_range, ranges))) for name, ranges in plain["applied"].items()},
        dict(map(_stream, plain["streams"])),
        {name: _outdating(event) for name, event in plain["outdated"].items()},
    )


def _range(ends: Sequence[object]) -> tuple[int, int]:
    first, last = ends
    if not (isinstance(first, int) and isinstance(last, int)):
        raise TypeError(f"{ends!r} is no range")
    return first, last


def _stream(said: Sequence[Mapping[str, object]]) -> tuple[str, StreamFacts]:
    facts = StreamFacts()
    for plain in said:
        event = from_plain(plain)
        if not isinstance(event, StreamStarted | StreamStopped):
            raise TypeError(f"{plain!r} speaks of no stream")
        facts = facts.after(event)
        stream_id = event.stream_id
    return stream_id, facts


def _outdating(plain: object) -> Outdating:
    event = from_plain(plain)
    if not isinstance(event, SessionListChanged | SettingsChanged):
        raise TypeError(f"{plain!r} outdates nothing")
    return event
