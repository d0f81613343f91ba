"""A guest that leaves no trace: rule X2 with real processes that use the agent's own pragmas."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hermes_cache import SessionListCache, SessionListKey
from hermes_cache.stores.hermes import HermesHome

KEY = SessionListKey(show_cli=True)

AGENT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=1.0)
connection.execute("PRAGMA journal_mode=" + sys.argv[2])
connection.execute("PRAGMA foreign_keys=ON")
connection.execute("PRAGMA journal_size_limit=67108864")
connection.executescript('''
    CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, source TEXT NOT NULL, started_at REAL NOT NULL,
        message_count INTEGER DEFAULT 0, title TEXT);
    CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, role TEXT,
        content TEXT, timestamp REAL);
''')
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    session = (f"s{number:04}", 1e9 + number, f"Title {number}")
    connection.execute("INSERT INTO sessions VALUES (?, 'cli', ?, 1, ?)", session)
    message = (session[0], "x" * 3000, session[1])
    connection.execute(
        "INSERT INTO messages (session_id, role, content, timestamp) VALUES (?, 'user', ?, ?)", message
    )
connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
connection.close()
"""
"""Works on a home and quits as the agent does."""


def _works(path: Path, mode: str, first: int, behind: int) -> None:
    command = [sys.executable, "-c", AGENT, str(path), mode, str(first), str(behind)]
    subprocess.run(command, check=True, timeout=50)  # noqa: S603 - our own


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "TRUNCATE", "PERSIST"])
def test_a_backup_put_back_after_a_cache_looked_on_is_whole(tmp_path: Path, mode: str) -> None:
    """X2: a connection that is held while the agent quits leaves a log that corrupts the backup."""
    path, backup = tmp_path / "state.db", tmp_path / "backup.db"
    _works(path, mode, 0, 100)
    shutil.copy(path, backup)
    home = HermesHome(tmp_path)
    with SessionListCache(home.builder, sources=home.sources) as cache:
        cache.get(KEY)
        _works(path, mode, 100, 200)
        shutil.copy(backup, path)

    with closing(sqlite3.connect(path)) as connection:
        (fit,) = connection.execute("PRAGMA integrity_check").fetchone()
        (count,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
    assert (fit, count) == ("ok", 100)
