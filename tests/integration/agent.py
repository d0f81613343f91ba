"""An agent as a small process: it writes to a `state.db` by the agent's own pragmas, as it is ordered to.

An order is a line of JSON on its stdin, such as `{"do": "open"}`. It answers each with a line of JSON that holds
the titles by session id, as they are committed. It imports nothing of the package, so that it starts quickly.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, source TEXT NOT NULL, started_at REAL NOT NULL,
    message_count INTEGER DEFAULT 0, title TEXT);
CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, role TEXT,
    content TEXT, timestamp REAL NOT NULL);
CREATE INDEX IF NOT EXISTS idx_messages_session ON messages(session_id, timestamp);
"""

NOBODY = 65_534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
"""What runs a command as another user."""


class Agent:
    """Starts an agent and gives it orders.

    Args:
        path: The database.
        run_as: What stands before its command, such as `setpriv` with another user.
    """

    def __init__(self, path: Path, run_as: Sequence[str] = ()) -> None:
        command = [*run_as, sys.executable, "-S", __file__, str(path)]
        self._process = subprocess.Popen(  # noqa: S603 - our own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.communicate()

    def send(self, do: str, **fields: object) -> None:
        """Give an order, and do not wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")

    def answer(self) -> Any:
        """Wait for the answer to the oldest order."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the agent ended"
        return json.loads(line)

    def do(self, do: str, **fields: object) -> Any:
        """Give an order and return the answer."""
        self.send(do, **fields)
        return self.answer()

    def die(self, do: str, **fields: object) -> None:
        """Give an order that kills the agent, and wait for its end."""
        self.send(do, **fields)
        self._process.wait(60)


class _Acts:
    """What the agent does, in its own process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.connection: sqlite3.Connection | None = None
        self.chance = random.Random()

    def open(self, *, mode: str = "WAL", seed: int = 0, timeout: float = 1.0) -> None:
        self.chance.seed(seed)
        self.connection = connection = sqlite3.connect(self.path, isolation_level=None, timeout=timeout)
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.executescript(SCHEMA)

    def close(self, *, checkpoint: bool = True) -> None:
        assert self.connection is not None
        if checkpoint:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self.connection.close()
        self.connection = None

    def fill(self, *, sessions: int, size: int = 100) -> None:
        assert self.connection is not None
        self.connection.execute("BEGIN IMMEDIATE")
        for number in range(sessions):
            self._insert(f"f{number:06}", size)
        self.connection.execute("COMMIT")

    def commits(self, *, count: int, pause_s: float = 0.0) -> float:
        """Commit, and return the longest time that one took."""
        longest_s = 0.0
        for _ in range(count):
            began_s = time.monotonic()
            self._commit()
            longest_s = max(longest_s, time.monotonic() - began_s)
            if pause_s:
                time.sleep(self.chance.uniform(0, pause_s))
        return longest_s

    def statement(self, *, sql: str) -> None:
        assert self.connection is not None
        self.connection.execute(sql).fetchall()

    def replace(self) -> None:
        """Replace the database, which nobody has open, by a copy with another title."""
        assert self.connection is None
        copy = f"{self.path}.copy"
        with closing(sqlite3.connect(self.path)) as old, closing(sqlite3.connect(copy)) as new:
            old.backup(new)
            new.execute("UPDATE sessions SET title = ? WHERE rowid = 1", (self._title(),))
            new.commit()
        Path(copy).replace(self.path)

    def restore(self, *, backup: str) -> None:
        """Put a backup back as SQLite does it."""
        with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(self.path)) as target:
            source.backup(target)

    def killed_while_writing(self) -> None:
        """Leave a hot journal, or a log, behind."""
        assert self.connection is not None
        self.connection.execute("PRAGMA cache_size=2")
        self.connection.execute("BEGIN IMMEDIATE")
        for number in range(200):
            self._insert(f"k{number:06}", 2_000)
        os.kill(os.getpid(), signal.SIGKILL)

    def killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def titles(self) -> dict[str, str]:
        wal = Path(f"{self.path}-wal")
        if not Path(self.path).exists() or (self.connection is None and wal.exists() and wal.stat().st_size):
            return {}
        if self.connection is not None:
            return dict(self.connection.execute("SELECT id, title FROM sessions"))
        with closing(sqlite3.connect(f"file:{self.path}?immutable=1", uri=True)) as connection:
            return dict(connection.execute("SELECT id, title FROM sessions"))

    def _title(self) -> str:
        return f"Title {self.chance.getrandbits(32):08x}"

    def _insert(self, session_id: str, size: int = 100) -> None:
        assert self.connection is not None
        now_s = time.time()
        values = (session_id, "cron", now_s, self._title())
        self.connection.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, 1, ?)", values)
        message = (session_id, "user", "x" * size, now_s)
        self.connection.execute(
            "INSERT INTO messages (session_id, role, content, timestamp) VALUES (?, ?, ?, ?)", message
        )

    def _commit(self) -> None:
        assert self.connection is not None
        connection, chance = self.connection, self.chance
        ids = [row[0] for row in connection.execute("SELECT id FROM sessions ORDER BY id")]
        kind = chance.random()
        connection.execute("BEGIN IMMEDIATE")
        if kind < 0.7 and ids:
            statement = "UPDATE sessions SET title = ? WHERE id = ?"
            connection.execute(statement, (self._title(), chance.choice(ids)))
        elif kind < 0.8 and len(ids) > 5:
            connection.execute("DELETE FROM sessions WHERE id = ?", (chance.choice(ids),))
        else:
            self._insert(f"s{chance.randrange(30):04}")
        connection.execute("COMMIT")


def main() -> None:
    """Follow orders."""
    acts = _Acts(sys.argv[1])
    for line in sys.stdin:
        order = json.loads(line)
        act: Callable[..., object] = getattr(acts, order.pop("do"))
        try:
            answer = {"answer": act(**order), "titles": acts.titles()}
        except sqlite3.Error as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
