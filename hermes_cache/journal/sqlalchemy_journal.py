"""A journal in a database: SQLite by default, PostgreSQL by URL.

What the databases share stands here and in `tables.py`; connections, transactions, the cheap check and the
wake-up are each database's own. Source: rules J1 to J6.
"""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Final, Protocol, TypeVar

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from hermes_cache.core.events import SESSIONS, AppliedEvent, EventId
from hermes_cache.distribution import install_command
from hermes_cache.errors import JournalSetupError, TransactionConflictError
from hermes_cache.journal.sqlite import SqliteDatabase
from hermes_cache.journal.tables import (
    Statements,
    Tables,
    admit_names,
    read_end,
    read_foldable,
    read_snapshot,
    shown_url,
)
from hermes_cache.ports import FoldSnapshot, Level, Position, Recorded, Snapshot

_TRIES: Final = 3
"""Of a transaction in whose way another one stands."""

_Found = TypeVar("_Found")
_S = TypeVar("_S", Connection, Statements)


class JournalDatabase(Protocol):
    """What a journal asks of its database; everything that goes wrong is raised as a `JournalError`.

    Attributes:
        tables: The tables as they were found when it was opened.
    """

    tables: Tables

    @property
    def level(self) -> Level:
        """What readers may count on."""

    def look_again(self) -> None:
        """Find out anew what tables there are, before the next transaction."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Return a transaction that sees one moment."""

    def writing(self) -> AbstractContextManager[Connection]:
        """Return a transaction that is committed at its end, and wakes those that wait."""

    def looking(self) -> AbstractContextManager[Statements]:
        """Return what `reading` does, by the quickest way there is."""

    def appending(self) -> AbstractContextManager[Statements]:
        """Return what `writing` does, by the quickest way there is."""

    def stamp(self) -> Hashable:
        """Return a value that differs once anybody committed."""

    def wait(self, seen: Hashable, timeout_s: float) -> None:
        """Wait until the stamp may differ from one that was seen."""

    def close(self) -> None:
        """Let go of all connections."""


class SqlAlchemyJournal:
    """Keeps events in a database. Any thread may call.

    Args:
        database: Connects nowhere before the first call.
    """

    def __init__(self, database: JournalDatabase) -> None:
        self._database = database

    @property
    def level(self) -> Level:
        """What readers may count on: of an SQLite file "host", of PostgreSQL "cluster"."""
        return self._database.level

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        """Commit events, all or none, and return their sequence numbers."""
        if not events:
            return []
        has_names = any(event.id.bus != SESSIONS for event in events)

        def append(connection: Statements) -> tuple[Tables, list[int]]:
            there = self._database.tables
            if has_names and not there.has_names:
                there = admit_names(connection)
            return there, there.append_events(connection, events)

        there, seqs = _in(self._database.appending, append)
        if there is not self._database.tables:
            self._database.look_again()
        return seqs

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        """Return the events after a position, oldest first."""
        return _in(
            self._database.looking, lambda connection: self._database.tables.read_after(connection, after, limit)
        )

    def seq_of(self, event_id: EventId, /) -> int | None:
        """Return an event's sequence number."""
        return _in(self._database.looking, lambda connection: self._database.tables.read_seq(connection, event_id))

    def end(self) -> Position:
        """Return the position of one who has read everything."""
        return _in(self._database.looking, read_end)

    def stamp(self) -> Hashable:
        """Return a value that differs once anybody appended, or replaced the journal."""
        return self._database.stamp()

    def wait(self, seen: Hashable, /, *, timeout_s: float) -> None:
        """Wait until the stamp may differ from one that was seen."""
        self._database.wait(seen, timeout_s)

    def snapshot(self) -> Snapshot | None:
        """Return what the compacted events amount to."""
        return _in(self._database.reading, read_snapshot)

    def compact(self, fold: FoldSnapshot, /, *, before_s: float, max_events: int) -> int:
        """Fold the oldest events into the snapshot and drop them; a damaged one counts as empty."""

        def find(
            connection: Connection,
        ) -> tuple[int | None, Snapshot | None, list[AppliedEvent], Position | None]:
            stands_under, earlier = read_foldable(connection)
            start = earlier.position if earlier else Position(read_end(connection).journal)
            cut = self._database.tables.read_cut(connection, before_s, max_events)
            events, position = self._database.tables.sound_events(connection, start, cut)
            return stands_under, earlier, events, position if position != start else None

        stands_under, earlier, events, position = _in(self._database.reading, find)
        if position is None:
            return 0
        later = Snapshot(position, fold(earlier.body if earlier else None, events))
        return _in(
            self._database.writing,
            lambda connection: self._database.tables.replace_snapshot(connection, stands_under, later),
        )

    def close(self) -> None:
        """Let go of all connections; a later call raises `JournalUnavailableError`."""
        self._database.close()


def _in(begin: Callable[[], AbstractContextManager[_S]], act: Callable[[_S], _Found]) -> _Found:
    """Do something in a transaction, and again if another one stood in its way; all that a journal does may be."""
    for _ in range(_TRIES - 1):
        with suppress(TransactionConflictError), begin() as connection:
            return act(connection)
    with begin() as connection:
        return act(connection)


def journal_at(url: str | URL, *, shared: bool = False) -> SqlAlchemyJournal:
    """Return the journal that a database URL names, such as `sqlite:////var/lib/gateway/journal.db`.

    Args:
        url: The URL.
        shared: Take a file in a folder to which every user of the machine may write, such as `/tmp`; the same as
            `?shared=true` in the URL.

    Raises:
        JournalSetupError: The URL names no database that can hold a journal, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Neither it nor that error is shown: there may be a password in it.
        raise JournalSetupError("the URL given", "it is no URL; give sqlite:///path or postgresql://...") from None
    except ValueError:
        # Likewise: the port may be a password whose host was forgotten.
        raise JournalSetupError(
            "the URL given", "its port is no number; give sqlite:///path or postgresql://..."
        ) from None
    match parsed.get_backend_name():
        case "sqlite":
            return SqlAlchemyJournal(SqliteDatabase(parsed, shared=shared))
        case "postgresql" | "postgres":
            return SqlAlchemyJournal(_postgres(parsed))
    raise JournalSetupError(shown_url(parsed), "only SQLite and PostgreSQL are known")


def _postgres(url: URL) -> JournalDatabase:
    try:
        from hermes_cache.journal.postgres import PostgresDatabase  # noqa: PLC0415  # an extra
    except ImportError as error:
        reason = f"psycopg is not installed: {install_command('postgres')}"
        raise JournalSetupError(shown_url(url), reason) from error
    return PostgresDatabase(url)
