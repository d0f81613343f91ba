"""Content: the payload of an entry as an envelope and pieces, which is decoded when somebody asks for rows.

A builder in this process hands over frozen rows; a builder in another process hands over their bytes. In both
cases a body is joined from pieces. Source: rules P4, O6, B8, E9.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from weakref import ref

import orjson

from hermes_cache.payload.frozen import Json, Payload, frozen_dict, frozen_list
from hermes_cache.payload.rows import ListShape, Piece, encoded_json, frozen_json, piece_of
from hermes_cache.payload.splices import Splice, splices_between, splices_of


@dataclass(slots=True, eq=False, weakref_slot=True)
class Content:
    """One payload in the form in which it came. Only `payload` changes: it is made at its first use.

    Attributes:
        envelope: The payload without its rows, as a JSON object.
        pieces: The rows in the builder's order; None if the payload has no list of rows. Contents that share a row
            share its piece, the same object.
        payload: The frozen payload; None if only pieces came and nobody has asked for it yet.
        name: The field of the payload that holds the rows; None if the payload has no list of rows.
        size_bytes: The encoded size, shared rows included; counted if it is not given.
        before: The content that this one was made from, and how its rows differ; None if it was made whole.
    """

    envelope: bytes
    pieces: tuple[Piece, ...] | None
    payload: Payload | None = None
    name: str | None = None
    size_bytes: int = -1
    before: "tuple[ref[Content], list[Splice]] | None" = None

    def __post_init__(self) -> None:
        if self.size_bytes < 0:
            self.size_bytes = len(self.envelope) + sum([len(piece.encoded) for piece in self.pieces or ()])

    def changed(self, envelope: bytes, gone: Sequence[int], come: Iterable[tuple[int, Piece]]) -> "Content":
        """Return the content that this one becomes by a few changes; what stays is not looked at.

        Args:
            envelope: The new one.
            gone: Where the rows stand here that go, ascending.
            come: The new rows, each with the index at which it stands in the new content, ascending.
        """
        pieces = list(self.pieces or ())
        size_bytes = self.size_bytes - len(self.envelope) + len(envelope)
        come = list(come)
        for index in reversed(gone):
            size_bytes -= len(pieces.pop(index).encoded)
        for index, piece in come:
            pieces.insert(index, piece)
            size_bytes += len(piece.encoded)
        before = ref(self), splices_of(gone, [index for index, _ in come])
        return Content(envelope, tuple(pieces), name=self.name, size_bytes=size_bytes, before=before)

    def splices_since(self, older: "Content") -> list[Splice]:
        """Return how the rows differ from those of another content."""
        if self.before is not None and self.before[0]() is older:
            return self.before[1]
        return splices_between(older.pieces or (), self.pieces or ())

    def decoded(self) -> Payload:
        """Return the payload; if only pieces came, decode all of it first."""
        if self.payload is None:
            payload = self._decode()
            # A finalizer may have asked for it meanwhile: all readers get the same object.
            if self.payload is None:
                self.payload = payload
        return self.payload

    def _decode(self) -> Payload:
        envelope = frozen_json(orjson.loads(self.envelope))
        rows = {} if self.name is None else {self.name: frozen_list(self.rows())}
        payload: Payload = frozen_dict(Payload, {**_mapping(envelope), **rows})
        return payload

    def rows(self) -> list[Json]:
        """Return the rows; none if the payload has no list of rows."""
        return [piece.decoded() for piece in self.pieces or ()]

    def body(self, encoded: Iterable[bytes]) -> bytes:
        """Return the response body with these encoded rows instead of its own (O6)."""
        if self.pieces is None:
            return self.envelope
        head = b"{%b:[" % orjson.dumps(self.name)
        tail = b"]" + (b"}" if self.envelope == b"{}" else b"," + self.envelope[1:])
        rows = list(encoded)
        if not rows:
            return head + tail
        # They are part of the join, because adding them afterwards would copy megabytes twice more.
        rows[0] = head + rows[0]
        rows[-1] += tail
        return b",".join(rows)


def content_of(payload: Payload, shape: ListShape) -> Content:
    """Return the content of a frozen payload."""
    rows = None if shape.name is None else payload.get(shape.name)
    if not isinstance(rows, list):
        return Content(encoded_json(payload), None, payload)
    envelope = encoded_json({name: value for name, value in payload.items() if name != shape.name})
    return Content(envelope, tuple([piece_of(row, shape) for row in rows]), payload, shape.name)


def owners_that_differ(older: Content, newer: Content, owner: str | None) -> frozenset[str | None]:
    """Return the profiles whose rows differ between two contents of a key; None stands for rows without a profile.

    Args:
        older: The content that is replaced.
        newer: The content that replaces it.
        owner: The field of a row that names its profile; None if rows have none.

    Source: rule E9.
    """
    if owner is None:
        return frozenset({None} if rows_differ(older, newer) else ())
    return frozenset(_owner(piece.decoded(), owner) for piece in _differing(older, newer))


def rows_differ(older: Content, newer: Content) -> bool:
    """Return whether any row differs between two contents of a key, without decoding anything (E9)."""
    return any(True for _ in _differing(older, newer))


def _differing(older: Content, newer: Content) -> Iterator[Piece]:
    old, new = older.pieces or (), newer.pieces or ()
    splices = newer.splices_since(older)
    gone = {piece.digest: piece for each in splices for piece in old[each.start : each.end]}
    come = {piece.digest: piece for each in splices for piece in new[each.came : each.till]}
    yield from (piece for digest, piece in (gone | come).items() if (digest in gone) != (digest in come))


def _owner(row: Json, name: str) -> str | None:
    owner = row.get(name) if isinstance(row, dict) else None
    return owner if isinstance(owner, str) else None


def _mapping(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError(f"an envelope is a {type(value).__name__}, no object")
    return value
