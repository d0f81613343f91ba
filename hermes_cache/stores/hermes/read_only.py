"""Reads a `state.db` without leaving a trace: a short connection, opened in the one way that fits what lies there.

No filled log lies beside it: the file alone is the whole database, and `immutable=1` reads it without locks and
without making a file. Such a reading counts only if the files stood still before it and look the same after it.

A filled `-wal` lies there: `mode=ro`. As long as the connection is open, Hermes cannot take its log in when it
quits. If Hermes quits in the microseconds between our last look and our first statement, SQLite makes an empty
`-wal` and a `-shm`.

A filled `-journal` lies there, or a database without logs does not stand still: `mode=ro` in exclusive locking
mode. A database in rollback mode is read so under a lock, for 0.1 s at most, as its writer waits for 0.5 s. In WAL
mode the first statement fails before it makes a file, since no read-only handle gets that lock.

An empty database beside a filled log is never opened: SQLite takes the log for a leftover and deletes it, by a
read-only connection too. Source: rule X2.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import repeat
from operator import gt
from pathlib import Path
from sqlite3 import Connection, Error
from time import monotonic
from typing import Final, TypeVar
from urllib.parse import quote

from hermes_cache.errors import SourceError
from hermes_cache.stores.hermes.file_stamps import ABSENT, FileStamp, file_stamp, log_stamp, must_be_a_file
from hermes_cache.stores.hermes.looks import (
    STILL_WAIT_S,
    DatabaseLook,
    Looks,
    database_file,
    shm_of,
    slept,
    wal_of,
)
from hermes_cache.stores.hermes.other_sqlite import refuse_other_library
from hermes_cache.threads.forks import ForkGate

T = TypeVar("T")

Read = Callable[[Connection], T]
"""Reads what is wanted, all of it before it returns; it may be called several times, and the last one counts."""

_TRIES: Final = 5
_PATIENCE_S: Final = 2.0
"""How often, and for how long, one reading is begun anew because the files moved under it."""

_BUSY_TIMEOUT_S: Final = 0.5
"""A commit without WAL locks readers out for milliseconds; a holder of seconds fails the build instead."""

_LONGEST_LOCK_S: Final = 0.09
"""A writer without WAL waits for 0.5 s in all; closing takes the rest of the 0.1 s."""

_STEPS: Final = 500
"""After how many steps of SQLite's machine the time is looked at; so many take 50 us."""

_LEFT_BEHIND: Final = "was left by a crash or a copy; start Hermes once, so that it takes it in"
_BEING_WRITTEN: Final = "is being written"


class _MovedError(Exception):
    """The files moved under a reading; what lies there now decides how to go on."""


class _LogModeError(Exception):
    """The database is in WAL mode, and was not opened."""


class _TooLongError(Exception):
    """A reading held a lock for as long as it may."""


def read_database(path: Path, read: Read[T], looks: Looks) -> T:
    """Read a database by a connection of its own, and close that.

    Raises:
        SourceError: It is missing, locked, being written, truncated, corrupt, none, or cannot be opened without
            leaving something behind; and whatever `read` raises.
    """
    gives_up_at_s = monotonic() + _PATIENCE_S
    for _ in range(_TRIES):
        with suppress(_MovedError):
            return _read_once(path, read, looks, gives_up_at_s)
        if monotonic() > gives_up_at_s:
            break
    raise SourceError(path, _BEING_WRITTEN)


def _read_once(path: Path, read: Read[T], looks: Looks, gives_up_at_s: float) -> T:
    must_be_a_file(path)
    path = database_file(path)
    look, _ = looks.database(path)
    if look.wal != ABSENT:
        return _read_with_log(path, read, looks, look)
    still = _still_without_log(path, looks, min(gives_up_at_s, monotonic() + STILL_WAIT_S))
    # An empty log tells of WAL mode, a filled journal of rollback mode; without both, the opening tells.
    if look.journal != ABSENT or (still is None and file_stamp(wal_of(path)) == ABSENT):
        try:
            return _read_locked(path, read)
        except _TooLongError:
            # The lock showed that no crash had left the journal; a later look cannot know that.
            return _read_alone(path, read, looks, still)
        except _LogModeError:
            pass
    return _read_alone(path, read, looks, still or _still_without_log(path, looks, gives_up_at_s))


def _still_without_log(path: Path, looks: Looks, gives_up_at_s: float) -> DatabaseLook | None:
    """Wait until a database without a log stands still; None if it does not in time.

    Raises:
        _MovedError: It has a log now.
    """
    while True:
        look, still_in_s = looks.database(path)
        if look.wal != ABSENT:
            raise _MovedError
        if not still_in_s:
            return look
        if not slept(gives_up_at_s, still_in_s):
            return None


def _read_alone(path: Path, read: Read[T], looks: Looks, still: DatabaseLook | None) -> T:
    """Read the file alone, without locks.

    Raises:
        _MovedError: It did not stand still, or does not look now as it did before.
    """
    if still is None:
        raise _MovedError
    try:
        with _opened(path, "mode=ro&immutable=1") as connection:
            found = read(connection)
    except SourceError:
        if looks.database(path)[0] != still:
            raise _MovedError from None
        raise
    if looks.database(path)[0] != still:
        raise _MovedError
    return found


def _read_with_log(path: Path, read: Read[T], looks: Looks, look: DatabaseLook) -> T:
    reason = _reason_against(path, look)
    if reason is not None:
        # Hermes takes its files away one after the other when it quits.
        gives_up_at_s = monotonic() + STILL_WAIT_S
        while slept(gives_up_at_s):
            if _reason_against(path, looks.database(path)[0]) is None:
                raise _MovedError
        raise SourceError(path, reason)
    _refuse_other_users(path)
    try:
        with _opened(path, "mode=ro") as connection:
            _begin_beside_log(path, connection, look)
            return read(connection)
    except SourceError:
        if looks.database(path)[0].wal == ABSENT:
            raise _MovedError from None
        raise


def _begin_beside_log(path: Path, connection: Connection, look: DatabaseLook) -> None:
    """Begin to read while the log lies there.

    SQLite must not wait for a lock itself: Hermes may hold it, which quits and takes its log away meanwhile. The
    statement would then make files, or delete the log.

    Raises:
        _MovedError: Hermes has quit, or the file has been emptied, since the look.
    """
    connection.execute("PRAGMA busy_timeout=0")
    connection.execute("BEGIN")
    gives_up_at_s = monotonic() + _BUSY_TIMEOUT_S
    while True:
        if log_stamp(wal_of(path)) == ABSENT or _reason_against(path, look) is not None:
            raise _MovedError
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except Error as error:
            is_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or not slept(gives_up_at_s):
                raise
        else:
            return


def _reason_against(path: Path, look: DatabaseLook) -> str | None:
    """Say why a database with a filled log must not be opened."""
    if look.wal == ABSENT:
        return None
    database = file_stamp(path)
    if isinstance(database, FileStamp) and database.size == 0:
        return f"is empty, and its log {wal_of(path).name} is not; it is being replaced, or was damaged"
    if file_stamp(shm_of(path)) == ABSENT:
        return f"has a log, {wal_of(path).name}, without {shm_of(path).name}: it {_LEFT_BEHIND}"
    return None


def _refuse_other_users(path: Path) -> None:
    """See that SQLite makes no files here that the user of Hermes can never write again."""
    owner = other_owner(path)
    if owner is not None:
        reason = f"belongs to {owner}, and this process runs as {_user_name(os.geteuid())}"
        raise SourceError(path, f"{reason}: run it as {owner}, or without the right to write that folder")


def other_owner(path: Path) -> str | None:
    """Name the owner of a database if that is another user, and this one could make files beside it.

    Raises:
        SourceError: It is no regular file.
    """
    user, owner = os.geteuid(), must_be_a_file(path).st_uid
    can_make_files = os.access(
        path.parent, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    )
    return _user_name(owner) if user not in (0, owner) and can_make_files else None


def _user_name(uid: int) -> str:
    import pwd  # noqa: PLC0415 - not on every system, as users with numbers

    with suppress(KeyError):
        return f"user {pwd.getpwuid(uid).pw_name}"
    return f"user {uid}"


def _read_locked(path: Path, read: Read[T]) -> T:
    """Read a database in rollback mode under a lock.

    Raises:
        _LogModeError: It is in WAL mode.
        _TooLongError: The reading takes longer than the lock may be held.
    """
    stamp = file_stamp(path)
    if not isinstance(stamp, FileStamp) or stamp.size == 0:
        raise _LogModeError
    with _opened(path, "mode=ro") as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            ends_at_s = monotonic() + _LONGEST_LOCK_S
            # All of it in C: in Python code a signal handler might run, and SQLite drops what is raised there.
            is_over = map(gt, iter(monotonic, None), repeat(ends_at_s))
            connection.set_progress_handler(is_over.__next__, _STEPS)
            return read(connection)
        except Error as error:
            match getattr(error, "sqlite_errorcode", None):
                case sqlite3.SQLITE_IOERR_LOCK:
                    raise _LogModeError from error
                case sqlite3.SQLITE_INTERRUPT:
                    raise _TooLongError from error
                case sqlite3.SQLITE_READONLY_ROLLBACK:
                    raise SourceError(path, f"has a journal that {_LEFT_BEHIND}") from error
            raise


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[Connection]:
    uri = f"file://{quote(os.fsencode(path))}?{mode}"
    refuse_other_library(path)
    try:
        with _unforked:
            connection = sqlite3.connect(
                uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            with closing(connection):
                yield connection
    except Error as error:
        raise SourceError(path, str(error)) from error


_unforked: Final = ForkGate()
"""A fork waits for the connections that are open: in a child SQLite would count on locks that the child lacks."""
