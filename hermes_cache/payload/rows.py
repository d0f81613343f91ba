"""Rows: one session each, as a frozen dict, as JSON bytes, or as both.

A *piece* is a row in one of these forms. It has its bytes, a digest of them, and the few facts that the overlay
needs. So a body is joined from pieces without decoding or encoding a row.
Source: rules O3, O4, O6, P4, B8.
"""

from collections.abc import Mapping
from hashlib import blake2b
from math import inf
from typing import Final, NamedTuple, TypeAlias

import orjson

from hermes_cache.payload.frozen import Json, Payload, frozen_dict, frozen_list, refuse

DIGEST_BYTES: Final = 16

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


class Row(Payload):
    """A frozen row with its piece beside it.

    Attributes:
        encoded: The row as JSON.
        digest: The digest of `encoded`.
        facts: What the overlay must know.
    """

    __slots__ = ("digest", "encoded", "facts")

    encoded: bytes
    digest: bytes
    facts: Facts

    __setattr__ = __delattr__ = refuse

    def decoded(self) -> "Row":
        """Return the row itself."""
        return self


class EncodedRow:
    """A row as bytes. It is decoded at the first use, and the decoded row stays with it.

    Attributes:
        encoded: The row as JSON.
        digest: The digest of `encoded`.
        facts: What the overlay must know.
        row: The row; None if nobody has asked for it yet.
    """

    __slots__ = ("__weakref__", "digest", "encoded", "facts", "row")

    def __init__(self, encoded: bytes, digest: bytes, facts: Facts, row: Json = None) -> None:
        self.encoded = encoded
        self.digest = digest
        self.facts = facts
        self.row = row

    def __reduce__(self) -> tuple[type["EncodedRow"], tuple[bytes, bytes, Facts]]:
        return EncodedRow, (self.encoded, self.digest, self.facts)

    def decoded(self) -> Json:
        """Return the row."""
        if self.row is None:
            self.row = _from_json(self, orjson.loads(self.encoded))
        return self.row


Piece: TypeAlias = Row | EncodedRow
"""A row in one of its forms."""


def new_row(values: Mapping[str, Json]) -> Row:
    """Return a row of frozen values, encoded."""
    row = frozen_dict(Row, values)
    dict.setdefault(row, "is_streaming", False)
    encoded = encoded_json(row)
    return _with_piece(row, encoded, digest_of(encoded), facts_of(row))


def encoded_row(values: Mapping[str, Json], facts: Facts) -> EncodedRow:
    """Return a row as bytes, without a check of its values.

    Args:
        values: Only JSON values, `is_streaming` included.
        facts: As `facts_of(values)` would return them.

    Raises:
        TypeError: A value is not a JSON value.
    """
    encoded = encoded_json(values)
    return EncodedRow(encoded, digest_of(encoded), facts)


def piece_of(row: Json) -> Piece:
    """Return the piece of a frozen row."""
    if isinstance(row, Row):
        has_both: Row = row
        return has_both
    encoded = encoded_json(row)
    return EncodedRow(encoded, digest_of(encoded), NO_FACTS, row)


def encoded_json(value: Json) -> bytes:
    """Return a value as JSON that can be kept.

    orjson returns a buffer of 16 KB, however short the text is, and the rest of the buffer stays allocated. A copy
    has the size of the text: 5,000 rows of 900 bytes are made in a tenth of the time, in 6 % of the memory.
    """
    return b"%b" % orjson.dumps(value)


def digest_of(encoded: bytes) -> bytes:
    """Return the digest that stands for a row's bytes."""
    return blake2b(encoded, digest_size=DIGEST_BYTES).digest()


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


def _with_piece(row: Row, encoded: bytes, digest: bytes, facts: Facts) -> Row:
    keep = object.__setattr__
    keep(row, "encoded", encoded)
    keep(row, "digest", digest)
    keep(row, "facts", facts)
    return row


def _from_json(piece: EncodedRow, value: Json) -> Json:
    if not isinstance(value, dict):
        return frozen_json(value)
    return _with_piece(frozen_dict(Row, _frozen_values(value)), piece.encoded, piece.digest, piece.facts)


def frozen_json(value: Json) -> Json:
    """Freeze a value that was decoded from JSON, and therefore contains nothing to refuse."""
    if isinstance(value, dict):
        return frozen_dict(Payload, _frozen_values(value))
    return frozen_list(map(frozen_json, value)) if isinstance(value, list) else value


_CONTAINERS: Final = frozenset({dict, list})


def _frozen_values(values: dict[str, Json]) -> dict[str, Json]:
    for name in [name for name, value in values.items() if type(value) in _CONTAINERS]:
        values[name] = frozen_json(values[name])
    return values
