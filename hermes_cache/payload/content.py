"""Content: what an entry holds, as an envelope and pieces; decoded when somebody asks for rows.

A builder in this process hands over frozen rows; one in another process hands over their bytes. Either way a body
is joined from pieces. Source: rules P4, O6, B8, E9.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from hermes_cache.payload.freezing import ROWS
from hermes_cache.payload.frozen import Json, Payload, frozen_dict, frozen_list
from hermes_cache.payload.rows import DIGEST_BYTES, Piece, encoded_json, frozen_json, piece_of


@dataclass(slots=True, eq=False, weakref_slot=True)
class Content:
    """One payload in the form in which it came. Never changed, but for `payload`, which is made when asked for.

    Attributes:
        envelope: All of the payload but its rows, as a JSON object.
        pieces: The rows in the builder's order; None where the payload has no list of them. Contents that share a
            row share its piece, the very object.
        payload: The frozen payload; None where only pieces came and nobody has asked yet.
        size_bytes: The encoded size, shared rows included.
    """

    envelope: bytes
    pieces: tuple[Piece, ...] | None
    payload: Payload | None = None
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.size_bytes = len(self.envelope) + sum([len(piece.encoded) for piece in self.pieces or ()])

    def decoded(self) -> Payload:
        """Return the payload, decoded, whole, where only pieces came."""
        if self.payload is None:
            self.payload = self._decode()
        return self.payload

    def _decode(self) -> Payload:
        envelope = frozen_json(orjson.loads(self.envelope))
        rows = {} if self.pieces is None else {ROWS: frozen_list([piece.decoded() for piece in self.pieces])}
        payload: Payload = frozen_dict(Payload, {**_mapping(envelope), **rows})
        return payload

    def rows(self) -> list[Json]:
        """Return the rows; none where the payload has no list of them."""
        return [piece.decoded() for piece in self.pieces or ()]

    def body(self, encoded: Iterable[bytes]) -> bytes:
        """Return the response body with these encoded rows in place of its own (O6)."""
        if self.pieces is None:
            return self.envelope
        head, tail = b'{"sessions":[', b"]" + (b"}" if self.envelope == b"{}" else b"," + self.envelope[1:])
        rows = list(encoded)
        if not rows:
            return head + tail
        # Within the join: to put them round it afterwards copies megabytes twice more.
        rows[0] = head + rows[0]
        rows[-1] += tail
        return b",".join(rows)

    def etag(self, digests: Iterable[bytes]) -> str:
        """Return the tag of the body of rows with these digests: another exactly where the body is another."""
        told = blake2b(self.envelope, digest_size=DIGEST_BYTES)
        told.update(b"".join(digests))
        return told.hexdigest()


def content_of(payload: Payload) -> Content:
    """Return the content of a frozen payload."""
    rows = payload.get(ROWS)
    if not isinstance(rows, list):
        return Content(encoded_json(payload), None, payload)
    envelope = encoded_json({name: value for name, value in payload.items() if name != ROWS})
    return Content(envelope, tuple(map(piece_of, rows)), payload)


def profiles_that_differ(older: Content, newer: Content) -> frozenset[str | None]:
    """Say whose rows differ between two contents of one key; None among them stands for rows of no profile.

    Source: rule E9.
    """
    return frozenset(_profile(piece.decoded()) for piece in _differing(older, newer))


def rows_differ(older: Content, newer: Content) -> bool:
    """Say whether any row differs between two contents of one key; nothing is decoded for it (E9)."""
    return any(True for _ in _differing(older, newer))


def _differing(older: Content, newer: Content) -> Iterator[Piece]:
    # Shared rows are the very object, so only the others need a look at their bytes.
    shared = set(map(id, older.pieces or ())).intersection(map(id, newer.pieces or ()))
    gone = {piece.digest: piece for piece in older.pieces or () if id(piece) not in shared}
    come = {piece.digest: piece for piece in newer.pieces or () if id(piece) not in shared}
    yield from (piece for digest, piece in (gone | come).items() if (digest in gone) != (digest in come))


def _profile(row: Json) -> str | None:
    profile = row.get("profile") if isinstance(row, dict) else None
    return profile if isinstance(profile, str) else None


def _mapping(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError(f"an envelope is a {type(value).__name__}, no object")
    return value
