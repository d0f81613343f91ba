"""The rows of a store, and which of them changed at which number: what `SessionStore.changes` is made from.

Pure values; no I/O, no lock. Source: rule X11.
"""

from typing import Final

from hermes_cache.stores.session_store import Row

MOST_GONE: Final = 10_000
"""Sessions that are gone and still named in changes; past it the oldest is forgotten."""


class RowLog:
    """Rows by their ids, newest first, with the number of the look that changed each. For one thread at a time.

    Attributes:
        rows: All rows, newest first, after `sort`.
    """

    def __init__(self) -> None:
        self.rows: tuple[Row, ...] = ()
        self._rows: dict[str, Row] = {}
        self._numbers: dict[str, int] = {}
        self._gone: dict[str, None] = {}
        self._forgotten = -1

    def put(self, session_id: str, row: Row | None, number: int) -> bool:
        """Put a row into the log, or take it out, and say whether that changed anything.

        Args:
            session_id: The id of the row.
            row: The row now; None if there is no such session.
            number: The look's, not smaller than any before.
        """
        if row == self._rows.get(session_id):
            return False
        if row is None:
            del self._rows[session_id]
            self._gone[session_id] = None
        else:
            self._rows[session_id] = row
            self._gone.pop(session_id, None)
        # Taken out first, so that the order is that of the numbers.
        self._numbers.pop(session_id, None)
        self._numbers[session_id] = number
        while len(self._gone) > MOST_GONE:
            oldest = next(iter(self._gone))
            del self._gone[oldest]
            self._forgotten = max(self._forgotten, self._numbers.pop(oldest))
        return True

    def sort(self) -> None:
        """Bring `rows` up to date."""
        self.rows = tuple(sorted(self._rows.values(), key=_newest_first))

    def since(self, number: int) -> tuple[tuple[Row, ...], frozenset[str]] | None:
        """Return the rows that changed after a number and the ids that are gone; None if that is forgotten."""
        if number < self._forgotten:
            return None
        changed: dict[str, Row | None] = {}
        for session_id, at in reversed(self._numbers.items()):
            if at <= number:
                break
            changed[session_id] = self._rows.get(session_id)
        gone = frozenset(session_id for session_id, row in changed.items() if row is None)
        return tuple(sorted((row for row in changed.values() if row is not None), key=_newest_first)), gone


def _newest_first(row: Row) -> tuple[float, str]:
    moment = row.get("last_message_at")
    return (-moment if isinstance(moment, int | float) else 0.0, str(row["session_id"]))
