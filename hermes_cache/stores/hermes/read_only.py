"""Opens a `state.db` for reading, the one safe way: an SQLite URI with `mode=ro`.

Never `immutable`, never read-write, never a plain open; a path's `?`, `#`, `%` and spaces are quoted.
Source: rule X2.
"""

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.pool import NullPool

_BUSY_CODES: Final = frozenset({5, 6})
"""SQLITE_BUSY and SQLITE_LOCKED."""


def read_only_engine(path: Path, *, busy_timeout_s: float) -> Engine:
    """Return an engine that opens a database read-only, anew for each connection."""
    url = URL.create(
        "sqlite",
        database="file://" + quote(os.fsencode(path)),
        query={"mode": "ro", "uri": "true"},
    )
    options = {"timeout": busy_timeout_s, "check_same_thread": False}
    return create_engine(url, connect_args=options, poolclass=NullPool)


def is_busy(error: BaseException | None) -> bool:
    """Say whether SQLite failed since somebody else holds a lock."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _BUSY_CODES
