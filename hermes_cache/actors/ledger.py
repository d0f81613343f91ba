"""The ledger: what the held contents weigh together, rows that they share counted once.

Kept away from the mailbox, since counting takes as long as there are rows. Source: rule P4.
"""

import threading
from collections import Counter
from sys import getsizeof

from hermes_cache.core.content import Content


class Ledger:
    """Counts the pieces of contents."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: dict[int, Content] = {}
        self._uses: Counter[int] = Counter()
        self._objects: dict[int, int] = {}
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """The encoded size of all that is held."""
        return self._held_bytes

    def add(self, content: Content) -> int:
        """Count a content in, once, and give what is held now."""
        with self._lock:
            if id(content) not in self._contents:
                self._contents[id(content)] = content
                self._held_bytes += len(content.envelope)
                for piece in content.pieces or ():
                    self._held_bytes += 0 if self._uses[id(piece)] else len(piece.encoded)
                    self._uses[id(piece)] += 1
            return self._held_bytes

    def note_decoded(self, content: Content) -> int:
        """Count the rows of a content as objects too, each once, and give what is held now.

        A content that was counted out meanwhile is passed over.
        """
        with self._lock:
            if id(content) in self._contents:
                for piece in content.pieces or ():
                    if id(piece) not in self._objects:
                        self._objects[id(piece)] = object_bytes(piece.decoded())
                        self._held_bytes += self._objects[id(piece)]
            return self._held_bytes

    def drop(self, content: Content) -> int:
        """Count a content out, once, and give what is held now."""
        with self._lock:
            if self._contents.pop(id(content), None) is not None:
                self._held_bytes -= len(content.envelope)
                for piece in content.pieces or ():
                    self._uses[id(piece)] -= 1
                    if not self._uses[id(piece)]:
                        del self._uses[id(piece)]
                        self._held_bytes -= len(piece.encoded) + self._objects.pop(id(piece), 0)
            return self._held_bytes


def object_bytes(value: object) -> int:
    """Measure a decoded value with all that it holds; field names are shared by all rows, and not counted."""
    if isinstance(value, dict):
        return getsizeof(value) + sum(map(object_bytes, value.values()))
    if isinstance(value, list):
        return getsizeof(value) + sum(map(object_bytes, value))
    return 0 if value is None or isinstance(value, bool) else getsizeof(value)
