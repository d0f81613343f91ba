"""Compares two answers of `/api/sessions`: which sessions, in which order, with which values. No I/O here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_Answer = Mapping[str, Any]

_ENVELOPE_LEFT_OUT: Final = frozenset({"sessions", "sidebar_reference_sessions", "server_time", "server_tz"})
"""Rows are compared one by one, and the time of an answer is its own."""


@dataclass(slots=True)
class Difference:
    """What differs between two answers to one view.

    Attributes:
        both: How many sessions are in both.
        only_ours: Sessions that only our answer has.
        only_theirs: Sessions that only the other answer has.
        is_ordered: Whether the sessions in both stand in the same order.
        fields: By name of the field, for each session whose value differs: ours and theirs.
        envelope: By name, the fields beside the rows that differ: ours and theirs.
    """

    both: int
    only_ours: list[str]
    only_theirs: list[str]
    is_ordered: bool
    fields: dict[str, dict[str, tuple[object, object]]] = field(default_factory=dict)
    envelope: dict[str, tuple[object, object]] = field(default_factory=dict)


def compare(ours: _Answer, theirs: _Answer) -> Difference:
    """Return what differs.

    A field that one leaves out and that the other has with an empty value (null, false, 0, or nothing in it) does
    not differ: no reader of a row can tell. Times are equal if they are within a millisecond.
    """
    own, other = _by_id(ours["sessions"]), _by_id(theirs["sessions"])
    both = [session_id for session_id in own if session_id in other]
    difference = Difference(
        len(both),
        [session_id for session_id in own if session_id not in other],
        [session_id for session_id in other if session_id not in own],
        both == [session_id for session_id in other if session_id in own],
    )
    for session_id in both:
        for name, values in _differing(own[session_id], other[session_id]).items():
            difference.fields.setdefault(name, {})[session_id] = values
    difference.envelope = _differing(_envelope(ours), _envelope(theirs))
    return difference


def recording(answers: Mapping[str, _Answer]) -> dict[str, Any]:
    """Return answers by view in a form that says each row once and leaves out what is empty."""
    rows: list[dict[str, Any]] = []
    views: dict[str, Any] = {}
    for view, answer in answers.items():
        told = [{name: value for name, value in row.items() if value} for row in answer["sessions"]]
        rows += [row for at, row in enumerate(told) if row not in rows and row not in told[:at]]
        views[view] = {**_envelope(answer), "sessions": [rows.index(row) for row in told]}
    return {"rows": rows, "views": views}


def recorded(recording: Mapping[str, Any]) -> dict[str, _Answer]:
    """Return the answers by view of a recording."""
    rows, views = recording["rows"], recording["views"]
    return {
        view: {**answer, "sessions": [rows[at] for at in answer["sessions"]]} for view, answer in views.items()
    }


def _by_id(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {row.get("session_id", ""): row for row in rows}


def _envelope(answer: _Answer) -> dict[str, object]:
    references = sorted(
        row if isinstance(row, str) else row["session_id"] for row in answer.get("sidebar_reference_sessions", ())
    )
    rest = {name: value for name, value in answer.items() if name not in _ENVELOPE_LEFT_OUT}
    return {**rest, "sidebar_reference_sessions": references}


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
    pairs = {name: (ours.get(name), theirs.get(name)) for name in sorted({*ours, *theirs})}
    return {name: pair for name, pair in pairs.items() if not _are_equal(*pair)}


def _are_equal(ours: object, theirs: object) -> bool:
    if ours == theirs or (not ours and not theirs):
        return True
    return isinstance(ours, int | float) and isinstance(theirs, int | float) and abs(ours - theirs) < 0.001
