"""Proves rules O3, X2 and X7 for scheduled runs: a row says `cron_running` while its scheduler's database does."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome
from tests.parity.homes import make_home

_BEGAN_S = 1_790_000_250.0  # When the session of the job `job1` began, in the home that is made here.
_RUN = "cron_job1_20260921_130000"
_KEY = SessionListKey(show_cron=True, visible_only=True)

# As hermes-agent 0.19 makes it.
_SCHEMA = """
CREATE TABLE executions (
  id TEXT PRIMARY KEY, job_id TEXT NOT NULL, source TEXT NOT NULL, process_id TEXT NOT NULL,
  pid INTEGER NOT NULL, process_started_at INTEGER, status TEXT NOT NULL, claimed_at TEXT NOT NULL,
  started_at TEXT, finished_at TEXT, error TEXT
)
"""


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()


def _execute(home: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(home / "cron" / "executions.db")) as connection, connection:
        connection.execute(statement, values)


def _claim(home: Path, job_id: object = "job1", claimed_at: object = _moment(_BEGAN_S - 1)) -> None:
    _execute(
        home,
        "INSERT INTO executions (id, job_id, source, process_id, pid, status, claimed_at) "
        "VALUES (hex(randomblob(8)), ?, 'builtin', 'p', 1, 'running', ?)",
        job_id,
        claimed_at,
    )


@pytest.fixture
def home(tmp_path: Path, at: Callable[[float], None]) -> Path:
    at(_BEGAN_S + 60)
    made = make_home("many_kinds", tmp_path / "home")
    _execute(made, "PRAGMA journal_mode=WAL")
    _execute(made, _SCHEMA)
    return made


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda moment_s: monkeypatch.setattr("time.time", lambda: moment_s)


def _running(reader: HermesHome) -> list[object]:
    sessions: Any = reader.builder(_KEY)["sessions"]
    assert any(row["session_id"] == _RUN for row in sessions)
    return [row["session_id"] for row in sessions if row.get("cron_running")]


def test_a_run_is_shown_from_its_claim_to_its_end(home: Path) -> None:
    """O3, X7: and each change is seen by the reader that saw the one before."""
    reader = HermesHome(home)
    seen = [_running(reader)]
    for statement in ("claimed", "running", "completed"):
        if statement == "claimed":
            _claim(home)
        _execute(home, "UPDATE executions SET status = ?", statement)
        seen.append(_running(reader))

    assert seen == [[], [_RUN], [_RUN], []]


def test_an_older_run_of_the_job_and_one_that_its_session_says_has_ended_are_over(home: Path) -> None:
    """X7"""
    _claim(home, claimed_at=_moment(_BEGAN_S + 1))
    _claim(home, "job_two", _moment(_BEGAN_S))
    with closing(sqlite3.connect(home / "state.db")) as connection, connection:
        connection.execute("UPDATE sessions SET ended_at = started_at + 5 WHERE id LIKE 'cron_job_two_%'")

    assert _running(HermesHome(home)) == []


def test_a_run_whose_scheduler_was_killed_is_over_an_hour_after_its_last_sign(
    home: Path, at: Callable[[float], None]
) -> None:
    """O3: though no file moves."""
    _claim(home)
    reader = HermesHome(home)
    before = _running(reader)

    at(_BEGAN_S + 3_700)

    assert (before, _running(reader)) == ([_RUN], [])


@pytest.mark.parametrize("damage", ["junk", "no table", "other columns", "folder"])
def test_a_database_of_runs_that_cannot_be_read_costs_no_list(home: Path, damage: str) -> None:
    """X8"""
    path = home / "cron" / "executions.db"
    if damage in {"junk", "folder"}:
        path.unlink()
    if damage == "junk":
        path.write_bytes(b"no database" * 500)
    elif damage == "folder":
        path.mkdir()
    else:
        _execute(home, "DROP TABLE executions")
    if damage == "other columns":
        _execute(home, "CREATE TABLE executions (id, status)")

    assert _running(HermesHome(home)) == []


def test_odd_values_cost_their_run_alone(home: Path) -> None:
    """X3"""
    for job_id, claimed_at in (("", "soon"), ("job1", "soon"), (7, 5e246), ("job_two", b"\xff")):
        _claim(home, job_id, claimed_at)
    _claim(home)

    assert _running(HermesHome(home)) == [_RUN]


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_reading_leaves_no_trace_beside_the_runs(home: Path, mode: str) -> None:
    """X2"""
    _execute(home, f"PRAGMA journal_mode={mode}")
    _claim(home)
    folder = home / "cron"
    before = {path.name: path.stat() for path in folder.iterdir()}

    assert _running(HermesHome(home)) == [_RUN]
    after = {path.name: path.stat() for path in folder.iterdir()}
    assert {name: (found.st_mtime_ns, found.st_size, found.st_ino) for name, found in after.items()} == {
        name: (found.st_mtime_ns, found.st_size, found.st_ino) for name, found in before.items()
    }


def test_the_runs_move_the_stamp(home: Path) -> None:
    """S1"""
    reader = HermesHome(home)
    reader.sources.settle(_KEY)
    before = reader.sources.stamp(_KEY, held=False)

    _claim(home)

    after = reader.sources.stamp(_KEY, held=False)
    assert {name for name in after if after[name] != before[name]} >= {"cron_runs"}
