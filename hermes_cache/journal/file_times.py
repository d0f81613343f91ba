"""Whether a file was written since a look at it, told by its times.

Two writes within a tick of the kernel's clock may have the same time. So a look says something of later ones only
where the file was older than a tick then: what is written later has a later time. Source: rule J3.
"""

import os
from pathlib import Path
from typing import Final

_TICK_S: Final = 0.05
_COARSE_TICK_S: Final = 3.0
"""The kernel's clock ticks every 10 ms at most, and some disks keep seconds, or every other one."""


def found(path: Path) -> tuple[int, ...] | None:
    """Return what each write or replacement of a file changes; None where that cannot be told."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def is_settled(seen: tuple[int, ...] | None, now_ns: int) -> bool:
    """Say whether a file that is written from now on is found different from what was seen now."""
    if seen is None or os.name != "posix":
        return False
    tick_s = _TICK_S if seen[-1] % 10**9 else _COARSE_TICK_S
    return now_ns - max(seen[-2:]) > tick_s * 10**9
