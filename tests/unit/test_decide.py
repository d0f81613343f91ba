"""Decide: time comes first, and the first timer is always known (R4 to R6, H4, S4)."""

from math import inf

from hermes_cache.core.decide import next_wake_s
from hermes_cache.core.effects import Tell
from hermes_cache.core.events import SettingsChanged, StreamStarted
from hermes_cache.core.messages import Publish, Tick
from hermes_cache.core.notices import EntryInvalidated
from tests.simulation.core_script import CoreScript, target_of

HERE, WORK = target_of(), target_of("work")


def test_an_idle_cache_has_no_timer() -> None:
    """S4"""
    script = CoreScript()
    script.hold(HERE)
    script.wait(1_000.0)

    assert script.state.wake_at_s == inf
    assert next_wake_s(script.state, script.policy) == inf


def test_a_build_under_way_has_a_timer() -> None:
    """B6"""
    script = CoreScript()
    script.read(HERE)

    assert script.state.wake_at_s == script.now_s + script.policy.build_timeout


def test_a_late_timer_shows_no_message_a_world_that_is_over() -> None:
    """H4"""
    script = CoreScript()
    started = StreamStarted(id=script.next_id(), at_s=0.0, stream_id="turn")
    script.take(Publish(started, None, age_s=script.policy.stream_lease - 1.0))
    script.now_s += 2.0

    script.read(HERE)

    assert script.running(HERE).streams.active == {}


def test_an_event_tells_of_each_entry_that_it_outdates_once() -> None:
    """E6, V1"""
    script = CoreScript()
    script.hold(HERE)
    script.hold(WORK)

    event = script.invalidate("work")
    first = [tell.notice for tell in script.all_of(Tell)]
    script.invalidate("work")

    assert first == [EntryInvalidated(WORK.key, event.id)]
    assert script.effects == ()


def test_settings_outdate_everything_and_move_their_own_version() -> None:
    """V1"""
    script = CoreScript()
    script.hold(HERE)

    script.publish(SettingsChanged(id=script.next_id(), at_s=0.0))

    assert script.state.settings == 1
    assert script.state.version_of(HERE) == script.state.version_of(WORK) == 1


def test_a_start_outdates_nothing() -> None:
    """H2, V2"""
    script = CoreScript()
    script.hold(HERE)

    script.start_stream("turn")

    assert script.state.version_of(HERE) == 0
    assert script.all_of(Tell) == []


def test_a_timer_that_comes_too_early_does_nothing() -> None:
    """A tick is safe at any time."""
    script = CoreScript()
    script.read(HERE)
    before = script.state

    script.take(Tick())

    assert script.state is before
