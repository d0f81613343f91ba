"""Rules H1, H2, H4 and H5: which streams are active, and whom they hold down."""

from collections.abc import Callable
from itertools import permutations
from math import inf

import pytest

from hermes_cache.core.streams import Marker, Stream, Streams
from hermes_cache.core.versions import ALL_PROFILES

_LEASE_END_S = 900.0


def _started(streams: Streams, stream_id: str, profile: str | None = "work", position: int = 1) -> Streams:
    return streams.start(stream_id, profile, position=position, until_s=_LEASE_END_S)


def _stopped(streams: Streams, stream_id: str, position: int = 2) -> Streams:
    return streams.stop(stream_id, position=position, until_s=_LEASE_END_S)


def test_without_streams_nothing_is_held() -> None:
    """H1"""
    marker = Streams().marker("work")

    assert marker == Marker()
    assert not marker.held


def test_a_marker_names_the_active_streams_sorted_and_the_last_move() -> None:
    """H1"""
    streams = _started(_started(Streams(), "b", position=4), "a", position=5)

    marker = streams.marker("work")

    assert marker == Marker(("a", "b"), 5)
    assert marker.held


@pytest.mark.parametrize(
    ("profile", "reach", "held"),
    [
        ("work", "work", True),
        ("work", ALL_PROFILES, True),
        ("work", "home", False),
        (None, "home", True),
        (None, ALL_PROFILES, True),
    ],
)
def test_a_stream_holds_its_profile_and_all_profiles_views_down(
    profile: str | None, reach: str, *, held: bool
) -> None:
    """H5"""
    marker = _started(Streams(), "a", profile).marker(reach)

    assert marker.held is held
    assert bool(marker.moves) is held


def test_a_turn_that_came_and_went_moves_the_marker_though_no_stream_is_left() -> None:
    """H2"""
    before = Streams()

    after = _stopped(_started(before, "a"), "a")

    assert after.marker("work") == Marker((), 2)
    assert after.marker("work") != before.marker("work")
    assert after.marker("home") == before.marker("home")


def test_a_stop_is_final_in_whatever_order_it_arrives() -> None:
    """H4"""
    acts: list[Callable[[Streams], Streams]] = [
        lambda streams: _started(streams, "a"),
        lambda streams: _started(streams, "a", None),
        lambda streams: _stopped(streams, "a"),
    ]

    for order in permutations(acts):
        streams = Streams()
        for act in order:
            streams = act(streams)
        assert not streams.active
        assert not streams.marker("work").held


def test_a_start_after_the_stop_changes_nothing_at_all() -> None:
    """H4"""
    stopped = _stopped(Streams(), "a")

    assert _started(stopped, "a") is stopped
    assert _stopped(stopped, "a", position=9) is stopped


def test_the_stop_of_a_stream_that_is_not_known_touches_all() -> None:
    """H2"""
    streams = _stopped(Streams(), "a", position=6)

    assert (streams.marker("work").moves, streams.marker(ALL_PROFILES).moves) == (6, 6)


def test_the_stop_of_a_known_stream_touches_its_profile_alone() -> None:
    """H5"""
    streams = _stopped(_started(Streams(), "a", "work"), "a")

    assert (streams.marker("work").moves, streams.marker("home").moves) == (2, 0)


def test_a_repeated_start_is_a_sign_of_life_and_no_move() -> None:
    """H4"""
    once = Streams().start("a", "work", position=1, until_s=10.0)

    twice = once.start("a", "work", position=2, until_s=20.0)

    assert twice.active == {"a": Stream("work", 20.0)}
    assert twice.marker("work") == once.marker("work")


def test_a_late_sign_of_life_shortens_no_lease() -> None:
    """H4"""
    streams = Streams().start("a", "work", position=1, until_s=20.0)

    later = streams.start("a", "work", position=2, until_s=10.0)

    assert later.active == {"a": Stream("work", 20.0)}


def test_a_profile_learnt_later_stands_and_moves_all() -> None:
    """H5"""
    streams = _started(_started(Streams(), "a", None, position=1), "a", "work", position=2)

    assert streams.active["a"].profile == "work"
    assert streams.marker("home") == Marker((), 2)
    assert streams.marker("work") == Marker(("a",), 2)


def test_a_profile_that_is_known_stands_when_a_repeated_start_has_none() -> None:
    """H5"""
    streams = _started(_started(Streams(), "a", "work"), "a", None, position=2)

    assert streams.active["a"].profile == "work"
    assert streams.marker("home") == Marker()


def test_a_stream_is_forgotten_when_its_lease_ends() -> None:
    """H4"""
    streams = Streams().start("a", "work", position=1, until_s=10.0).start("b", "work", position=2, until_s=11.0)

    later = streams.without_expired(10.0)

    assert set(later.active) == {"b"}
    assert later.marker("work") == Marker(("b",), 2)


def test_a_stop_is_remembered_for_its_lease() -> None:
    """H4"""
    streams = Streams().stop("a", position=1, until_s=10.0)

    within, beyond = streams.without_expired(9.9), streams.without_expired(10.0)

    assert set(within.stopped) == {"a"}
    assert not beyond.stopped


def test_the_first_lease_to_end_is_known() -> None:
    """H4"""
    streams = Streams().start("a", None, position=1, until_s=12.0).stop("b", position=2, until_s=11.0)

    assert streams.next_expiry_s() == 11.0
    assert Streams().next_expiry_s() == inf


def test_a_listed_stream_holds_all_down() -> None:
    """H5"""
    streams = Streams()

    assert streams.marker("work", ["a"]) == streams.marker(ALL_PROFILES, ["a"]) == Marker(("a",), 0)
    assert streams.all_ids(["a"]) == {"a"}


def test_the_profile_that_the_bus_gave_stands_when_the_id_is_listed_too() -> None:
    """H5"""
    streams = _started(Streams(), "a", "work")

    assert streams.marker("home", ["a"]) == Marker()
    assert streams.marker("work", ["a"]) == Marker(("a",), 1)


def test_a_listed_stream_that_was_stopped_is_over() -> None:
    """H4"""
    streams = _stopped(Streams(), "a")

    assert not streams.marker("work", ["a"]).held
    assert streams.all_ids(["a", "b"]) == {"b"}


def test_at_most_so_many_streams_are_remembered_the_first_to_end_go() -> None:
    """H4"""
    streams = Streams()
    for number in range(4_097):
        streams = streams.start(f"s{number}", None, position=number + 1, until_s=float(number))
    stops = Streams()
    for number in range(4_097):
        stops = stops.stop(f"s{number}", position=number + 1, until_s=float(number))

    assert len(streams.active) == len(stops.stopped) == 4_096
    assert "s0" not in streams.active
    assert "s0" not in stops.stopped
