"""Rule S1: what a payload was built from, part by part."""

from hermes_cache.core.stamps import Check, Doubted, Stamp, may_only_have_moved, moved_parts
from hermes_cache.core.streams import Marker


def test_a_stamp_tells_its_parts_by_name_and_its_streams() -> None:
    """S1"""
    stamp = Stamp(Marker(("a",), 3), Check(1.0, parts=(("content", 1), ("settings", 2))))

    told = stamp.as_mapping()

    assert told == {"content": 1, "settings": 2, "streams": Marker(("a",), 3)}


def test_equal_parts_have_not_moved() -> None:
    """S1"""
    moved = moved_parts((("content", 1),), (("content", 1),))

    assert moved == ()


def test_parts_that_changed_came_or_went_have_moved() -> None:
    """S1"""
    older = (("changed", 1), ("gone", None), ("kept", 1))
    newer = (("changed", 2), ("come", None), ("kept", 1))

    assert moved_parts(older, newer) == ("changed", "come", "gone")


def test_parts_that_nothing_was_seen_to_move_only_may_have_moved() -> None:
    """S2"""
    older, feared, seen = (("content", Doubted(number, seen)) for number, seen in ((1, 1), (2, 1), (3, 3)))

    assert moved_parts((older,), (feared,)) == ("content",)
    assert may_only_have_moved((older,), (feared,))
    assert not may_only_have_moved((older,), (seen,))
    assert not may_only_have_moved((older,), (older,))
    assert not may_only_have_moved((older, ("state_db", 1)), (feared, ("state_db", 2)))
    assert not may_only_have_moved((), (feared,))
