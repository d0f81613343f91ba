"""Holds one read-only connection per `state.db`, to tell whether anybody has committed to it.

`PRAGMA data_version` on a connection that stays open moves with every commit of every other connection, by any
process, whatever file times and sizes say; on a fresh connection it says nothing. It does not see that the file
was replaced, so a connection is dropped when the inode differs. No transaction is ever left open.
Source: rules S2, L2, X2.
"""

from collections import OrderedDict
from collections.abc import Hashable
from itertools import count
from pathlib import Path
from sqlite3 import Error
from threading import Lock
from typing import Final

from sqlalchemy.pool import PoolProxiedConnection

from hermes_cache.forks import after_fork_in_child
from hermes_cache.ports import LastKnown
from hermes_cache.stores.hermes.file_stamps import ABSENT, file_stamp, inode
from hermes_cache.stores.hermes.read_only import is_busy, read_only_engine

BUSY_TIMEOUT_S: Final = 0.02
"""Two locked databases fit into the 50 ms that a check may block."""

_MAX_HELD: Final = 128
"""Each holds three descriptors; past it the least recently used is closed."""

_UNREAD: Final = ("unread",)


class HeldDatabases:
    """Tells the content of databases as (connection epoch, data version). Any thread may call.

    A forked child neither uses nor closes what it inherited, but keeps it referenced: closing would run SQLite's
    clean-up on files that the parent is using.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: OrderedDict[Path, _HeldDatabase] = OrderedDict()
        self._epochs = count(1)
        self._inherited: list[object] = []
        after_fork_in_child(self._start_anew)

    def content(self, path: Path, patience_s: float) -> Hashable:
        """Return a value that differs once anything was committed; raises nothing.

        Args:
            patience_s: How long it may wait for a lock.

        Returns:
            (epoch, data version); `LastKnown` where somebody held a lock; a value of its own where there is no
            database that can be read.
        """
        inode_now = inode(path)
        if inode_now is None:
            self.release(path)
            return ABSENT if file_stamp(path) == ABSENT else ("unreadable", "no regular file")
        return self._of(path).content(inode_now, patience_s)

    def release(self, path: Path) -> None:
        """Close the connection to a database; a later call opens another, of another epoch."""
        with self._lock:
            held = self._held.pop(path, None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            held, self._held = self._held, OrderedDict()
        for each in held.values():
            each.close()

    def _of(self, path: Path) -> "_HeldDatabase":
        with self._lock:
            held = self._held.get(path)
            if held is None:
                held = self._held[path] = _HeldDatabase(path, self._epochs)
            self._held.move_to_end(path)
            surplus = self._held.popitem(last=False)[1] if len(self._held) > _MAX_HELD else None
        if surplus is not None:
            surplus.close()
        return held

    def _start_anew(self) -> None:
        self._inherited.append(self._held)
        self._held = OrderedDict()
        self._lock = Lock()


class _HeldDatabase:
    def __init__(self, path: Path, epochs: "count[int]") -> None:
        self._epochs = epochs
        self._engine = read_only_engine(path, busy_timeout_s=BUSY_TIMEOUT_S)
        self._lock = Lock()
        self._connection: PoolProxiedConnection | None = None
        self._inode = 0
        self._epoch = 0
        self._last: Hashable = _UNREAD

    def content(self, inode_now: int, patience_s: float) -> Hashable:
        if patience_s < BUSY_TIMEOUT_S or not self._lock.acquire(timeout=patience_s):
            return LastKnown(self._last)
        try:
            self._last = (self._epoch_for(inode_now), self._data_version())
        except Error as error:
            return LastKnown(self._last) if is_busy(error) else self._unreadable(error)
        finally:
            self._lock.release()
        return self._last

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _epoch_for(self, inode_now: int) -> int:
        if inode_now != self._inode:
            self._drop()
        if self._connection is None:
            self._connection = self._engine.raw_connection()
            self._inode = inode_now
            self._epoch = next(self._epochs)
        return self._epoch

    def _data_version(self) -> object:
        assert self._connection is not None  # noqa: S101 - opened by the line before
        # The driver's own cursor: SQLAlchemy's execution takes 40 us, this 6.
        cursor = self._connection.cursor()
        try:
            cursor.execute("PRAGMA data_version")
            return cursor.fetchone()[0]  # type: ignore[index]  # this pragma always gives a row
        finally:
            cursor.close()

    def _unreadable(self, error: Error) -> Hashable:
        self._drop()
        self._last = ("unreadable", str(error))
        return self._last

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
