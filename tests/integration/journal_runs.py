"""A journal in a database, most of whose rows are gone, and what it costs to read past them."""

from collections.abc import Callable
from contextlib import closing

from sqlalchemy import Connection, Engine, event

from hermes_cache.journal.replaying import parts_after
from hermes_cache.ports import Journal, Position
from hermes_cache.testing.journal_contract import numbered

_MANY = 18_000


def transactions_of_a_truncated_journal(journal: Journal, lose_rows: Callable[[int, int], None]) -> int:
    """Read a journal of 18,000 rows, of which all but the first are gone; return the number of transactions."""
    begun: list[object] = []

    def note(connection: Connection) -> None:
        begun.append(connection)

    with closing(journal):
        journal.append(numbered(range(1, _MANY + 1)))
        lose_rows(2, _MANY)
        start = Position(journal.end().journal)
        event.listen(Engine, "begin", note)
        try:
            parts = list(parts_after(journal, start))
        finally:
            event.remove(Engine, "begin", note)
    assert [part.lost for part in parts if part.damaged is not None] == [range(2, _MANY + 1)]
    return len(begun)
