"""Wording: moments, spans, ids and foreign text as a person reads them, on one line.

Moments are written in UTC.
"""

from datetime import UTC, datetime
from typing import Final

from hermes_cache.core.events import EventId

_UNITS: Final = ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min"))
_LEAST_UNITS: Final = 2.0
"""So many of a unit before it is used: 90 s say more than 1.5 min."""

_INCARNATION_SIGNS: Final = 8
"""Enough to tell a few processes apart."""

_LONGEST: Final = 200


def span(span_s: float) -> str:
    """Return a span in the unit that suits it; one that is negative, as clocks differ, is none."""
    for unit_s, name in _UNITS:
        if span_s >= unit_s * _LEAST_UNITS:
            return f"{_rounded(span_s / unit_s):g} {name}"
    return f"{_rounded(max(0.0, span_s)):g} s"


def clock_time(at_s: float) -> str:
    """Return the time of day of a moment in epoch seconds; one that no calendar has is written as a number."""
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%H:%M:%S.%f}"[:-3] + "Z"
    except (OverflowError, ValueError, OSError):
        return f"{at_s:g} s"


def short_id(event_id: EventId) -> str:
    """Return an event's id with the beginning of its incarnation."""
    return f"{event_id.incarnation[:_INCARNATION_SIGNS]}:{event_id.number}"


def one_line(value: object) -> str:
    """Return a value, which may be anything, as one line of bounded length."""
    text = value if isinstance(value, str) else repr(value)
    line = "".join([sign if sign.isprintable() else " " for sign in text])
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _rounded(number: float) -> float:
    return float(f"{number:.3g}")
