"""The ledger: what the held contents weigh together, rows that they share counted once.

Kept away from the mailbox, since counting takes as long as there are rows. Source: rule P4.
"""

import threading
from collections import Counter

from hermes_cache.core.content import Content


class Ledger:
    """Counts the pieces of contents."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: dict[int, Content] = {}
        self._uses: Counter[int] = Counter()
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

    def drop(self, content: Content) -> int:
        """Count a content out, once, and give what is held now."""
        with self._lock:
            if self._contents.pop(id(content), None) is not None:
                self._held_bytes -= len(content.envelope)
                for piece in content.pieces or ():
                    self._uses[id(piece)] -= 1
                    if not self._uses[id(piece)]:
                        del self._uses[id(piece)]
                        self._held_bytes -= len(piece.encoded)
            return self._held_bytes
