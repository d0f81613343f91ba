"""The sample home: rule X9, any size, the mix that users report, the same for the same seed."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import orjson
import pytest

from hermes_cache.samples import writer
from hermes_cache.samples.home import make_sample_home

NOW_S = 1_790_000_000.0


def _content(home: Path) -> dict[str, object]:
    files = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*.json")}
    databases: dict[str, object] = {}
    for path in home.rglob("state.db"):
        with closing(sqlite3.connect(path)) as connection:
            databases[str(path.relative_to(home))] = list(connection.iterdump())
    return {**files, **databases}


def test_the_same_seed_makes_the_same_home(tmp_path: Path) -> None:
    make_sample_home(tmp_path / "a", sessions=60, seed=7, now_s=NOW_S)
    make_sample_home(tmp_path / "b", sessions=60, seed=7, now_s=NOW_S)
    make_sample_home(tmp_path / "c", sessions=60, seed=8, now_s=NOW_S)

    first, second, other = (_content(tmp_path / name) for name in "abc")

    assert first == second
    assert first != other


def test_a_home_has_the_mix_that_users_report(tmp_path: Path) -> None:
    sample = make_sample_home(tmp_path / "home", sessions=1_000, messages=5_000, now_s=NOW_S)

    sources = [each.source for each in sample.sessions]
    ids = {each.id for each in sample.sessions}

    assert 0.35 < sources.count("cron") / len(sources) < 0.6
    assert {"webui", "cli", "telegram", "discord", "subagent", "webhook", "kanban"} <= set(sources)
    assert sum(each.message_count for each in sample.sessions) == 5_000
    assert any(each.end_reason == "compression" for each in sample.sessions)
    assert any(each.parent_session_id and each.parent_session_id not in ids for each in sample.sessions)
    assert max(each.last_message_at for each in sample.sessions) <= NOW_S


def test_a_home_is_one_that_an_agent_recognises(tmp_path: Path) -> None:
    sample = make_sample_home(tmp_path / "home", sessions=100, profiles=("work", "play"))

    with closing(sqlite3.connect(sample.state_db)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        (version,) = connection.execute("SELECT version FROM schema_version").fetchone()
        (count,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
        (fit,) = connection.execute("PRAGMA integrity_check").fetchone()

    index = orjson.loads(sample.session_index.read_bytes())
    sidecars = {path.stem for path in sample.session_index.parent.glob("[!_]*.json")}
    assert (mode, version, count, fit) == ("wal", 30, 100, "ok")
    assert {row["session_id"] for row in index} == sidecars
    assert sample.profiles == ("default", "work", "play")
    assert (sample.path / "profiles" / "play" / "state.db").is_file()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()

    with pytest.raises(FileExistsError, match="is not empty"):
        make_sample_home(tmp_path)

    assert os.listdir(tmp_path) == ["precious"]  # noqa: PTH208 - names are compared


def test_the_writer_commits_turns_until_it_is_told_to_stop(tmp_path: Path) -> None:
    sample = make_sample_home(tmp_path / "home", sessions=5, profiles=())
    stop = Event()
    commits: list[int] = []
    thread = Thread(
        target=lambda: commits.append(writer.write_turns(sample.path, commits_per_s=2_000, stop=stop)), daemon=True
    )

    with closing(sqlite3.connect(sample.state_db)) as connection:
        before = connection.execute("SELECT count(*) FROM messages").fetchone()
        thread.start()
        while connection.execute("SELECT count(*) FROM sessions").fetchone() < (8,):
            pass
        stop.set()
        thread.join(20)
        after = connection.execute("SELECT count(*) FROM messages").fetchone()

    assert commits[0] > 150
    assert after[0] - before[0] > 100


class _StopAfter(Event):
    """Is set once it was waited for so many times."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self._left = waits

    def wait(self, timeout: float | None = None) -> bool:
        self._left -= 1
        return self._left < 0 or super().wait(timeout)


def test_the_writer_can_run_on_a_home_again(tmp_path: Path) -> None:
    """X9: titles are unique in a home, so a second run must give others than the first."""
    sample = make_sample_home(tmp_path / "home", sessions=5, profiles=())

    commits = [writer.write_turns(sample.path, commits_per_s=10_000, stop=_StopAfter(120)) for _ in range(2)]

    with closing(sqlite3.connect(sample.state_db)) as connection:
        renamed = connection.execute("SELECT count(*) FROM sessions WHERE title LIKE 'A turn that grew%'")
        assert renamed.fetchone() == (2,)
    assert commits == [120, 120]


def test_the_writer_runs_from_a_command_line_for_as_long_as_asked(tmp_path: Path) -> None:
    sample = make_sample_home(tmp_path / "home", sessions=5, profiles=())

    writer.main(["--home", str(sample.path), "--commits-per-second", "10", "--seconds", "0.2"])

    with closing(sqlite3.connect(sample.state_db)) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (6,)


def test_what_is_not_there_cannot_be_written_to(tmp_path: Path) -> None:
    sample = make_sample_home(tmp_path / "home", sessions=5, profiles=())

    with pytest.raises(LookupError, match="no session 'nobody'"):
        writer.rename_session(sample.path, "nobody", "x")
    with pytest.raises(FileNotFoundError, match="make a sample home first"):
        writer.heartbeat(tmp_path / "nowhere", "x")
