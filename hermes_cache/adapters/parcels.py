"""Parcels: what a worker process sends of a payload, and how it becomes a content here.

A worker sends the digest of every row, and the bytes only of those that it has not sent before; a row that is held
here by any content is the same object in all. Source: rule B8.
"""

from collections.abc import Mapping
from threading import Lock
from typing import NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from hermes_cache.core.content import Content
from hermes_cache.core.rows import DIGEST_BYTES, EncodedRow, Facts

SentRow: TypeAlias = tuple[bytes, Facts]
"""A row as JSON, and what the overlay must know of it."""


class Parcel(NamedTuple):
    """A payload on its way between processes.

    Attributes:
        envelope: All but the rows, as a JSON object.
        digests: Of all rows, one after the other; None where there is no list of rows.
        rows: By digest, those that were not sent before.
    """

    envelope: bytes
    digests: bytes | None
    rows: Mapping[bytes, SentRow]


class ReceivedRows:
    """The rows that came from workers and are still in use."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: WeakValueDictionary[bytes, EncodedRow] = WeakValueDictionary()

    def missing(self, parcel: Parcel) -> list[bytes]:
        """Name the rows that were sent before and are not held any more."""
        held = self._rows
        return [digest for digest in _split(parcel.digests) if digest not in parcel.rows and digest not in held]

    def content(self, parcel: Parcel) -> Content | None:
        """Make a content of a parcel; None where a row of it is not held any more."""
        with self._lock:
            come = {digest: EncodedRow(sent[0], digest, sent[1]) for digest, sent in parcel.rows.items()}
            pieces = [self._rows.get(digest) or come.get(digest) for digest in _split(parcel.digests)]
            found = tuple([piece for piece in pieces if piece is not None])
            self._rows.update({piece.digest: piece for piece in found if piece.digest in come})
        if len(found) < len(pieces):
            return None
        return Content(parcel.envelope, None if parcel.digests is None else found)


def _split(digests: bytes | None) -> list[bytes]:
    told = digests or b""
    return [told[at : at + DIGEST_BYTES] for at in range(0, len(told), DIGEST_BYTES)]
