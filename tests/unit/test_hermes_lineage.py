"""Proves rule X7 for chains of continuations, and rule X3 for parents that are gone or in a ring."""

from hermes_cache.stores.hermes.lineage import is_in_a_ring, trace
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


def test_a_child_that_began_before_its_parent_ended_is_no_continuation() -> None:
    records = _records(_ended("a", 10.0), SessionRecord("b", "cli", None, "a", started_at=14.9))

    assert not trace(records).chains


def test_a_child_of_another_source_is_no_continuation() -> None:
    records = _records(_ended("a", 10.0), SessionRecord("b", "subagent", None, "a", started_at=20.0))

    assert not trace(records).chains


def test_a_marked_branch_is_no_continuation() -> None:
    records = _records(_ended("a", 10.0), SessionRecord("b", "cli", None, "a", started_at=20.0, forked=1))

    assert not trace(records).chains


def test_of_two_continuations_the_later_one_goes_on() -> None:
    records = _records(
        _ended("a", 10.0),
        SessionRecord("late", "cli", None, "a", started_at=30.0),
        SessionRecord("early", "cli", None, "a", started_at=20.0),
    )

    lineage = trace(records)

    assert lineage.chains == {"late": ("a", "late")}
    assert lineage.tip("early") == "early"


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

    assert [each for each in parents if is_in_a_ring(each, parents)] == ["a", "b", "c", "own"]
