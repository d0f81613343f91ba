"""Who holds the log of a database, as the system tells it without opening anything: `/proc/locks`, on Linux alone.

In WAL mode each connection of a writer holds a lock on a byte of `-shm` for as long as it is open, and another one
from before its first frame until its commit can be seen. Source: rules S2, X2; https://sqlite.org/walformat.html.
"""

import os
from pathlib import Path
from typing import Final

_LOCKS: Final = Path("/proc/locks")
_OWN_NAMESPACE: Final = Path("/proc/self/ns/pid")
_FIRST_NAMESPACE: Final = 0xEFFFFFFC
"""The inode of the first namespace of process ids; a process in another one sees no locks of those outside."""

_WRITE_BYTE: Final = "120"
"""The byte of `-shm` that the connection locks which writes to the log."""


def is_being_written(shm: Path) -> bool:
    """Say whether somebody is known to write to the log now; his commit may not be visible yet."""
    return any(kind == "WRITE" and first == _WRITE_BYTE for kind, first in _locks_on(shm) or ())


def is_held(shm: Path) -> bool | None:
    """Say whether any connection has the log open; None if the system does not tell."""
    locks = _locks_on(shm)
    if locks:
        return True
    return False if locks is not None and _sees_all_processes() else None


def _locks_on(path: Path) -> list[tuple[str, str]] | None:
    """Return kind and first byte of each lock on a file; None if they cannot be known."""
    try:
        inode = os.stat(path).st_ino  # noqa: PTH116 - as everywhere here
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return None
    # The device is not compared: some file systems give it another number there. One of the same inode elsewhere
    # only makes us wait.
    found = (line.split() for line in lines if f":{inode} " in line)
    return [(fields[-5], fields[-2]) for fields in found if len(fields) >= 8]  # noqa: PLR2004 - as proc(5) has it


def _sees_all_processes() -> bool:
    try:
        return _OWN_NAMESPACE.stat().st_ino == _FIRST_NAMESPACE
    except OSError:
        return False
