"""Writes to a sample home as an agent does during turns: a commit for each token, and sometimes something else.

It is for demos, tests and benchmarks, and can run in a process of its own:
`python -m hermes_cache.samples.writer --home PATH --commits-per-second 50`. It opens `state.db` for
writing; never use it with a home that matters. Source: rule X9.
"""

import argparse
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from threading import Event, Timer
from typing import Final

_BUSY_TIMEOUT_S: Final = 20.0
"""The writers of an agent wait as long for a lock."""

_HEARTBEAT_EVERY: Final = 20
_RENAME_EVERY: Final = 50
_SESSION_EVERY: Final = 100
_KEPT: Final = ".kept"


def write_turns(home: str | Path, *, commits_per_s: float, stop: Event) -> int:
    """Commit at a steady rate until `stop` is set.

    Args:
        home: A home, or the folder of a profile, with a `state.db`.
        commits_per_s: The rate.
        stop: Ends the writing.

    Returns:
        The number of commits.
    """
    commits = 0
    with closing(_opened(home)) as connection:
        session_id = _new_session(connection)
        began_s = time.monotonic()
        while not stop.wait(max(0.0, began_s + commits / commits_per_s - time.monotonic())):
            commits += 1
            session_id = _commit(connection, session_id, commits)
    return commits


def rename_session(home: str | Path, session_id: str, title: str | None) -> None:
    """Change the title of a session of the agent.

    Raises:
        LookupError: There is no such session.
    """
    with closing(_opened(home)) as connection, _transaction(connection):
        changed = connection.execute("UPDATE sessions SET title = ? WHERE id = ?", (title, session_id))
        if not changed.rowcount:
            raise LookupError(f"{home} has no session {session_id!r}")


def heartbeat(home: str | Path, session_id: str) -> None:
    """Write a sign of life of a session: a commit that changes nothing in a list."""
    with closing(_opened(home)) as connection:
        _heartbeat(connection, session_id)


def add_message(home: str | Path, session_id: str) -> None:
    """Append a message to a session, as the agent does."""
    with closing(_opened(home)) as connection:
        _message(connection, session_id)


def begin_session(
    home: str | Path,
    *,
    source: str,
    text: str,
    title: str | None = None,
    messages: int = 1,
    job: str | None = None,
) -> str:
    """Begin a session with a message of its user.

    Args:
        home: A home, or the folder of a profile.
        source: Where it comes from, as `cli`, `cron` or `telegram`.
        text: The message.
        title: Its title; None for none yet.
        messages: How many messages it counts.
        job: The id of the job that ran it; None for none.

    Returns:
        Its id.
    """
    at_s = time.time()
    stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(at_s))
    session_id = f"cron_{job}_{stamp}" if job else f"{stamp}_{token_hex(3)}"
    with closing(_opened(home)) as connection, _transaction(connection):
        connection.execute(
            "INSERT OR IGNORE INTO sessions (id, source, model, started_at, title, message_count)"
            " VALUES (?, ?, 'hermes-4-405b', ?, ?, ?)",
            (session_id, source, at_s, title, messages),
        )
        connection.execute(
            "INSERT INTO messages (session_id, role, content, timestamp) VALUES (?, 'user', ?, ?)",
            (session_id, text, at_s),
        )
    return session_id


def archive_session(home: str | Path, session_id: str) -> None:
    """Archive a session of the agent."""
    with closing(_opened(home)) as connection, _transaction(connection):
        connection.execute("UPDATE sessions SET archived = 1 WHERE id = ?", (session_id,))


def newest_sessions(home: str | Path, count: int) -> list[str]:
    """Return the ids of the newest sessions of terminals that are not archived, the newest first."""
    with closing(_opened(home)) as connection:
        found = connection.execute(
            "SELECT id FROM sessions WHERE source = 'cli' AND archived = 0 AND title IS NOT NULL"
            " ORDER BY started_at DESC LIMIT ?",
            (count,),
        )
        return [session_id for (session_id,) in found]


@contextmanager
def kept_open(home: str | Path) -> Iterator[None]:
    """Keep the database open, as an agent does, so that its `-wal` stays between commits."""
    with closing(_opened(home)) as connection:
        connection.execute("SELECT count(*) FROM sessions").fetchone()
        yield


def break_home(home: str | Path) -> None:
    """Replace `state.db` by a file that is no database; `mend_home` puts it back."""
    path = Path(home) / "state.db"
    path.rename(path.with_suffix(_KEPT))
    path.write_bytes(b"This is no database. " * 200)


def mend_home(home: str | Path) -> None:
    """Put the database back."""
    path = Path(home) / "state.db"
    path.with_suffix(_KEPT).replace(path)


def is_broken(home: str | Path) -> bool:
    """Return whether a home is broken."""
    return (Path(home) / "state.db").with_suffix(_KEPT).exists()


def _opened(home: str | Path) -> sqlite3.Connection:
    path = Path(home) / "state.db"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; make a sample home first")
    return sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield


def _commit(connection: sqlite3.Connection, session_id: str, number: int) -> str:
    if number % _SESSION_EVERY == 0:
        return _new_session(connection)
    if number % _RENAME_EVERY == 0:
        # Titles are unique in a home, also if another process writes to it.
        _rename(connection, session_id, f"A turn that grew to {number} tokens {token_hex(8)}")
    elif number % _HEARTBEAT_EVERY == 0:
        _heartbeat(connection, session_id)
    else:
        _message(connection, session_id)
    return session_id


def _new_session(connection: sqlite3.Connection) -> str:
    at_s = time.time()
    stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(at_s))
    session_id = f"{stamp}_{token_hex(3)}"
    with _transaction(connection):
        connection.execute(
            "INSERT OR IGNORE INTO sessions (id, source, model, started_at) VALUES (?, 'cli', 'hermes-4-405b', ?)",
            (session_id, at_s),
        )
    return session_id


def _message(connection: sqlite3.Connection, session_id: str) -> None:
    with _transaction(connection):
        connection.execute(
            "INSERT INTO messages (session_id, role, content, timestamp) VALUES (?, 'assistant', 'token', ?)",
            (session_id, time.time()),
        )
        connection.execute(
            "UPDATE sessions SET message_count = message_count + 1, output_tokens = output_tokens + 1"
            " WHERE id = ?",
            (session_id,),
        )


def _rename(connection: sqlite3.Connection, session_id: str, title: str) -> None:
    with _transaction(connection):
        connection.execute("UPDATE sessions SET title = ? WHERE id = ?", (title, session_id))


def _heartbeat(connection: sqlite3.Connection, session_id: str) -> None:
    now_s = time.time()
    with _transaction(connection):
        connection.execute(
            "UPDATE sessions SET last_activity_at = ?, last_activity_description = 'thinking' WHERE id = ?",
            (now_s, session_id),
        )
        connection.execute(
            "INSERT INTO gateway_heartbeats (backend_id, pid, started_at, last_heartbeat)"
            " VALUES ('sample', 1, ?, ?)"
            " ON CONFLICT (backend_id) DO UPDATE SET last_heartbeat = excluded.last_heartbeat",
            (now_s, now_s),
        )


def main(arguments: list[str] | None = None) -> None:
    """Run from a command line; `--help` lists the options."""
    parser = argparse.ArgumentParser(
        prog="python -m hermes_cache.samples.writer", description="Write to a sample home."
    )
    parser.add_argument("--home", required=True, help="the sample home")
    parser.add_argument("--commits-per-second", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=None, help="how long; without it, until interrupted")
    options = parser.parse_args(arguments)
    stop = Event()
    if options.seconds is not None:
        timer = Timer(options.seconds, stop.set)
        timer.daemon = True
        timer.start()
    with suppress(KeyboardInterrupt):
        write_turns(options.home, commits_per_s=options.commits_per_second, stop=stop)


if __name__ == "__main__":
    main()
