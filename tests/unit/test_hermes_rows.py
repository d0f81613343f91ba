"""Proves rule X7: which source wins for which field of a row, and in which units."""

from typing import Any

from hermes_cache.sessions.rows import freeze_row
from hermes_cache.stores.hermes.joining import JoinedSession, Parent, source_tag
from hermes_cache.stores.hermes.session_folder import IndexRecord
from hermes_cache.stores.hermes.session_rows import make_row
from hermes_cache.stores.hermes.side_files import Routing, routing_by_session
from hermes_cache.stores.hermes.state_db import SessionRecord

_AGENT = SessionRecord(
    "s", "cli", "m-agent", started_at=100.0, message_count=5, input_tokens=10, output_tokens=90, cwd="/agent",
    estimated_cost_usd=0.5, title="Agent's", archived=1, hidden=1, pinned=1, last_message_at=250.0,
)  # fmt: skip
_WEB = IndexRecord(
    "s", "Front end's", "/web", "m-web", message_count=4, created_at=101.0, updated_at=300.0,
    last_message_at=200.0, pinned=False, archived=False, project_id="p1", input_tokens=20, estimated_cost=0.25,
)  # fmt: skip


def _row(**joined: Any) -> dict[str, object]:
    return make_row(JoinedSession("s", "default", "cli")._replace(**joined))


def test_the_front_end_wins_for_title_pin_archive_project_and_workspace() -> None:
    row = _row(agent=_AGENT, web=_WEB)

    shown = [row[name] for name in ("title", "pinned", "archived", "project_id", "workspace", "default_hidden")]
    assert shown == ["Front end's", False, False, "p1", "/web", False]
    assert row["_state_db_title"] == "Agent's"


def test_without_a_sidecar_the_agents_flags_are_honoured() -> None:
    row = _row(agent=_AGENT)

    shown = [row[name] for name in ("title", "pinned", "archived", "default_hidden", "workspace")]
    assert shown == ["Agent's", True, True, True, "/agent"]


def test_counts_and_times_are_the_greater_of_the_two() -> None:
    row = _row(agent=_AGENT, web=_WEB)

    assert [row[name] for name in ("message_count", "input_tokens", "output_tokens")] == [5, 20, 90]
    assert [row[name] for name in ("created_at", "updated_at", "last_message_at")] == [101.0, 300.0, 250.0]
    assert row["estimated_cost"] == 0.5


def test_an_untitled_sidecar_shows_the_agents_title() -> None:
    assert _row(agent=_AGENT, web=_WEB._replace(title="Untitled"))["title"] == "Agent's"


def test_a_session_without_a_title_is_named_after_its_job_or_its_source_and_shown_with_its_peers_name() -> None:
    untitled = _AGENT._replace(title=None)

    assert _row(agent=untitled, job_name="Nightly")["title"] == "Nightly"
    assert _row(agent=untitled)["title"] == _row(agent=untitled)["display_title"] == "Cli Session"
    peers = _row(agent=untitled, routing=Routing("k", "Ada"))
    assert (peers["title"], peers["display_title"]) == ("Cli Session", "Ada")
    assert _row(agent=untitled, web=_WEB._replace(title="Untitled"))["title"] == "Untitled"


def test_the_front_end_files_terminals_alone_under_cli_and_lets_nobody_edit_a_subagent() -> None:
    """X7"""
    rows = {tag: _row(agent=_AGENT, tag=tag) for tag in ("cli", "tui", "acp", "telegram", "cron", "subagent")}

    assert {tag for tag, row in rows.items() if row["is_cli_session"]} == {"cli", "tui", "acp"}
    assert {tag for tag, row in rows.items() if row["read_only"]} == {"subagent"}


def test_the_time_of_the_last_message_is_none_of_a_tools_output() -> None:
    """X7"""
    row = _row(agent=_AGENT._replace(moved_at=260.0, user_message_count=3))

    assert (row["last_message_at"], row["updated_at"], row["user_message_count"]) == (250.0, 260.0, 3)


def test_the_source_is_the_agents_unless_that_is_empty_or_unknown() -> None:
    web = IndexRecord("s", raw_source="telegram")

    assert source_tag("s", _AGENT, web) == "cli"
    assert source_tag("s", _AGENT._replace(source="unknown"), web) == "telegram"
    assert source_tag("s", _AGENT._replace(source=""), IndexRecord("s")) == "webui"
    assert source_tag("cron_my_job_20260921_120000", _AGENT._replace(source=None), None) == "cron"
    assert source_tag("s", _AGENT._replace(source=None), None) == "unknown"


def test_a_chain_shows_where_it_began_and_how_long_it_is() -> None:
    row = _row(agent=_AGENT, root=SessionRecord("r", started_at=50.0), segments=3)

    assert (row["_lineage_root_id"], row["_lineage_tip_id"], row["_compression_segment_count"]) == ("r", "s", 3)
    assert row["created_at"] == 50.0


def test_a_chain_is_archived_if_its_root_or_its_tip_is() -> None:
    tip, root = SessionRecord("s", started_at=60.0), SessionRecord("r", started_at=50.0)

    assert _row(agent=tip, root=root._replace(archived=1))["archived"] is True
    assert _row(agent=tip._replace(archived=1), root=root)["archived"] is True
    assert _row(agent=tip, root=root)["archived"] is False
    assert _row(agent=tip, root=root._replace(archived=1), web=_WEB)["archived"] is False


def test_a_child_names_its_parent_and_whether_that_is_another_surface() -> None:
    row = _row(agent=_AGENT, parent_id="p", parent=Parent("p", "Parent", "telegram", "p0", "p9"))

    assert row["relationship_type"] == "child_session"
    assert (row["parent_session_id"], row["parent_title"], row["parent_source"]) == ("p", "Parent", "telegram")
    assert (row["_parent_lineage_root_id"], row["_parent_lineage_tip_id"]) == ("p0", "p9")
    assert row["_cross_surface_child_session"] is True


def test_a_child_of_a_missing_parent_is_no_child_session() -> None:
    row = _row(agent=_AGENT, parent_id="gone")

    assert row["parent_session_id"] == "gone"
    assert "relationship_type" not in row


def test_every_damaged_value_still_makes_a_row_that_can_be_frozen() -> None:
    """X3"""
    damaged = [float("nan"), float("inf"), 5e246, 2**70, "\ud800", b"\xff", "2026-09-21T00:00:00", -1, ""]

    rows = [
        make_row(
            JoinedSession(
                "s", "default", "cli",
                SessionRecord("s", *[value] * (len(SessionRecord._fields) - 1)),
                IndexRecord("s", *[value] * (len(IndexRecord._fields) - 1)),
            )
        )
        for value in damaged
    ]  # fmt: skip

    assert [freeze_row(row)["session_id"] for row in rows] == ["s"] * len(damaged)


def test_the_gateways_table_wins_over_its_file_and_notes_are_skipped() -> None:
    file = {
        "_README": {"session_id": "note"},
        "k1": {"session_id": "s1", "display_name": "File", "updated_at": "2026-09-21T00:00:00"},
        "k2": {"session_id": "s2", "origin": {"chat_name": "Chat"}},
        "k3": "damaged",
    }

    routing = routing_by_session(file, {"k1": '{"session_id":"s1","display_name":"Table"}', "k4": "{half"})

    assert set(routing) == {"s1", "s2"}
    assert routing["s1"].display_name == "Table"
    assert routing["s2"] == Routing("k2", "Chat")
