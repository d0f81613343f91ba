"""Session rows: what a list of sessions knows about its rows, so that what is live can be laid over them.

No I/O here. Source: rules K5, O3, O4, P5.
"""

from collections.abc import Mapping
from math import inf
from operator import attrgetter
from typing import Final, NamedTuple

from hermes_cache.payload import freezing
from hermes_cache.payload.frozen import Json, Payload
from hermes_cache.payload.rows import ListShape, Row

_TIMES: Final = ("last_message_at", "updated_at", "created_at")
"""The first of these that is a positive number is the time of a row."""


class Facts(NamedTuple):
    """What the overlay must know about a row.

    Attributes:
        session_id: Its session; None if it has none.
        is_restless: Whether the overlay must always look at it, because it says that it streams or names a stream.
        time_s: The time by which it is ordered, in epoch seconds.
    """

    session_id: str | None
    is_restless: bool
    time_s: float


NO_FACTS: Final = Facts(None, is_restless=True, time_s=0.0)
"""The facts of a row that is not a mapping, which is served as another row (O5)."""


def facts_of(row: Mapping[str, Json]) -> Facts:
    """Return what the overlay must know about a row."""
    session_id = row.get("session_id")
    return Facts(
        session_id if isinstance(session_id, str) else None,
        is_restless=row.get("is_streaming") is not False or isinstance(row.get("active_stream_id"), str),
        time_s=time_s(row),
    )


def time_s(row: Mapping[str, Json]) -> float:
    """Return the time by which a row is ordered, in epoch seconds; 0 if it has none.

    Source: rule O4.
    """
    at_s = row.get("last_message_at")
    # Nearly every row takes this path; this order of checks makes the sort three times as fast.
    if not isinstance(at_s, float) or not 0.0 < at_s < inf:
        at_s = next((number for name in _TIMES if (number := number_of(row.get(name)))), 0.0)
    pending_at = row.get("pending_started_at")
    return at_s if pending_at is None else max(at_s, number_of(pending_at))


def number_of(value: Json) -> float:
    """Read a positive finite number, or a str that spells one; anything else is 0.

    Source: rule O4.
    """
    if value is None or isinstance(value, bool):
        return 0.0
    if isinstance(value, str):
        return _spelt_number(value)
    if not isinstance(value, (float, int)) or not 0 < value < inf:
        return 0.0
    try:
        return float(value)
    except OverflowError:
        return 0.0


def _spelt_number(text: str) -> float:
    # Python accepts digits of any script, and underscores between them; a front end does not.
    if not text.isascii() or "_" in text:
        return 0.0
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0 < number < inf else 0.0


SESSION_LIST: Final = ListShape(
    name="sessions",
    row_id="session_id",
    owner="profile",
    added=(("is_streaming", False),),
    facts_of=facts_of,
    id_of_facts=attrgetter("session_id"),
    no_facts=NO_FACTS,
)
"""Where a payload has its list of sessions, and what is kept beside each row."""


def freeze(payload: Mapping[str, Json]) -> Payload:
    """Return a deep, immutable copy of a payload. Parts that are frozen already are shared, not copied.

    Each row under `sessions` that is a mapping becomes a `Row`. A row without `is_streaming` gets it as False.

    Raises:
        PayloadError: It is not a mapping, or it contains what JSON does not allow: a set, NaN, a lone surrogate, a
            cycle, an int beyond 64 bits, a key that is not a str, any other object. The path says where.

    Source: rules O3, P1, P3, P5, B7.
    """
    return freezing.freeze(payload, SESSION_LIST)


def freeze_row(row: Mapping[str, Json]) -> Row:
    """Freeze one row and encode it; raises as `freeze`."""
    return freezing.freeze_row(row, SESSION_LIST)
