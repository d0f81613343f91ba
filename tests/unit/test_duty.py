"""Rule B9: a build's cost bounds its frequency."""

from hermes_cache.core import duty
from hermes_cache.core.policy import Policy
from hermes_cache.core.state import Build, State, Target
from hermes_cache.core.transitions import scope_of
from hermes_cache.core.turn import Turn
from hermes_cache.sessions.keys import SessionListKey

_TARGET = Target(SessionListKey(), "scope", "default", watched=True)
_OTHER = Target(SessionListKey(show_cron=True), "scope", "default", watched=True)


def _turn(now_s: float = 100.0, policy: Policy | None = None, state: State | None = None) -> Turn:
    return Turn.over(state or State(), policy or Policy(), now_s)


def _refreshed(turn: Turn, build: Build, *, until_s: float) -> None:
    duty.join(turn, build)
    duty.begin(turn, build)
    turn.now_s = until_s
    duty.leave(turn, build)


def test_nothing_is_held_back_at_first() -> None:
    """B9"""
    turn = _turn()

    assert not duty.is_paused(turn, _TARGET)


def test_after_a_refresh_its_scope_pauses_in_proportion_to_what_it_took() -> None:
    """B9"""
    turn = _turn(100.0)

    _refreshed(turn, Build(1, _TARGET, "age", refresh=True), until_s=101.0)

    assert scope_of(turn.state, _TARGET).pause_until_s == 105.0
    turn.now_s = 104.9
    assert duty.is_paused(turn, _OTHER)
    turn.now_s = 105.0
    assert not duty.is_paused(turn, _OTHER)


def test_the_pause_is_no_longer_than_the_window() -> None:
    """B9"""
    turn = _turn(100.0)

    _refreshed(turn, Build(1, _TARGET, "age", refresh=True), until_s=130.0)

    assert scope_of(turn.state, _TARGET).pause_until_s == 140.0


def test_a_duty_of_one_holds_nothing_back() -> None:
    """B9"""
    turn = _turn(policy=Policy(max_build_duty=1.0))
    build = Build(1, _TARGET, "age", refresh=True)

    duty.join(turn, build)

    assert not duty.is_paused(turn, _TARGET)


def test_a_refresh_under_way_holds_the_next_one_of_its_scope_back() -> None:
    """B9"""
    turn = _turn()

    duty.join(turn, Build(1, _TARGET, "age", refresh=True))

    assert duty.is_paused(turn, _OTHER)
    assert not duty.is_paused(turn, Target(_TARGET.key, "elsewhere", "default", watched=True))


def test_what_is_held_back_is_remembered_once() -> None:
    """B9"""
    turn = _turn()

    duty.hold_back(turn, _TARGET)
    duty.hold_back(turn, _OTHER)
    duty.hold_back(turn, _TARGET)

    held_back = scope_of(turn.state, _TARGET).held_back
    assert {key: read.target for key, read in held_back.items()} == {_TARGET.key: _TARGET, _OTHER.key: _OTHER}
    assert len(turn.transitions) == 2


def test_refreshes_that_start_together_count_as_one() -> None:
    """B9"""
    turn = _turn(100.0)
    first, second = Build(1, _TARGET, "age", refresh=True), Build(2, _OTHER, "age", refresh=True)
    for build in (first, second):
        duty.join(turn, build)
        duty.begin(turn, build)

    turn.now_s = 101.0
    duty.leave(turn, first)
    under_way = scope_of(turn.state, _TARGET)
    turn.now_s = 102.0
    duty.leave(turn, second)

    assert under_way.refreshing == {2}
    assert under_way.pause_until_s == 0.0
    assert scope_of(turn.state, _TARGET).pause_until_s == 110.0


def test_a_build_that_is_no_part_of_the_refresh_starts_no_pause() -> None:
    """B9"""
    turn = _turn()

    duty.leave(turn, Build(1, _TARGET, "age", refresh=True))

    assert scope_of(turn.state, _TARGET).pause_until_s == 0.0


def test_a_refresh_that_ended_in_the_queue_took_nothing() -> None:
    """B9"""
    turn = _turn(100.0)
    build = Build(1, _TARGET, "age", refresh=True)
    duty.join(turn, build)

    turn.now_s = 107.0
    duty.leave(turn, build)

    assert not duty.is_paused(turn, _TARGET)
