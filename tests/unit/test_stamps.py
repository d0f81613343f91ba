"""Rule S1: what a payload was built from, part by part."""

from hermes_cache.core.stamps import Check, Stamp, moved_parts
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
