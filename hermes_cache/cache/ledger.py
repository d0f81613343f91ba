"""The ledger: what the held contents weigh together, rows that they share counted once.

Kept away from the mailbox, since counting may take as long as there are rows. The lock is re-entrant: a finalizer
that reads may strike a thread that counts here, and have rows counted as objects in between. So each sum is made
before the total changes.

Most contents replace one that differs in a few rows, and a moment later that one goes. So the newer one takes over
the rows of the older one, which keeps only those that the newer one lacks: both steps cost what changed.
Source: rules L6, P4.
"""

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from sys import getsizeof

from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import Piece


@dataclass(slots=True, eq=False)
class _Account:
    """The rows that are counted for a content.

    Attributes:
        content: The content.
        rows: Its rows, but for those that the account which took over from it has.
        older: The account that it took over from, as long as that is held.
        newer: The account that took over from it.
    """

    content: Content
    rows: dict[int, Piece]
    older: "_Account | None" = None
    newer: "_Account | None" = None


class Ledger:
    """Counts the pieces of contents."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: dict[int, _Account] = {}
        self._holders: dict[int, int] = {}
        self._objects: dict[int, int] = {}
        self._ids: dict[int, int] = {}
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """The size of all that is held."""
        return self._held_bytes

    def add(self, content: Content, previous: Content | None = None) -> int:
        """Count a content in, once, and return what is held now.

        Args:
            content: The content.
            previous: The content that it replaces; None if there is none.
        """
        with self._lock:
            if id(content) not in self._held:
                account = self._taken_over(content, self._held.get(id(previous)))
                if account is None:
                    account = _Account(content, self._by_id(content.pieces or ()))
                    self._count_in(account.rows, len(content.envelope))
                self._held[id(content)] = account
            return self._held_bytes

    def note_decoded(self, content: Content) -> int:
        """Count the rows of a content as objects too, each once, and return what is held now.

        A content that was counted out meanwhile is passed over.
        """
        with self._lock:
            if id(content) in self._held:
                for piece in content.pieces or ():
                    key = id(piece)
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
            account = self._held.pop(id(content), None)
            if account is not None:
                self._part(account)
                gone = self._let_go(account.rows)
                gone_bytes = len(content.envelope) + sum([len(account.rows[each].encoded) for each in gone])
                gone_bytes += sum([self._objects.pop(each, 0) for each in gone])
                self._held_bytes -= gone_bytes
            return self._held_bytes

    def _taken_over(self, content: Content, older: _Account | None) -> _Account | None:
        """Return an account that takes over from an older one; None if that cannot be.

        It cannot if another one did, or if a row stands in a content twice.
        """
        if older is None or older.newer is not None or len(older.rows) != len(older.content.pieces or ()):
            return None
        was, now = older.content.pieces or (), content.pieces or ()
        splices = content.splices_since(older.content)
        gone = self._by_id(piece for each in splices for piece in was[each.start : each.end])
        come = self._by_id(piece for each in splices for piece in now[each.came : each.till])
        left = {each: piece for each, piece in gone.items() if each not in come}
        come = {each: piece for each, piece in come.items() if each not in gone}
        if len(older.rows) - len(left) + len(come) != len(now) or not come.keys().isdisjoint(older.rows):
            return None
        self._count_in(come, len(content.envelope))
        rows, older.rows = older.rows, left
        for each in left:
            del rows[each]
        rows.update(come)
        older.newer = _Account(content, rows, older)
        return older.newer

    def _part(self, account: _Account) -> None:
        """Part an account that goes from those beside it."""
        if account.newer is not None:
            account.newer.older = None
        older = account.older
        if older is not None:
            rows = self._by_id(older.content.pieces or ())
            self._count_in({each: piece for each, piece in rows.items() if each not in older.rows}, 0)
            older.rows, older.newer = rows, None

    def _count_in(self, rows: dict[int, Piece], envelope_bytes: int) -> None:
        """Count one holder more for each row."""
        come = set(rows).difference(self._holders)
        self._held_bytes += envelope_bytes + sum([len(rows[each].encoded) for each in come])
        for each in rows:
            self._holders[each] = self._holders.get(each, 0) + 1

    def _let_go(self, rows: Collection[int]) -> list[int]:
        """Count one holder less for each row, and name those that nobody holds any more."""
        gone: list[int] = []
        for each in rows:
            holders = self._holders.pop(each) - 1
            if holders:
                self._holders[each] = holders
            else:
                gone.append(each)
                self._ids.pop(each, None)
        return gone

    def _by_id(self, pieces: Iterable[Piece]) -> dict[int, Piece]:
        """Return rows by their ids, each of which is one object, however many contents have the row."""
        known = self._ids
        return {known.setdefault(key := id(piece), key): piece for piece in pieces}


def object_bytes(value: object) -> int:
    """Measure a decoded value with all that it holds; field names are shared by all rows, and not counted."""
    if isinstance(value, dict):
        return getsizeof(value) + sum(map(object_bytes, value.values()))
    if isinstance(value, list):
        return getsizeof(value) + sum(map(object_bytes, value))
    return 0 if value is None or isinstance(value, bool) else getsizeof(value)
