"""What a file looks like from outside: `stat` alone, nothing is opened.

Closing a plain handle to a database file would drop this process's POSIX locks on it. Source: rules S1, X2.
"""

import os
import stat
from collections.abc import Hashable
from pathlib import Path
from typing import Final, NamedTuple

from hermes_cache.errors import SourceError

ABSENT: Final = ("absent",)
"""The stamp of a file that is not there."""


class FileStamp(NamedTuple):
    """What `stat` says of a file that is there; each write or replacement changes one of them, after a tick."""

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int
    device: int


def file_stamp(path: Path) -> Hashable:
    """Return a `FileStamp`; a file that cannot be looked at has a value of its own."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except (OSError, ValueError) as error:
        return ("unreadable", type(error).__name__)
    return FileStamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)


def log_stamp(path: Path) -> Hashable:
    """Return the stamp of a `-wal` or a `-journal`; an absent and an empty one are the same.

    SQLite makes, empties and removes them when it likes, and an empty one holds nothing. If root opens one, also
    to read it, SQLite gives it the owner that it has, which moves its ctime. So root's stamps leave that out.
    """
    stamp = file_stamp(path)
    if not isinstance(stamp, FileStamp):
        return stamp
    if stamp.size == 0:
        return ABSENT
    return stamp._replace(ctime_ns=stamp.mtime_ns) if _is_root() else stamp


def must_be_a_file(path: Path) -> os.stat_result:
    """Look at a path that must be a regular file; to open a pipe would block for ever.

    Raises:
        SourceError: It is none, or cannot be looked at.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat
    except (OSError, ValueError) as error:
        raise SourceError(path, _reason(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(path, "is no regular file")
    return found


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is missing"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
