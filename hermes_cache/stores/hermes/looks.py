"""Looks at the files of a home from outside: whether they moved since the last look, and whether they stand still.

Nothing is opened, and no connection to a database is held. A connection that is open while Hermes quits keeps
SQLite from taking its log in, and the log that stays corrupts a backup that is copied over the database later.
Source: rules S2, X2.
"""

import os
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from itertools import count
from pathlib import Path
from threading import RLock
from time import monotonic, sleep
from typing import Final, NamedTuple

from hermes_cache.core.stamps import Doubted
from hermes_cache.stores.hermes.file_stamps import FileStamp, file_stamp, log_stamp
from hermes_cache.stores.hermes.log_locks import log_locks
from hermes_cache.stores.hermes.stillness import Moment, Stillness
from hermes_cache.threads.forks import after_fork_in_child

STILL_WAIT_S: Final = 0.06
"""How long a build waits for its stamp to stand still: a tick and the time to notice that it is over."""

_LOOK_S: Final = 0.004
"""How soon it is worth to look again if nothing tells when."""

_LONGEST_COMMIT_NS: Final = 10_000_000_000
"""A commit can be seen once the disk has it, which may be long after its last write to the log."""

_UNSEEN_COMMIT_NS: Final = 2_000_000_000
"""The same if the system does not tell who writes: each build within this time is followed by another one."""

_MAX_COUNTED: Final = 1_024


class DatabaseLook(NamedTuple):
    """The stamps of a database and of the two files that can hold commits to it."""

    database: Hashable
    wal: Hashable
    journal: Hashable


class _Counted(NamedTuple):
    number: Doubted
    look: Hashable
    was_still: bool


class Looks:
    """Looks at files, and remembers the last look. Any thread may call."""

    def __init__(self) -> None:
        self._stillness = Stillness()
        self._numbers = count(1)
        after_fork_in_child(self._start_anew)
        self._start_anew()

    def content(self, path: Path) -> tuple[Hashable, DatabaseLook]:
        """Look at a database; the number returned grows if anybody may have committed since the call before.

        It grows if one of its files differs from the last look, or did not stand still then. A path without a
        database has a value of its own. Nothing is raised, and nothing is waited for.
        """
        look, still_in_s = self.database(path)
        number = self.number(str(path), look, is_still=not still_in_s)
        return number if isinstance(look.database, FileStamp) else look.database, look

    def number(self, name: Hashable, look: Hashable, *, is_still: bool) -> Doubted:
        """Return a number that grows if a look differs from the last of that name, or that one was not still."""
        with self._lock:
            counted = self._counted.get(name)
            if counted is None or counted.look != look:
                number = next(self._numbers)
                counted = _Counted(Doubted(number, number), look, is_still)
            elif not counted.was_still:
                counted = _Counted(Doubted(next(self._numbers), counted.number.seen), look, is_still)
            self._counted[name] = counted
            self._counted.move_to_end(name)
            if len(self._counted) > _MAX_COUNTED:
                self._counted.popitem(last=False)
        return counted.number

    def database(self, path: Path) -> tuple[DatabaseLook, float]:
        """Look at a database, and say in how many seconds it may stand still; 0 if it does.

        It does if every commit from now on is sure to change that look, and none is known to be under way.
        """
        before = self._stillness.now()
        path = database_file(path)
        files = (path, wal_of(path), journal_of(path))
        look = DatabaseLook(file_stamp(files[0]), log_stamp(files[1]), log_stamp(files[2]))
        still_in_s = self._still_in_s(files, look, before)
        return look, still_in_s or self._shows_all_in_s(path, look, before)

    def files(self, paths: Sequence[Path]) -> tuple[tuple[Hashable, ...], float]:
        """Look at other files and folders, and say in how many seconds all may stand still; 0 if they do."""
        before = self._stillness.now()
        stamps = tuple(map(file_stamp, paths))
        return stamps, self._still_in_s(paths, stamps, before)

    def _still_in_s(self, paths: Sequence[Path], stamps: Sequence[Hashable], before: Moment) -> float:
        return max([self._stillness.still_in_s(*each, before) for each in zip(paths, stamps, strict=True)])

    def _shows_all_in_s(self, path: Path, look: DatabaseLook, before: Moment) -> float:
        """Say in how many seconds a commit is visible whose last write this look may have seen; 0 if it is."""
        wal, stamp = wal_of(path), look.wal
        is_old = not self._stillness.still_in_s(wal, stamp, before, tick_ns=_LONGEST_COMMIT_NS)
        if is_old or not isinstance(stamp, FileStamp):
            return 0.0  # Also of a quiet home, of which no table of locks is read.
        is_remote = self._stillness.is_remote(wal, stamp.device)
        is_being_written = log_locks(shm_of(path), is_remote=is_remote).is_being_written
        if is_being_written is None:
            return self._stillness.still_in_s(wal, stamp, before, tick_ns=_UNSEEN_COMMIT_NS)
        return _LOOK_S if is_being_written else 0.0

    def _start_anew(self) -> None:
        self._lock = RLock()  # As that of `Stillness`.
        self._counted: OrderedDict[Hashable, _Counted] = OrderedDict()


def slept(gives_up_at_s: float, still_in_s: float = _LOOK_S) -> bool:
    """Sleep until it is worth to look again; say whether there was time for that.

    Args:
        gives_up_at_s: When there is no more time, by the monotonic clock.
        still_in_s: When what was looked at may stand still.
    """
    left_s = gives_up_at_s - monotonic()
    if left_s > 0:
        sleep(min(left_s, still_in_s, STILL_WAIT_S))
    return left_s > 0


def database_file(path: Path) -> Path:
    """Return the file that a path leads to: SQLite keeps the logs beside that file, not beside a link to it."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path  # noqa: PTH114 - half the cost


def wal_of(path: Path) -> Path:
    """Return the path of the write-ahead log of a database, which is no link."""
    return path.with_name(path.name + "-wal")


def shm_of(path: Path) -> Path:
    """Return the path of the index of that log, which all who have the log open share."""
    return path.with_name(path.name + "-shm")


def journal_of(path: Path) -> Path:
    """Return the path of the rollback journal of a database."""
    return path.with_name(path.name + "-journal")
