"""Proves rule X7 for copies of deleted sessions, and for turns that crashed."""

import pytest

from hermes_cache.stores.hermes.front_end_records import foreign_counts, without_dead_turns, without_deleted
from hermes_cache.stores.hermes.session_folder import IndexRecord
from hermes_cache.stores.hermes.state_db import SessionRecord

_TURN = IndexRecord("s", updated_at=1_000.0, active_stream_id="stream", pending_user_message="Hello")


@pytest.mark.parametrize(
    ("fields", "is_kept"),
    [
        ({"raw_source": "cli", "is_cli_session": True}, False),
        ({"source_tag": "telegram"}, False),
        ({"is_cli_session": True}, False),
        ({}, True),
        ({"raw_source": "webui"}, True),
        ({"session_source": "fork"}, True),
        ({"raw_source": "claude_code", "is_cli_session": True}, True),
    ],
)
def test_a_copy_of_a_session_that_the_agent_deleted_is_no_session(
    fields: dict[str, object], *, is_kept: bool
) -> None:
    records = {"s": IndexRecord("s")._replace(**fields)}

    assert set(without_deleted(records, {"other": SessionRecord("other")})) == ({"s"} if is_kept else set())
    assert set(without_deleted(records, {"s": SessionRecord("s")})) == {"s"}
    assert set(without_deleted(records, {})) == {"s"}


def test_a_turn_without_a_sign_for_an_hour_is_over() -> None:
    records, until_s = without_dead_turns({"s": _TURN}, now_s=4_601.0)

    record = records["s"]
    assert (record.active_stream_id, record.has_pending_user_message, record.message_count) == (None, False, 1)
    assert until_s == float("inf")


def test_a_turn_that_gave_a_sign_is_believed_until_an_hour_after_it() -> None:
    later = _TURN._replace(pending_started_at=2_000.0)

    records, until_s = without_dead_turns({"s": later, "calm": IndexRecord("calm")}, now_s=5_599.0)

    assert records["s"] is later
    assert until_s == 5_600.0


def test_a_turn_without_any_time_is_over() -> None:
    damaged = _TURN._replace(updated_at="yesterday")

    assert without_dead_turns({"s": damaged}, now_s=5_000.0)[0]["s"].active_stream_id is None


def test_what_other_profiles_have_is_counted_as_the_front_end_lists_it() -> None:
    """X7: a window that was opened and closed again is none; terminals' sessions count only with the others."""
    own = IndexRecord("s", title="Untitled", message_count=0)
    terminals = own._replace(is_cli_session=True, raw_source="cli")
    records = [
        own, own._replace(title="Named"), own._replace(message_count=1), own._replace(worktree_path="/tree"),
        own._replace(active_stream_id="stream"), own._replace(has_pending_user_message=True),
        own._replace(message_count="many"), own._replace(source_tag="telegram", message_count=2),
        terminals, terminals._replace(title="Named"), terminals._replace(message_count=1),
    ]  # fmt: skip

    assert foreign_counts(records) == (6, 1)
