"""The sessions of any agent: a store is one module with three methods, which reads the agent's own files.

This agent keeps one JSON file a session. `hermes_cache.testing.SessionStoreContract` proves a real store.
"""

import json
import os
from collections.abc import Hashable
from pathlib import Path
from tempfile import TemporaryDirectory

from hermes_cache.stores import Changes, SessionStore
from hermes_cache.stores.masking import mask


class NotesAgent:
    """Reads `<folder>/<id>.json`: {"topic": ..., "at": ..., "turns": 7}."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self) -> list[dict[str, object]]:
        """Return all rows, newest first; a title is masked before it is cut."""
        sessions = [(path.stem, json.loads(path.read_text())) for path in self.folder.glob("*.json")]
        return [_row(*each) for each in sorted(sessions, key=lambda each: -each[1]["at"])]

    def stamp(self) -> Hashable:
        """Return what moves when a file does; no file is opened for it."""
        found = sorted((entry.name, entry.stat()) for entry in os.scandir(self.folder))
        return tuple((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in found)

    def changes(self, since: Hashable, /) -> Changes | None:
        """Say 'nothing', or None for 'take all rows': so small a store keeps no record of changes."""
        return Changes(since) if since == self.stamp() else None


def _row(name: str, session: dict[str, object]) -> dict[str, object]:
    texts = {"session_id": f"notes_{name}", "title": mask(str(session["topic"]))[:80], "source_label": "Notes"}
    tags = {"source_tag": "notes", "raw_source": "notes", "session_source": "external_agent"}
    times = dict.fromkeys(("created_at", "updated_at", "last_message_at"), session["at"])
    return {**texts, **tags, **times, "message_count": session["turns"], "read_only": True}


def main() -> None:
    with TemporaryDirectory() as folder:
        agent = Path(folder)
        store: SessionStore = NotesAgent(agent)
        (agent / "a.json").write_text('{"topic": "Plan a trip", "at": 1.0, "turns": 1}')
        (agent / "b.json").write_text('{"topic": "Use password=hunter2 here", "at": 2.0, "turns": 1}')
        print([(row["title"], row["updated_at"]) for row in store.rows()])
        stamp = store.stamp()
        print("A later look finds no change:", store.changes(stamp) == Changes(stamp))
        (agent / "a.json").write_text('{"topic": "Plan a trip", "at": 3.0, "turns": 2}')
        print("A turn is written, and the stamp moves:", store.stamp() != stamp)
        print([(row["title"], row["updated_at"]) for row in store.rows()])


if __name__ == "__main__":
    main()
