"""Proves rule X7 over the small homes of `tests/parity/homes`: which sessions a view lists, and in which order."""

import contextlib
import json
import sqlite3
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from hermes_cache.errors import ProfileNotFoundError
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome
from tests.parity.comparing import Difference, compare, recorded
from tests.parity.homes import HOMES, make_home, names
from tests.parity.reasons import REASONS, findings, reasons_for
from tests.parity.views import VIEWS

_EVERYTHING: dict[str, Any] = {
    "show_cli": True, "show_cron": True, "show_webhook": True, "show_kanban": True,
    "show_previous_messaging": True, "include_archived": True, "visible_only": True,
}  # fmt: skip


def _rows(home: Path, **fields: Any) -> dict[str, dict[str, Any]]:
    sessions: Any = HermesHome(home).builder(SessionListKey(**{**_EVERYTHING, **fields}))["sessions"]
    return {row["session_id"]: row for row in sessions}


@pytest.fixture
def chains(tmp_path: Path) -> Path:
    return make_home("chains", tmp_path)


def test_a_conversation_is_one_row_by_the_agents_own_rule(chains: Path) -> None:
    """X7"""
    rows = _rows(chains)

    assert list(rows) == [
        "t_tip", "s_tip", "r_tip", "r_child", "p_tip", "o_tip", "n_b", "n_a", "m_tip", "l_middle", "k_tip",
        "j_tool", "j_root", "i_tip", "i_delegate", "h_reset", "h_root", "g_branch", "g_root", "f_tip", "e_live",
        "d_tip", "c_root", "b_tip", "a_tip",
    ]  # fmt: skip
    lengths = {sid: row.get("_compression_segment_count") for sid, row in rows.items()}
    assert {sid: length for sid, length in lengths.items() if length} == {
        "t_tip": 2, "s_tip": 2, "r_tip": 2, "p_tip": 2, "m_tip": 2, "l_middle": 3, "k_tip": 2, "i_tip": 2,
        "f_tip": 4, "e_live": 3, "d_tip": 2, "b_tip": 2, "a_tip": 2,
    }  # fmt: skip


def test_a_chain_whose_newest_session_is_empty_stays_listed_with_the_title_and_time_of_the_newest_that_is_not(
    chains: Path,
) -> None:
    """X7"""
    rows = _rows(chains)

    shown = [
        (rows[sid]["title"], rows[sid]["updated_at"], rows[sid]["message_count"]) for sid in ("c_root", "l_middle")
    ]
    assert shown == [("Its tip is empty", 1_790_001_204.0, 4), ("First of three #2", 1_790_002_115.0, 4)]


def test_a_chain_with_an_archived_root_is_archived(chains: Path) -> None:
    """X7"""
    assert "p_tip" not in _rows(chains, include_archived=False)
    assert _rows(chains)["p_tip"]["archived"] is True


def test_a_session_that_says_it_has_messages_and_has_none_is_not_visible(tmp_path: Path) -> None:
    """X7"""
    home = make_home("many_kinds", tmp_path)

    assert "cli_liar" not in _rows(home)
    assert _rows(home, visible_only=False)["cli_liar"]["message_count"] == 0


def test_what_only_the_index_knows_and_the_copy_of_a_deleted_session_are_no_sessions(tmp_path: Path) -> None:
    """X7"""
    home = make_home("many_kinds", tmp_path)

    gone = {"index_ghost", "imported_gone", "imported_api_gone", "imported_telegram_gone"}
    assert gone.isdisjoint(_rows(home, visible_only=False))
    assert "imported_cli" in _rows(home)


def test_a_gateway_that_only_used_a_session_moves_no_row(tmp_path: Path) -> None:
    """X6, X7"""
    home = make_home("many_kinds", tmp_path)
    reader, key = HermesHome(home), SessionListKey(**_EVERYTHING)
    before = reader.builder.refresh("default")
    entries = home / "sessions" / "sessions.json"
    entries.write_text(entries.read_text().replace("2026-09-21T13:35:00", "2100-01-01T00:00:00"))

    assert "2100" in entries.read_text()
    assert reader.builder.refresh("default") is before
    assert _find(reader.builder(key), "tg_new")["updated_at"] == 1_790_000_502.0


def test_runs_are_kept_for_the_sake_of_a_project_that_exists(tmp_path: Path) -> None:
    """X7"""
    home = make_home("many_kinds", tmp_path)
    with_project = _rows(home, show_webhook=False)

    (home / "webui" / "projects.json").write_text("[]")

    assert with_project["webhook_call"]["default_hidden"] is True
    assert "webhook_call" not in _rows(home, show_webhook=False)


def test_a_crashed_turn_is_listed_at_its_time(tmp_path: Path) -> None:
    """X7"""
    rows = _rows(make_home("many_kinds", tmp_path))

    crashed = rows["web_crashed"]
    assert (crashed["active_stream_id"], crashed["has_pending_user_message"]) == (None, False)
    assert list(rows).index("web_crashed") > list(rows).index("web_plain")


def test_a_turn_that_goes_silent_is_over_at_the_next_refresh_though_no_file_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X7"""
    home = HermesHome(make_home("many_kinds", tmp_path))
    key = SessionListKey(**_EVERYTHING)
    monkeypatch.setattr("time.time", lambda: 1_790_000_300.0)
    before = _find(home.builder(key), "web_crashed")

    monkeypatch.setattr("time.time", lambda: 1_790_009_000.0)
    after = _find(home.builder(key), "web_crashed")

    assert (before["active_stream_id"], after["active_stream_id"]) == ("dead", None)


def _find(payload: Any, session_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in payload["sessions"] if row["session_id"] == session_id)
    return found


_DIFFERENCES = Path(__file__).parents[2] / "docs" / "differences.md"
_PROVED_ELSEWHERE = {
    "reads the newest 20": "test_at_most_so_many_of_the_newest_terminals_sessions_are_listed_and_all_others",
    "drops an own session whose file has no message": "test_the_count_that_an_own_file_tells_is_trusted",
    "shows background runs and Claude Code": "test_each_flag_lets_its_own_sources_through",
    "orders sessions of one moment": "test_rows_are_sorted_by_time_and_then_by_id",
    "leaves out what is not known": "test_every_row_has_every_field",
    "`server_time`, `server_tz`": "test_the_servers_time_stands_in_no_body",
    "gives a project of no profile": "test_the_first_project_of_a_name_and_of_the_profile_is_taken",
    "makes the projects": "test_runs_are_kept_for_the_sake_of_a_project_that_exists",
    "`attention`": "test_a_row_of_a_home_says_nothing_that_only_a_process_knows",
    "`cron_running`": "test_a_run_is_shown_from_its_claim_to_its_end",
    "titles that hold a secret": "test_a_known_secret_is_masked",
    "`workspace` of Claude Code": "test_a_row_has_the_fields_and_values_of_the_front_end",
    "lists of Claude Code 200 transcripts": "test_messages_are_counted_no_further_than_the_front_end_does",
    "from the cookie": "test_every_field_of_a_view_can_be_asked_for",
}


@cache
def _compared(name: str) -> dict[str, Difference]:
    """Compare our answer to each view with the recorded one of the front end, which listed all that it read."""
    theirs = recorded(json.loads((HOMES / name / "theirs.json").read_text(encoding="utf-8")))
    compared: dict[str, Difference] = {}
    with TemporaryDirectory() as folder:
        home = HermesHome(make_home(name, Path(folder)))
        for view in VIEWS:
            # The front end lists nothing for a profile that is none.
            with contextlib.suppress(ProfileNotFoundError):
                compared[str(view)] = compare(home.builder(view.key()), theirs[str(view)])
    return compared


@pytest.mark.parametrize("name", names())
def test_the_list_differs_from_the_front_ends_in_what_is_documented_alone(name: str) -> None:
    """X7"""
    compared = _compared(name)

    assert len(compared) >= 40
    unexplained = {
        (view, each) for view, found in compared.items() for each in findings(found) if not reasons_for(each)
    }
    assert unexplained == set()


_OUT_OF_ORDER = {
    "many_kinds": "web_crashed web_dead_stream",
    "odd": "time_* message_* web_time_* side_bare side_no_index same_* web_same_* twice",
}


@pytest.mark.parametrize("name", names())
def test_the_order_is_the_front_ends_but_for_turns_that_crashed_odd_times_and_equal_ones(
    name: str, tmp_path: Path
) -> None:
    """X7"""
    theirs = recorded(json.loads((HOMES / name / "theirs.json").read_text(encoding="utf-8")))
    home, patterns = HermesHome(make_home(name, tmp_path)), _OUT_OF_ORDER.get(name, "").split()
    views = [view for view in VIEWS if name != "chains" or view.parameters != "profile work"]

    for view in views:
        rows = [(row, row.get("session_id", "")) for row in theirs[str(view)]["sessions"]]
        calm = [row for row, session_id in rows if not any(fnmatchcase(session_id, each) for each in patterns)]
        assert compare(home.builder(view.key()), {**theirs[str(view)], "sessions": calm}).is_ordered, view


def test_each_documented_difference_is_there() -> None:
    """X7: docs/differences.md names no more and no less than what differs."""
    found = {
        reason
        for name in names()
        for each in _compared(name).values()
        for finding in findings(each)
        for reason in reasons_for(finding)
    }
    rows = [
        line.removeprefix("| ") for line in _DIFFERENCES.read_text(encoding="utf-8").splitlines() if "| " in line
    ]
    documented = [row for row in rows if not row.startswith(("there |", "field |", "what |", "---"))]

    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    known = {*found, *_PROVED_ELSEWHERE}
    assert [name for name in _PROVED_ELSEWHERE.values() if f"def {name}(" not in tests] == []
    assert found == REASONS.keys()
    assert [row for row in documented if not any(each in row for each in known)] == []
    assert [each for each in known if not any(each in row for row in documented)] == []


def test_every_row_has_every_field(tmp_path: Path) -> None:
    """X7"""
    rows = _rows(make_home("many_kinds", tmp_path)).values()

    always = set.intersection(*map(set, rows))
    assert {"title", "workspace", "last_message_at", "user_message_count", "is_read_only", "pinned"} <= always


def test_the_servers_time_stands_in_no_body(tmp_path: Path) -> None:
    """X7"""
    payload = HermesHome(make_home("many_kinds", tmp_path)).builder(SessionListKey())

    assert payload.keys().isdisjoint({"server_time", "server_tz"})


def test_a_row_of_a_home_says_nothing_that_only_a_process_knows(tmp_path: Path) -> None:
    """X7"""
    rows = _rows(make_home("many_kinds", tmp_path)).values()

    assert not any("attention" in row or row["cron_running"] or row["is_streaming"] for row in rows)


def test_the_count_that_an_own_file_tells_is_trusted(tmp_path: Path) -> None:
    """X7"""
    home = make_home("many_kinds", tmp_path)
    content = {"session_id": "says_two", "title": "Says two", "message_count": 2, "messages": []}
    (home / "webui" / "sessions" / "says_two.json").write_text(json.dumps(content))

    assert _rows(home)["says_two"]["message_count"] == 2


def test_a_session_without_a_title_is_known_by_what_its_user_wrote_first(tmp_path: Path) -> None:
    """X13"""
    home = make_home("many_kinds", tmp_path)
    reader = HermesHome(home)
    key = SessionListKey(**_EVERYTHING)

    def shown(session_id: str) -> tuple[str, str]:
        row = _find(reader.builder(key), session_id)
        return row["title"], row["display_title"]

    assert shown("cli_untitled") == ("Cli Session", "Question of cli_untitled")
    assert shown("cli_titled") == ("A talk in the terminal", "A talk in the terminal")

    _execute(home, "UPDATE sessions SET title = 'Named' WHERE id = 'cli_untitled'")
    _execute(home, "UPDATE sessions SET title = NULL WHERE id = 'cli_titled'")
    assert shown("cli_untitled") == ("Named", "Named")
    assert shown("cli_titled") == ("Cli Session", "Question of cli_titled")

    _execute(home, "UPDATE sessions SET title = ' ' WHERE id = 'cli_untitled'")
    _execute(home, "UPDATE messages SET active = 0 WHERE session_id = 'cli_titled' AND role = 'user'")
    _execute(home, "INSERT INTO messages (session_id, role, content, timestamp) "
                   "VALUES ('cli_titled', 'user', 'Password: hunter2secret99', 1790000190)")  # fmt: skip
    assert shown("cli_untitled") == ("Cli Session", "Question of cli_untitled")
    assert "hunter2secret99" not in shown("cli_titled")[1]


@pytest.mark.parametrize("placeholder", ["Untitled", "Cli Session", "CLI SESSION"])
def test_a_title_that_the_front_end_made_up_says_nothing(tmp_path: Path, placeholder: str) -> None:
    """X13: in the database, and in the front end's copy of a session that has a title of its own there."""
    home = make_home("many_kinds", tmp_path)
    _execute(home, "UPDATE sessions SET title = ? WHERE id = 'cli_untitled'", placeholder)
    copy = home / "webui" / "sessions" / "cli_titled.json"
    copy.write_text(json.dumps({"session_id": "cli_titled", "title": placeholder, "message_count": 2}))

    rows = _rows(home)

    shown = [rows[sid]["display_title"] for sid in ("cli_untitled", "cli_titled")]
    assert shown == ["Question of cli_untitled", "A talk in the terminal"]


def test_a_chain_without_a_title_is_known_by_its_first_session(tmp_path: Path) -> None:
    """X13"""
    home = make_home("chains", tmp_path)
    _execute(home, "UPDATE sessions SET title = NULL")

    assert _rows(home)["f_tip"]["display_title"] == "Question of f_root"


def _execute(home: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(home / "state.db")) as connection, connection:
        connection.execute(statement, values)


def test_the_messages_of_an_own_file_that_tells_no_count_are_counted(tmp_path: Path) -> None:
    """X7: front ends before it was kept wrote such files."""
    home = make_home("many_kinds", tmp_path)
    roles = ("user", "assistant", "user", "tool")
    messages = [{"role": role, "content": "Text", "timestamp": 1e9 + at} for at, role in enumerate(roles)]
    for name, kept in (("no_count", {}), ("odd_count", {"message_count": -1}), ("zero", {"message_count": 0})):
        content = {"session_id": name, "title": name, **kept, "messages": messages}
        (home / "webui" / "sessions" / f"{name}.json").write_text(json.dumps(content))

    rows = _rows(home, visible_only=False)

    for name in ("no_count", "odd_count"):
        row = rows[name]
        assert (row["message_count"], row["user_message_count"], row["last_message_at"]) == (4, 2, 1e9 + 2)
    assert rows["zero"]["message_count"] == 0


@pytest.mark.parametrize("kept", ["-3", "'many'", "NULL", "9223372036854775807", "9e999"])
def test_a_count_that_is_none_hides_no_session(tmp_path: Path, kept: str) -> None:
    """X3"""
    home = make_home("many_kinds", tmp_path)
    _execute(home, f"UPDATE sessions SET message_count = {kept} WHERE id = 'cli_titled'")  # noqa: S608 - ours

    assert _rows(home)["cli_titled"]["message_count"] == 2


def test_a_source_is_known_however_it_is_written(tmp_path: Path) -> None:
    """X7"""
    home = make_home("many_kinds", tmp_path)
    _execute(home, "UPDATE sessions SET source = ' Telegram ' WHERE id = 'tg_other'")

    row = _rows(home)["tg_other"]

    assert (row["raw_source"], row["session_source"], row["is_cli_session"]) == ("telegram", "messaging", False)


def test_one_absurd_time_among_good_ones_costs_that_value_alone(tmp_path: Path) -> None:
    """X3"""
    home = make_home("many_kinds", tmp_path)
    _execute(home, "UPDATE messages SET timestamp = 5e246 "
                   "WHERE session_id = 'cli_untitled' AND role = 'assistant'")  # fmt: skip
    _execute(home, "UPDATE messages SET timestamp = '2026-09-21T13:35:00' WHERE session_id = 'tui_untitled'")
    _execute(home, "UPDATE sessions SET started_at = 'yesterday' WHERE id = 'cli_titled'")

    rows = _rows(home)

    times = [rows[sid]["last_message_at"] for sid in ("cli_untitled", "tui_untitled", "cli_titled")]
    assert times == [1_790_000_113.0, 1_789_997_700.0, 1_790_000_102.0]
    assert rows["cli_titled"]["created_at"] is None


@pytest.mark.parametrize(("marks", "is_one"), [
    ('{"_branched_from": "g_root"}', True), ('{"_delegate_from": "f_root", "_reset_from": 5}', True),
    ('{"_delegate_from": "g_branch"}', False), ('{"_branched_from": null}', True), ("{}", True), (None, True),
    ('{"_branched_from": ', False), ('{"_reset_from": "g_root"', False),
])  # fmt: skip
def test_what_continues_a_branch_inherits_its_mark_and_is_no_branch(
    chains: Path, marks: str | None, *, is_one: bool
) -> None:
    """X7"""
    _execute(chains, "UPDATE sessions SET end_reason = 'compression', ended_at = 1790001620 WHERE id = 'g_branch'")
    _execute(
        chains,
        "INSERT INTO sessions (id, source, parent_session_id, started_at, message_count, model_config) "
        "VALUES ('g_on', 'cli', 'g_branch', 1790001621, 2, ?)",
        marks,
    )
    _execute(chains, "INSERT INTO messages (session_id, role, timestamp) VALUES ('g_on', 'user', 1790001622)")

    rows = _rows(chains)

    assert rows["g_on"].get("_lineage_root_id") == ("g_branch" if is_one else None)
    assert ("g_branch" in rows) == (not is_one)
