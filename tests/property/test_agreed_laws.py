"""What agrees in all processes: the same for every order of arrival, with and without duplicates (J1, J2)."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.core.events import (
    AppliedEvent,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.core.streams import Streams
from hermes_cache.errors import JournalDamagedError
from hermes_cache.journal.agreed import EVERYTHING, AgreedState, Numbers
from hermes_cache.journal.memory import MemoryJournal
from hermes_cache.journal.replaying import replay
from hermes_cache.journal.snapshots import fold_snapshot, from_bytes, to_bytes

_LEASE_S = 900.0

_IDS = st.builds(EventId, st.sampled_from(["one", "two"]), st.integers(1, 30))
_MOMENTS = st.floats(0, 100)
_PROFILES = st.sampled_from([None, "", "work", "home"])
_STREAMS = st.sampled_from(["s", "t"])
_EVENTS: st.SearchStrategy[AppliedEvent] = st.one_of(
    st.builds(SessionListChanged, id=_IDS, at_s=_MOMENTS, profile=_PROFILES),
    st.builds(StreamStarted, id=_IDS, at_s=_MOMENTS, stream_id=_STREAMS, profile=_PROFILES),
    st.builds(StreamStopped, id=_IDS, at_s=_MOMENTS, stream_id=_STREAMS),
    st.builds(SettingsChanged, id=_IDS, at_s=_MOMENTS),
)
_SAID = st.lists(_EVENTS, unique_by=lambda event: event.id, max_size=20)

_BUSES = ("sessions", "orders", "bills")
_NAMED = st.lists(
    st.builds(lambda event, bus: replace(event, id=replace(event.id, bus=bus)), _EVENTS, st.sampled_from(_BUSES)),
    unique_by=lambda event: event.id,
    max_size=20,
)
"""Events of several buses; two of them may have incarnations and numbers in common."""


@st.composite
def _orders(draw: st.DrawFn) -> tuple[list[AppliedEvent], list[AppliedEvent]]:
    """The same events in two orders, the second with some of them again."""
    said = draw(_SAID)
    again = draw(st.lists(st.sampled_from(said), max_size=5)) if said else []
    return said, draw(st.permutations([*said, *again]))


@given(_orders())
def test_what_is_agreed_does_not_depend_on_the_order_of_arrival(
    orders: tuple[list[AppliedEvent], list[AppliedEvent]],
) -> None:
    """J1"""
    first, second = orders

    assert AgreedState().after(first) == AgreedState().after(second)


@given(_orders())
def test_the_streams_of_a_cache_agree_too_for_every_order_of_arrival(
    orders: tuple[list[AppliedEvent], list[AppliedEvent]],
) -> None:
    """J1, H4: a cache in one process holds down what a cache in another does, and what the journal says."""
    first, second = orders

    agreed = {
        name: start.profile or None for name, start in _agreed(first).active_streams(100.0, _LEASE_S).items()
    }

    assert _active(first) == _active(second) == agreed


@given(_SAID, st.integers(0, 20))
def test_a_fold_in_two_parts_is_a_fold_in_one(said: list[AppliedEvent], cut: int) -> None:
    """J2"""
    assert _agreed(said[:cut]).after(said[cut:]) == _agreed(said)


@given(_SAID, st.integers(0, 20))
def test_a_snapshot_stands_for_the_events_that_it_covers(said: list[AppliedEvent], cut: int) -> None:
    """J2, J6"""
    snapshot = fold_snapshot(fold_snapshot(None, said[:cut]), said[cut:])

    assert from_bytes(snapshot) == {"sessions": _agreed(said)}


@given(_NAMED, st.integers(0, 20), st.integers(0, 20), st.integers(0, 4))
def test_a_journal_replays_each_bus_as_if_the_others_were_not_there(
    said: list[AppliedEvent], until: int, compacted: int, kept: int
) -> None:
    """K5, J1, J2, J6: up to any number, whoever compacted it, and however often."""
    journal = MemoryJournal()
    for event in said[:compacted]:
        journal.append([event])
    journal.compact(fold_snapshot, before_s=0.0, max_events=kept)
    journal.append(said[compacted:])
    journal.compact(fold_snapshot, before_s=0.0, max_events=20)
    snapshot = journal.snapshot()
    reached = max(min(until, len(said)), snapshot.position.seq if snapshot else 0)

    for bus in _BUSES:
        replayed = replay(journal, until=reached, bus=bus)
        assert replayed.agreed == _agreed([event for event in said[:reached] if event.id.bus == bus])
        assert replayed.position.seq == reached


@given(_NAMED, st.integers(0, 20))
def test_a_snapshot_holds_the_state_of_every_bus(said: list[AppliedEvent], cut: int) -> None:
    """K5, J6: and in the form of old programs as long as there is no name that they do not know."""
    snapshot = fold_snapshot(fold_snapshot(None, said[:cut]), said[cut:])
    said_on = {event.id.bus for event in said}

    assert {bus: state for bus, state in from_bytes(snapshot).items() if state != AgreedState()} == {
        bus: _agreed([event for event in said if event.id.bus == bus]) for bus in said_on
    }
    assert (b'"form":1' in snapshot) == (said_on <= {"sessions"})


@given(_SAID)
def test_a_process_that_joins_learns_the_streams_from_the_agreed_state(said: list[AppliedEvent]) -> None:
    """J2"""
    agreed = _agreed(said)

    assert _active(agreed.stream_events()) == _active(said)


@given(_SAID)
def test_each_profile_is_outdated_by_the_newest_event_that_touched_it(said: list[AppliedEvent]) -> None:
    """J1, V1"""
    touching = [
        event
        for event in said
        if isinstance(event, SettingsChanged)
        or (isinstance(event, SessionListChanged) and event.profile in (None, "", "work"))
    ]

    newest = max(touching, key=lambda event: (event.at_s, event.id), default=None)

    assert _agreed(said).outdated_by("work") == newest


@given(_SAID)
def test_exactly_the_events_that_came_count_as_applied(said: list[AppliedEvent]) -> None:
    """J1, E1"""
    agreed = _agreed(said)
    everybody = {EventId(incarnation, number) for incarnation in ("one", "two") for number in range(32)}

    assert {event_id for event_id in everybody if agreed.has(event_id)} == {event.id for event in said}


@given(st.lists(st.integers(1, 60)))
def test_numbers_are_a_set_in_ascending_runs(drawn: list[int]) -> None:
    """E1"""
    numbers = Numbers()
    for number in drawn:
        numbers = numbers.with_number(number)

    held = {number for first, last in numbers.ranges for number in range(first, last + 1)}

    assert held == set(drawn)
    assert all(before[1] + 1 < after[0] for before, after in zip(numbers.ranges, numbers.ranges[1:], strict=False))


@given(st.binary())
def test_what_is_no_snapshot_is_damage(body: bytes) -> None:
    """J5"""
    with pytest.raises(JournalDamagedError):
        from_bytes(body)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_flipped_byte_of_a_snapshot_never_raises_anything_else(at: int, value: int) -> None:
    """J5"""
    body = bytearray(to_bytes({"sessions": _agreed([_started(1), _stopped(2), _changed(3)])}))
    body[at % len(body)] = value

    with contextlib.suppress(JournalDamagedError):
        read = from_bytes(bytes(body))
        assert from_bytes(to_bytes(read)) == read


def test_what_is_forgotten_of_many_profiles_counts_as_outdated_with_all() -> None:
    """V2"""
    agreed = _agreed([_changed(number, profile=f"p{number}") for number in range(1, 1_003)])

    forgotten = agreed.outdated[EVERYTHING]

    assert (len(agreed.outdated), forgotten.id.number) == (1_001, 2)
    assert agreed.outdated_by("p1") == forgotten


def test_of_many_streams_those_that_were_silent_longest_are_forgotten() -> None:
    """H4"""
    agreed = _agreed([_started(number, stream_id=f"s{number}") for number in range(1, 4_099)])

    assert (len(agreed.streams), "s2" in agreed.streams, "s3" in agreed.streams) == (4_096, False, True)


def test_of_many_incarnations_those_that_were_silent_longest_are_forgotten() -> None:
    """J1"""
    agreed = _agreed([_changed(1, incarnation=f"life{life}") for life in range(4_097)])

    assert not agreed.has(EventId("life0", 1))
    assert agreed.has(EventId("life1", 1))


def test_of_many_holes_in_an_incarnations_numbers_the_oldest_counts_as_filled() -> None:
    """E1"""
    numbers = Numbers()
    for number in range(2, 132, 2):
        numbers = numbers.with_number(number)

    assert (3 in numbers, 5 in numbers, len(numbers.ranges)) == (True, False, 64)


def _agreed(said: Sequence[AppliedEvent]) -> AgreedState:
    return AgreedState().after(said)


def _active(said: Sequence[AppliedEvent]) -> dict[str, str | None]:
    streams = Streams()
    for position, event in enumerate(said, 1):
        if isinstance(event, StreamStarted):
            profile = event.profile or None
            streams = streams.start(event.stream_id, profile, position=position, until_s=event.at_s + _LEASE_S)
        if isinstance(event, StreamStopped):
            streams = streams.stop(event.stream_id, position=position, until_s=event.at_s + _LEASE_S)
    return {name: stream.profile for name, stream in streams.active.items()}


def _changed(number: int, *, profile: str | None = None, incarnation: str = "one") -> SessionListChanged:
    return SessionListChanged(id=EventId(incarnation, number), at_s=float(number), profile=profile)


def _started(number: int, stream_id: str = "s") -> StreamStarted:
    return StreamStarted(id=EventId("one", number), at_s=float(number), stream_id=stream_id)


def _stopped(number: int) -> StreamStopped:
    return StreamStopped(id=EventId("one", number), at_s=float(number), stream_id="s")
