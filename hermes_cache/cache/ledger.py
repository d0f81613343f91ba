"""The ledger: what the held contents weigh together, rows that they share counted once.

Kept away from the mailbox, since counting takes as long as there are rows. The lock is re-entrant: a finalizer
that reads may strike a thread that counts here, and have rows counted as objects in between. So each sum is made
before the total changes. Source: rules L6, P4.
"""

import threading
from sys import getsizeof

from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import Piece


class Ledger:
    """Counts the pieces of contents."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: dict[int, tuple[Content, dict[int, Piece]]] = {}
        self._holders: dict[int, int] = {}
        self._objects: dict[int, int] = {}
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """The size of all that is held."""
        return self._held_bytes

    def add(self, content: Content) -> int:
        """Count a content in, once, and return what is held now."""
        with self._lock:
            if id(content) not in self._held:
                pieces = dict(zip(map(id, content.pieces or ()), content.pieces or (), strict=True))
                come = set(pieces).difference(self._holders)
                came_bytes = len(content.envelope) + sum([len(pieces[each].encoded) for each in come])
                self._held_bytes += came_bytes
                holders = self._holders
                for each in pieces:
                    holders[each] = holders.get(each, 0) + 1
                self._held[id(content)] = content, pieces
            return self._held_bytes

    def note_decoded(self, content: Content) -> int:
        """Count the rows of a content as objects too, each once, and return what is held now.

        A content that was counted out meanwhile is passed over.
        """
        with self._lock:
            if id(content) in self._held:
                for key, piece in self._held[id(content)][1].items():
                    if key in self._objects:
                        continue
                    size_bytes = object_bytes(piece.decoded())
                    if key not in self._objects:
                        self._objects[key] = size_bytes
                        self._held_bytes += size_bytes
            return self._held_bytes

    def drop(self, content: Content) -> int:
        """Count a content out, once, and return what is held now."""
        with self._lock:
            _, pieces = self._held.pop(id(content), (None, None))
            if pieces is not None:
                gone = self._let_go(pieces)
                gone_bytes = len(content.envelope) + sum([len(pieces[each].encoded) for each in gone])
                gone_bytes += sum([self._objects.pop(each, 0) for each in gone])
                self._held_bytes -= gone_bytes
            return self._held_bytes

    def _let_go(self, pieces: dict[int, Piece]) -> list[int]:
        """Count one holder less for each piece, and name those that nobody holds any more."""
        gone: list[int] = []
        for each in pieces:
            holders = self._holders.pop(each) - 1
            if holders:
                self._holders[each] = holders
            else:
                gone.append(each)
        return gone


def object_bytes(value: object) -> int:
    """Measure a decoded value with all that it holds; field names are shared by all rows, and not counted."""
    if isinstance(value, dict):
        return getsizeof(value) + sum(map(object_bytes, value.values()))
    if isinstance(value, list):
        return getsizeof(value) + sum(map(object_bytes, value))
    return 0 if value is None or isinstance(value, bool) else getsizeof(value)
