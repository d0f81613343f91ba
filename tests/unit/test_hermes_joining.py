"""Proves rule X5 for sessions that are kin: what is told of one can move with another."""

from hermes_cache.stores.hermes.joining import NOTHING, Told, join, moved, tell
from hermes_cache.stores.hermes.state_db import SessionRecord

_CHILD = SessionRecord("child", "cli", None, "parent")
_OTHER = SessionRecord("other", "cli")


def _told(parents_title: str, *, other: SessionRecord = _OTHER) -> Told:
    parent = SessionRecord("parent", "cli", title=parents_title)
    sessions = {"parent": parent, "child": _CHILD, "other": other}
    return tell(sessions, {}, routing={}, jobs={}, projects={})


def test_a_child_is_joined_anew_where_its_parent_moved() -> None:
    before, after = _told("Old"), _told("New")
    known = join("default", before, NOTHING, {})

    refreshed = join("default", after, before, known)

    parent = refreshed["child"].parent
    assert parent is not None
    assert parent.title == "New"
    assert moved(known, refreshed) == {"parent", "child"}


def test_a_family_of_which_nobody_moved_stays_the_same_objects() -> None:
    before, after = _told("Same"), _told("Same", other=_OTHER._replace(title="New"))
    known = join("default", before, NOTHING, {})

    refreshed = join("default", after, before, known)

    assert moved(known, refreshed) == {"other"}
