"""Rule X14: counts of users' messages that are kept from one start to the next."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from hermes_cache import HermesHome, SessionListKey
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.samples.writer import add_message
from hermes_cache.stores.hermes.kept_counts import cache_folder

_KEY = SessionListKey(show_cli=True, show_cron=True, show_webhook=True, show_kanban=True, include_archived=True)
_WRONG = 999


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return make_sample_home(tmp_path / "home", sessions=60, profiles=())


def test_a_next_start_takes_the_counts_that_were_kept(sample: SampleHome, tmp_path: Path) -> None:
    first = _counts(sample, tmp_path)
    _change_kept(tmp_path, lambda messages, moved_at, users: [messages, moved_at, users + _WRONG])

    second = _counts(sample, tmp_path)

    assert len(first) > 30
    assert second == {session_id: users + _WRONG for session_id, users in first.items()}


def test_a_session_with_a_new_message_is_counted_anew(sample: SampleHome, tmp_path: Path) -> None:
    before = _counts(sample, tmp_path)
    _change_kept(tmp_path, lambda messages, moved_at, users: [messages, moved_at, users + _WRONG])
    changed = next(iter(before))
    add_message(sample.path, changed)

    after = _counts(sample, tmp_path)

    assert after[changed] in (before[changed], before[changed] + 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"version": 1}',
        b'{"version": 99, "database": "DATABASE", "counts": {}}',
        b'{"version": 1, "database": "/another/state.db", "counts": {"WEB": [1, 2.0, 3]}}',
        b'{"version": 1, "database": "DATABASE", "counts": {"WEB": [1]}}',
        b'{"version": 1, "database": "DATABASE", "counts": {"WEB": [1, 2.0, "3"]}}',
        b'{"version": 1, "database": "DATABASE", "counts": 7}',
    ],
)
def test_what_is_broken_counts_as_missing(sample: SampleHome, tmp_path: Path, content: bytes) -> None:
    counts = _counts(sample, tmp_path)
    (file,) = _folder(tmp_path).iterdir()
    good = file.read_bytes()
    file.write_bytes(content.replace(b"DATABASE", bytes(sample.state_db)))

    again = _counts(sample, tmp_path)

    assert again == counts
    assert file.read_bytes() == good


def test_only_their_user_may_read_them_and_they_hold_no_text(sample: SampleHome, tmp_path: Path) -> None:
    """X12"""
    rows = _rows(sample, _folder(tmp_path))

    (file,) = _folder(tmp_path).iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not any(row["title"].encode() in file.read_bytes() for row in rows)


def test_a_folder_that_cannot_be_made_costs_no_list(
    sample: SampleHome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()

    rows = _rows(sample, tmp_path / "file" / "kept")

    assert len(rows) > 30
    assert [record.message for record in caplog.records] == ["hermes_cache.counts_not_kept"]


def test_nothing_is_kept_unless_a_folder_is_given(sample: SampleHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(sample.path / "cache"))

    HermesHome(sample.path).builder(_KEY)

    assert not (sample.path / "cache").exists()
    assert cache_folder({"XDG_CACHE_HOME": "/kept"}) == Path("/kept/hermes_cache")
    assert cache_folder({"XDG_CACHE_HOME": "relative"}) == Path.home() / ".cache" / "hermes_cache"


def _folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def _rows(sample: SampleHome, kept_in: Path) -> list[dict[str, Any]]:
    payload: Any = HermesHome(sample.path, kept_in=kept_in).builder(_KEY)
    rows: list[dict[str, Any]] = payload["sessions"]
    return rows


def _counts(sample: SampleHome, tmp_path: Path) -> dict[str, int]:
    rows = _rows(sample, _folder(tmp_path))
    return {row["session_id"]: row["user_message_count"] for row in rows if row["source_tag"] != "webui"}


def _change_kept(tmp_path: Path, change: Callable[[int, float, int], list[object]]) -> None:
    (file,) = _folder(tmp_path).iterdir()
    content = orjson.loads(file.read_bytes())
    content["counts"] = {session_id: change(*counted) for session_id, counted in content["counts"].items()}
    file.write_bytes(orjson.dumps(content))
