"""What a file looks like from outside: `stat` alone, nothing is opened.

Opening and closing a database file would drop this process's POSIX locks on it. Source: rules S1, X2.
"""

import os
import stat
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from hermes_cache.errors import SourceError

ABSENT: Final = ("absent",)
"""The stamp of a file that is not there."""


def file_stamp(path: Path) -> Hashable:
    """Return mtime in ns, size and inode; a file that cannot be looked at has a value of its own."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except (OSError, ValueError) as error:
        return ("unreadable", type(error).__name__)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def wal_stamp(path: Path) -> Hashable:
    """Return the stamp of a write-ahead log; an absent and an empty one are the same.

    A read-only open makes an empty one, so that it says nothing.
    """
    stamp = file_stamp(path)
    return ABSENT if isinstance(stamp, tuple) and len(stamp) > 1 and stamp[1] == 0 else stamp


def inode(path: Path) -> int | None:
    """Return the inode of a regular file, or None where there is none; raises nothing."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat
    except (OSError, ValueError):
        return None
    return found.st_ino if stat.S_ISREG(found.st_mode) else None


def must_be_a_file(path: Path) -> None:
    """Check that a path is a regular file; opening a pipe would block for ever.

    Raises:
        SourceError: It is not.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat
    except (OSError, ValueError) as error:
        raise SourceError(path, _reason(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(path, "is no regular file")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
