"""The agent's sessions, with a cache of the program's own inside it."""

import sqlite3
import threading
from contextlib import closing

from api import config, profiles

_cached: dict[str, list[dict[str, object]]] = {}
gate = threading.Event()
gate.set()
waiting = threading.Event()


def clear_cli_sessions_cache() -> None:
    _cached.clear()


def get_cli_sessions() -> list[dict[str, object]]:
    """Return the rows of the thread's profile; while a turn runs, those that were read before."""
    name = profiles.get_active_profile_name()
    kept = _cached.get(name)
    if config.STREAMS and kept is not None:
        return kept
    file = profiles.get_active_hermes_home() / "state.db"
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT id, title, message_count, started_at FROM sessions").fetchall()
    names = ("session_id", "title", "message_count", "created_at")
    rows = [{**dict(zip(names, row, strict=True)), "profile": name} for row in found]
    _cached[name] = rows
    waiting.set()
    gate.wait(60)
    return rows
