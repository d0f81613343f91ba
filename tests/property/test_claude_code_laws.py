"""X11: however transcripts are written, cut and replaced, a store that looked on gives the rows of now."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hermes_cache.stores import ClaudeCode
from hermes_cache.stores.session_store import LOOK_EVERY_S
from hermes_cache.testing import ManualClock

_NOW_S = 1_790_000_000.0


class TranscriptEdits:
    """Edits transcripts at random, in all ways in which they may be edited."""

    def __init__(self, root: Path, random: Random, clock: ManualClock) -> None:
        self.root = root
        self._random = random
        self._clock = clock
        self._edits: tuple[Callable[[Path], object], ...] = (
            self._append, self._append, self._append, self._append_half, self._end_line, self._rewind,
            self._truncate, self._replace, self._write_anew, self._write_in_place, self._remove, self._link,
            self._junk,
        )  # fmt: skip

    def edit(self) -> str:
        """Do one edit, and name it; the clock of the file system is said to have moved meanwhile."""
        folder = self.root / self._random.choice(("one", "two"))
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self._random.choice('abcdef')}.jsonl"
        edit = self._random.choice(self._edits)
        if file.is_symlink():
            file.unlink()
        edit(file)
        if file.exists() and not file.is_symlink():
            os.utime(file, (self._clock.wall_s(), self._clock.wall_s()))
        return f"{edit.__name__} {file.name}"

    def _lines(self, most: int) -> bytes:
        return b"".join(self._line() for _ in range(self._random.randint(1, most)))

    def _line(self) -> bytes:
        kind = self._random.randrange(20)
        if kind == 0:
            return json.dumps({"summary": f"Summary {self._random.random()}"}).encode() + b"\n"
        if kind == 1:
            return self._random.randbytes(self._random.randrange(40)).replace(b"\n", b"") + b"\n"
        at = datetime.fromtimestamp(_NOW_S + self._random.randrange(10**6), UTC).isoformat()
        text = f"{self._random.randrange(10**9)} " * self._random.choice((1, 1, 1, 50, 800))
        role = self._random.choice(("user", "assistant"))
        return json.dumps({"timestamp": at, "message": {"role": role, "content": text}}).encode() + b"\n"

    def _append(self, file: Path) -> None:
        with file.open("ab") as opened:
            opened.write(self._lines(4))

    def _append_half(self, file: Path) -> None:
        line = self._line()
        with file.open("ab") as opened:
            opened.write(line[: self._random.randrange(len(line) + 1)])

    def _end_line(self, file: Path) -> None:
        with file.open("ab") as opened:
            opened.write(b"\n")

    def _rewind(self, file: Path) -> None:
        kept = self._some_of(file).rpartition(b"\n")
        with file.open("r+b" if file.exists() else "wb") as opened:
            opened.truncate(len(kept[0] + kept[1]))
            opened.seek(0, os.SEEK_END)
            opened.write(self._lines(6))

    def _truncate(self, file: Path) -> None:
        if file.exists():
            os.truncate(file, len(self._some_of(file)))

    def _replace(self, file: Path) -> None:
        other = self.root / "new"
        other.write_bytes(self._some_of(file) + self._lines(8))
        other.replace(file)

    def _write_anew(self, file: Path) -> None:
        file.write_bytes(self._lines(self._random.choice((1, 10, 60))))

    def _write_in_place(self, file: Path) -> None:
        content = file.read_bytes() if file.exists() else b""
        file.write_bytes(content.replace(b'"assistant"', b'"user"     ') or self._lines(2))

    def _remove(self, file: Path) -> None:
        file.unlink(missing_ok=True)

    def _link(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        file.symlink_to(self._random.choice(("a.jsonl", "b.jsonl", file.name, "..")))

    def _junk(self, file: Path) -> None:
        with file.open("ab") as opened:
            opened.write(self._random.randbytes(self._random.choice((3, 3_000, 60_000))))

    def _some_of(self, file: Path) -> bytes:
        content = file.read_bytes() if file.exists() else b""
        return content[: self._random.randrange(len(content) + 1)]


def rows_from_scratch(root: Path) -> dict[str, tuple[object, ...]]:
    """Read all transcripts as plainly as can be: id, title, count, first and last moment."""
    rows: dict[str, tuple[object, ...]] = {}
    for file in root.glob("*/*.jsonl"):
        if file.is_symlink() or not file.is_file():
            continue
        found = [record for record in map(_parsed, file.read_bytes().split(b"\n")) if record is not None]
        messages = [record for record in found if record.get("message")]
        if messages:
            summaries = [record["summary"] for record in found if record.get("summary")]
            asked = [one["message"]["content"] for one in messages if one["message"]["role"] == "user"]
            title = " ".join([*summaries, *asked, "Claude Code Session"][0].split())[:80]
            moments = sorted(datetime.fromisoformat(record["timestamp"]).timestamp() for record in messages)
            session_id = f"claude_code_{sha256(str(file).encode()).hexdigest()[:24]}"
            rows[session_id] = (title, len(messages), moments[0], moments[-1])
    return rows


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode("utf-8", "replace"))
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def rows_of(store: ClaudeCode) -> dict[str, tuple[object, ...]]:
    return {
        str(row["session_id"]): (row["title"], row["message_count"], row["created_at"], row["updated_at"])
        for row in store.rows()
    }


def wrong_rows(root: Path, *, seed: int, edits: int) -> list[str]:
    """Edit at random, look now and then, and name each edit after which a row was wrong."""
    random, clock = Random(seed), ManualClock(wall_s=_NOW_S)
    writer, store = TranscriptEdits(root, random, clock), ClaudeCode(root, clock=clock)
    taken, since, wrong = rows_of(store), store.stamp(), []
    for number in range(edits):
        edit = writer.edit()
        clock.advance(LOOK_EVERY_S)
        if random.random() < 0.3:
            continue
        now, changes = store.stamp(), store.changes(since)
        assert changes is not None
        gone, rows = changes.gone, {str(row["session_id"]) for row in changes.rows}
        right, found = rows_from_scratch(root), rows_of(store)
        taken = {each: row for each, row in taken.items() if each not in gone} | {
            each: found[each] for each in rows
        }
        since = now
        if found != right or taken != right:
            wrong.append(f"seed {seed}, edit {number}: {edit}")
    return wrong


@pytest.mark.parametrize("seed", range(3))
def test_after_random_edits_no_row_is_wrong(tmp_path: Path, seed: int) -> None:
    """X11"""
    assert wrong_rows(tmp_path.resolve() / "projects", seed=seed, edits=100) == []


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(100, 110))
def test_after_ten_thousand_random_edits_no_row_is_wrong(tmp_path: Path, seed: int) -> None:
    """X11"""
    assert wrong_rows(tmp_path.resolve() / "projects", seed=seed, edits=1_000) == []
