"""The stamps of a home: rules S1, S2, H1 and L2 against real files, locks and processes."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import pytest

from hermes_cache import Bus, Policy, SessionListCache
from hermes_cache.ports import SETTINGS_PART
from hermes_cache.samples import writer
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome
from hermes_cache.stores.hermes.file_stamps import ABSENT, log_stamp
from hermes_cache.testing import VersionedSources
from tests.waiting import until

KEY = SessionListKey()
CRON = SessionListKey(show_cron=True)


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return make_sample_home(tmp_path / "home", sessions=20, now_s=1_790_000_000.0)


def test_a_stamp_tells_part_by_part_what_a_list_is_built_from(sample: SampleHome) -> None:
    """S1"""
    home = HermesHome(sample.path)
    home.sources.settle(KEY)

    stamp = home.sources.stamp(KEY, held=False)

    found = sample.session_index.stat()
    assert sorted(stamp) == [
        "content", "cron_jobs", "cron_runs", "deleted_sessions", "gateway_metadata", "projects", "pruned_sessions",
        "session_folder", "session_index", "settings", "state_db", "state_db_wal", "unsettled",
    ]  # fmt: skip
    times = (found.st_mtime_ns, found.st_ctime_ns)
    assert stamp["session_index"] == (*times, found.st_size, found.st_ino, found.st_dev)
    assert stamp == home.sources.stamp(KEY, held=False)


@pytest.mark.parametrize(
    "moved",
    [
        "state.db", "state.db-wal", "sessions/sessions.json", "cron/jobs.json", "webui/projects.json",
        "webui/sessions/_index.json", "webui/sessions/20260921_000000_abcdef.json", "webui/settings.json",
        "webui/sessions/_deleted_webui_sessions.json", "webui/sessions/_pruned_webui_orphans.json",
    ],
)  # fmt: skip
def test_every_input_of_a_row_moves_the_stamp_and_none_but_settings_does_while_a_stream_runs(
    sample: SampleHome, moved: str
) -> None:
    """S1, H1"""
    home = HermesHome(sample.path)
    home.sources.settle(KEY)
    before, held = home.sources.stamp(KEY, held=False), home.sources.stamp(KEY, held=True)

    new = sample.path / "new"
    new.write_bytes(b'{"x": 1}')
    new.replace(sample.path / moved)

    assert home.sources.stamp(KEY, held=False) != before
    assert (home.sources.stamp(KEY, held=True) != held) == (moved == "webui/settings.json")


def test_a_build_sleeps_until_its_files_can_stand_still(sample: SampleHome) -> None:
    """S2, B8: each look costs the process that serves more than the message to a worker."""
    home = HermesHome(sample.path)
    home.sources.settle(KEY)
    one_look = _stats_of(lambda: home.sources.settle(KEY))

    writer.rename_session(sample.path, sample.sessions[0].id, "Renamed")

    assert _stats_of(lambda: home.sources.settle(KEY)) <= 3 * one_look


def test_reading_a_home_does_not_move_its_stamp(sample: SampleHome) -> None:
    """S1: a read-only open makes an empty log and touches the shared memory."""
    home = HermesHome(sample.path)
    home.sources.settle(KEY)
    before = home.sources.stamp(KEY, held=False)

    home.builder(KEY)
    HermesHome(sample.path).builder(KEY)

    assert home.sources.stamp(KEY, held=False) == before


def test_reading_a_log_that_its_writer_has_open_does_not_move_the_stamp(sample: SampleHome) -> None:
    """S1, S4: for root, each open of a log moves its ctime."""
    home = HermesHome(sample.path)
    with closing(sqlite3.connect(sample.state_db)) as agent:
        agent.execute("UPDATE sessions SET title = title || ', by an agent that goes on'")
        agent.commit()
        home.sources.settle(KEY)
        before = home.sources.stamp(KEY, held=False)

        home.builder(KEY)
        HermesHome(sample.path).builder(KEY)

        assert home.sources.stamp(KEY, held=False) == before


@pytest.mark.parametrize(("user", "counts"), [(0, False), (1_000, True)])
def test_only_for_root_the_ctime_of_a_log_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, *, counts: bool
) -> None:
    """S1"""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    log = tmp_path / "state.db-wal"
    log.write_bytes(b"frames")
    os.utime(log, ns=(1, 1))

    before, since_ns = log_stamp(log), log.stat().st_ctime_ns
    until(lambda: _ctime_moved(log, since_ns))

    assert (log_stamp(log) != before) is counts
    os.utime(log, ns=(2, 2))
    assert log_stamp(log) != before


def _ctime_moved(path: Path, since_ns: int) -> bool:
    os.utime(path, ns=(1, 1))
    return path.stat().st_ctime_ns != since_ns


def test_an_absent_and_an_empty_log_are_the_same(tmp_path: Path) -> None:
    """S1"""
    log = tmp_path / "state.db-wal"
    absent = log_stamp(log)

    log.touch()

    assert log_stamp(log) == absent == ABSENT
    log.write_bytes(b"frames")
    assert log_stamp(log) != ABSENT


def test_every_commit_moves_the_content_though_times_and_sizes_stay(sample: SampleHome) -> None:
    """S2"""
    home = HermesHome(sample.path)
    session_id = sample.sessions[0].id
    contents = [home.sources.stamp(KEY, held=False)["content"]]

    for number in range(200):
        writer.rename_session(sample.path, session_id, f"{number:04d}")
        os.utime(sample.state_db, ns=(1, 1))
        contents.append(home.sources.stamp(KEY, held=False)["content"])

    assert len(set(contents)) == 201


FUTURE_NS = 4_000_000_000 * 10**9


def _set_times(home: Path, time_ns: int) -> None:
    for name in ("state.db", "state.db-wal", "webui/settings.json", "webui/sessions/_index.json"):
        with suppress(FileNotFoundError):
            os.utime(home / name, ns=(time_ns, time_ns))


def test_each_commit_is_seen_though_all_files_are_of_the_same_time_in_the_future(sample: SampleHome) -> None:
    """S2: and the lists of a quiet home are not built again and again for that."""
    home = HermesHome(sample.path)
    session_id = next(each.id for each in sample.sessions if each.source == "cron")
    with SessionListCache(home.builder, sources=home.sources, policy=Policy.strict(ttl=3_600.0)) as cache:
        for number in range(5):
            writer.rename_session(sample.path, session_id, f"Title {number}")
            _set_times(sample.path, FUTURE_NS)
            rows: Any = cache.get(CRON)["sessions"]
            assert f"Title {number}" in {row["title"] for row in rows}
        builds = _builds_once_still(cache)

        quiet_from_s = monotonic() + 0.3
        while monotonic() < quiet_from_s:
            cache.get(CRON)

        assert cache.stats().builds == builds


def _builds_once_still(cache: SessionListCache) -> int:
    """Read until a file was seen unchanged for a tick."""
    builds, ends_at_s = -1, monotonic() + 20
    while cache.stats().builds != builds and monotonic() < ends_at_s:
        builds = cache.stats().builds
        again_at_s, reads = monotonic() + 0.2, 0
        while monotonic() < again_at_s or reads < 20:
            cache.get(CRON)
            reads += 1
    return builds


@pytest.mark.parametrize("name", ["webui/settings.json", "webui/sessions/_index.json", "cron/jobs.json"])
def test_a_file_that_was_just_written_makes_the_next_stamp_differ(sample: SampleHome, name: str) -> None:
    """S2: it may be written again in the same tick, with the same size."""
    home = HermesHome(sample.path)
    home.sources.settle(KEY)

    def differ() -> bool:
        (sample.path / name).write_text("{}")
        return home.sources.stamp(KEY, held=False) != home.sources.stamp(KEY, held=False)

    # A busy machine may hold this thread up for longer than a tick.
    assert any(differ() for _ in range(20))


def test_deletes_and_plain_updates_move_the_content(sample: SampleHome) -> None:
    """S2: neither moves the greatest row id."""
    home = HermesHome(sample.path)
    before = home.sources.stamp(KEY, held=False)["content"]

    with closing(sqlite3.connect(sample.state_db)) as connection, connection:
        connection.execute("DELETE FROM messages WHERE id = 1")

    assert home.sources.stamp(KEY, held=False)["content"] != before


def test_a_replaced_database_moves_the_content(sample: SampleHome, tmp_path: Path) -> None:
    """S2"""
    other = make_sample_home(tmp_path / "other", sessions=20, now_s=1_790_000_000.0)
    home = HermesHome(sample.path)
    before = home.sources.stamp(KEY, held=False)["content"]

    other.state_db.replace(sample.state_db)

    after = home.sources.stamp(KEY, held=False)["content"]
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after > before


def test_held_down_only_settings_are_looked_at(sample: SampleHome) -> None:
    """H1, V3"""
    home = HermesHome(sample.path)
    before = home.sources.stamp(KEY, held=True)

    (sample.path / "webui" / "settings.json").write_text('{"show_cli_sessions": false}')

    assert list(before) == [SETTINGS_PART]
    assert home.sources.stamp(KEY, held=True) != before


def test_a_view_of_all_profiles_watches_every_database(sample: SampleHome) -> None:
    """X1"""
    home = HermesHome(sample.path)
    key = SessionListKey(all_profiles=True)
    work = sample.path / "profiles" / "work"
    with closing(sqlite3.connect(work / "state.db")) as connection:
        (session_id,) = connection.execute("SELECT id FROM sessions LIMIT 1").fetchone()
    home.sources.settle(key)
    before = home.sources.stamp(key, held=False)

    writer.rename_session(work, session_id, "Renamed in another profile")

    after = home.sources.stamp(key, held=False)
    assert after["content:work"] != before["content:work"]
    assert after["content:default"] == before["content:default"]
    assert home.sources.scope(key) not in {home.sources.scope(KEY), "all profiles", "default"}


def test_a_new_profile_moves_the_stamp_of_all(sample: SampleHome) -> None:
    """X1"""
    home = HermesHome(sample.path)
    key = SessionListKey(all_profiles=True)
    before = home.sources.stamp(key, held=False)

    (sample.path / "profiles" / "another").mkdir()

    assert home.sources.stamp(key, held=False) != before


def test_a_commit_costs_one_build_and_no_second_for_fear_of_another_in_the_same_tick(sample: SampleHome) -> None:
    """S2: a build waits until its stamp stands still."""
    home = HermesHome(sample.path)
    session_id = next(each.id for each in sample.sessions if each.source == "cron")
    with SessionListCache(
        home.builder, sources=home.sources, policy=Policy(ttl=60.0, max_build_duty=1.0)
    ) as cache:
        cache.get(CRON)
        builds = cache.stats().builds

        for number in range(5):
            writer.rename_session(sample.path, session_id, f"Title {number}")
            rows: Any = cache.get(CRON, freshness="fresh")["sessions"]
            quiet_from_s = monotonic() + 0.2
            while monotonic() < quiet_from_s:
                cache.get(CRON)
            assert f"Title {number}" in {row["title"] for row in rows}

        assert cache.stats().builds == builds + 5


STAMP_IN_HANDLERS = """
import faulthandler, signal, sys
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores import ClaudeCode
from hermes_cache.stores.hermes import HermesHome

faulthandler.dump_traceback_later(120, exit=True)
home, handled = HermesHome(sys.argv[1], stores=[ClaudeCode(sys.argv[1] + "/projects")]), 0

def stamp():
    return home.sources.stamp(SessionListKey(show_claude_code=True), held=False)

def handle(*_):
    global handled
    handled += 1
    assert stamp() is not None
    signal.setitimer(signal.ITIMER_REAL, 0.0005)

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0005)
while handled < 300:
    stamp()
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_handler_may_look_at_the_sources_while_its_own_thread_does(sample: SampleHome) -> None:
    """L6: with `stamp_interval=0` each read looks on its own thread."""
    command = [sys.executable, "-c", STAMP_IN_HANDLERS, str(sample.path)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)  # noqa: S603 - our own

    assert outcome.returncode == 0, outcome.stderr


def test_the_stamp_of_a_build_is_not_waited_for_while_a_stream_is_active() -> None:
    """H1: what a stream moves is not read at all."""
    sources = SettledSources()
    with SessionListCache(lambda _key: {"sessions": []}, sources=sources, bus=(bus := Bus())) as cache:
        cache.get(KEY)
        bus.stream_started.send(None, stream_id="a")
        cache.get(KEY, freshness="fresh")

    assert sources.settled == 1


def _stats_of(do: Callable[[], object]) -> int:
    """Count how often files are looked at."""
    looks = 0

    def note(_frame: FrameType, event: str, what: object) -> None:
        nonlocal looks
        looks += event == "c_call" and what is os.stat

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)
    return looks


class SettledSources(VersionedSources):
    """Sources that count how often they were waited for."""

    settled = 0

    def settle(self, _key: SessionListKey, /) -> None:
        """Count the call."""
        self.settled += 1
