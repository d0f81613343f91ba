"""A journal's PostgreSQL database: its transactions, and a notification as the wake-up.

A notification is a hint: it is lost while nobody listens, so who waits listens first and then looks at the table,
and looks again now and then. Needs the extra `postgres`. Source: rules J1, J3, J5, L2.
"""

from collections.abc import Callable, Generator, Hashable, Iterator
from contextlib import contextmanager
from threading import Event, Lock
from time import monotonic
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hermes_cache.adapters.journal_tables import prepare, read_end
from hermes_cache.errors import JournalUnavailableError
from hermes_cache.forks import after_fork_in_child
from hermes_cache.ports import Level

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
_STATEMENT_TIMEOUTS: Final = "-c lock_timeout=2500 -c statement_timeout=5000"
_SILENCE_S: Final = 6.0
"""Past what the server itself allows a statement: it is gone, or what stands between keeps the answer."""

_KEEPALIVE: Final = {"keepalives_idle": 2, "keepalives_interval": 1, "tcp_user_timeout": 5000}
"""So that the listener, which never sends, is told too. In seconds, but for the last, in milliseconds."""

_Result = TypeVar("_Result")


class _Connection(psycopg.Connection[Any]):
    """One that gives up where no byte arrives for long, which no setting of the driver's does."""

    def wait(self, gen: Generator[Any, Any, _Result], *args: Any, **options: Any) -> _Result:
        return super().wait(_answered(gen, self.close), *args, **options)


class PostgresDatabase:
    """Connections to a journal's database, which makes its tables where they are missing. Any thread may call.

    Args:
        url: Names the database; its driver is psycopg, whatever it says.
    """

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._engine = self._make_engine()
        self._prepared = False
        self._listener: psycopg.Connection[Any] | None = None
        self._inherited: list[object] = []
        self._renew_locks()
        after_fork_in_child(self._start_anew)

    @property
    def level(self) -> Level:
        """The stamp is a query to a server, which may be far away."""
        return "cluster"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a transaction that sees one moment."""
        with self._connected() as connection:
            reader = connection.execution_options(isolation_level="REPEATABLE READ")
            with reader.begin():
                yield reader

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a transaction that is committed at its end, and wakes who listens."""
        with self._connected() as connection, connection.begin():
            yield connection
            connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": _CHANNEL})

    def stamp(self) -> Hashable:
        """Give the place of the last event: here that costs a query."""
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
                    # It was not told, so it may have gone deaf.
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
            finally:
                if self._closed.is_set():
                    # `close` may have gone without.
                    self._hang_up()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._translated():
            try:
                with self._ready().connect() as connection:
                    yield connection
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
                with self._engine.begin() as connection:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PREPARING})
                    prepare(connection, self._where)
                self._prepared = True
            return self._engine
        finally:
            preparing.release()

    def _moved(self, seen: Hashable) -> bool:
        try:
            return self.stamp() != seen
        except JournalUnavailableError:
            self._hang_up()
            raise

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
            driver.set_autocommit(True)
            driver.execute(f"LISTEN {_CHANNEL}")
            self._listener = driver
        return self._listener

    def _hang_up(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, psycopg.Error) as error:
            # The tables may be gone, with the server or without.
            self._prepared = False
            if isinstance(error, psycopg.Error):
                self._hang_up()
            cause = error.orig if isinstance(error, DBAPIError) else error
            told = f"the journal {self._where} cannot be used now: {cause}; try again"
            raise JournalUnavailableError(told) from error

    @property
    def _where(self) -> str:
        return self._url.render_as_string()

    def _make_engine(self) -> Engine:
        given = self._url.normalized_query.get("options", ())
        patience = {
            **_KEEPALIVE,
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "options": " ".join([_STATEMENT_TIMEOUTS, *given]),
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
    return _Connection.connect(*arguments, **options)


def _answered(asking: Generator[Any, Any, _Result], give_up: Callable[[], None]) -> Generator[Any, Any, _Result]:
    # The driver sends what the socket is ready for, and 0 ten times a second where it is ready for nothing.
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
