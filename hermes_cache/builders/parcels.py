"""Parcels: what a worker process sends of a payload, and how it becomes a content here.

A worker sends the digest of every row, and the bytes only of those that it has not sent before; a row that is held
here by any content is the same object in all. If the list that it last sent for a key is still held here, it sends
only what changed. Source: rule B8.
"""

from collections.abc import Hashable, Mapping, Sequence
from threading import Lock
from typing import Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import DIGEST_BYTES, EncodedRow, Facts, Piece

_MOST_CHANGED: Final = 0.25
"""If a greater share of the rows changed, a whole list is as cheap."""

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
        list_id: The digest of the list of rows, by which both sides know it.
    """

    envelope: bytes
    digests: bytes | None
    rows: Mapping[bytes, SentRow]
    name: str | None
    list_id: bytes

    def missing(self, held: Mapping[bytes, Piece]) -> list[bytes]:
        """Name the rows that were sent before and are not held any more."""
        return [digest for digest in _split(self.digests) if digest not in self.rows and digest not in held]


class Changes(NamedTuple):
    """What leads from a payload that is held to the present one.

    Attributes:
        envelope: All but the rows, as a JSON object.
        gone: Where the rows stand in the held list that are not in the new one, ascending.
        come: The rows that are not in the held list, ascending; each has its index in the new one and its digest.
        list_id: The digest of the new list.
    """

    envelope: bytes
    gone: Sequence[int]
    come: Sequence[tuple[int, bytes, SentRow]]
    list_id: bytes


def differing_indexes(before: Sequence[bytes], after: Sequence[bytes]) -> tuple[list[int], list[int]] | None:
    """Compare two lists by the digests of their rows.

    Returns:
        Where the rows stand in the list before that went, and in the list after that came; None if too many did,
        or if what stayed is in another order.
    """
    if before == after:
        return [], []
    old, new = set(before), set(after)
    gone = [index for index, digest in enumerate(before) if digest not in new]
    come = [index for index, digest in enumerate(after) if digest not in old]
    if len(gone) + len(come) > _MOST_CHANGED * len(after):
        return None
    stayed = [digest for digest in before if digest in new]
    return (gone, come) if stayed == [digest for digest in after if digest in old] else None


class HeldList(NamedTuple):
    """A content that came from a worker, and the digest of its list of rows."""

    content: Content
    list_id: bytes


class ReceivedRows:
    """The rows that came from workers and are still in use."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: WeakValueDictionary[bytes, EncodedRow] = WeakValueDictionary()
        self._contents: WeakValueDictionary[Hashable, Content] = WeakValueDictionary()
        self._list_ids: WeakKeyDictionary[Content, bytes] = WeakKeyDictionary()

    def last(self, key: Hashable) -> HeldList | None:
        """Return the last content of a key; None if nobody holds it any more."""
        with self._lock:
            content = self._contents.get(key)
            return None if content is None else HeldList(content, self._list_ids[content])

    def held(self, key: Hashable, parcel: Parcel) -> dict[bytes, Piece]:
        """Return the rows of a key's parcel that are held; they stay as long as the result is kept."""
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
        return self._noted(key, self._content(parcel, held), parcel.list_id)

    def changed(self, key: Hashable, last: Content, changes: Changes) -> Content:
        """Make the content that a key's last one becomes."""
        rows = self._shared({digest: sent for _, digest, sent in changes.come})
        come = [(index, rows[digest]) for index, digest, _ in changes.come]
        return self._noted(key, last.changed(changes.envelope, changes.gone, come), changes.list_id)

    def _noted(self, key: Hashable, content: Content, list_id: bytes) -> Content:
        with self._lock:
            self._contents[key] = content
            self._list_ids[content] = list_id
        return content

    def _shared(self, sent: Mapping[bytes, SentRow]) -> dict[bytes, EncodedRow]:
        come = {digest: EncodedRow(encoded, digest, facts) for digest, (encoded, facts) in sent.items()}
        with self._lock:
            # Another build may have brought the same row.
            return {digest: self._rows.setdefault(digest, row) for digest, row in come.items()}

    def _content(self, parcel: Parcel, held: Mapping[bytes, Piece]) -> Content:
        if parcel.digests is None:
            return Content(parcel.envelope, None)
        rows = self._shared(parcel.rows)
        pieces = tuple([held.get(digest) or rows[digest] for digest in _split(parcel.digests)])
        return Content(parcel.envelope, pieces, name=parcel.name)


def _split(digests: bytes | None) -> list[bytes]:
    joined = digests or b""
    return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]
