"""A journal's PostgreSQL database: its transactions, and a notification as the wake-up.

A notification is a hint: it is lost while nobody listens. So a waiter listens first and then looks at the table,
and looks again now and then.

A server, a database and a role may each bring other defaults than PostgreSQL's own. With `repeatable read` an
append that waited for another one would fail instead of seeing it; with `synchronous_commit=off` a commit that was
acknowledged could be lost. So every transaction says what it is, and every connection sets what it relies on.
Needs the extra `postgres`. Source: rules J1, J3, J5, J9, L2.
"""

from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Lock
from time import monotonic
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text

from hermes_cache.errors import (
    JournalError,
    JournalSetupError,
    JournalUnavailableError,
    TransactionConflictError,
)
from hermes_cache.journal.tables import OLDEST, Tables, found_tables, prepare, read_end, shown_url
from hermes_cache.ports import Level
from hermes_cache.threads.forks import after_fork_in_child

_CHANNEL: Final = "hermes_cache_journal"

_PREPARING: Final = 0x6865726D
"""The advisory lock under which tables are made; any number that others are unlikely to take."""

_SLICE_S: Final = 0.1
"""How long `close` may go unnoticed by a waiter."""

_CLOSE_PATIENCE_S: Final = 0.5
"""How long `close` waits for a waiter: some slices, and not for a server that fell silent."""

_POLL_S: Final = 2.0
"""How late a waiter hears whose notification was lost: a query of 1 ms each time."""

# A server that fell silent, and a lock that nobody lets go, end in an error instead of a hang.
_CONNECT_TIMEOUT_S: Final = 5
_TIMEOUTS: Final = "-c lock_timeout=2500 -c statement_timeout=5000 -c idle_in_transaction_session_timeout=10000"
"""In milliseconds. The last one lets go of what a process holds that was suspended in a transaction."""
_SILENCE_S: Final = 6.0
"""Past what the server itself allows a statement: it is gone, or what stands between keeps the answer."""

_KEEPALIVE: Final = {"keepalives_idle": 2, "keepalives_interval": 1, "tcp_user_timeout": 5000}
"""So that the listener, which never sends, finds out too. In seconds, but for the last, in milliseconds."""

_Modes: TypeAlias = Mapping[str, Any]
_READING: Final[_Modes] = {
    "isolation_level": "REPEATABLE READ",
    "postgresql_readonly": True,
    "postgresql_deferrable": False,
}
_WRITING: Final[_Modes] = {
    "isolation_level": "READ COMMITTED",
    "postgresql_readonly": False,
    "postgresql_deferrable": False,
}

_HELD: Final = (
    r"-c default_transaction_isolation=read\ committed -c default_transaction_read_only=off "
    "-c default_transaction_deferrable=off -c standard_conforming_strings=on"
)
"""What the driver's own statements rely on, whatever the URL's options say."""

_SET_UP: Final = """
SELECT pg_catalog.set_config(name, value, false)
FROM (VALUES ('synchronous_commit', 'local'), ('idle_session_timeout', '0'), ('transaction_timeout', '0'))
    AS ours (name, value)
JOIN pg_catalog.pg_settings USING (name)
WHERE name <> 'synchronous_commit' OR setting = 'off'
"""
"""What depends on what the server knows and brings. A commit is on the server's disk at least; where a database
wants it on standbys too, that stays.
"""

_TODO: Final = {
    "42501": "grant the role CREATE on the schema for the first start, and all rights to the tables; the first "
    "event of a bus that is not called sessions needs a role that owns the tables",
    "25006": "connect to the primary, and with a role that may write",
    "0A000": "connect to the primary, and with a role that may write",
}
"""What to do about an error that trying again does not mend, by its SQLSTATE."""

_CONFLICTS: Final = frozenset({"40001", "40P01", "42P01"})
"""The last one: a table is not there, as another process gave it another name meanwhile."""

_Result = TypeVar("_Result")


class _Connection(psycopg.Connection[Any]):
    """One that gives up if no byte arrives for long, which no setting of the driver's does."""

    def wait(self, gen: Generator[Any, Any, _Result], *args: Any, **options: Any) -> _Result:
        return super().wait(_answered(gen, self.close), *args, **options)


def goes_through_pooler(url: str) -> bool:
    """Say whether a pooler stands before a server: it tells its clients another process than the one that answers.

    Raises:
        JournalError: The server cannot be asked.
    """
    database = PostgresDatabase(make_url(url))
    try:
        with database.reading() as connection:
            driver = connection.connection.driver_connection
            asked: int | None = connection.scalar(text("SELECT pg_catalog.pg_backend_pid()"))
            return isinstance(driver, psycopg.Connection) and driver.info.backend_pid != asked
    finally:
        database.close()


class PostgresDatabase:
    """Connections to a journal's database, which makes its tables if they are missing. Any thread may call.

    Args:
        url: Names the database; its driver is psycopg, whatever it says.

    Attributes:
        tables: The tables as they were found when it was opened.

    Raises:
        JournalSetupError: The URL cannot be that of a database.
    """

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        try:
            self._engine = self._make_engine()
        except Exception as error:
            raise JournalSetupError(self._where, f"{error}; correct its URL") from error
        self._prepared = False
        self.tables = OLDEST
        self._listener: psycopg.Connection[Any] | None = None
        self._inherited: list[object] = []
        self._renew_locks()
        after_fork_in_child(self._start_anew)

    @property
    def level(self) -> Level:
        """The stamp is a query to a server, which may be far away."""
        return "cluster"

    def look_again(self) -> None:
        """Find out anew what tables there are, before the next transaction."""
        self._prepared = False

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Return a transaction that sees one moment."""
        with self._connected(_READING) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Return a transaction that is committed at its end, and wakes those that listen."""
        with self._connected(_WRITING) as connection, connection.begin():
            yield connection
            connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": _CHANNEL})

    looking, appending = reading, writing

    def stamp(self) -> Hashable:
        """Return the position of the last event: here that costs a query."""
        with self.reading() as connection:
            return read_end(connection)

    def wait(self, seen: Hashable, timeout_s: float) -> None:
        """Wait for a notification; one waiter at a time."""
        ends_at_s = monotonic() + timeout_s
        with self._waiting_alone():
            listener = self._listening()
            if self._moved(seen):
                return
            while not self._notified(listener, min(ends_at_s, monotonic() + _POLL_S)):
                if self._closed.is_set() or monotonic() >= ends_at_s:
                    return
                if self._moved(seen):
                    # No notification came, so the listener may have gone deaf.
                    self._hang_up()
                    return

    def close(self) -> None:
        """Close all connections; one on which a thread waits for an answer, as soon as that thread is back."""
        self._closed.set()
        waiting = self._waiting
        if waiting.acquire(timeout=_CLOSE_PATIENCE_S):
            try:
                self._hang_up()
            finally:
                waiting.release()
        self._engine.pool.dispose()

    @contextmanager
    def _waiting_alone(self) -> Iterator[None]:
        with self._waiting, self._translated():
            try:
                yield
            except BaseException:
                self._hang_up()
                raise
            finally:
                if self._closed.is_set():
                    # `close` may have gone without.
                    self._hang_up()

    @contextmanager
    def _connected(self, modes: _Modes) -> Iterator[Connection]:
        with self._translated():
            try:
                with self._ready().connect() as connection:
                    yield connection.execution_options(**modes)
            finally:
                if self._closed.is_set():
                    # This connection came back to the pool after `close` had emptied it.
                    self._engine.pool.dispose()

    def _ready(self) -> Engine:
        preparing = self._preparing
        if not preparing.acquire(timeout=_CONNECT_TIMEOUT_S):
            raise JournalUnavailableError(f"the journal {self._where} is still being connected to; try again")
        try:
            if self._closed.is_set():
                raise JournalUnavailableError(f"the journal {self._where} is closed; open another")
            if not self._prepared:
                self.tables = self._prepare()
                self._prepared = True
            return self._engine
        finally:
            preparing.release()

    def _prepare(self) -> Tables:
        with self._engine.connect() as connection:
            reader = connection.execution_options(**_READING)
            # Looked at first: a role that may make no tables can use those that are there.
            with reader.begin():
                found = found_tables(reader)
            if found is not None:
                return found
            writer = connection.execution_options(**_WRITING)
            with writer.begin():
                schema = writer.scalar(text("SELECT pg_catalog.current_schema()"))
                if schema is None or str(schema).startswith("pg_temp"):
                    todo = "name one in the URL, as in ?options=-csearch_path%3Devents"
                    raise JournalSetupError(self._where, f"its search_path names no schema for tables; {todo}")
                writer.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PREPARING})
                return prepare(writer, self._where)

    def _moved(self, seen: Hashable) -> bool:
        return self.stamp() != seen

    def _notified(self, listener: psycopg.Connection[Any], until_s: float) -> bool:
        while not self._closed.is_set() and (left_s := until_s - monotonic()) > 0:
            for _ in listener.notifies(timeout=min(left_s, _SLICE_S), stop_after=1):
                return True
        return False

    def _listening(self) -> psycopg.Connection[Any]:
        if self._listener is None:
            connection = self._ready().raw_connection()
            driver = connection.driver_connection
            connection.detach()
            if not isinstance(driver, psycopg.Connection):
                raise TypeError(f"{type(driver).__name__} is no psycopg connection")
            # Known before anything can fail: whoever waits hangs up then.
            self._listener = driver
            driver.set_autocommit(True)
            driver.execute(f"LISTEN {_CHANNEL}")
        return self._listener

    def _hang_up(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except JournalError:
            raise
        except Exception as error:
            # The tables may be gone, with the server or without.
            self._prepared = False
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> JournalError:
        cause = getattr(error, "orig", None) or error
        state = getattr(cause, "sqlstate", None) or ""
        if state in _TODO:
            return JournalSetupError(self._where, f"{cause}; {_TODO[state]}")
        if isinstance(cause, psycopg.ProgrammingError) and not state:
            return JournalSetupError(self._where, f"{cause}; correct its URL")
        if isinstance(cause, UnicodeEncodeError | psycopg.DataError):
            return JournalError(f"the journal {self._where} refuses this: {cause}; keep plain text in it")
        reason = f"the journal {self._where} cannot be used now: {cause or type(cause).__name__}; try again"
        return (TransactionConflictError if state in _CONFLICTS else JournalUnavailableError)(reason)

    @property
    def _where(self) -> str:
        return shown_url(self._url)

    def _make_engine(self) -> Engine:
        given = self._url.normalized_query.get("options", ())
        patience = {
            **_KEEPALIVE,
            "client_encoding": "UTF8",
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "options": " ".join([_TIMEOUTS, *given, _HELD]),
        }
        engine = create_engine(self._url, connect_args=patience, max_overflow=-1)
        event.listen(engine, "do_connect", _connect)
        return engine

    def _renew_locks(self) -> None:
        self._preparing = Lock()
        self._waiting = Lock()
        self._closed = Event()

    def _start_anew(self) -> None:
        # Closing the parent's connections here would say goodbye to the server in its name.
        self._inherited.append((self._engine, self._listener))
        self._engine = self._make_engine()
        self._listener = None
        was_closed = self._closed.is_set()
        self._renew_locks()
        if was_closed:
            self._closed.set()


def _connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> _Connection:
    connection = _Connection.connect(*arguments, **options)
    try:
        connection.autocommit = True
        connection.execute(_SET_UP)
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise
    return connection


def _answered(asking: Generator[Any, Any, _Result], give_up: Callable[[], None]) -> Generator[Any, Any, _Result]:
    # The driver sends what the socket is ready for, and 0 ten times a second if it is ready for nothing.
    ends_at_s = monotonic() + _SILENCE_S
    try:
        wanted = next(asking)
        while True:
            ready = yield wanted
            if ready:
                ends_at_s = monotonic() + _SILENCE_S
            elif monotonic() > ends_at_s:
                give_up()
                raise psycopg.OperationalError(f"the server said nothing for {_SILENCE_S:g} s")
            wanted = asking.send(ready)
    except StopIteration as done:
        answer: _Result = done.value
        return answer
