"""Parcels: what a worker process sends of a payload, and how it becomes a content here.

A worker sends the digest of every row, and the bytes only of those that it has not sent before; a row that is held
here by any content is the same object in all. Source: rule B8.
"""

from collections.abc import Hashable, Mapping
from threading import Lock
from typing import NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import DIGEST_BYTES, EncodedRow, Facts, Piece

SentRow: TypeAlias = tuple[bytes, Facts]
"""A row as JSON, and what must be known of it without decoding it."""

Share: TypeAlias = tuple[Hashable, bytes]
"""What `JoiningBuilder.share` returns for a scope."""


class Parcel(NamedTuple):
    """A payload on its way between processes.

    Attributes:
        envelope: All but the rows, as a JSON object.
        digests: Of all rows, one after the other; None if there is no list of rows.
        rows: By digest, those that were not sent before.
        name: The field of the payload that holds the rows; None if there is no list of them.
    """

    envelope: bytes
    digests: bytes | None
    rows: Mapping[bytes, SentRow]
    name: str | None

    def missing(self, held: Mapping[bytes, Piece]) -> list[bytes]:
        """Name the rows that were sent before and are not held any more."""
        return [digest for digest in _split(self.digests) if digest not in self.rows and digest not in held]


class ReceivedRows:
    """The rows that came from workers and are still in use."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: WeakValueDictionary[bytes, EncodedRow] = WeakValueDictionary()
        self._contents: WeakValueDictionary[Hashable, Content] = WeakValueDictionary()

    def held(self, key: Hashable, parcel: Parcel) -> dict[bytes, Piece]:
        """Return the rows of a key's parcel that are held; who keeps them keeps them from going."""
        digests = _split(parcel.digests)
        with self._lock:
            last = self._contents.get(key)
            # Nearly all are in the key's last content, where they are found in a tenth of the time.
            known: dict[bytes, Piece] = {piece.digest: piece for piece in (last.pieces if last else None) or ()}
            others = {digest: self._rows.get(digest) for digest in digests if digest not in known}
        held = {digest: known[digest] for digest in digests if digest in known}
        return held | {digest: row for digest, row in others.items() if row is not None}

    def content(self, key: Hashable, parcel: Parcel, held: Mapping[bytes, Piece]) -> Content:
        """Make the content of a key's parcel that has all rows but those held."""
        content = self._content(parcel, held)
        with self._lock:
            self._contents[key] = content
        return content

    def _content(self, parcel: Parcel, held: Mapping[bytes, Piece]) -> Content:
        if parcel.digests is None:
            return Content(parcel.envelope, None)
        come = {digest: EncodedRow(sent[0], digest, sent[1]) for digest, sent in parcel.rows.items()}
        with self._lock:
            # Another build may have brought the same row meanwhile.
            rows = {digest: self._rows.setdefault(digest, row) for digest, row in come.items()}
        pieces = tuple([held.get(digest) or rows[digest] for digest in _split(parcel.digests)])
        return Content(parcel.envelope, pieces, name=parcel.name)


def _split(digests: bytes | None) -> list[bytes]:
    joined = digests or b""
    return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]
