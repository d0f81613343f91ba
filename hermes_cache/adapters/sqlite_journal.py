"""A journal's SQLite file: how it is opened, written, watched and, when it was replaced, opened anew.

Writers begin with `BEGIN IMMEDIATE`, so appends come one after the other. One connection stays open outside any
transaction: `PRAGMA data_version` on it moves with every commit of every other connection, this process's own
included. It does not see that the file was replaced, so each call looks at the inode.

Write-ahead logging is used only with an SQLite that is free of the WAL-reset bug, by which two connections that
write and checkpoint at one moment can corrupt a file; else the rollback journal, which never had it, and whose
file is kept between commits: without that they take two to four times as long. Commits are synced to the disk in
both. Source: rules J1, J3, J5, L2; https://sqlite.org/wal.html#walresetbug.
"""

import sqlite3
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from hermes_cache.adapters.journal_tables import prepare
from hermes_cache.errors import JournalDamagedError, JournalError, JournalSetupError, JournalUnavailableError
from hermes_cache.forks import after_fork_in_child
from hermes_cache.ports import Level

_BUSY_TIMEOUT_S: Final = 2.5
"""How long a lock of another process is waited for: commits take milliseconds, somebody's backup longer."""

_POLL_S: Final = 0.005
"""A look at the file takes 10 us, so a waiter costs 0.2 % of a core and hears within the 20 ms that count."""

_BUSY_CODES: Final = frozenset({5, 6})
_DAMAGE_CODES: Final = frozenset({11, 26})

_REPAIRED: Final = ((3, 44, 6), (3, 50, 7))
"""Releases before 3.51.3 that have the repair of the WAL-reset bug."""


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Say whether a release of SQLite is free of the WAL-reset bug."""
    repaired = any(version[:2] == fixed[:2] and version >= fixed for fixed in _REPAIRED)
    return repaired or version < (3, 7, 0) or version >= (3, 51, 3)


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    engine: Engine
    held: PoolProxiedConnection
    inode: int
    epoch: int

    def close(self) -> None:
        self.held.close()
        self.engine.dispose()


class SqliteDatabase:
    """Connections to a journal's file, which is made where it is missing. Any thread may call.

    Args:
        url: Names the file.

    Raises:
        JournalSetupError: It names none.
    """

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:" or url.query:
            told = "name a file alone, as in sqlite:////path/to/journal.db; in memory there is MemoryJournal"
            raise JournalSetupError(str(url), told)
        self._path = Path(url.database).absolute()
        self._wal = wal_is_safe(sqlite3.sqlite_version_info)
        self._epochs = count(1)
        self._opened: _Opened | None = None
        self._inherited: list[object] = []
        self._lock = Lock()
        self._closed = Event()
        after_fork_in_child(self._start_anew)

    @property
    def level(self) -> Level:
        """The stamp is a pragma on a connection that is held open."""
        return "host"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a transaction that sees one moment."""
        with self._translated(), self._current().connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a transaction that no other writer shares, committed at its end."""
        with self._translated(), self._current().connect() as connection:
            writer = connection.execution_options(hermes_cache_begin="BEGIN IMMEDIATE")
            with writer.begin():
                yield writer

    def stamp(self) -> Hashable:
        """Give a value that differs once anybody committed, or the file was replaced."""
        with self._translated(), self._lock:
            opened = self._look()
            return opened.epoch, _pragma(opened.held, "data_version")

    def wait(self, seen: Hashable, timeout_s: float) -> None:
        """Wait until the stamp differs from one that was seen."""
        ends_at_s = monotonic() + timeout_s
        while self.stamp() == seen:
            left_s = ends_at_s - monotonic()
            if left_s <= 0 or self._closed.wait(min(left_s, _POLL_S)):
                return

    def close(self) -> None:
        """Close all connections."""
        self._closed.set()
        self._forget()

    def _current(self) -> Engine:
        with self._lock:
            return self._look().engine

    def _look(self) -> _Opened:
        if self._closed.is_set():
            raise JournalUnavailableError(f"the journal {self._path} is closed; open another")
        opened = self._opened
        if opened is not None and opened.inode == _inode(self._path):
            return opened
        self._opened = None
        if opened is not None:
            opened.close()
        self._opened = self._open()
        return self._opened

    def _open(self) -> _Opened:
        engine = self._engine()
        try:
            held = engine.raw_connection()
            with engine.connect() as connection:
                writer = connection.execution_options(hermes_cache_begin="BEGIN IMMEDIATE")
                with writer.begin():
                    prepare(writer, str(self._path))
        except BaseException:
            engine.dispose()
            raise
        return _Opened(engine, held, _inode(self._path), next(self._epochs))

    def _engine(self) -> Engine:
        engine = create_engine(
            URL.create("sqlite", database=str(self._path)),
            connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False},
            poolclass=QueuePool,
            max_overflow=-1,
        )
        event.listen(engine, "connect", self._set_up)
        event.listen(engine, "begin", _begin)
        return engine

    def _set_up(self, connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transactions begin too late, at the first write.
        connection.isolation_level = None
        expected = "wal" if self._wal else "persist"
        mode = connection.execute(f"PRAGMA journal_mode={expected}").fetchone()[0]
        if mode != expected:
            told = f"its journal mode is {mode} and cannot be made {expected} while others have it open"
            raise JournalSetupError(str(self._path), f"{told}; let all processes use the same SQLite library")
        connection.execute("PRAGMA synchronous=FULL")

    def _forget(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
            if opened is not None:
                opened.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            code = _code(error)
            if code not in _BUSY_CODES:
                # Whatever it was, the next call looks at the file anew.
                self._forget()
            raise self._failure(error, code) from error

    def _failure(self, error: Exception, code: int | None) -> JournalError:
        told = f"{self._path}: {getattr(error, 'orig', error)}"
        if code in _DAMAGE_CODES:
            return JournalDamagedError(None, told)
        return JournalUnavailableError(f"the journal cannot be used now: {told}; try again")

    def _start_anew(self) -> None:
        # Closing what the parent uses would drop its locks and run SQLite's clean-up on its files.
        self._inherited.append(self._opened)
        self._opened = None
        self._lock = Lock()
        closed, self._closed = self._closed, Event()
        if closed.is_set():
            self._closed.set()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("hermes_cache_begin", "BEGIN"))


def _pragma(connection: PoolProxiedConnection, name: str) -> object:
    # The driver's own cursor: SQLAlchemy's execution takes several times as long.
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA {name}")
        row = cursor.fetchone()
        return row[0] if row else None
    finally:
        cursor.close()


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _code(error: Exception) -> int | None:
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
