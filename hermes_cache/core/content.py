"""Content: what an entry holds, as rows, as encoded pieces, or as both.

A builder in this process hands over a payload; one in another process hands over pieces, which are decoded when
somebody asks for rows. Source: rules P4, O6, B8.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from hermes_cache.core.payload import ROWS, Json, Payload, Row, freeze, row_of

_NO_ROWS: Final[tuple[bytes, ...]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """One payload in the form in which it came.

    Attributes:
        envelope: All of the payload but its rows, as a JSON object.
        pieces: The rows as JSON, in the builder's order; None where the payload has no list of rows. Contents that
            share a row share its piece, the very object.
        payload: The frozen payload; None where only pieces came.
    """

    envelope: bytes
    pieces: tuple[bytes, ...] | None
    payload: Payload | None = None

    @property
    def size_bytes(self) -> int:
        """The encoded size, shared rows included."""
        return len(self.envelope) + sum(map(len, self.pieces or _NO_ROWS))

    def decoded(self) -> Payload:
        """Give the payload, decoded where only pieces came."""
        if self.payload is not None:
            return self.payload
        envelope = orjson.loads(self.envelope)
        if self.pieces is None:
            return freeze(envelope)
        return freeze({**envelope, ROWS: [row_of(piece) for piece in self.pieces]})

    def rows(self) -> list[Json]:
        """Give the rows; none where the payload has no list of them."""
        rows = self.decoded().get(ROWS)
        return rows if isinstance(rows, list) else []

    def body(self, rows: Iterable[Json]) -> bytes:
        """Give the response body with these rows in place of its own; encoded are only the changed ones.

        Source: rule O6.
        """
        if self.pieces is None:
            return self.envelope
        joined = b",".join([row.encoded if isinstance(row, Row) else orjson.dumps(row) for row in rows])
        rest = self.envelope[1:] if self.envelope == b"{}" else b"," + self.envelope[1:]
        return b'{"sessions":[' + joined + b"]" + rest


def content_of(payload: Payload) -> Content:
    """Give the content of a frozen payload."""
    rows = payload.get(ROWS)
    if not isinstance(rows, list):
        return Content(orjson.dumps(payload), None, payload)
    envelope = orjson.dumps({name: value for name, value in payload.items() if name != ROWS})
    pieces = tuple([row.encoded if isinstance(row, Row) else orjson.dumps(row) for row in rows])
    return Content(envelope, pieces, payload)


def profiles_that_differ(older: Content, newer: Content) -> frozenset[str | None]:
    """Say whose rows differ between two contents of one key; None among them stands for rows of no profile.

    Source: rule E9.
    """
    if older.pieces == newer.pieces:
        return frozenset()
    gone, come = (_by_piece(content) for content in (older, newer))
    differing = [row for piece, row in (gone | come).items() if (piece in gone) != (piece in come)]
    return frozenset(_profile(row) for row in differing)


def _by_piece(content: Content) -> dict[bytes, Json]:
    return dict(zip(content.pieces or _NO_ROWS, content.rows(), strict=False))


def _profile(row: Json) -> str | None:
    profile = row.get("profile") if isinstance(row, dict) else None
    return profile if isinstance(profile, str) else None
