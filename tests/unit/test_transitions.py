"""Transitions: bounds on what is remembered of keys and profiles that come from outside."""

from dataclasses import replace

from hermes_cache.core.record import PastBuild
from hermes_cache.core.state import Failure, ScopeState, State
from hermes_cache.core.transitions import Ended, NewsSent, ScopeMoved, fold
from tests.simulation.core_script import CoreScript, target_of


def test_a_fold_over_nothing_changes_nothing() -> None:
    """The state is a fold over what happened."""
    state = State(position=3)

    assert fold(state, ()) is state


def test_failures_are_remembered_of_so_many_keys_only() -> None:
    """R7"""
    failure = Failure(1, 0.0, 0.0, 0, None, "slow")
    keys = [target_of(f"profile {number}").key for number in range(1_025)]

    ended = PastBuild(1, "miss", 0.0, 0.0, "failed", "slow", None)
    state = fold(State(), [Ended(key, ended, failure=failure) for key in keys])

    assert len(state.failures) == 1_024
    assert keys[0] not in state.failures


def test_a_payload_ends_the_failures_of_its_key_alone() -> None:
    """R7"""
    script = CoreScript()
    for target in (target_of(), target_of("work")):
        script.read(target)
        script.fail(script.running(target))

    script.hold(target_of())

    assert list(script.state.failures) == [target_of("work").key]


def test_subscribers_are_remembered_of_so_many_profiles_only() -> None:
    """E9"""
    state = fold(State(), [NewsSent(f"profile {number}", 0.0) for number in range(1_025)])

    assert len(state.news) == 1_024


def test_past_their_bound_the_scopes_that_nobody_uses_are_forgotten() -> None:
    """S4"""
    script = CoreScript()
    script.hold(target_of("held", watched=True))
    script.read(target_of("read", watched=True))
    scopes = [ScopeState(target_of(f"profile {number}", watched=True)) for number in range(1_025)]

    state = script.state
    for scope in scopes:
        state = ScopeMoved(scope).apply(state)
        assert scope.target.scope in state.scopes

    assert "held" in state.scopes
    assert len(state.scopes) <= 1_024


def test_a_stopped_cache_has_no_timer() -> None:
    """L1"""
    scope = replace(ScopeState(target_of()), due_s=5.0)

    state = ScopeMoved(scope).apply(State())

    assert state.wake_at_s == 5.0
