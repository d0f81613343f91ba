"""A journal's PostgreSQL database: its transactions, and a notification as the wake-up.

A notification is a hint: it is lost while nobody listens, so who waits listens first and then looks at the table.
Needs the extra `postgres`. Source: rules J1, J3, L2.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Event, Lock
from time import monotonic
from typing import Any, Final

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, text
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

# A server that fell silent, and a lock that nobody lets go, end in an error instead of a hang.
_CONNECT_TIMEOUT_S: Final = 5
_SILENCE_TIMEOUT_MS: Final = 5000
_STATEMENT_TIMEOUTS: Final = "-c lock_timeout=2500 -c statement_timeout=5000"


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
        with self._translated(), self._ready().connect() as connection:
            reader = connection.execution_options(isolation_level="REPEATABLE READ")
            with reader.begin():
                yield reader

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a transaction that is committed at its end, and wakes who listens."""
        with self._translated(), self._ready().begin() as connection:
            yield connection
            connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": _CHANNEL})

    def stamp(self) -> Hashable:
        """Give the place of the last event: here that costs a query."""
        with self.reading() as connection:
            return read_end(connection)

    def wait(self, seen: Hashable, timeout_s: float) -> None:
        """Wait for a notification; one waiter at a time."""
        ends_at_s = monotonic() + timeout_s
        with self._waiting, self._translated():
            listener = self._listening()
            if self.stamp() != seen:
                return
            while not self._closed.is_set() and (left_s := ends_at_s - monotonic()) > 0:
                for _ in listener.notifies(timeout=min(left_s, _SLICE_S), stop_after=1):
                    return

    def close(self) -> None:
        """Close all connections."""
        self._closed.set()
        with self._waiting:
            self._hang_up()
        self._engine.dispose()

    def _ready(self) -> Engine:
        with self._preparing:
            if self._closed.is_set():
                raise JournalUnavailableError(f"the journal {self._where} is closed; open another")
            if not self._prepared:
                with self._engine.begin() as connection:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PREPARING})
                    prepare(connection, self._where)
                self._prepared = True
            return self._engine

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
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "tcp_user_timeout": _SILENCE_TIMEOUT_MS,
            "options": " ".join([_STATEMENT_TIMEOUTS, *given]),
        }
        return create_engine(self._url, connect_args=patience, max_overflow=-1)

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
