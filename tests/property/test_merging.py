"""Laws of merging: whatever does not fit, no meaning is lost (rules E7, E8)."""

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.bus.changes import Change, add, merge, merge_all, resume_number

_PROFILES = st.sampled_from([None, "p", "q", "r"])
_SESSIONS = st.sampled_from([None, "s", "t"])
_SCOPES = st.lists(st.tuples(_PROFILES, _SESSIONS), min_size=1, max_size=30)
_SIZES = st.integers(min_value=1, max_value=5)


def _changes(scopes: list[tuple[str | None, str | None]]) -> list[Change]:
    return [Change(n, f"reason {n}", *scope) for n, scope in enumerate(scopes, start=1)]


def _added(changes: list[Change], size: int) -> tuple[Change, ...]:
    waiting: tuple[Change, ...] = ()
    for change in changes:
        waiting = add(waiting, change, size)
    return waiting


def _covers(taken: Change, change: Change) -> bool:
    same_profile = taken.everything or taken.profile == change.profile
    same_session = taken.session_id in (None, change.session_id)
    return same_profile and same_session and taken.number >= change.number


@given(_SCOPES, _SIZES)
def test_what_waits_is_bounded_and_covers_all_that_was_added(
    scopes: list[tuple[str | None, str | None]], size: int
) -> None:
    """E7"""
    changes = _changes(scopes)

    waiting = _added(changes, size)

    assert len(waiting) <= size
    assert all(any(_covers(taken, change) for taken in waiting) for change in changes)


@given(_SCOPES, _SIZES)
def test_numbers_of_what_waits_only_grow_and_end_with_the_newest(
    scopes: list[tuple[str | None, str | None]], size: int
) -> None:
    """E8"""
    changes = _changes(scopes)

    waiting = _added(changes, size)

    numbers = [each.number for each in waiting]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == len(changes)


@given(_SCOPES, st.integers(min_value=0, max_value=30))
def test_merging_in_two_steps_is_merging_at_once(scopes: list[tuple[str | None, str | None]], cut: int) -> None:
    """E7"""
    changes = _changes(scopes)
    parts = [part for part in (changes[:cut], changes[cut:]) if part]

    merged = reduce(merge, [reduce(merge, part) for part in parts])

    assert merged == merge_all(changes)


@given(_SCOPES, _SIZES, st.data())
def test_who_resumes_at_any_point_has_heard_of_all(
    scopes: list[tuple[str | None, str | None]], size: int, data: st.DataObject
) -> None:
    """E8"""
    changes = _changes(scopes)
    waiting: tuple[Change, ...] = ()
    taken: list[Change] = []
    versions = [0]

    for change in changes:
        waiting = add(waiting, change, size)
        if data.draw(st.booleans()):
            taken.append(waiting[0])
            versions.append(resume_number(waiting[0], waiting[1:]))
            waiting = waiting[1:]

    seen = [change for change in changes if change.number <= versions[-1]]
    assert versions == sorted(versions)
    assert all(any(_covers(taken, change) for taken in taken) for change in seen)
