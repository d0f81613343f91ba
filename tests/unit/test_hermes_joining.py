"""Proves rule X5 for sessions that are related: what is shown of one can move with another."""

from dataclasses import replace

from hermes_cache.stores.hermes.joining import ProfileRecords, join, records_of, to_join
from hermes_cache.stores.hermes.state_db import SessionRecord

_CHILD = SessionRecord("child", "cli", None, "parent")
_OTHER = SessionRecord("other", "cli")


def _records(parents_title: str, *, other: SessionRecord = _OTHER) -> ProfileRecords:
    parent = SessionRecord("parent", "cli", title=parents_title)
    sessions = {"parent": parent, "child": _CHILD, "other": other}
    return records_of(sessions, {}, routing={}, jobs={}, projects={})


def test_a_child_is_joined_anew_if_its_parent_moved() -> None:
    before, after = _records("Old"), _records("New")
    after = replace(after, agent={**before.agent, "parent": after.agent["parent"]})

    joined = join("child", "default", after)

    assert to_join(before, after) == {"parent", "child"}
    assert joined is not None
    assert joined.parent is not None
    assert joined.parent.title == "New"


def test_a_family_of_which_nobody_moved_is_not_joined_anew() -> None:
    before = _records("Same")
    after = replace(before, agent={**before.agent, "other": _OTHER._replace(title="New")})

    assert to_join(before, after) == {"other"}


def test_a_chain_is_joined_anew_if_an_older_segment_moved() -> None:
    ended = SessionRecord("first", "cli", started_at=1.0, ended_at=2.0, end_reason="compression")
    tip = SessionRecord("tip", "cli", parent_session_id="first", started_at=3.0)
    before = records_of({"first": ended, "tip": tip}, {}, routing={}, jobs={}, projects={})
    after = replace(before, agent={"first": ended._replace(title="New"), "tip": tip})

    joined = join("tip", "default", after)

    assert to_join(before, after) == {"first", "tip"}
    assert joined is not None
    assert joined.chain_title == "New"
