"""A journal's SQLite file: whether it is there, which users may write to it, and whether somebody did.

SQLite gives the files that it puts beside a database the rights of the database. Nothing here opens the file: to
close it would drop the locks that this process holds on it. Two writes within a tick of the kernel's clock may
have the same time, so a look says something of later writes only if the file was older than a tick then.
Source: rules J3, J9, W3.
"""

import os
import sqlite3
import stat
from contextlib import closing, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from hermes_cache.errors import JournalSetupError

_COMPANIONS: Final = ("", "-journal", "-wal", "-shm")
_HAS_RIGHTS: Final = os.name == "posix"
_HELD: Final = Path("/proc/self/fd")
"""Linux: what a descriptor holds, by its number."""

TICK_S: Final = 0.05
_COARSE_TICK_S: Final = 3.0
"""The kernel's clock ticks every 10 ms at most, and some disks keep seconds, or every other one."""

_LATER_S: Final = 0.012
"""The kernel's clock ticks every 10 ms at most. A commit of the same tick shows only in a pragma, so a waiter asks
for that once the tick is over."""


def missing_journal_file(url: str) -> Path | None:
    """Return the SQLite file that a journal's URL names if it holds no journal; None if it may hold one.

    The file is opened read-only. One that cannot be read may hold a journal: the journal itself will tell.
    """
    path = journal_file(url)
    return None if path is None or _may_hold_journal(path) else path


def journal_file(url: str) -> Path | None:
    """Return the SQLite file that a journal's URL names; None if it names a server."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.host or not parsed.database:
        return None
    return absolute_file(parsed.database)


def absolute_file(path: str) -> Path:
    """Return a path so that a later change of folder does not move it.

    Raises:
        JournalSetupError: It is relative to a folder that is gone.
    """
    try:
        return Path(path).absolute()
    except OSError as error:
        raise JournalSetupError(path, "the current folder is gone; give a full path") from error


def refuse_open_folder(file: Path) -> None:
    """See that nobody but a folder's owner and group may put a file into it, or take one out of it.

    Raises:
        JournalSetupError: Others may, or there can be no such file.
    """
    try:
        folder = file.resolve().parent
        mode = folder.stat().st_mode
    except OSError:
        # It is not there, or not for this user: opening the file says so.
        return
    except (ValueError, RuntimeError) as error:
        raise JournalSetupError(repr(str(file)), f"{error}; name another file") from error
    if _HAS_RIGHTS and mode & stat.S_IWOTH:
        reason = f"every user of this machine may write to its folder {folder}"
        raise JournalSetupError(str(file), f"{reason}; name one in another folder, or add ?shared=true to the URL")


def make_missing_file(file: Path) -> None:
    """Make an empty file, which SQLite takes for a new database. What root makes belongs to the folder's owner."""
    file = file.resolve()
    if not _HAS_RIGHTS or file.exists():
        return
    with suppress(FileExistsError):
        try:
            os.mknod(file, stat.S_IFREG | 0o644)
        except PermissionError:
            # On some systems that is for root alone. Nobody can have locked what was not there.
            os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o644))
        if os.geteuid() == 0:
            folder = file.parent.stat()
            os.chown(file, folder.st_uid, folder.st_gid, follow_symlinks=False)


def share_with_group(file: Path) -> None:
    """Let the group of a folder write to a file in it, if it may write to the folder; others may not.

    What belongs to another user is left to that one.
    """
    if not _HAS_RIGHTS:
        return
    file = file.resolve()
    folder = file.parent.stat()
    for companion in _COMPANIONS:
        # Another process may remove a companion at any moment.
        with suppress(FileNotFoundError, PermissionError):
            _share(file.with_name(file.name + companion), folder)


def _share(file: Path, folder: os.stat_result) -> None:
    if not _HELD.is_dir():
        _open_to_group(file, file.lstat(), folder, follows=False)
        return
    # What is looked at is what is changed, whatever is put in its place meanwhile. Such a descriptor opens
    # nothing: to close it drops no lock.
    descriptor = os.open(file, os.O_PATH | os.O_NOFOLLOW)
    try:
        _open_to_group(_HELD / str(descriptor), os.fstat(descriptor), folder, follows=True)
    finally:
        os.close(descriptor)


def _open_to_group(file: Path, found: os.stat_result, folder: os.stat_result, *, follows: bool) -> None:
    # A link in a folder of somebody else's must not have root open what it leads to.
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or os.geteuid() not in {0, found.st_uid}:
        return
    by_group = bool(folder.st_mode & stat.S_IWGRP)
    if by_group and found.st_gid != folder.st_gid:
        os.chown(file, -1, folder.st_gid, follow_symlinks=follows)
    mode = stat.S_IMODE(found.st_mode)
    wanted = (mode | (stat.S_IRGRP | stat.S_IWGRP if by_group else 0)) & ~stat.S_IWOTH
    if wanted != mode:
        file.chmod(wanted)


def _may_hold_journal(path: Path) -> bool:
    try:
        if not path.exists():
            return False
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return bool(
                connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hermes_cache_journal'").fetchone()
            )
    except (sqlite3.Error, OSError):
        return True


def found(path: Path) -> tuple[int, ...] | None:
    """Return what each write or replacement of a file changes; None if that cannot be known."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def settles_s(seen: tuple[int, ...] | None) -> float:
    """Return for how long after a write a further one may leave a file as it was seen; infinity if for ever."""
    if seen is None or os.name != "posix":
        return inf
    return TICK_S if seen[-1] % 10**9 else _COARSE_TICK_S


def age_s(seen: tuple[int, ...] | None, now_ns: int) -> float:
    """Return for how long nobody had written a file when it was seen; negative if its times lie in the future."""
    return -1.0 if seen is None else (now_ns - max(seen[-2:])) / 10**9


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the journal found.

    Attributes:
        seen: The file from outside, just before.
        stamp: The stamp.
        age_s: For how long nobody had written the file; negative if its times cannot tell.
    """

    seen: tuple[int, ...] | None
    stamp: tuple[int, object]
    age_s: float

    @property
    def is_settled(self) -> bool:
        """Whether each later write shows from outside."""
        return self.age_s > settles_s(self.seen)

    def is_due(self, now_ns: int) -> bool:
        """Say whether to look again though the file is still: a write of the same tick may not have shown."""
        if self.age_s < 0 or settles_s(self.seen) > TICK_S:
            return not self.is_settled
        return any(self.age_s <= later_s < age_s(self.seen, now_ns) for later_s in (_LATER_S, TICK_S))
