"""The sessions of any agent, from a store of three methods; `testing.SessionStoreContract` proves a real one."""

import json
import os
from collections.abc import Hashable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hermes_cache import HermesHome, SessionListCache, SessionListKey
from hermes_cache.samples.home import make_sample_home
from hermes_cache.stores import Changes
from hermes_cache.stores.masking import mask


class NotesAgent(NamedTuple):
    """Reads `<folder>/<id>.json`: {"topic": ..., "at": ..., "turns": 7}."""

    folder: Path

    def rows(self) -> list[dict[str, object]]:
        """Return all rows, newest first; a title is masked before it is cut."""
        sessions = [(path.stem, json.loads(path.read_text())) for path in self.folder.glob("*.json")]
        return [_row(*each) for each in sorted(sessions, key=lambda each: -each[1]["at"])]

    def stamp(self) -> Hashable:
        """Return a value that changes when a file does; no file is opened for it."""
        found = sorted((entry.name, entry.stat()) for entry in os.scandir(self.folder))
        return tuple((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in found)

    def changes(self, since: Hashable, /) -> Changes | None:
        """Return 'no changes', or None for 'take all rows': a small store keeps no record of changes."""
        return Changes(since) if since == self.stamp() else None


def _row(name: str, session: dict[str, object]) -> dict[str, object]:
    texts = {"session_id": f"notes_{name}", "title": mask(str(session["topic"]))[:80], "source_label": "Notes"}
    tags = {"source_tag": "notes", "raw_source": "notes", "session_source": "external_agent"}
    times = dict.fromkeys(("created_at", "updated_at", "last_message_at"), session["at"])
    return {**texts, **tags, **times, "message_count": session["turns"], "read_only": True}


def main() -> None:
    key = SessionListKey(show_cli=True, show_claude_code=True, sidebar_source="cli")
    with TemporaryDirectory() as folder:
        agent = Path(folder, "notes")
        agent.mkdir()
        (agent / "a.json").write_text('{"topic": "Plan a trip", "at": 1.0, "turns": 1}')
        (agent / "b.json").write_text('{"topic": "Use password=hunter2 here", "at": 2.0, "turns": 1}')
        home = HermesHome(make_sample_home(Path(folder, "home"), sessions=0).path, stores=[NotesAgent(agent)])
        with SessionListCache(home.builder, sources=home.sources) as cache:
            print([row["title"] for row in json.loads(cache.render(key).body)["sessions"]])
            (agent / "a.json").write_text('{"topic": "Plan a trip", "at": 3.0, "turns": 2}')
            print([row["title"] for row in json.loads(cache.render(key, freshness="fresh").body)["sessions"]])


if __name__ == "__main__":
    main()
