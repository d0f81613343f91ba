"""Rules O6 and D3: where two lists of the same objects differ."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.payload.splices import Splice, splices_between, splices_of

_ROWS = [object() for _ in range(30)]
_LISTS = st.lists(st.sampled_from(_ROWS), max_size=30)


@given(older=_LISTS, newer=_LISTS)
def test_splices_turn_the_older_list_into_the_newer_one(older: list[object], newer: list[object]) -> None:
    splices = splices_between(older, newer)

    result = list(older)
    for each in reversed(splices):
        result[each.start : each.end] = newer[each.came : each.till]
    assert result == newer
    assert all(older[a.end : b.start] == newer[a.till : b.came] for a, b in pairwise(splices))
    assert (not splices) == (older == newer)


def test_a_row_that_moved_or_changed_is_found_alone() -> None:
    """D3: what is the same in between is in no splice"""
    a, b, *rest = _ROWS

    changed = splices_between([*rest[:9], a, *rest[9:]], [*rest[:9], b, *rest[9:]])
    moved_up = splices_between([*rest, a], [a, *rest])
    moved_down = splices_between([a, *rest], [*rest, a])

    assert changed == [Splice(9, 10, 9, 10)]
    assert moved_up == [Splice(0, 0, 0, 1), Splice(28, 29, 29, 29)]
    assert moved_down == [Splice(0, 1, 0, 0), Splice(29, 29, 28, 29)]


def test_what_differs_everywhere_is_one_splice_behind_the_first_ones() -> None:
    older, newer = [object() for _ in range(90)], list(_ROWS)

    assert splices_between(older, newer) == [Splice(0, 90, 0, 30)]
    assert splices_between([*_ROWS[:3], *older, *_ROWS[3:]], _ROWS) == [Splice(3, 93, 3, 3)]


@given(gone=st.sets(st.integers(0, 19)), come=st.sets(st.integers(0, 25)))
def test_splices_of_what_goes_and_comes_are_those_of_the_two_lists(gone: set[int], come: set[int]) -> None:
    older = list(_ROWS[:20])
    newer = [row for at, row in enumerate(older) if at not in gone]
    fitting = [at for at in sorted(come) if at <= len(newer) + len([each for each in come if each < at])]
    for at in fitting:
        newer.insert(at, object())

    splices = splices_of(sorted(gone), fitting)

    result = list(older)
    for each in reversed(splices):
        result[each.start : each.end] = newer[each.came : each.till]
    assert result == newer
    changed = sum([each.end - each.start for each in splices]), sum([each.till - each.came for each in splices])
    assert changed == (len(gone), len(fitting))
