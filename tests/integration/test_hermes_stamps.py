"""The stamps of a home: rules S1, S2, H1 and L2 against real files, locks and processes."""

import os
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from hermes_cache.ports import SETTINGS_PART, LastKnown, Sources
from hermes_cache.samples import writer
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome, sources
from hermes_cache.stores.hermes.file_stamps import ABSENT, wal_stamp
from hermes_cache.stores.hermes.held_databases import BUSY_TIMEOUT_S, _HeldDatabase

KEY = SessionListKey()


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return make_sample_home(tmp_path / "home", sessions=20, now_s=1_790_000_000.0)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine does not open a database in 40 ms; how long a check may take is not what is shown here."""
    monkeypatch.setattr(sources, "_PATIENCE_S", 10.0)


def test_a_stamp_tells_part_by_part_what_a_list_is_built_from(sample: SampleHome) -> None:
    """S1"""
    home = HermesHome(sample.path)
    found_by: Sources = home.sources

    stamp = found_by.stamp(KEY, held=False)

    found = sample.session_index.stat()
    assert sorted(stamp) == [
        "content", "gateway_metadata", "session_index", "settings", "state_db", "state_db_wal"
    ]  # fmt: skip
    assert stamp["session_index"] == (found.st_mtime_ns, found.st_size, found.st_ino)
    assert stamp == found_by.stamp(KEY, held=False)


def test_reading_a_home_does_not_move_its_stamp(sample: SampleHome) -> None:
    """S1: a read-only open makes an empty log and touches the shared memory."""
    home = HermesHome(sample.path)
    before = home.sources.stamp(KEY, held=False)

    home.builder(KEY)
    HermesHome(sample.path).builder(KEY)

    assert home.sources.stamp(KEY, held=False) == before


def test_an_absent_and_an_empty_log_are_the_same(tmp_path: Path) -> None:
    """S1"""
    log = tmp_path / "state.db-wal"
    absent = wal_stamp(log)

    log.touch()

    assert wal_stamp(log) == absent == ABSENT
    log.write_bytes(b"frames")
    assert wal_stamp(log) != ABSENT


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


def test_deletes_and_plain_updates_move_the_content(sample: SampleHome) -> None:
    """S2: neither moves the greatest row id."""
    home = HermesHome(sample.path)
    before = home.sources.stamp(KEY, held=False)["content"]

    with closing(sqlite3.connect(sample.state_db)) as connection, connection:
        connection.execute("DELETE FROM messages WHERE id = 1")

    assert home.sources.stamp(KEY, held=False)["content"] != before


def test_a_replaced_database_has_another_epoch(sample: SampleHome, tmp_path: Path) -> None:
    """S2"""
    other = make_sample_home(tmp_path / "other", sessions=20, now_s=1_790_000_000.0)
    home = HermesHome(sample.path)
    before = home.sources.stamp(KEY, held=False)["content"]

    other.state_db.replace(sample.state_db)

    after = home.sources.stamp(KEY, held=False)["content"]
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)
    assert after[0] != before[0]


def test_held_down_only_settings_are_looked_at(sample: SampleHome) -> None:
    """H1, V3"""
    home = HermesHome(sample.path)
    before = home.sources.stamp(KEY, held=True)

    (sample.path / "webui" / "settings.json").write_text('{"show_cli_sessions": false}')

    assert list(before) == [SETTINGS_PART]
    assert home.sources.stamp(KEY, held=True) != before
    assert not home._databases._held


def test_a_view_of_all_profiles_watches_every_database(sample: SampleHome) -> None:
    """X1"""
    home = HermesHome(sample.path)
    key = SessionListKey(all_profiles=True)
    work = sample.path / "profiles" / "work"
    with closing(sqlite3.connect(work / "state.db")) as connection:
        (session_id,) = connection.execute("SELECT id FROM sessions LIMIT 1").fetchone()
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


def test_one_connection_is_held_and_no_transaction_left_open(sample: SampleHome) -> None:
    """S2: a reader inside a transaction would keep the log from being reset."""
    home = HermesHome(sample.path)
    for _ in range(3):
        home.sources.stamp(KEY, held=False)
        home.builder(KEY)
    writer.add_message(sample.path, sample.sessions[0].id)
    home.sources.stamp(KEY, held=False)

    with closing(sqlite3.connect(sample.state_db)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    assert len(home._databases._held) == 1
    assert busy == 0


def test_of_many_locked_databases_a_check_waits_for_so_many_as_fit_into_50_ms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2"""
    profiles = [f"p{number}" for number in range(6)]
    sample = make_sample_home(tmp_path / "home", sessions=5, profiles=profiles)
    home = HermesHome(sample.path)
    key = SessionListKey(all_profiles=True)
    paths = [sample.state_db, *(sample.path / "profiles" / name / "state.db" for name in profiles)]
    lockers = [sqlite3.connect(path, isolation_level=None) for path in paths]
    for locker in lockers:
        locker.execute("PRAGMA journal_mode=DELETE")
    known = home.sources.stamp(key, held=False)
    for locker in lockers:
        locker.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(sources, "_PATIENCE_S", 2 * BUSY_TIMEOUT_S)
    asked: Counter[object] = Counter()
    ask = _HeldDatabase._data_version

    def count(held: _HeldDatabase) -> object:
        asked[held] += 1
        return ask(held)

    monkeypatch.setattr(_HeldDatabase, "_data_version", count)

    stamp = home.sources.stamp(key, held=False)

    for locker in lockers:
        locker.close()
    contents = {name: value for name, value in stamp.items() if name.startswith("content")}
    assert contents == {name: LastKnown(known[name]) for name in contents}
    assert asked.total() * BUSY_TIMEOUT_S < 0.05


def test_released_connections_are_opened_again_with_another_epoch(sample: SampleHome) -> None:
    """S4"""
    home = HermesHome(sample.path)
    before = home.sources.stamp(KEY, held=False)["content"]

    home.sources.release(KEY)

    assert not home._databases._held
    assert home.sources.stamp(KEY, held=False)["content"] != before


def test_a_forked_child_opens_its_own_connections_and_leaves_the_inherited_alone(sample: SampleHome) -> None:
    """L2"""
    home = HermesHome(sample.path)
    before = home.sources.stamp(KEY, held=False)
    count = len(home.builder(KEY))
    inherited = next(iter(home._databases._held.values()))

    child = os.fork()
    if child == 0:  # pragma: no cover - counted in the parent alone
        status = 1
        try:
            is_left_alone = not home._databases._held and inherited._connection is not None
            stamp = home.sources.stamp(KEY, held=False)
            is_its_own = stamp["content"] != before["content"] and len(home.builder(KEY)) == count
            status = 0 if is_left_alone and is_its_own else 2
        finally:
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert home.sources.stamp(KEY, held=False) == before
