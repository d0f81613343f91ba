"""The public stand-ins of `hermes_cache.testing` keep what they promise."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from hermes_cache.ports import Builder, Clock, LastKnown, Sources
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.testing import GatedBuilder, ManualClock, VersionedSources
from tests.waiting import WAIT_S

HOME = SessionListKey()
WORK = SessionListKey("work")
ALL = SessionListKey(all_profiles=True)


def test_the_stand_ins_are_what_the_ports_ask_for() -> None:
    clock, builder, sources = ManualClock(), GatedBuilder(is_open=True), VersionedSources()
    asked_for: tuple[Clock, Builder, Sources] = (clock, builder, sources)

    answers = (clock.monotonic_s(), builder(HOME)["call"], sources.stamp(HOME, held=False)["settings"])

    assert asked_for == (clock, builder, sources)
    assert answers == (1_000.0, 1, 0)


def test_a_manual_clock_moves_only_when_it_is_moved() -> None:
    clock = ManualClock(monotonic_s=5.0, wall_s=100.0)

    clock.advance(2.5)
    clock.jump_wall(-50.0)

    assert (clock.monotonic_s(), clock.wall_s()) == (7.5, 52.5)


def test_a_manual_clock_never_goes_back() -> None:
    clock = ManualClock(monotonic_s=5.0)

    with pytest.raises(ValueError, match="-1"):
        clock.advance(-1)

    assert clock.monotonic_s() == 5.0


def test_a_gated_builder_waits_until_the_test_opens_it() -> None:
    builder = GatedBuilder()

    with ThreadPoolExecutor() as pool:
        first, second = pool.submit(builder, HOME), pool.submit(builder, WORK)
        builder.wait_for_calls(2)
        is_held = builder.waiting == 2 and not first.done() and not second.done()
        builder.open()

        assert is_held
        assert (first.result(WAIT_S)["profile"], second.result(5)["profile"]) == ("default", "work")


def test_a_gated_builder_lets_single_calls_through() -> None:
    builder = GatedBuilder()

    builder.let_through()
    payload = builder(HOME)
    with ThreadPoolExecutor() as pool:
        held = pool.submit(builder, HOME)
        builder.wait_for_calls(2, HOME)
        is_held = not held.done()
        builder.let_through()

        assert is_held
        assert (payload["call"], held.result(WAIT_S)["call"]) == (1, 2)


def test_a_gated_builder_counts_calls_by_key() -> None:
    builder = GatedBuilder(is_open=True)

    for key in (HOME, WORK, HOME):
        builder(key)

    assert (builder.calls(HOME), builder.calls(WORK), builder.calls()) == (2, 1, 3)


def test_a_gated_builder_raises_what_it_is_told_and_recovers() -> None:
    builder = GatedBuilder(is_open=True)
    builder.fail_with(OSError("the disk is gone"))

    with pytest.raises(OSError, match="the disk is gone"):
        builder(HOME)
    builder.fail_with(None)

    assert builder(HOME)["call"] == 2


def test_a_gated_builder_gives_the_payload_of_the_test() -> None:
    def payload(key: SessionListKey, call: int) -> Mapping[str, object]:
        return {"sessions": [{"session_id": f"{key.profile}-{call}"}]}

    builder = GatedBuilder(payload, is_open=True)

    built = builder(WORK)

    assert built == {"sessions": [{"session_id": "work-1"}]}


def test_a_forgotten_gate_hangs_nobody() -> None:
    builder = GatedBuilder(is_open=True, patience_s=0.01)
    builder.close()

    with pytest.raises(TimeoutError, match=r"call open\(\)"):
        builder(HOME)
    with pytest.raises(TimeoutError, match="1 of 2 calls"):
        builder.wait_for_calls(2, timeout_s=0.01)

    assert builder.waiting == 0


def test_versioned_sources_move_for_their_profile_and_for_all_profiles() -> None:
    sources = VersionedSources()
    before = [sources.stamp(key, held=False) for key in (HOME, WORK, ALL)]

    sources.set_part(7, profile="work")
    after = [sources.stamp(key, held=False) for key in (HOME, WORK, ALL)]

    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]


def test_versioned_sources_leave_out_what_a_stream_moves_while_held() -> None:
    sources = VersionedSources()
    sources.set_part(LastKnown(3))
    sources.set_settings("new")

    held, live = sources.stamp(HOME, held=True), sources.stamp(HOME, held=False)

    assert (held, live) == ({"settings": "new"}, {"settings": "new", "content/default": LastKnown(3)})
    assert (sources.calls(HOME), sources.held_calls(HOME), sources.calls(ALL)) == (2, 1, 0)


def test_versioned_sources_raise_what_they_are_told() -> None:
    sources = VersionedSources()
    sources.fail_with(OSError("locked"))

    with pytest.raises(OSError, match="locked"):
        sources.stamp(HOME, held=False)
    sources.fail_with(None)

    assert sources.stamp(HOME, held=False)
