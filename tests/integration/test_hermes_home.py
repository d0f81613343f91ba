"""A sample home, read through `HermesHome`: rules X1 to X9 against real files."""

import json
import os
import pickle
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from operator import is_
from pathlib import Path
from typing import Any

import orjson
import pytest

from hermes_cache.errors import ProfileNotFoundError, SourceError
from hermes_cache.ports import ScopedBuilder
from hermes_cache.samples import writer
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.rows import freeze
from hermes_cache.stores.hermes import HermesHome
from hermes_cache.stores.hermes.locations import ALL_PROFILES

EVERYTHING: dict[str, Any] = {
    "show_cli": True, "show_cron": True, "show_webhook": True, "show_kanban": True, "show_claude_code": True,
    "show_previous_messaging": True, "include_archived": True,
}  # fmt: skip
NOW_S = 1_790_000_000.0


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return make_sample_home(tmp_path / "home", sessions=200, messages=1_000, now_s=NOW_S)


def _rows(home: HermesHome, **fields: Any) -> list[dict[str, Any]]:
    return _sessions(home.builder(SessionListKey(**{**EVERYTHING, **fields})))


def _sessions(payload: Mapping[str, object]) -> list[dict[str, Any]]:
    sessions: Any = payload["sessions"]
    return list(sessions)


def _execute(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def _put(path: Path, content: object) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def test_a_view_of_many_profiles_reads_none_of_them_again_if_none_moved(tmp_path: Path) -> None:
    """X4"""
    for number in range(100):
        (tmp_path / "profiles" / f"p{number}").mkdir(parents=True)
    builder = HermesHome(tmp_path).builder

    before = builder.refresh(ALL_PROFILES)

    assert builder.refresh(ALL_PROFILES) is before


def test_every_session_is_listed_but_those_that_another_continues(sample: SampleHome) -> None:
    """X4, X7"""
    home = HermesHome(sample.path)

    rows = _rows(home)

    collapsed = sum(row.get("_compression_segment_count", 1) - 1 for row in rows)
    assert collapsed > 0
    assert len(rows) + collapsed == len(sample.sessions)


def test_a_row_has_the_units_and_names_of_the_front_end(sample: SampleHome) -> None:
    """X7"""
    telegram = next(each for each in reversed(sample.sessions) if each.source == "telegram" and each.message_count)
    home = HermesHome(sample.path)

    row = next(row for row in _rows(home) if row["session_id"] == telegram.id)

    assert row["last_message_at"] == pytest.approx(telegram.last_message_at)
    assert row["message_count"] == telegram.message_count
    assert (row["raw_source"], row["session_source"], row["source_label"]) == ("telegram", "messaging", "Telegram")
    assert (row["profile"], row["is_cli_session"], row["is_streaming"]) == ("default", False, False)


def test_a_cron_run_is_named_after_its_job_and_gathered_in_its_project(sample: SampleHome) -> None:
    """X7"""
    home = HermesHome(sample.path)

    cron = [row for row in _rows(home) if row["raw_source"] == "cron"]

    assert cron
    assert all(row["title"].startswith("Nightly task") for row in cron)
    assert {row["project_id"] for row in cron} == {"ba9876543210"}


def test_the_builder_is_scoped_and_its_views_equal_its_calls(sample: SampleHome) -> None:
    """X4"""
    home = HermesHome(sample.path)
    key = SessionListKey(show_cli=True)

    viewed = home.builder.view(home.builder.refresh(home.sources.scope(key)), key)

    assert isinstance(home.builder, ScopedBuilder)
    assert viewed == home.builder(key)


def test_all_profiles_are_joined_from_the_rows_of_each(sample: SampleHome) -> None:
    """X1, X4"""
    home = HermesHome(sample.path)

    together = _rows(home, all_profiles=True)

    apart = [*_rows(home), *_rows(home, profile="work")]
    assert {id(row) for row in together} == {id(row) for row in apart}
    assert [row["profile"] for row in together].count("work") > 0


def test_a_profile_that_nobody_used_yet_breaks_nothing(sample: SampleHome) -> None:
    """X8"""
    (sample.path / "profiles" / "fresh").mkdir()
    home = HermesHome(sample.path)

    assert home.profiles() == ("default", "fresh", "work")
    assert _rows(home, all_profiles=True)
    assert _rows(home, profile="fresh") == []


def test_one_changed_title_makes_one_row_anew(sample: SampleHome) -> None:
    """X5"""
    renamed = next(each for each in sample.sessions if each.source in {"kanban", "cron"})
    home = HermesHome(sample.path)
    before = {row["session_id"]: row for row in _rows(home)}

    writer.rename_session(sample.path, renamed.id, "A new name")

    after = {row["session_id"]: row for row in _rows(home)}
    anew = [session_id for session_id, row in after.items() if row is not before.get(session_id)]
    assert anew == [renamed.id]
    assert after[renamed.id]["title"] == "A new name"


def test_inserts_and_deletes_are_seen(sample: SampleHome) -> None:
    """X5"""
    doomed = next(each for each in sample.sessions if each.source in {"kanban", "cron"})
    home = HermesHome(sample.path)
    before = {row["session_id"] for row in _rows(home)}

    _execute(sample.state_db, "DELETE FROM sessions WHERE id = ?", doomed.id)
    _execute(sample.state_db, "INSERT INTO sessions (id, source, started_at) VALUES ('new', 'cli', ?)", NOW_S)

    assert {row["session_id"] for row in _rows(home)} == before - {doomed.id} | {"new"}


def test_a_heartbeat_makes_no_new_row_and_no_new_payload(sample: SampleHome) -> None:
    """X6"""
    home = HermesHome(sample.path)
    key = SessionListKey(**EVERYTHING)
    before = freeze(home.builder(key))
    stamp = home.sources.stamp(key, held=False)

    writer.heartbeat(sample.path, sample.sessions[-1].id)

    after = freeze(home.builder(key))
    assert home.sources.stamp(key, held=False) != stamp
    assert after == before
    assert all(one is other for one, other in zip(_sessions(after), _sessions(before), strict=True))


def test_a_message_moves_the_count_and_the_time_of_its_session(sample: SampleHome) -> None:
    """X5, X7"""
    session = sample.sessions[-1]
    home = HermesHome(sample.path)
    before = {row["session_id"]: row for row in _rows(home)}[session.id]

    writer.add_message(sample.path, session.id)

    after = {row["session_id"]: row for row in _rows(home)}[session.id]
    assert after["message_count"] == before["message_count"] + 1
    assert after["last_message_at"] > before["last_message_at"]


def test_an_unmoved_home_is_not_read_again(sample: SampleHome) -> None:
    """X4"""
    home = HermesHome(sample.path)

    first, second = (home.builder.refresh("default") for _ in range(2))

    assert first is second


def test_an_unmoved_home_gives_the_same_contents_and_a_moved_one_others(sample: SampleHome) -> None:
    """X4, X6"""
    home, keys = (
        HermesHome(sample.path),
        [SessionListKey(show_cron=True, show_kanban=True, archived_limit=each) for each in range(40)],
    )

    first, second = ([home.builder.content(key) for key in keys[:3]] for _ in range(2))
    many = [home.builder.content(key).decoded() for key in keys]
    renamed = next(each for each in sample.sessions if each.source in {"kanban", "cron"})
    writer.rename_session(sample.path, renamed.id, "A new name")
    third = home.builder.content(keys[0])

    assert all(map(is_, first, second))
    assert [content.decoded() for content in first] == many[:3]
    assert third is not first[0]


def test_an_index_that_a_front_end_rewrote_is_seen(sample: SampleHome) -> None:
    """X4, X7"""
    home = HermesHome(sample.path)
    index = orjson.loads(sample.session_index.read_bytes())
    _rows(home)

    _put(sample.session_index, [{**index[0], "title": "Renamed in the browser", "pinned": True}, *index[1:]])

    row = next(row for row in _rows(home) if row["session_id"] == index[0]["session_id"])
    assert (row["title"], row["pinned"]) == ("Renamed in the browser", True)


def test_a_sidecar_that_is_newer_than_the_index_stands_over_it(sample: SampleHome) -> None:
    """X4, X7"""
    home = HermesHome(sample.path)
    index = orjson.loads(sample.session_index.read_bytes())
    sidecar = sample.session_index.with_name(f"{index[0]['session_id']}.json")
    content = orjson.loads(sidecar.read_bytes())
    _rows(home)

    _put(sidecar, {**content, "title": "Saved without the index", "messages": [{"content": "x" * 100_000}]})
    after_index_ns = sample.session_index.stat().st_mtime_ns + 1_000_000
    os.utime(sidecar, ns=(after_index_ns, after_index_ns))

    row = next(row for row in _rows(home) if row["session_id"] == content["session_id"])
    assert row["title"] == "Saved without the index"
    assert row["user_message_count"] >= index[0]["user_message_count"]


@pytest.mark.parametrize("index_is_ahead_s", [0, 400 * 86_400])
def test_a_sidecar_stands_over_an_index_whose_time_says_nothing_about_it(
    sample: SampleHome, index_is_ahead_s: int
) -> None:
    """X7, S2: both were written in one whole second, or the index bears a time of the future"""
    session_id = orjson.loads(sample.session_index.read_bytes())[0]["session_id"]
    sidecar = sample.session_index.with_name(f"{session_id}.json")
    _put(sidecar, {**orjson.loads(sidecar.read_bytes()), "title": "Saved without the index"})
    at_s = int(sidecar.stat().st_mtime)
    os.utime(sidecar, (at_s, at_s))
    os.utime(sample.session_index, (at_s + index_is_ahead_s, at_s + index_is_ahead_s))

    rows = {row["session_id"]: row["title"] for row in _rows(HermesHome(sample.path))}

    assert rows[session_id] == "Saved without the index"


def test_a_sidecar_that_the_index_lacks_is_listed(sample: SampleHome) -> None:
    """X7"""
    sample.session_index.unlink()
    home = HermesHome(sample.path)
    native = [each for each in sample.sessions if each.source == "webui"]

    rows = {row["session_id"]: row for row in _rows(home, show_cli=False, show_cron=False)}

    assert native
    assert rows[native[-1].id]["workspace"] == "/home/user/workspace"


def test_one_bad_sidecar_costs_what_it_would_add(sample: SampleHome, caplog: pytest.LogCaptureFixture) -> None:
    """X3, X8"""
    sample.session_index.unlink()
    native = next(each for each in sample.sessions if each.source == "webui" and each.title)
    sample.session_index.with_name(f"{native.id}.json").write_bytes(b"\x00not json")
    home = HermesHome(sample.path)

    row = next(row for row in _rows(home) if row["session_id"] == native.id)

    assert (row["title"], row["workspace"]) == (native.title, None)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_session_deleted_in_the_front_end_is_gone_though_the_agent_still_has_it(sample: SampleHome) -> None:
    """X7"""
    native = next(each for each in reversed(sample.sessions) if each.source == "webui")
    home = HermesHome(sample.path)
    assert native.id in {row["session_id"] for row in _rows(home)}

    _put(sample.session_index.with_name("_deleted_webui_sessions.json"), {"version": 1, "ids": [native.id]})

    assert native.id not in {row["session_id"] for row in _rows(home)}


def test_a_broken_side_file_costs_what_it_adds_and_is_logged_once(
    sample: SampleHome, caplog: pytest.LogCaptureFixture
) -> None:
    """X8"""
    (sample.path / "cron" / "jobs.json").write_text('{"jobs": [')
    home = HermesHome(sample.path)
    before = len(_rows(home))

    writer.heartbeat(sample.path, sample.sessions[0].id)

    assert len(_rows(home)) == before
    assert [record.message for record in caplog.records] == ["hermes_cache.file_ignored"]


def test_a_side_file_of_absurd_size_is_not_read(sample: SampleHome, caplog: pytest.LogCaptureFixture) -> None:
    """X8"""
    jobs = sample.path / "cron" / "jobs.json"
    os.truncate(jobs, 2**40)

    assert _rows(HermesHome(sample.path))
    assert [vars(record)["hermes_cache.path"] for record in caplog.records] == [str(jobs)]


def test_a_sidecar_that_cannot_be_read_is_logged_once_and_read_once_it_can_be(
    sample: SampleHome, caplog: pytest.LogCaptureFixture
) -> None:
    """X8"""
    sidecar = sample.session_index.with_name("odd.json")
    os.mkfifo(sidecar)
    home = HermesHome(sample.path)
    index = orjson.loads(sample.session_index.read_bytes())
    for number in range(2):
        _put(sample.session_index, [{**index[0], "title": f"Title {number}"}, *index[1:]])
        _rows(home)

    sidecar.unlink()
    _put(sidecar, {"session_id": "odd", "title": "Repaired", "message_count": 1, "messages": []})

    assert "Repaired" in [row["title"] for row in _rows(home)]
    assert [record.message for record in caplog.records] == ["hermes_cache.file_ignored"]


def test_a_sidecar_that_was_changed_under_its_old_time_is_read_again(sample: SampleHome) -> None:
    """S1: as by a tool that copies in place and restores times"""
    sidecar = sample.session_index.with_name("odd.json")
    content = {"session_id": "odd", "title": "Old", "message_count": 1, "messages": []}
    _put(sidecar, content)
    home, before = HermesHome(sample.path), sidecar.stat()
    _rows(home)

    sidecar.write_bytes(orjson.dumps({**content, "title": "New"}))
    os.utime(sidecar, ns=(before.st_atime_ns, before.st_mtime_ns))
    sidecar.with_name("another.json").touch()

    assert {row["title"] for row in _rows(home) if row["session_id"] == "odd"} == {"New"}


def test_a_session_of_the_index_belongs_to_the_profile_that_it_names(sample: SampleHome) -> None:
    """X1"""
    home = HermesHome(sample.path)
    index = orjson.loads(sample.session_index.read_bytes())
    moved = next(row for row in index if row["profile"] is None)

    _put(sample.session_index, [{**row, "profile": "work"} if row is moved else row for row in index])

    assert moved["session_id"] not in {row["session_id"] for row in _rows(home)}
    assert moved["session_id"] in {row["session_id"] for row in _rows(home, profile="work")}
    assert [row["session_id"] for row in _rows(home, all_profiles=True)].count(moved["session_id"]) == 1


def test_sessions_noted_under_a_renamed_root_profile_are_found(
    sample: SampleHome, caplog: pytest.LogCaptureFixture
) -> None:
    """K3, X1"""
    index = orjson.loads(sample.session_index.read_bytes())
    _put(sample.session_index, [{**row, "profile": row["profile"] or "kinni"} for row in index])

    def fails(_name: str) -> bool:
        raise RuntimeError("no settings yet")

    known, unknown = (
        {row["session_id"] for row in _rows(HermesHome(sample.path, is_root_profile=told))}
        for told in (lambda name: name == "kinni", fails)
    )

    own = {row["session_id"] for row in index if row["profile"] is None}
    assert own & known
    assert not own & unknown
    assert {record.message for record in caplog.records} == {"hermes_cache.is_root_profile_failed"}


def test_a_session_of_an_impossible_profile_is_the_root_profiles(sample: SampleHome) -> None:
    """X1, X3"""
    index = orjson.loads(sample.session_index.read_bytes())
    _put(sample.session_index, [*index, {"session_id": "odd", "profile": "../Odd", "message_count": 1}])
    _put(sample.session_index.with_name("odd.json"), {"session_id": "odd"})
    home = HermesHome(sample.path)

    found = [row["profile"] for row in _rows(home, all_profiles=True) if row["session_id"] == "odd"]

    assert found == ["default"]


def test_what_the_front_end_keeps_of_a_profile_that_is_gone_is_listed_among_all(sample: SampleHome) -> None:
    """X1, X8"""
    index = orjson.loads(sample.session_index.read_bytes())
    _put(sample.session_index, [*index, {"session_id": "left", "profile": "gone", "message_count": 1}])
    _put(sample.session_index.with_name("left.json"), {"session_id": "left"})
    home = HermesHome(sample.path)

    together = [row["session_id"] for row in _rows(home, all_profiles=True) if row["profile"] == "gone"]

    assert together == ["left"]
    with pytest.raises(ProfileNotFoundError):
        _rows(home, profile="gone")


def test_a_view_takes_only_a_snapshot_of_its_own(sample: SampleHome) -> None:
    """X4"""
    home = HermesHome(sample.path)

    with pytest.raises(TypeError, match="snapshot is a dict"):
        home.builder.view({}, SessionListKey())


def test_a_folder_of_profiles_that_cannot_be_listed_raises_in_builds_alone(sample: SampleHome) -> None:
    """S1, X8"""
    folder = sample.path / "profiles"
    folder.rename(sample.path / "moved")
    folder.write_text("no folder")
    home = HermesHome(sample.path)
    key = SessionListKey(all_profiles=True)

    stamp = home.sources.stamp(key, held=False)

    assert isinstance(stamp["profiles"], tuple)
    assert stamp["profiles"][0] == "unreadable"
    with pytest.raises(SourceError, match="profiles"):
        home.builder(key)


def test_names_that_no_profile_has_push_out_no_projection(sample: SampleHome) -> None:
    """X4, X8"""
    home = HermesHome(sample.path)
    before = home.builder.refresh("default")

    for number in range(300):
        with pytest.raises(SourceError):
            home.builder.refresh(f"nobody{number}")

    assert home.builder.refresh("default") is before


def test_the_locations_can_be_given_by_paths_and_by_callables(sample: SampleHome, tmp_path: Path) -> None:
    """X1, S3"""
    asked: list[str] = []

    def state_db(key: SessionListKey) -> Path:
        asked.append(key.profile_name)
        return sample.path / "profiles" / "work" / "state.db"

    told = HermesHome(tmp_path / "empty", state_db=state_db, session_dir=tmp_path / "none")

    assert len(_rows(told)) > 0
    assert set(asked) == {"default"}


def test_the_home_is_found_by_its_environment(sample: SampleHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3"""
    monkeypatch.setenv("HERMES_HOME", str(sample.path))
    monkeypatch.setenv("HERMES_WEBUI_STATE_DIR", str(sample.path / "elsewhere"))

    rows = _rows(HermesHome())

    assert rows
    assert not [row for row in rows if row["workspace"] == "/home/user/workspace"]


@pytest.mark.parametrize("name", ["a?mode=rw&x=#1", "100% of it", "with space", "ünï", "a%3Fb"])
def test_a_path_may_hold_anything(tmp_path: Path, name: str) -> None:
    """X2"""
    sample = make_sample_home(tmp_path / name, sessions=5, profiles=())

    home = HermesHome(sample.path)

    assert len(_rows(home)) == 5
    assert isinstance(home.sources.stamp(SessionListKey(), held=False)["content"], int)


def test_a_pickled_builder_reads_the_same_home_on_its_own(sample: SampleHome) -> None:
    """B8"""
    home = HermesHome(sample.path)
    key = SessionListKey(**EVERYTHING)

    builder, copy = pickle.loads(pickle.dumps(home.builder)), pickle.loads(pickle.dumps(home))  # noqa: S301 - ours

    assert builder(key) == home.builder(key) == copy.builder(key)


def test_a_home_kept_without_a_log_works_as_well(sample: SampleHome) -> None:
    """X3: the agent uses the rollback journal on network file systems."""
    with closing(sqlite3.connect(sample.state_db)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    home = HermesHome(sample.path)
    key = SessionListKey()
    before = home.sources.stamp(key, held=False)["content"]
    count = len(_rows(home))

    _execute(sample.state_db, "INSERT INTO sessions (id, source, started_at) VALUES ('new', 'cli', ?)", NOW_S)

    assert home.sources.stamp(key, held=False)["content"] != before
    assert len(_rows(home)) == count + 1


def test_the_settings_of_a_sidebar_are_read_with_the_front_ends_defaults(sample: SampleHome) -> None:
    """W1"""
    home = HermesHome(sample.path)
    settings = sample.path / "webui" / "settings.json"

    told = home.view_settings()
    settings.write_text('{"sidebar_density": "compact"}')
    older = home.view_settings()
    settings.write_text("{}")
    fresh = home.view_settings()
    settings.write_text("{half")
    broken = home.view_settings()

    assert (told.show_cli, told.show_cron, told.show_claude_code) == (True, False, True)
    assert (older.show_cli, fresh.show_cli) == (False, True)
    assert broken == fresh


@pytest.mark.parametrize("changed", [1, 100])
def test_a_refreshed_list_has_the_order_of_one_that_is_read_anew(sample: SampleHome, changed: int) -> None:
    """X5, X7: few sessions move within the list, or so many that it is sorted anew"""
    home = HermesHome(sample.path)
    _rows(home)
    for session in sample.sessions[:changed]:
        writer.add_message(sample.path, session.id)

    refreshed, anew = _rows(home), _rows(HermesHome(sample.path))

    assert [row["session_id"] for row in refreshed] == [row["session_id"] for row in anew]
    assert refreshed[0]["session_id"] in {session.id for session in sample.sessions[:changed]}
