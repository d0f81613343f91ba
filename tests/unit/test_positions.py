"""Rule E8: which position in a journal belongs to a number of a feed."""

from hermes_cache.bus.feed_versions import FeedVersion, Positions
from hermes_cache.ports import Position


def test_without_a_position_a_version_names_the_feed_alone() -> None:
    """E8"""
    positions = Positions(8)

    assert not positions.known
    assert positions.version("feed", 3) == FeedVersion("feed", 3)
    assert positions.number_behind(FeedVersion("other", 3)) is None


def test_a_number_has_the_newest_position_that_is_not_after_it() -> None:
    """E8"""
    positions = Positions(8)
    positions.note(Position("journal", 10), number=2)
    positions.note(Position("journal", 14), number=5)

    told = [positions.version("feed", number) for number in (1, 2, 4, 5, 9)]

    assert positions.known
    assert [(each.journal, each.seq) for each in told] == [
        ("", 0),
        ("journal", 10),
        ("journal", 10),
        ("journal", 14),
        ("journal", 14),
    ]


def test_a_later_position_at_the_same_number_stands() -> None:
    """E8"""
    positions = Positions(1)
    positions.note(Position("journal", 10), number=2)
    for seq in range(11, 20):
        positions.note(Position("journal", seq), number=3)

    assert [positions.version("feed", number).seq for number in (2, 3)] == [10, 19]


def test_places_are_remembered_for_as_many_numbers_as_asked_the_oldest_go() -> None:
    """E8"""
    positions = Positions(2)
    for number in range(5):
        positions.note(Position("journal", 10 + number), number=number)

    assert [positions.version("feed", number).seq for number in (1, 2, 3, 4)] == [0, 12, 13, 14]


def test_only_versions_of_the_same_journal_up_to_the_last_position_lie_behind() -> None:
    """E8"""
    positions = Positions(8)
    positions.note(Position("journal", 10), number=2)

    behind = [
        positions.number_behind(FeedVersion("other", 99, journal, seq))
        for journal, seq in (("journal", 0), ("journal", 10), ("journal", 11), ("another", 5), ("", 0))
    ]

    assert behind == [2, 2, None, None, None]


def test_another_journal_forgets_the_positions_in_the_first() -> None:
    """E8"""
    positions = Positions(8)
    positions.note(Position("journal", 10), number=2)

    positions.note(Position("another", 3), number=4)

    assert positions.version("feed", 3) == FeedVersion("feed", 3)
    assert positions.version("feed", 4) == FeedVersion("feed", 4, "another", 3)
    assert positions.number_behind(FeedVersion("other", 1, "journal", 1)) is None


def test_a_journal_that_went_back_forgets_the_places_beyond() -> None:
    """E8, J5"""
    positions = Positions(8)
    positions.note(Position("journal", 10), number=2)

    positions.note(Position("journal", 4), number=3)

    assert positions.version("feed", 2) == FeedVersion("feed", 2)
    assert positions.number_behind(FeedVersion("other", 1, "journal", 10)) is None


def test_a_version_has_the_mark_of_its_position() -> None:
    """E8: by which a journal that was restored since, and went on differently, is told."""
    positions = Positions(8)
    positions.note(Position("journal", 10, "life:3"), number=2)

    assert positions.version("feed", 2) == FeedVersion("feed", 2, "journal", 10, "life:3")
