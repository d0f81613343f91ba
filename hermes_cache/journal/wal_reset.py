"""The releases of SQLite that have the WAL-reset bug, by which two connections can corrupt a file in WAL mode.

It is apart from the journal, because who asks need not load SQLAlchemy. Source: https://sqlite.org/wal.html#walresetbug.
"""

from typing import Final

_FIRST: Final = (3, 7, 0)
_FIXED: Final = (3, 51, 3)
_REPAIRED: Final = ((3, 44, 6), (3, 50, 7))
"""Releases before that one that have the repair, too."""


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Say whether a release of SQLite is free of the WAL-reset bug."""
    repaired = any(version[:2] == fixed[:2] and version >= fixed for fixed in _REPAIRED)
    return repaired or version < _FIRST or version >= _FIXED
