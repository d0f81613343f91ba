"""Notes of logs that Hermes left behind: rule X2, and how long they count by X8."""

import os
from pathlib import Path
from typing import Final

import pytest

from hermes_cache.stores.hermes.left_logs import LeftLogs
from hermes_cache.stores.hermes.looks import Looks
from tests.integration.agent import Agent

AN_HOUR_S: Final = 3_600.0


class _Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture(params=[-AN_HOUR_S, AN_HOUR_S], ids=["an hour ago", "before the clock was set back"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A database whose agent was killed."""
    path = tmp_path / "state.db"
    with Agent(path) as agent:
        agent.do("open")
        agent.do("fill", sessions=5)
        agent.die("killed")
    wal = path.with_name("state.db-wal")
    written_s = wal.stat().st_mtime + request.param
    os.utime(wal, (written_s, written_s))
    return path


def _notes(logs: LeftLogs, database: Path) -> tuple[str, ...]:
    logs.note(database, Looks().database(database)[0])
    return logs.notes


def test_a_note_is_gone_as_soon_as_hermes_writes_again(database: Path, clock: _Clock) -> None:
    """X2"""
    logs = LeftLogs(clock)
    before = _notes(logs, database)
    with Agent(database) as agent:
        agent.do("open")
        agent.do("commits", count=1)

        while_open = _notes(logs, database)
        agent.do("close")

    assert len(before) == 1
    assert while_open == ()
    assert _notes(logs, database) == ()


def test_a_note_does_not_outlive_the_home_that_it_is_about(database: Path, clock: _Clock) -> None:
    """X2, X8: a profile that was deleted is not looked at any more."""
    logs = LeftLogs(clock)
    noted = _notes(logs, database)

    clock.now_s += 59
    later = logs.notes
    clock.now_s += 2

    assert len(noted) == 1
    assert later == noted
    assert logs.notes == ()


def test_notes_of_homes_that_are_gone_make_room_for_others(database: Path, clock: _Clock, tmp_path: Path) -> None:
    """X2"""
    logs, look = LeftLogs(clock), Looks().database(database)[0]
    for number in range(1_000):
        logs.note(tmp_path / f"{number}.db", look)
    full = logs.notes

    clock.now_s += 61

    assert 200 < len(full) < 1_000
    assert len(_notes(logs, database)) == 1


def test_a_log_without_its_index_is_held_by_nobody(database: Path, clock: _Clock) -> None:
    """X2: whoever has the log open has that file too."""
    database.with_name("state.db-shm").unlink()

    (note,) = _notes(LeftLogs(clock), database)

    assert "nobody has this log open" in note
