"""Rules R5, R7, R11, B1 to B6 and H2: one live build a key, and what becomes of it."""

from dataclasses import replace

import pytest

from hermes_cache.core.effects import Abandon, Release, RunBuild, Tell
from hermes_cache.core.events import EventId
from hermes_cache.core.messages import Built, Failed, Tick
from hermes_cache.core.notices import BuildDiscarded
from hermes_cache.core.policy import Policy
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Refresh
from hermes_cache.errors import BuildError, BuildTimeoutError, CacheBusyError
from tests.simulation.core_script import CoreScript, content, target_of

HERE, WORK, HOME = target_of(), target_of("work"), target_of("home")


def test_an_overtaken_build_answers_those_who_came_before_and_is_not_stored() -> None:
    """B4, R1"""
    script = CoreScript()
    before = script.read(HERE)
    first = script.running(HERE)
    event = script.invalidate()
    after = script.read(HERE)

    script.finish(first)

    assert script.served(before).overtaken_by == event.id
    assert after.reader not in script.answers
    assert HERE.key not in script.state.entries
    assert [build.reason for build in script.started()] == ["event"]


def test_an_overtaken_build_that_nobody_waits_for_is_not_built_again() -> None:
    """B4"""
    script = CoreScript()
    script.read(HERE)
    first = script.running(HERE)
    script.invalidate()

    script.finish(first)

    assert script.started() == []
    assert script.state.builds == {}


def test_a_restart_uses_the_newest_waiters_builder() -> None:
    """R11"""
    script = CoreScript()
    script.read(HERE, builder="first")
    first = script.running(HERE)
    script.invalidate()
    script.read(HERE, builder="second")
    script.read(HERE, builder="third")

    script.finish(first)

    assert [build.builder for build in script.started()] == ["third"]


def test_a_restart_without_another_builder_keeps_its_own() -> None:
    """R11"""
    script = CoreScript()
    script.read(HERE, builder="first")
    first = script.running(HERE)
    script.invalidate()
    script.read(HERE)

    script.finish(first)

    assert [build.builder for build in script.started()] == ["first"]


def test_a_build_from_before_a_stream_answers_later_reads_as_stale_and_is_built_again() -> None:
    """H2"""
    script = CoreScript()
    script.read(HERE)
    build = script.running(HERE)
    script.start_stream("turn")
    later, strict = script.read(HERE), script.read(HERE, at_least=EventId("another", 1))

    script.finish(build)

    assert (script.served(later).outcome, script.served(later).reason) == ("stale", "source")
    assert strict.reader not in script.answers
    assert len(script.started()) == 1


def test_a_build_that_only_stale_answers_came_of_is_a_refresh_when_built_again() -> None:
    """H2, B9"""
    script = CoreScript()
    script.read(HERE)
    build = script.running(HERE)
    script.start_stream("turn")
    script.read(HERE)

    script.finish(build)

    assert [again.refresh for again in script.started()] == [Refresh.URGENT]


def test_builds_that_readers_wait_for_leave_the_queue_first() -> None:
    """B5"""
    script = CoreScript(Policy(pool_size=1))
    script.hold(WORK)
    script.read(HERE)
    script.now_s += 3.0
    script.read(WORK)
    script.read(HOME)

    script.finish(script.running(HERE))

    assert [build.target for build in script.started()] == [HOME]


def test_past_the_bound_of_the_queue_a_read_is_refused() -> None:
    """B5"""
    script = CoreScript(Policy(pool_size=1, max_queue=1))
    script.read(HERE)
    script.read(WORK)

    refused = script.read(HOME)

    assert isinstance(script.answers[refused.reader], CacheBusyError)


def test_a_build_past_its_time_is_abandoned_and_its_position_filled() -> None:
    """B6"""
    script = CoreScript(Policy(pool_size=1))
    read = script.read(HERE)
    hanging = script.running(HERE)
    script.now_s += 1.0
    script.read(WORK)

    script.wait(59.0)

    assert script.all_of(Abandon) == [Abandon(hanging.id)]
    assert isinstance(script.answers[read.reader], BuildTimeoutError)
    assert [build.target for build in script.started()] == [WORK]


def test_the_late_result_of_an_abandoned_build_is_discarded() -> None:
    """B6"""
    script = CoreScript()
    script.read(HERE)
    hanging = script.running(HERE)
    script.wait(60.0)
    late = content(n=1)

    script.finish(hanging, late)

    assert script.state.abandoned == frozenset()
    assert HERE.key not in script.state.entries
    assert script.all_of(Release) == [Release(late)]
    assert [tell.notice for tell in script.all_of(Tell)] == [BuildDiscarded(HERE.key, hanging.id, None)]


def test_the_late_failure_of_an_abandoned_build_is_only_recorded() -> None:
    """B6"""
    script = CoreScript()
    script.read(HERE)
    hanging = script.running(HERE)
    script.wait(60.0)
    failures = script.state.failures

    script.fail(hanging)

    assert script.state.abandoned == frozenset()
    assert script.state.failures is failures


def test_a_result_that_comes_twice_does_not_let_go_of_what_is_held() -> None:
    """P4"""
    script = CoreScript()
    script.read(HERE)
    build = script.running(HERE)
    made = content(n=1)
    message = Built(build, made, Check(0.0), 0.1, made.size_bytes)
    script.take(message)
    held = script.state

    script.take(message)

    assert script.all_of(Release) == []
    assert script.state.entries is held.entries


def test_too_many_hanging_builds_let_further_ones_fail_at_once() -> None:
    """B6"""
    script = CoreScript(Policy(max_abandoned=1, pool_size=1))
    script.read(HERE)
    script.wait(1.0)
    queued = script.read(WORK)
    script.wait(59.0)

    refused = script.read(HOME)

    assert isinstance(script.answers[queued.reader], BuildError)
    assert isinstance(script.answers[refused.reader], BuildError)
    assert script.state.builds == {}


def test_a_queued_refresh_that_too_many_hanging_builds_stop_pauses_nothing() -> None:
    """B6, B9"""
    script = CoreScript(Policy(max_abandoned=1, pool_size=1))
    script.hold(WORK)
    script.read(HERE)
    script.now_s += 3.0
    script.read(WORK)

    script.wait(57.0)

    assert script.state.scopes[WORK.scope].refreshing == frozenset()
    assert script.state.scopes[WORK.scope].pause_until_s <= script.now_s


def test_a_build_for_who_came_after_an_event_has_the_scope_that_the_key_has_since() -> None:
    """R4, V1: settings may have changed it; sources of the old scope would tell nothing of it any more."""
    watched = target_of(watched=True)
    moved = replace(watched, scope="other")
    script = CoreScript()
    script.read(watched)
    script.invalidate()
    script.read(moved)

    script.finish(script.running(watched))
    script.finish(script.running(moved))

    assert script.state.entries[moved.key].target == moved


def test_a_failure_answers_all_who_wait_and_the_next_read_tries_again() -> None:
    """R7"""
    script = CoreScript()
    reads = [script.read(HERE), script.read(HERE)]
    cause = OSError("locked")

    script.take(Failed(script.running(HERE), cause, str(cause)))

    errors = [script.answers[read.reader] for read in reads]
    assert all(isinstance(error, BuildError) and error.__cause__ is cause for error in errors)
    assert errors[0] is not errors[1]
    script.read(HERE)
    assert len(script.started()) == 1


@pytest.mark.parametrize(("failures", "delay_s"), [(2, 0.1), (3, 0.2), (4, 0.4), (9, 5.0)])
def test_after_failures_in_a_row_the_next_attempt_waits(failures: int, delay_s: float) -> None:
    """R7"""
    script = CoreScript()
    for _ in range(failures):
        script.now_s += 6.0
        script.read(HERE)
        script.fail(script.running(HERE))

    script.now_s += delay_s - 0.01
    early = script.read(HERE)
    script.now_s += 0.02
    script.read(HERE)

    assert isinstance(script.answers[early.reader], BuildError)
    assert len(script.all_of(RunBuild)) == 1


def test_an_invalidation_brings_the_next_attempt_forward_but_not_to_at_once() -> None:
    """R7"""
    script = CoreScript()
    for _ in range(5):
        script.now_s += 6.0
        script.read(HERE)
        script.fail(script.running(HERE))
    script.invalidate()

    script.now_s += 0.1
    early = script.read(HERE)
    script.now_s += 0.11
    script.read(HERE)

    assert isinstance(script.answers[early.reader], BuildError)
    assert len(script.all_of(RunBuild)) == 1


def test_a_success_ends_the_failures() -> None:
    """R7"""
    script = CoreScript()
    script.read(HERE)
    script.fail(script.running(HERE))
    script.read(HERE)

    script.finish(script.running(HERE))

    assert script.state.failures == {}


def test_those_whom_a_failed_build_could_not_have_answered_wait_on() -> None:
    """R7, B4"""
    script = CoreScript()
    before = script.read(HERE)
    build = script.running(HERE)
    script.invalidate()
    after = script.read(HERE)

    script.fail(build)

    assert isinstance(script.answers[before.reader], BuildError)
    assert after.reader not in script.answers
    assert len(script.started()) == 1


def test_a_short_refresh_does_not_cut_a_pause_short() -> None:
    """B9"""
    script = CoreScript()
    script.hold(HERE)
    script.now_s += 2.5
    script.read(HERE)
    script.now_s += 2.0
    script.finish(script.running(HERE))
    pause_until_s = script.state.scopes[HERE.scope].age_pause_until_s
    script.start_stream("turn")
    script.read(HERE)

    script.finish(script.running(HERE))

    scope = script.state.scopes[HERE.scope]
    assert (scope.age_pause_until_s, scope.pause_until_s) == (pause_until_s, script.now_s)


def test_time_that_nothing_waits_for_changes_nothing() -> None:
    """A tick is safe at any time."""
    script = CoreScript()
    script.hold(HERE)
    before = script.state

    script.take(Tick())

    assert script.state is before
