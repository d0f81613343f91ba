"""Proves rule X4: every key is a pure filter over one snapshot; and rule X7 for the envelope."""

import tracemalloc
from typing import Any

import pytest

from hermes_cache.payload.frozen import Payload
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.rows import freeze
from hermes_cache.stores.hermes.front_end_records import NO_FOREIGN, ForeignCounts
from hermes_cache.stores.hermes.joining import JoinedSession
from hermes_cache.stores.hermes.projection import Session, Snapshot, newest_first
from hermes_cache.stores.hermes.session_folder import IndexRecord
from hermes_cache.stores.hermes.side_files import Routing
from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.views import view as content_of_key

_ALL: dict[str, Any] = {
    "show_cli": True, "show_cron": True, "show_webhook": True, "show_kanban": True, "show_claude_code": True,
    "show_previous_messaging": True, "include_archived": True,
}  # fmt: skip


def _agent(session_id: str, tag: str, at_s: float, **columns: object) -> JoinedSession:
    record = SessionRecord(session_id, tag, started_at=at_s, message_count=1)
    return JoinedSession(session_id, "default", tag, record._replace(**columns))


def _web(session_id: str, at_s: float, **fields: object) -> JoinedSession:
    record = IndexRecord(session_id, updated_at=at_s, message_count=1)
    return JoinedSession(session_id, "default", "webui", None, record._replace(**fields))


def _snapshot(*joined: JoinedSession, foreign: ForeignCounts = NO_FOREIGN) -> Snapshot:
    return Snapshot(tuple(newest_first([Session(each) for each in joined])), foreign)


def view(snapshot: Snapshot, key: SessionListKey) -> Payload:
    return content_of_key(snapshot, key).decoded()


def _ids(snapshot: Snapshot, **fields: Any) -> list[str]:
    rows: Any = view(snapshot, SessionListKey(**fields))["sessions"]
    return [row["session_id"] for row in rows]


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ({}, ["web"]),
        ({"show_cli": True}, ["web", "cli", "odd"]),
        ({"show_cron": True}, ["web", "cron"]),
        ({"show_webhook": True}, ["web", "webhook"]),
        ({"show_kanban": True}, ["web", "kanban"]),
        ({"show_claude_code": True}, ["web", "claude"]),
    ],
)
def test_each_flag_lets_its_own_sources_through(flags: dict[str, bool], shown: list[str]) -> None:
    snapshot = _snapshot(
        _web("web", 9.0),
        _agent("cli", "tui", 8.0),
        _agent("odd", "carrier_pigeon", 7.0),
        _agent("cron", "cron", 6.0),
        _agent("webhook", "webhook", 5.0),
        _agent("kanban", "kanban", 4.0),
        _agent("claude", "claude_code", 3.0),
    )

    assert _ids(snapshot, **flags) == shown


def test_rows_are_sorted_by_time_and_then_by_id() -> None:
    snapshot = _snapshot(_web("b", 5.0), _web("old", 1.0), _web("a", 5.0), _web("new", 9.0), _web("none", 0.0))

    assert _ids(snapshot) == ["new", "a", "b", "old", "none"]


def test_a_peer_shows_its_newest_session_unless_previous_ones_are_asked_for() -> None:
    snapshot = _snapshot(
        _agent("new", "telegram", 9.0, session_key="peer"),
        _agent("old", "telegram", 8.0, session_key="peer"),
        _agent("other", "telegram", 7.0, session_key="other"),
        _agent("nobody", "telegram", 6.0),
        _agent("nobody too", "telegram", 5.0),
        _agent("by chat", "slack", 4.0, chat_id="c", user_id="u"),
        _agent("by chat too", "slack", 3.0, chat_id="c", user_id="u"),
    )

    assert _ids(snapshot, show_cli=True) == ["new", "other", "nobody", "by chat"]
    assert len(_ids(snapshot, show_cli=True, show_previous_messaging=True)) == 7


def test_a_source_that_the_gateway_talks_to_shows_what_its_chats_did_not_leave_behind() -> None:
    """X7"""
    active = _agent("active", "telegram", 9.0)._replace(routing=Routing("peer", "Ada"))
    snapshot = _snapshot(
        active,
        _agent("nobody", "telegram", 8.0),
        _agent("reset", "telegram", 7.0, session_key="other", end_reason="session_reset"),
        _agent("child", "telegram", 6.0, session_key="third")._replace(parent_id="active"),
        _agent("another", "telegram", 5.0, session_key="fourth"),
        _agent("elsewhere", "discord", 4.0),
    )

    assert _ids(snapshot, show_cli=True) == ["active", "another", "elsewhere"]
    assert len(_ids(snapshot, show_cli=True, show_previous_messaging=True)) == 6


def test_an_archived_session_takes_the_place_of_none_that_is_listed() -> None:
    """X7"""
    snapshot = _snapshot(
        _agent("archived", "telegram", 9.0, session_key="peer", archived=1),
        _agent("older", "telegram", 8.0, session_key="peer"),
        _agent("archived cli", "cli", 7.0, archived=1),
        _agent("cli", "cli", 6.0),
    )

    assert _ids(snapshot, show_cli=True, agent_limit=1) == ["older", "cli"]
    assert _ids(snapshot, show_cli=True, agent_limit=1, include_archived=True) == ["archived", "archived cli"]


def test_at_most_so_many_of_the_newest_terminals_sessions_are_listed_and_all_others() -> None:
    """K1"""
    snapshot = _snapshot(
        *(_agent(f"cli{n}", "cli", 9.0 - n) for n in range(4)), _agent("tg", "telegram", 2.0), _web("web", 1.0)
    )

    assert _ids(snapshot, show_cli=True, agent_limit=2) == ["cli0", "cli1", "tg", "web"]
    assert _ids(snapshot, show_cli=True, agent_limit=0) == ["tg", "web"]
    assert len(_ids(snapshot, show_cli=True)) == 6


def test_background_runs_stay_listed_for_the_sake_of_their_project_but_hidden() -> None:
    """X7"""
    run = _agent("run", "cron", 9.0)._replace(project_id="p")
    snapshot = _snapshot(run, _agent("without", "cron", 8.0), _web("web", 7.0))

    listed: Any = view(snapshot, SessionListKey(show_cli=True))["sessions"]
    shown: Any = view(snapshot, SessionListKey(show_cli=True, show_cron=True))["sessions"]

    assert [(row["session_id"], row["default_hidden"]) for row in listed] == [("run", True), ("web", False)]
    assert [row["default_hidden"] for row in shown] == [False, False, False]
    assert _ids(snapshot, show_cli=True, exclude_hidden=True) == ["web"]
    assert _ids(snapshot) == ["web"]


def test_a_view_that_limits_the_agents_sessions_has_the_newest_200_runs_of_a_kind_at_hand() -> None:
    """K1"""
    runs = [_agent(f"{kind}{n}", kind, 9_000.0 - n) for kind in ("cron", "webhook") for n in range(201)]
    snapshot = _snapshot(*(run._replace(project_id="p") for run in runs))

    limited, whole = (_ids(snapshot, show_cli=True, agent_limit=limit) for limit in (20, None))

    assert len(whole) == 402
    assert sorted(set(whole) - set(limited)) == ["cron200", "webhook200"]
    assert len(_ids(snapshot, show_cli=True, show_cron=True, agent_limit=20)) == 401


@pytest.mark.parametrize(
    ("tag", "columns", "is_visible"),
    [
        ("cli", {"user_message_count": 1, "ended_at": 9.0}, False),
        ("cli", {"user_message_count": 1, "ended_at": 9.0, "title": "CLI Session"}, False),
        ("cli", {"user_message_count": 2, "ended_at": 9.0}, True),
        ("cli", {"user_message_count": 1}, True),
        ("cli", {"user_message_count": 1, "ended_at": 9.0, "title": "A talk"}, True),
        ("cli", {"ended_at": 9.0}, True),
        ("tui", {"user_message_count": 0, "ended_at": 9.0}, True),
        ("acp", {"user_message_count": 1, "ended_at": 9.0}, True),
        ("acp", {"user_message_count": 0, "ended_at": 9.0}, False),
        ("telegram", {"user_message_count": 0, "ended_at": 9.0}, True),
    ],
)
def test_a_terminals_session_that_came_to_nothing_is_not_visible(
    tag: str, columns: dict[str, object], *, is_visible: bool
) -> None:
    """X7"""
    snapshot = _snapshot(_agent("s", tag, 8.0, **columns))

    assert _ids(snapshot, show_cli=True, visible_only=True) == (["s"] if is_visible else [])


def test_archived_rows_come_only_when_asked_for_and_in_pages() -> None:
    snapshot = _snapshot(
        _web("a", 9.0), *(_web(f"z{n}", 8.0 - n, archived=True) for n in range(4)), _web("b", 1.0)
    )

    assert _ids(snapshot) == ["a", "b"]
    assert _ids(snapshot, include_archived=True) == ["a", "z0", "z1", "z2", "z3", "b"]
    assert _ids(snapshot, include_archived=True, archived_limit=2, archived_offset=1) == ["a", "z1", "z2", "b"]
    assert _ids(snapshot, include_archived=True, archived_limit=0) == ["a", "b"]
    assert _ids(snapshot, include_archived=True, archived_limit=2**70) == _ids(snapshot, include_archived=True)
    assert _ids(snapshot, include_archived=True, archived_limit=1, archived_offset=2**70) == ["a", "b"]


def test_hidden_and_empty_rows_go_when_asked_to() -> None:
    snapshot = _snapshot(
        _web("full", 9.0),
        _web("hidden", 8.0, default_hidden=True),
        _web("empty", 7.0, message_count=0),
        _web("pending", 6.0, message_count=0, pending_user_message="hello"),
        _web("streaming", 5.0, message_count=0, active_stream_id="stream"),
        _web("worktree", 4.0, message_count=0, worktree_path="/tree"),
    )

    assert _ids(snapshot, exclude_hidden=True) == ["full", "empty", "pending", "streaming", "worktree"]
    assert _ids(snapshot, visible_only=True) == ["full", "hidden", "pending", "streaming"]


def test_a_source_filter_and_a_side_narrow_the_list() -> None:
    snapshot = _snapshot(_web("web", 9.0), _agent("tg", "telegram", 8.0), _agent("tui", "tui", 7.0))

    assert _ids(snapshot, show_cli=True, source_filter="telegram") == ["web", "tg"]
    assert _ids(snapshot, show_cli=True, sidebar_source="webui") == ["web", "tg"]
    assert _ids(snapshot, show_cli=True, sidebar_source="cli") == ["tui"]


@pytest.mark.parametrize("visible_only", [True, False])
def test_a_session_without_messages_takes_no_others_place(*, visible_only: bool) -> None:
    """X7, K1: neither that of its chat, nor one of the newest terminals' sessions."""
    snapshot = _snapshot(
        _agent("chat_empty", "discord", 9.0, message_count=0),
        _agent("chat", "discord", 8.0),
        _agent("chat_old", "discord", 7.0),
        _agent("window", "cli", 6.0, message_count=0),
        _agent("talk", "cli", 5.0),
    )

    listed = _ids(snapshot, show_cli=True, visible_only=visible_only, agent_limit=1)

    assert listed == (["chat", "talk"] if visible_only else ["chat_empty", "window"])


def test_the_counts_tell_both_sides_whatever_side_is_shown() -> None:
    snapshot = _snapshot(
        _web("w", 9.0),
        _web("wa", 8.0, archived=True),
        _agent("c", "cli", 7.0),
        _agent("c2", "cli", 6.0),
        _agent("ca", "cli", 5.0, archived=1),
        foreign=ForeignCounts(4, 3),
    )
    key = SessionListKey(show_cli=True, sidebar_source="webui", archived_limit=10)

    payload = view(snapshot, key)

    assert {name: value for name, value in payload.items() if "count" in name} == {
        "cli_count": 3, "archived_count": 2, "archived_webui_count": 1, "archived_cli_count": 1,
        "webui_session_count": 1, "cli_session_count": 2, "other_profile_count": 7,
    }  # fmt: skip
    assert view(snapshot, SessionListKey(show_cli=False))["other_profile_count"] == 4
    assert (payload["archived_limit"], payload["archived_offset"]) == (10, 0)
    assert (payload["active_profile"], payload["all_profiles"]) == ("default", False)


def test_archived_ancestors_of_what_is_listed_are_named_beside_it() -> None:
    """X7"""
    child = _web("child", 9.0)._replace(parent_id="p")
    parent = _web("p", 8.0, archived=True)._replace(parent_id="root")
    snapshot = _snapshot(child, parent, _web("root", 7.0, archived=True), _web("other", 6.0, archived=True))

    hidden: Any = view(snapshot, SessionListKey())["sidebar_reference_sessions"]
    shown = view(snapshot, SessionListKey(include_archived=True))["sidebar_reference_sessions"]

    assert [(row["session_id"], row["_sidebar_reference_only"]) for row in hidden] == [("p", True), ("root", True)]
    assert shown == []


def test_views_share_the_frozen_rows_and_can_be_frozen() -> None:
    """P1, X4"""
    snapshot = _snapshot(_web("a", 9.0), _agent("b", "cli", 8.0))

    narrow, wide = (freeze(view(snapshot, key)) for key in (SessionListKey(), SessionListKey(**_ALL)))

    narrow_rows: Any = narrow["sessions"]
    wide_rows: Any = wide["sessions"]
    assert narrow_rows[0] is wide_rows[0] is snapshot.sessions[0].row().decoded()


def test_a_session_whose_visible_fields_stay_is_the_session_from_before() -> None:
    """X5, X6"""
    before = Session(_agent("a", "cli", 9.0))

    unseen = Session(_agent("a", "cli", 9.0, end_reason="idle")).shared_with(before)
    seen = Session(_agent("a", "cli", 9.0, title="New")).shared_with(before)

    assert unseen is before
    assert seen.row() is not before.row()


def test_only_rows_that_a_view_shows_are_made() -> None:
    """X14"""
    snapshot = _snapshot(_web("a", 9.0), *(_agent(f"c{number}", "cron", 8.0) for number in range(50)))
    tracemalloc.start()

    narrow = content_of_key(snapshot, SessionListKey())
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(narrow.pieces or ()) == 1
    assert held_bytes < 10_000
