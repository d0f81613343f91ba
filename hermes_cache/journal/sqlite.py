"""A journal's SQLite file: how it is opened, written, watched and, when it was replaced, opened anew.

Writers begin with `BEGIN IMMEDIATE`, so appends come one after the other. One connection stays open outside any
transaction: `PRAGMA data_version` on it moves with every commit of every other connection, this process's own
included. It does not see that the file was replaced, so each call looks at the inode.

SQLite waits for a lock with pauses that grow to 100 ms. Where two others commit one after the other it sleeps over
every gap between them, for seconds; so here it is asked anew all the while.

SQLite keeps the locks of a process in its memory, where a forked child finds those that other threads held: it
could never lock the file itself, or would read without a lock. So a fork waits for the calls that run.

A pragma gives the interpreter lock away three times, up to 5 ms each beside a busy thread. With the rollback
journal each commit writes the file before it lets go of its lock, so one look at the file's times will do while
nothing happens. In a write-ahead log a commit shows in memory after its last write, which no look at a file tells.

Write-ahead logging is used only with an SQLite that is free of the WAL-reset bug, by which two connections that
write and checkpoint at one moment can corrupt a file; else the rollback journal, which never had it, and whose
file is kept between commits: without that they take two to four times as long. Commits are synced to the disk in
both. Source: rules J1, J3, J5, L2; https://sqlite.org/wal.html#walresetbug.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from threading import RLock
from time import monotonic, sleep, time_ns
from types import ModuleType
from typing import Final, TypeVar, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from hermes_cache.errors import (
    JournalDamagedError,
    JournalError,
    JournalSetupError,
    JournalUnavailableError,
    TransactionConflictError,
)
from hermes_cache.file_systems import MOUNTS, network_file_system
from hermes_cache.journal.driver_connection import DriverConnection
from hermes_cache.journal.files import (
    Looked,
    absolute_file,
    age_s,
    found,
    make_missing_file,
    refuse_open_folder,
    share_with_group,
)
from hermes_cache.journal.tables import OLDEST, found_tables, prepare, shown_url
from hermes_cache.journal.wal_reset import wal_is_safe
from hermes_cache.ports import Level
from hermes_cache.threads.forks import ForkGate, after_fork_in_child
from hermes_cache.threads.gates import Gate

_BUSY_TIMEOUT_S: Final = 2.5
"""How long a lock of another process is waited for: commits take milliseconds, somebody's backup longer."""

_STAMP_TIMEOUT_S: Final = 0.5
"""A reader asks for the stamp. Past it the journal counts as away; commits that follow one another took 50 ms."""

_RETRY_S: Final = 0.0005
"""Locks are held for 1 to 2 ms; four processes that append without a pause all get on with this."""

_LOOK_AGAIN_S: Final = 0.002
"""The same for a look: it need not be the next one, and each costs the other threads of the interpreter."""

_POLL_S: Final = 0.008
"""A look at a file from outside takes 4 us, a pragma 40; so a waiter hears within the 20 ms that count."""

_SHARED: Final = {"true": True, "false": False}
"""What a URL may say of it."""

_BUSY_CODES: Final = frozenset({5, 6})
_RIGHTS_CODES: Final = frozenset({3, 8, 14})
_DAMAGE_CODES: Final = frozenset({11, 26})

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    engine: Engine
    quick: Engine
    holder: Engine
    held: PoolProxiedConnection
    inode: tuple[int, int] | None
    epoch: int
    idle: deque[PoolProxiedConnection] = field(default_factory=deque)

    def taken(self) -> PoolProxiedConnection:
        """Return a connection for quick transactions; the pool takes and gives for longer than one lasts."""
        try:
            return self.idle.pop()
        except IndexError:
            return self.quick.raw_connection()

    def data_version(self) -> object:
        # The driver's own: what SQLAlchemy puts around it takes longer than the pragma.
        driver = cast("sqlite3.Connection", self.held.driver_connection)
        return driver.execute("PRAGMA data_version").fetchone()[0]

    def close(self) -> None:
        self.held.close()
        self.holder.pool.dispose()
        self.close_idle()

    def close_idle(self) -> None:
        # Not the engine's own dispose, which replaces the pool that others still return to.
        with suppress(IndexError):
            while True:
                self.idle.pop().close()
        for engine in (self.engine, self.quick):
            engine.pool.dispose()


class SqliteDatabase:
    """Connections to a journal's file, which is made if it is missing. Any thread may call.

    Args:
        url: Names the file, and with `?shared=true` says what `shared` says.
        shared: Take a file in a folder to which every user of the machine may write.
        driver: The module whose SQLite opens it, such as `sqlite3` or `pysqlite3.dbapi2`. A process must not
            open one file with two: each drops the locks of the other.
        mounts: The table of what is mounted where; if there is none, every file system is trusted.

    Attributes:
        tables: The tables as they were found when it was opened.

    Raises:
        JournalSetupError: The URL names no file, or one in such a folder.
    """

    def __init__(
        self, url: URL, *, shared: bool = False, driver: ModuleType = sqlite3, mounts: Path = MOUNTS
    ) -> None:
        in_url = _SHARED.get(str(url.query.get("shared", "false"))) if url.query.keys() <= {"shared"} else None
        if url.host or not url.database or url.database == ":memory:" or in_url is None:
            todo = "name a file alone, as in sqlite:////path/to/journal.db; in memory there is MemoryJournal"
            raise JournalSetupError(shown_url(url), todo)
        self._path = absolute_file(url.database)
        self._shared = shared or in_url
        self._refuse_open_folder()
        self._driver = driver
        self._mounts = mounts
        self._wal = wal_is_safe(driver.sqlite_version_info)
        self._epochs = count(1)
        self.tables = OLDEST
        self._opened: _Opened | None = None
        self._looked: Looked | None = None
        self._inherited: list[object] = []
        # Re-entrant: a finalizer that strikes under it may follow the journal, or close it.
        self._lock = RLock()
        self._closed = Gate(shared=True)
        self._unforked = ForkGate()
        after_fork_in_child(self._start_anew)

    @property
    def level(self) -> Level:
        """The stamp is a pragma on a connection that is held open."""
        return "host"

    def look_again(self) -> None:
        """Find out anew what tables there are, before the next transaction."""
        self._forget()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Return a transaction that sees one moment."""
        with self._connected() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Return a transaction that no other writer shares, committed at its end."""
        with self._connected() as connection:
            writer = connection.execution_options(hermes_cache_writes=True)
            with writer.begin():
                yield writer

    @contextmanager
    def looking(self) -> Iterator[DriverConnection]:
        """Return a transaction that sees one moment, for what each check does."""
        with self._driven("BEGIN") as connection:
            yield connection

    @contextmanager
    def appending(self) -> Iterator[DriverConnection]:
        """Return a transaction that no other writer shares, for what each publish does."""
        with self._driven("BEGIN IMMEDIATE") as connection:
            yield connection

    def stamp(self) -> Hashable:
        """Return a value that differs once anybody committed, or the file was replaced."""
        return self._stamp_now(_STAMP_TIMEOUT_S)

    def wait(self, seen: Hashable, timeout_s: float) -> None:
        """Wait until the stamp may differ from one that was seen."""
        ends_at_s = monotonic() + timeout_s
        while not self._may_differ(seen):
            left_s = ends_at_s - monotonic()
            if left_s <= 0 or self._closed.wait(min(left_s, _POLL_S)):
                return

    def close(self) -> None:
        """Close all connections."""
        self._closed.open()
        self._forget()

    def _may_differ(self, seen: Hashable) -> bool:
        looked = self._looked
        if looked is None or looked.stamp != seen:
            return self._stamp_now(_BUSY_TIMEOUT_S) != seen
        if found(self._path) != looked.seen:
            return True
        return looked.is_due(time_ns()) and self._stamp(_BUSY_TIMEOUT_S) != seen

    def _stamp_now(self, timeout_s: float) -> tuple[int, object]:
        looked = self._looked
        if looked is not None and looked.is_settled and looked.seen == found(self._path):
            return looked.stamp
        return self._stamp(timeout_s)

    def _stamp(self, timeout_s: float) -> tuple[int, object]:
        with self._unforked, self._translated():
            lock = self._locked(timeout_s)
            try:
                seen, now_ns = found(self._path), time_ns()
                opened = self._look(seen and seen[:2], timeout_s)
                stamp = opened.epoch, self._at_last(opened.data_version, timeout_s, _LOOK_AGAIN_S)
                self._looked = None if self._wal else Looked(seen, stamp, age_s(seen, now_ns))
                return stamp
            finally:
                lock.release()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._unforked, self._translated():
            opened = self._current()
            try:
                with opened.engine.connect() as connection:
                    yield connection
            finally:
                if opened is not self._opened:
                    opened.close_idle()

    @contextmanager
    def _driven(self, begin: str) -> Iterator[DriverConnection]:
        with self._unforked, self._translated():
            opened = self._current()
            pooled = opened.taken()
            try:
                driver = cast("sqlite3.Connection", pooled.driver_connection)
                self._at_last(partial(driver.execute, begin), _BUSY_TIMEOUT_S)
                yield DriverConnection(driver, partial(self._at_last, timeout_s=_BUSY_TIMEOUT_S))
                self._at_last(partial(driver.execute, "COMMIT"), _BUSY_TIMEOUT_S)
                opened.idle.append(pooled)
            except BaseException:
                # The pool rolls back what is not committed.
                pooled.close()
                raise
            finally:
                if opened is not self._opened:
                    opened.close_idle()

    def _current(self) -> _Opened:
        lock = self._locked(_BUSY_TIMEOUT_S)
        try:
            return self._look(_inode(self._path), _BUSY_TIMEOUT_S)
        finally:
            lock.release()

    def _locked(self, timeout_s: float) -> RLock:
        lock = self._lock
        if not lock.acquire(timeout=timeout_s):
            raise JournalUnavailableError(f"another thread waits for the journal {self._path}; try again")
        return lock

    def _look(self, inode: tuple[int, ...] | None, timeout_s: float) -> _Opened:
        self._refuse_closed()
        opened = self._opened
        if opened is None or opened.inode != inode:
            self._let_go()
            opened = self._open(timeout_s)
            # A finalizer that struck meanwhile may have opened it too, or closed it.
            self._let_go()
            self._opened = opened
            self._refuse_closed()
        return opened

    def _refuse_closed(self) -> None:
        if self._closed.is_open:
            self._let_go()
            raise JournalUnavailableError(f"the journal {self._path} is closed; open another")

    def _let_go(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _open(self, timeout_s: float) -> _Opened:
        self._refuse_network()
        self._refuse_open_folder()
        make_missing_file(self._path)
        share_with_group(self._path)
        inode = _inode(self._path)
        holder = self._engine(timeout_s)
        try:
            with holder.connect() as connection:
                # Looked at first: to open a journal that is there, nobody else's commit need be waited for.
                with connection.begin():
                    tables = found_tables(connection)
                if tables is None:
                    writer = connection.execution_options(hermes_cache_writes=True)
                    with writer.begin():
                        tables = prepare(writer, str(self._path))
            self.tables = tables
            # SQLite made its companions meanwhile, with the group of this user.
            share_with_group(self._path)
            held = holder.raw_connection()
            _run(held, "PRAGMA busy_timeout=0")
        except BaseException:
            holder.dispose()
            raise
        # The inode from before: a file put there meanwhile is found by the next look.
        return _Opened(
            self._engine(_BUSY_TIMEOUT_S),
            self._engine(0.0),
            holder,
            held,
            inode or _inode(self._path),
            next(self._epochs),
        )

    def _refuse_open_folder(self) -> None:
        if not self._shared:
            refuse_open_folder(self._path)

    def _refuse_network(self) -> None:
        with suppress(OSError):
            kind = network_file_system(self._path.resolve(), self._mounts.read_text(errors="replace"))
            if kind:
                reason = f"it lies on {kind}, where SQLite's locks cannot be trusted"
                raise JournalSetupError(str(self._path), f"{reason}; name a file on a disk of this machine")

    def _engine(self, timeout_s: float) -> Engine:
        engine = create_engine(
            URL.create("sqlite", database=str(self._path)),
            module=self._driver,
            # The driver's own transactions begin too late, at the first write.
            connect_args={"timeout": timeout_s, "check_same_thread": False, "isolation_level": None},
            poolclass=QueuePool,
            max_overflow=-1,
        )
        event.listen(engine, "connect", partial(self._set_up, timeout_s or _BUSY_TIMEOUT_S))
        event.listen(engine, "begin", partial(self._begin, timeout_s))
        return engine

    def _begin(self, timeout_s: float, connection: Connection) -> None:
        driver = connection.connection
        if not connection.get_execution_options().get("hermes_cache_writes"):
            _run(driver, "BEGIN")
            return
        _run(driver, "PRAGMA busy_timeout=0")
        self._at_last(partial(_run, driver, "BEGIN IMMEDIATE"), timeout_s)
        _run(driver, f"PRAGMA busy_timeout={timeout_s * 1000:.0f}")

    def _at_last(self, call: Callable[[], _Found], timeout_s: float, retry_s: float = _RETRY_S) -> _Found:
        ends_at_s = monotonic() + timeout_s
        while True:
            try:
                return call()
            except self._driver.OperationalError as error:
                if _code(error) not in _BUSY_CODES or monotonic() > ends_at_s or self._closed.is_open:
                    raise
            sleep(retry_s)

    def _set_up(self, timeout_s: float, connection: DBAPIConnection, _record: object) -> None:
        try:
            self._set_modes(connection, timeout_s)
        except BaseException:
            # The pool forgets a connection that was refused, and leaves it open.
            connection.close()
            raise

    def _set_modes(self, connection: DBAPIConnection, timeout_s: float) -> None:
        expected = "wal" if self._wal else "persist"
        # Where several make a file and change its mode at once, SQLite fails without having waited.
        mode = self._at_last(partial(_run, connection, f"PRAGMA journal_mode={expected}"), timeout_s)
        if mode != expected:
            reason = f"its journal mode is {mode} and cannot be made {expected} while others have it open"
            raise JournalSetupError(str(self._path), f"{reason}; let all processes use the same SQLite library")
        _run(connection, "PRAGMA synchronous=FULL")
        # Text that is not UTF-8 makes its row damaged, not the whole query.
        connection.text_factory = _text

    def _forget(self) -> None:
        with self._lock:
            self._looked = None
            self._let_go()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except JournalError:
            raise
        except UnicodeEncodeError as error:
            raise JournalError(f"the journal {self._path} refuses this: {error}; keep plain text in it") from error
        except Exception as error:
            code = _code(error)
            if code not in _BUSY_CODES:
                # Whatever it was, the next call looks at the file anew.
                self._forget()
            raise self._failure(error, code) from error

    def _failure(self, error: Exception, code: int | None) -> JournalError:
        reason = f"{self._path}: {getattr(error, 'orig', error)}"
        if isinstance(error, FileNotFoundError):
            reason = f"{self._path}: its folder is not there; make it"
        if code in _DAMAGE_CODES:
            return JournalDamagedError(None, reason)
        if "no such table" in str(error):
            # Another process gave it another name since this one looked.
            return TransactionConflictError(f"the journal {reason}; try again")
        if code in _RIGHTS_CODES:
            reason = f"{reason}; see that this user may write to it and to its folder"
        return JournalUnavailableError(f"the journal cannot be used now: {reason}; try again")

    def _start_anew(self) -> None:
        # Closing what the parent uses would drop its locks and run SQLite's clean-up on its files.
        self._inherited.append(self._opened)
        self._opened = None
        self._looked = None
        self._lock = RLock()
        closed, self._closed = self._closed, Gate(shared=True)
        if closed.is_open:
            self._closed.open()


def _run(connection: DBAPIConnection | PoolProxiedConnection, statement: str) -> object:
    # The driver's own cursor: SQLAlchemy's execution takes several times as long.
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        row = cursor.fetchone()
        return row[0] if row else None
    finally:
        cursor.close()


def _text(found: bytes) -> str:
    return found.decode(errors="replace")


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _code(error: Exception) -> int | None:
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
