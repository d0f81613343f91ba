"""What the gateways of these examples list: a table of sessions in SQLite. It stands for a source of your own."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(os.environ.get("EXAMPLE_FOLDER", "example-data")).resolve()
JOURNAL = f"sqlite:///{FOLDER / 'journal.db'}"


def load(_key: object) -> Mapping[str, object]:
    """Build the list; this is the builder of the caches."""
    with _opened() as database:
        rows = database.execute("SELECT session_id, title FROM sessions ORDER BY session_id").fetchall()
    return {"sessions": [{"session_id": session_id, "title": title} for session_id, title in rows]}


def rename(session_id: str, title: str) -> None:
    """Change a session."""
    with _opened() as database:
        database.execute("UPDATE sessions SET title = ? WHERE session_id = ?", (title, session_id))


@contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(FOLDER / "sessions.db", timeout=20)
    try:
        with database:
            if not database.execute("PRAGMA user_version").fetchone()[0]:
                database.execute("CREATE TABLE IF NOT EXISTS sessions (session_id TEXT PRIMARY KEY, title TEXT)")
                rows = [(f"s{number:03}", "Plan the garden") for number in range(200)]
                database.executemany("INSERT OR IGNORE INTO sessions VALUES (?, ?)", rows)
                database.execute("PRAGMA user_version = 1")
            yield database
    finally:
        database.close()
