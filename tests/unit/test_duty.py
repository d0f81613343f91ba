"""Rule B9: a build's cost bounds its frequency."""

import pytest

from hermes_cache.core import duty
from hermes_cache.core.policy import Policy
from hermes_cache.core.state import Build, HeldBack, Refresh, State, Target
from hermes_cache.core.transitions import scope_of
from hermes_cache.core.turn import Turn
from hermes_cache.sessions.keys import SessionListKey

_TARGET = Target(SessionListKey(), "scope", "default", watched=True)
_OTHER = Target(SessionListKey(show_cron=True), "scope", "default", watched=True)


def _turn(now_s: float = 100.0, policy: Policy | None = None, state: State | None = None) -> Turn:
    return Turn.over(state or State(), policy or Policy(), now_s)


def _join(turn: Turn, build: Build) -> None:
    duty.join(turn, [build])


def _is_held_back(turn: Turn, target: Target, refresh: Refresh = Refresh.SOURCE) -> bool:
    return duty.is_held_back(turn, target, refresh)


def _refreshed(turn: Turn, build: Build, *, until_s: float) -> None:
    _join(turn, build)
    duty.begin(turn, build)
    turn.now_s = until_s
    duty.leave(turn, build)


def test_nothing_is_held_back_at_first() -> None:
    """B9"""
    turn = _turn()

    assert not _is_held_back(turn, _TARGET)


def test_after_a_refresh_its_scope_pauses_in_proportion_to_what_it_took() -> None:
    """B9"""
    turn = _turn(100.0)

    _refreshed(turn, Build(1, _TARGET, "source", Refresh.SOURCE), until_s=101.0)

    assert scope_of(turn.state, _TARGET).pause_until_s == 105.0
    turn.now_s = 104.9
    assert _is_held_back(turn, _OTHER)
    turn.now_s = 105.0
    assert not _is_held_back(turn, _OTHER)


def test_the_pause_is_no_longer_than_the_window() -> None:
    """B9"""
    turn = _turn(100.0)

    _refreshed(turn, Build(1, _TARGET, "source", Refresh.SOURCE), until_s=130.0)

    assert scope_of(turn.state, _TARGET).pause_until_s == 140.0


def test_a_duty_of_one_holds_nothing_back() -> None:
    """B9"""
    turn = _turn(policy=Policy(max_build_duty=1.0))
    build = Build(1, _TARGET, "source", Refresh.SOURCE)

    _join(turn, build)

    assert not _is_held_back(turn, _TARGET)


def test_a_refresh_under_way_holds_the_next_one_of_its_scope_back() -> None:
    """B9"""
    turn = _turn()

    _join(turn, Build(1, _TARGET, "source", Refresh.SOURCE))

    assert _is_held_back(turn, _OTHER)
    assert not _is_held_back(turn, Target(_TARGET.key, "elsewhere", "default", watched=True))


def test_what_is_held_back_is_remembered_once() -> None:
    """B9"""
    turn = _turn()

    duty.hold_back(turn, [HeldBack(_TARGET, Refresh.AGE)])
    duty.hold_back(turn, [HeldBack(_OTHER, Refresh.AGE)])
    duty.hold_back(turn, [HeldBack(_TARGET, Refresh.AGE)])

    held_back = scope_of(turn.state, _TARGET).held_back
    assert {key: held.target for key, held in held_back.items()} == {_TARGET.key: _TARGET, _OTHER.key: _OTHER}
    assert len(turn.transitions) == 2


def test_refreshes_that_start_together_count_as_one() -> None:
    """B9"""
    turn = _turn(100.0)
    first, second = Build(1, _TARGET, "source", Refresh.SOURCE), Build(2, _OTHER, "source", Refresh.SOURCE)
    for build in (first, second):
        _join(turn, build)
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

    duty.leave(turn, Build(1, _TARGET, "source", Refresh.SOURCE))

    assert scope_of(turn.state, _TARGET).pause_until_s == 0.0


def test_a_refresh_that_ended_in_the_queue_took_nothing() -> None:
    """B9"""
    turn = _turn(100.0)
    build = Build(1, _TARGET, "source", Refresh.SOURCE)
    _join(turn, build)

    turn.now_s = 107.0
    duty.leave(turn, build)

    assert not _is_held_back(turn, _TARGET)


def _build(number: int, refresh: Refresh) -> Build:
    return Build(number, _TARGET, "age" if refresh is Refresh.AGE else "source", refresh)


def test_a_refresh_by_age_holds_back_only_further_ones_by_age() -> None:
    """B9, R3"""
    turn = _turn(100.0)

    _refreshed(turn, _build(1, Refresh.AGE), until_s=101.0)

    assert _is_held_back(turn, _TARGET, Refresh.AGE)
    assert not _is_held_back(turn, _TARGET, Refresh.SOURCE)
    turn.now_s = 105.0
    assert not _is_held_back(turn, _TARGET, Refresh.AGE)


def test_a_refresh_by_source_holds_back_those_by_age_too() -> None:
    """B9"""
    turn = _turn(100.0)

    _refreshed(turn, _build(1, Refresh.SOURCE), until_s=101.0)

    assert [_is_held_back(turn, _TARGET, each) for each in Refresh] == [True, True, False, False, True]


def test_a_commit_found_while_a_refresh_by_age_runs_is_not_held_back() -> None:
    """B9, R3"""
    turn = _turn()

    _join(turn, _build(1, Refresh.AGE))

    assert [_is_held_back(turn, _OTHER, each) for each in Refresh] == [True, False, False, False, False]


def test_a_refresh_that_holds_both_counts_as_one_by_source() -> None:
    """B9"""
    turn = _turn(100.0)
    first, second = _build(1, Refresh.AGE), Build(2, _OTHER, "source", Refresh.SOURCE)
    for build in (first, second):
        _join(turn, build)
        duty.begin(turn, build)

    turn.now_s = 101.0
    duty.leave(turn, second)
    duty.leave(turn, first)

    assert scope_of(turn.state, _TARGET).pause_until_s == 105.0


@pytest.mark.parametrize("refresh", [Refresh.SOURCE, Refresh.URGENT])
def test_the_start_of_a_stream_and_a_setting_begin_a_pause_as_a_commit_does(refresh: Refresh) -> None:
    """B9"""
    turn = _turn(100.0)

    _refreshed(turn, _build(1, refresh), until_s=101.0)

    assert scope_of(turn.state, _TARGET).pause_until_s == 105.0


def test_the_refresh_for_a_stop_begins_no_pause() -> None:
    """B9, H2: the title is committed after it"""
    turn = _turn(100.0)

    _refreshed(turn, _build(1, Refresh.STOP), until_s=101.0)

    assert not any(_is_held_back(turn, _TARGET, each) for each in Refresh)


@pytest.mark.parametrize(("began_s", "is_held_back"), [(104.9, True), (105.0, False)])
def test_only_a_stop_within_the_pause_of_another_begins_one(began_s: float, *, is_held_back: bool) -> None:
    """B9"""
    turn = _turn(100.0)
    _refreshed(turn, _build(1, Refresh.STOP), until_s=101.0)

    turn.now_s = began_s
    _refreshed(turn, _build(2, Refresh.STOP), until_s=began_s + 1.0)

    assert _is_held_back(turn, _TARGET, Refresh.SOURCE) is is_held_back


def test_what_a_commit_asks_for_is_released_at_the_end_of_the_pause_for_commits() -> None:
    """B9"""
    turn = _turn(100.0)
    _refreshed(turn, _build(1, Refresh.SOURCE), until_s=101.0)
    _refreshed(turn, _build(2, Refresh.AGE), until_s=103.0)

    duty.hold_back(turn, [HeldBack(_OTHER, Refresh.AGE)])
    by_age_s = scope_of(turn.state, _TARGET).release_at_s()
    duty.hold_back(turn, [HeldBack(_TARGET, Refresh.SOURCE)])
    duty.hold_back(turn, [HeldBack(_TARGET, Refresh.AGE)])

    assert (by_age_s, scope_of(turn.state, _TARGET).release_at_s()) == (111.0, 105.0)
