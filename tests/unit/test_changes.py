"""Rules E7 and E8: what subscribers are told, and how it merges."""

import pytest

from hermes_cache.bus.changes import Change, add, change_of, merge, merge_all, resume_number
from hermes_cache.core.events import (
    Event,
    EventId,
    SessionListChanged,
    SettingsChanged,
    SourceChanged,
    StreamStarted,
    StreamStopped,
)

_ID = EventId("life", 1)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            SessionListChanged(id=_ID, at_s=1.0, reason="rename", profile="alias", session_id="s"),
            Change(3, "rename", "p", "s"),
        ),
        (StreamStarted(id=_ID, at_s=1.0, stream_id="t", session_id="s"), Change(3, "stream_started", "p", "s")),
        (StreamStopped(id=_ID, at_s=1.0, stream_id="t"), Change(3, "stream_stopped", "p")),
        (SettingsChanged(id=_ID, at_s=1.0), Change(3, "settings_changed")),
        (SourceChanged(id=_ID, at_s=1.0, profile="alias"), Change(3, "source_changed", "p")),
    ],
)
def test_a_change_carries_the_profile_as_the_cache_knows_it(event: Event, expected: Change) -> None:
    """E7, E9"""
    change = change_of(event, 3, "p")

    assert change == expected


def test_a_change_without_profile_means_everything() -> None:
    """E7"""
    event = SessionListChanged(id=_ID, at_s=1.0)

    change = change_of(event, 1, None)

    assert change.everything
    assert not Change(1, "rename", "p").everything


@pytest.mark.parametrize(
    ("change", "subscriber", "concerned"),
    [("p", "p", True), ("p", "q", False), ("p", None, True), (None, "q", True), (None, None, True)],
)
def test_subscribers_hear_of_their_profile_and_of_everything(
    change: str | None, subscriber: str | None, *, concerned: bool
) -> None:
    """E7"""
    told = Change(1, "rename", change).concerns(subscriber)

    assert told is concerned


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        (("p", "s"), ("p", "s"), ("p", "s")),
        (("p", "s"), ("p", "t"), ("p", None)),
        (("p", None), ("p", "t"), ("p", None)),
        (("p", "s"), ("q", "s"), (None, None)),
        (("p", "s"), (None, None), (None, None)),
        ((None, None), ("p", "s"), (None, None)),
    ],
)
def test_what_two_changes_share_stands_and_the_rest_is_dropped(
    older: tuple[str | None, str | None],
    newer: tuple[str | None, str | None],
    expected: tuple[str | None, str | None],
) -> None:
    """E7"""
    merged = merge(Change(1, "old", *older), Change(2, "new", *newer))

    assert (merged.profile, merged.session_id) == expected
    assert (merged.number, merged.reason) == (2, "new")
    assert merged.first_number == 1


def test_merging_nothing_gives_nothing() -> None:
    """E8"""
    assert merge_all([]) is None


def test_one_missed_change_stays_as_it_is() -> None:
    """E8"""
    missed = Change(4, "rename", "p", "s")

    assert merge_all([missed]) == missed


def test_nothing_is_merged_while_it_fits() -> None:
    """E7"""
    first, second = Change(1, "rename", "p", "s"), Change(2, "rename", "p", "s")

    assert add((first,), second, 2) == (first, second)


def test_the_newer_of_one_session_stands_before_anything_is_lost() -> None:
    """E7"""
    waiting = (Change(1, "rename", "p", "s"), Change(2, "rename", "q", "t"))

    merged = add(waiting, Change(3, "pin", "p", "s"), 2)

    assert [(each.number, each.reason, each.profile, each.session_id) for each in merged] == [
        (2, "rename", "q", "t"),
        (3, "pin", "p", "s"),
    ]


def test_sessions_are_dropped_before_profiles() -> None:
    """E7"""
    waiting = (Change(1, "rename", "p", "s"), Change(2, "rename", "q", "t"))

    merged = add(waiting, Change(3, "pin", "p", "u"), 2)

    assert [(each.profile, each.session_id) for each in merged] == [("q", "t"), ("p", None)]


def test_more_profiles_than_fit_mean_everything() -> None:
    """E7"""
    waiting = (Change(1, "rename", "p"), Change(2, "rename", "q"))

    merged = add(waiting, Change(3, "rename", "r"), 2)

    assert [(each.number, each.everything) for each in merged] == [(3, True)]


def test_who_saw_only_part_of_what_was_merged_resumes_before_its_oldest_part() -> None:
    """E8"""
    waiting = (Change(4, "rename", "p", "s"), Change(5, "rename", "q", "t"))

    taken, *rest = add(waiting, Change(6, "rename", "p", "u"), 2)

    assert taken.number == 5
    assert resume_number(taken, rest) == 3


def test_who_took_all_resumes_behind_the_newest() -> None:
    """E8"""
    assert resume_number(Change(9, "rename", "p", oldest_number=2), []) == 9
