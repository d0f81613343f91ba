"""Proves rule X7 for chains of continuations, and rule X3 for parents that are gone or in a ring."""

from typing import Any

import pytest

from hermes_cache.stores.hermes.lineage import in_rings, trace
from hermes_cache.stores.hermes.state_db import SessionRecord


def _records(*records: SessionRecord) -> dict[str, SessionRecord]:
    return {str(record.id): record for record in records}


def _ended(session_id: str, started_at: float, *, parent: str | None = None) -> SessionRecord:
    return SessionRecord(
        session_id, "cli", parent_session_id=parent, started_at=started_at, ended_at=started_at + 5,
        end_reason="compression",
    )  # fmt: skip


def test_continuations_collapse_into_their_tip() -> None:
    records = _records(
        _ended("a", 10.0), _ended("b", 20.0, parent="a"), SessionRecord("c", "cli", None, "b", started_at=30.0)
    )

    lineage = trace(records)

    assert lineage.chains == {"c": ("a", "b", "c")}
    assert lineage.tip("a") == lineage.tip("c") == "c"
    assert lineage.root("b") == "a"


def test_times_say_nothing_where_delegates_are_marked() -> None:
    """The agent writes the child's row before it stamps the parent's end, in one transaction."""
    records = _records(_ended("a", 10.0), SessionRecord("b", "cli", None, "a", started_at=14.9))

    assert trace(records).chains == {"b": ("a", "b")}


def test_a_child_that_began_before_its_parent_ended_is_no_continuation_where_delegates_are_not_marked() -> None:
    records = _records(
        _ended("a", 10.0),
        SessionRecord("delegate", "cli", None, "a", started_at=14.9),
        SessionRecord("b", "cli", None, "a", started_at=15.0),
    )

    assert trace(records, marks_delegates=False).chains == {"b": ("a", "b")}


def test_what_was_closed_in_the_terminal_is_continued_by_what_began_after_that_from_the_same_source() -> None:
    closed = _ended("a", 10.0)._replace(end_reason="cli_close")
    late = SessionRecord("b", "cli", None, "a", started_at=15.0)

    assert trace(_records(closed, late)).chains == {"b": ("a", "b")}
    assert not trace(_records(closed, late._replace(started_at=14.9))).chains
    assert not trace(_records(closed, late._replace(source="tui"))).chains


def test_a_conversation_goes_on_in_another_source() -> None:
    records = _records(_ended("a", 10.0), SessionRecord("b", "tui", None, "a", started_at=20.0))

    assert trace(records).chains == {"b": ("a", "b")}


@pytest.mark.parametrize("source", ["subagent", "tool"])
def test_the_session_of_a_subagent_or_a_tool_is_no_continuation(source: str) -> None:
    records = _records(_ended("a", 10.0), SessionRecord("b", source, None, "a", started_at=20.0))

    assert not trace(records).chains


def test_a_marked_branch_is_no_continuation() -> None:
    records = _records(_ended("a", 10.0), SessionRecord("b", "cli", None, "a", started_at=20.0, forked=1))

    assert not trace(records).chains


@pytest.mark.parametrize(
    ("siblings", "tip"),
    [
        ({"stale": (30.0, 31.0, "ws_orphan_reap"), "live": (20.0, None, None)}, "live"),
        ({"live": (30.0, None, None), "next": (20.0, 25.0, "compression")}, "next"),
        ({"early": (20.0, None, None), "late": (30.0, None, None)}, "late"),
        ({"early": (20.0, 25.0, "idle"), "late": (30.0, 35.0, "idle")}, "late"),
    ],
)
def test_of_siblings_the_conversation_goes_on_in_one_and_the_others_are_shown_by_it(
    siblings: dict[str, tuple[float, float | None, str | None]], tip: str
) -> None:
    records = _records(
        _ended("a", 10.0),
        *(
            SessionRecord(name, "cli", None, "a", started_at=began, ended_at=ended, end_reason=reason)
            for name, (began, ended, reason) in siblings.items()
        ),
    )

    lineage = trace(records)

    assert lineage.chains == {tip: ("a", tip)}
    assert {lineage.tip(each) for each in records} == {tip}
    assert lineage.segments == {tip: 3}


def test_of_open_siblings_the_one_with_the_newest_message_goes_on() -> None:
    records = _records(
        _ended("a", 10.0),
        SessionRecord("quiet", "cli", None, "a", started_at=30.0),
        SessionRecord("talking", "cli", None, "a", started_at=20.0, last_message_at=40.0),
    )

    assert trace(records).chains == {"talking": ("a", "talking")}


def test_the_tip_is_the_newest_session_that_has_a_message() -> None:
    full = _ended("a", 10.0)._replace(message_count=9)
    middle = _ended("b", 20.0, parent="a")._replace(message_count=3)
    empty = SessionRecord("c", "cli", None, "b", started_at=30.0, message_count=0)

    assert trace(_records(full, middle, empty)).chains == {"b": ("a", "b")}
    assert trace(_records(full, middle._replace(message_count=0), empty)).tips == dict.fromkeys("abc", "a")
    assert trace(_records(full._replace(message_count=0), middle._replace(message_count=0), empty)).tip("a") == "c"


def test_a_ring_and_a_missing_parent_collapse_nothing() -> None:
    records = _records(
        SessionRecord("a", "cli", None, "b", started_at=10.0, ended_at=10.0, end_reason="compression"),
        SessionRecord("b", "cli", None, "a", started_at=10.0, ended_at=10.0, end_reason="compression"),
        SessionRecord("own", "cli", None, "own", started_at=10.0, ended_at=10.0, end_reason="compression"),
        SessionRecord("orphan", "cli", None, "gone", started_at=10.0),
    )

    assert not trace(records).chains


def test_a_ring_of_ancestors_is_recognised() -> None:
    parents = {"a": "b", "b": "c", "c": "a", "outside": "a", "own": "own", "orphan": "gone"}

    assert in_rings(parents) == {"a", "b", "c", "own"}


class _Counted(dict[str, str]):
    """Counts how often a parent is asked for."""

    asked = 0

    def get(self, *args: Any) -> Any:
        self.asked += 1
        return super().get(*args)


def test_a_line_of_resets_costs_what_it_has_sessions() -> None:
    """X14: a chat that is reset each night is a line of thousands of sessions."""
    parents = _Counted({str(each): str(each + 1) for each in range(1_000)})

    assert not in_rings(parents)
    assert parents.asked <= len(parents) + 1
