"""Whether a journal's SQLite file is there, for those who only read and are not to make one.

Source: rule W3.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import make_url


def missing_journal_file(url: str) -> Path | None:
    """Give the SQLite file that a journal's URL names where it holds no journal; None where it may hold one.

    The file is opened read-only. One that cannot be read may hold a journal: the journal itself will tell.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    path = Path(parsed.database).absolute()
    return None if _may_hold_journal(path) else path


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
