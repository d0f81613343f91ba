"""Logs that Hermes left behind: a backup that is copied over their database is corrupted by them.

A reader that has a database open while Hermes quits keeps SQLite from taking the log in, and so does a kill.
Source: rule X2.
"""

from collections.abc import Callable
from pathlib import Path
from threading import RLock
from time import monotonic, time
from typing import Final, NamedTuple

from hermes_cache.file_systems import is_of_a_network
from hermes_cache.stores.hermes.file_stamps import FileStamp
from hermes_cache.stores.hermes.log_locks import log_locks
from hermes_cache.stores.hermes.looks import DatabaseLook, database_file, shm_of, wal_of
from hermes_cache.threads.forks import after_fork_in_child

_QUIET_S: Final = 2.0
"""A log that was written a moment ago is held, or is taken in right now."""

_EVERY_S: Final = 5.0
"""The table of locks is long on a busy machine."""

_COUNTS_S: Final = 60.0
"""A home that nobody asks for any more, or that is gone, is no longer looked at (X8)."""

_MAX_LOGS: Final = 256

_TODO: Final = (
    "start and quit Hermes once, so that it takes the log in, before you put a backup of {database} back; "
    "a backup that is copied over it beside this log would be corrupted"
)


class _Noted(NamedTuple):
    wal: FileStamp
    asked_s: float
    looked_s: float
    text: str | None


class LeftLogs:
    """Notes filled logs that nobody holds. Any thread may call.

    Args:
        clock: Returns the time in seconds, which only grows.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        after_fork_in_child(self._start_anew)
        self._start_anew()

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say, in words, of each log that was looked at within the last 60 s."""
        since_s = self._clock() - _COUNTS_S
        return tuple(each.text for each in self._noted.copy().values() if each.text and each.looked_s >= since_s)

    def note(self, path: Path, look: DatabaseLook) -> None:
        """Take in a look at a database; the locks on a log that did not change are asked for every 5 s at most."""
        wal, now_s, name = look.wal, self._clock(), str(path)
        if not isinstance(wal, FileStamp) or was_just_written(wal):
            self._noted.pop(name, None)
            return
        known = self._noted.get(name)
        if known is not None and known.wal == wal and now_s - known.asked_s < _EVERY_S:
            noted = known._replace(looked_s=now_s)
        else:
            left = left_log(path)
            noted = _Noted(wal, now_s, now_s, left.text if left else None)
        with self._lock:
            if len(self._noted) >= _MAX_LOGS:
                for other, each in self._noted.copy().items():
                    if now_s - each.looked_s > _COUNTS_S:
                        self._noted.pop(other, None)
            if len(self._noted) < _MAX_LOGS or name in self._noted:
                self._noted[name] = noted

    def _start_anew(self) -> None:
        self._lock = RLock()  # As that of `Stillness`.
        self._noted: dict[str, _Noted] = {}


def was_just_written(wal: FileStamp) -> bool:
    """Say whether a log was written so short a while ago that it may be taken in right now."""
    return abs(time() - wal.mtime_ns / 1e9) < _QUIET_S


class LeftLog(NamedTuple):
    """A filled log that nobody holds, or of which that cannot be known.

    Attributes:
        is_certain: Whether it is known that nobody holds it.
        text: What there is to say of it, and what to do.
    """

    is_certain: bool
    text: str


def left_log(path: Path) -> LeftLog | None:
    """Return what there is to say of the filled log of a database; None if somebody has it open."""
    path = database_file(path)
    held = log_locks(shm_of(path), is_remote=is_of_a_network(path)).is_held
    if held:
        return None
    todo = _TODO.format(database=path.name)
    if held is None:
        unknown = "whether Hermes has this log open cannot be known here"
        return LeftLog(is_certain=False, text=f"{wal_of(path)}: {unknown}; if it has not, {todo}")
    left = "nobody has this log open, Hermes was killed or quit while it was read"
    return LeftLog(is_certain=True, text=f"{wal_of(path)}: {left}; {todo}")
