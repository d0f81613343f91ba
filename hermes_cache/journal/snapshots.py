"""Snapshots: the agreed states as bytes, which stand in a journal for the events that were compacted.

A journal has one snapshot, with the agreed state of each bus whose events it had, whoever compacts it. Without
buses of other names it has the form that programs can read which know no names. Source: rules J2, J6, K5.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from hermes_cache.bus.codec import from_plain, to_plain
from hermes_cache.core.events import (
    SESSIONS,
    AppliedEvent,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.errors import JournalDamagedError
from hermes_cache.journal.agreed import AgreedState, Numbers, Outdating, StreamFacts

_FORM: Final = 1
_NAMED_FORM: Final = 2
"""The forms of the bytes: the state of `sessions` alone, or one for each bus. Others are not read."""


def to_bytes(states: Mapping[str, AgreedState]) -> bytes:
    """Return agreed states, by the name of their bus, as JSON."""
    if states.keys() <= {SESSIONS}:
        return orjson.dumps({"form": _FORM, **_plain(states.get(SESSIONS, AgreedState()))})
    return orjson.dumps({"form": _NAMED_FORM, "buses": {bus: _plain(state) for bus, state in states.items()}})


def from_bytes(body: bytes) -> dict[str, AgreedState]:
    """Return the agreed states that `to_bytes` wrote, by the name of their bus.

    Raises:
        JournalDamagedError: It did not write this.
    """
    try:
        return _states(orjson.loads(body))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise JournalDamagedError(None, f"its snapshot cannot be read: {error}") from error


def fold_snapshot(body: bytes | None, events: Sequence[AppliedEvent]) -> bytes:
    """Fold the events after a snapshot into it.

    Args:
        body: The snapshot; None for the start. One that cannot be read counts as empty, as it does for a process
            that joins: otherwise the journal would not be compacted any more.
    """
    states = _readable_states(body)
    said: dict[str, list[AppliedEvent]] = {}
    for event in events:
        said.setdefault(event.id.bus, []).append(event)
    return to_bytes(states | {bus: states.get(bus, AgreedState()).after(those) for bus, those in said.items()})


def _readable_states(body: bytes | None) -> dict[str, AgreedState]:
    try:
        return from_bytes(body) if body is not None else {}
    except JournalDamagedError:
        return {}


def _plain(state: AgreedState) -> dict[str, object]:
    return {
        "applied": {incarnation: numbers.ranges for incarnation, numbers in state.applied.items()},
        "streams": [[to_plain(event) for event in facts.said()] for facts in state.streams.values()],
        "outdated": {profile: to_plain(event) for profile, event in state.outdated.items()},
    }


def _states(plain: object) -> dict[str, AgreedState]:
    form = plain["form"] if isinstance(plain, dict) else None
    if not isinstance(plain, dict) or form not in {_FORM, _NAMED_FORM}:
        raise ValueError(f"its form is {form!r}")
    named = {SESSIONS: plain} if form == _FORM else plain["buses"]
    return {bus: _state(state) for bus, state in named.items()}


def _state(plain: Mapping[str, Any]) -> AgreedState:
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
