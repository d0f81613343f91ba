"""When a file stands still, told by values alone: rule S2."""

from pathlib import Path

import pytest

from hermes_cache.stores.hermes.file_stamps import ABSENT, FileStamp
from hermes_cache.stores.hermes.stillness import Moment, Stillness

PATH = Path("/nowhere/state.db")
SECOND = 10**9
NOW = 1_790_000_000 * SECOND + 123_456_789
MS = 10**6


def _stamp(age_ns: int) -> FileStamp:
    return FileStamp(NOW - age_ns - SECOND // 7, NOW - age_ns, 4096, 1, 1)


@pytest.mark.parametrize(
    ("age_ms", "is_still"), [(0, False), (49, False), (51, True), (10_000, True), (-1, False), (-10_000, False)]
)
def test_a_file_stands_still_once_its_newest_time_is_older_than_a_tick_and_not_in_the_future(
    age_ms: int, *, is_still: bool
) -> None:
    """S2"""
    assert (Stillness().still_in_s(PATH, _stamp(age_ms * MS), Moment(NOW, 0)) == 0) == is_still


@pytest.mark.parametrize(("age_s", "is_still"), [(1, False), (2, False), (3, True)])
def test_whole_seconds_make_a_longer_tick(age_s: int, *, is_still: bool) -> None:
    """S2"""
    whole = NOW // SECOND * SECOND - age_s * SECOND
    stamp = FileStamp(whole, whole, 4096, 1, 1)

    assert (Stillness().still_in_s(PATH, stamp, Moment(NOW // SECOND * SECOND, 0)) == 0) == is_still


def test_a_file_of_the_future_stands_still_once_it_was_seen_unchanged_for_a_tick() -> None:
    """S2"""
    stillness, stamp = Stillness(), _stamp(-10_000 * MS)
    first = stillness.now()
    assert stillness.still_in_s(PATH, stamp, Moment(NOW, first.monotonic_ns))

    soon, later = (first.monotonic_ns + ms * MS for ms in (20, 10_000))

    assert stillness.still_in_s(PATH, stamp, Moment(NOW, soon))
    assert not stillness.still_in_s(PATH, stamp, Moment(NOW, later))
    assert stillness.still_in_s(PATH, _stamp(-20_000 * MS), Moment(NOW, first.monotonic_ns))


def test_it_is_said_when_a_file_stands_still_at_the_earliest() -> None:
    """S2: by its own time, or by when it was first seen."""
    stillness = Stillness()
    first = Moment(NOW, stillness.now().monotonic_ns)

    by_time = stillness.still_in_s(PATH, _stamp(20 * MS), first)
    by_sight = stillness.still_in_s(PATH, _stamp(-100_000 * MS), first)

    assert by_time == pytest.approx(0.030, abs=1e-6)
    assert 0.05 < by_sight < 60


def test_an_absent_file_stands_still() -> None:
    """S2"""
    assert not Stillness().still_in_s(PATH, ABSENT, Moment(NOW, 0))
