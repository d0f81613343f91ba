"""Rules X13, X14: a session that is named after its job needs no first message, until the job has no name."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hermes_cache import HermesHome, SessionListKey
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.stores.hermes.state_db import read_state_db

_KEY = SessionListKey(show_cli=True, show_cron=True, include_archived=True)


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return make_sample_home(tmp_path / "home", sessions=200, profiles=())


def test_no_first_message_is_read_of_a_session_that_has_the_name_of_its_job(sample: SampleHome) -> None:
    jobs = [f"job_{number:02}" for number in range(100)]

    with_jobs = read_state_db(sample.state_db, jobs=jobs).sessions
    without = read_state_db(sample.state_db).sessions

    runs = [sid for sid, record in without.items() if record.source == "cron" and record.first_message]
    assert len(runs) > 20
    assert not any(with_jobs[session_id].first_message for session_id in runs)
    assert all(with_jobs[sid] == record for sid, record in without.items() if sid not in runs)


def test_a_run_whose_job_lost_its_name_shows_its_first_message(sample: SampleHome) -> None:
    home = HermesHome(sample.path)
    before = _runs(home)
    (sample.path / "cron" / "jobs.json").write_text('{"jobs": []}')

    after = _runs(home)

    fresh = _runs(HermesHome(sample.path))
    assert {row["display_title"] for row in before.values()}.isdisjoint(
        row["display_title"] for row in after.values()
    )
    assert after == fresh
    assert not any(row["display_title"] == "Cron Session" for row in after.values() if row["user_message_count"])


def test_a_run_that_another_session_continues_keeps_its_first_message(sample: SampleHome) -> None:
    run = next(session for session in sample.sessions if session.source == "cron" and session.message_count)
    with closing(sqlite3.connect(sample.state_db)) as connection, connection:
        connection.execute("UPDATE sessions SET end_reason = 'compression' WHERE id = ?", (run.id,))

    record = read_state_db(sample.state_db, jobs=[f"job_{number:02}" for number in range(100)]).sessions[run.id]

    assert record.first_message


def _runs(home: HermesHome) -> dict[str, dict[str, Any]]:
    payload: Any = home.builder(_KEY)
    return {row["session_id"]: row for row in payload["sessions"] if row["source_tag"] == "cron"}
