"""The processes that have the log of a database open: `/proc/locks` lists them on Linux, without opening it.

In WAL mode each connection of a writer holds a lock on a byte of `-shm` for as long as it is open, and another one
from before its first frame until its commit can be seen. A process in a namespace of its own does not see the
locks of those outside, and no machine sees those of another one. Source: rules S2, X2; https://sqlite.org/walformat.html.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

_LOCKS: Final = Path("/proc/locks")
_OWN_NAMESPACE: Final = Path("/proc/self/ns/pid")
_FIRST_NAMESPACE: Final = 0xEFFFFFFC
"""The inode of the first namespace of process ids."""

_WRITE_BYTE: Final = "120"
"""The byte of `-shm` that the connection locks which writes to the log."""


class LogLocks(NamedTuple):
    """The users of a log; None means that they cannot be known.

    Attributes:
        is_held: Whether any connection has it open.
        is_being_written: Whether one writes to it, whose commit may not be visible yet.
    """

    is_held: bool | None
    is_being_written: bool | None


def log_locks(shm: Path, *, is_remote: bool, table: Path = _LOCKS) -> LogLocks:
    """Return what the locks on the index of a log tell.

    Args:
        shm: The index. Without it nobody has the log open, since every connection makes it.
        is_remote: Whether it is on a network file system.
        table: The system's table of locks.
    """
    try:
        inode = os.stat(shm).st_ino  # noqa: PTH116 - as everywhere here
    except FileNotFoundError:
        return LogLocks(is_held=False, is_being_written=False)
    except OSError:
        return LogLocks(None, None)
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return LogLocks(None, None)
    # The device is not compared: some file systems give it another number there. A lock on the same inode
    # elsewhere only makes us wait.
    fields = [line.split() for line in lines if f":{inode} " in line]
    locks = [(each[-5], each[-2]) for each in fields if len(each) >= 8]  # noqa: PLR2004 - as proc(5) has it
    if ("WRITE", _WRITE_BYTE) in locks:
        return LogLocks(is_held=True, is_being_written=True)
    unseen = False if not is_remote and _sees_all_processes() else None
    return LogLocks(bool(locks) or unseen, unseen)


def _sees_all_processes() -> bool:
    try:
        return _OWN_NAMESPACE.stat().st_ino == _FIRST_NAMESPACE
    except OSError:
        return False
