"""I19: what one message costs, counted in steps of the interpreter, hardly grows with what is known (B5)."""

from collections.abc import Callable
from functools import cache

import pytest

from hermes_cache.core import decide
from hermes_cache.core.messages import Evict, Follow, Leave, Mark, Put, Weighed
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Freshness
from hermes_cache.core.state import State, Target
from tests.simulation.core_script import CoreScript, content, target_of
from tests.steps import Act, steps_of

_FEW = 64
_POLICY = Policy(max_entries=20_000, max_waiters=20_000, max_queue=20_000)
_PARTS = (("content", 1),)


def _profile(number: int, *, watched: bool = False) -> Target:
    return target_of(f"profile {number}", watched=watched)


@cache
def _held(count: int) -> tuple[State, float]:
    script = CoreScript(_POLICY)
    for number in range(count):
        script.hold(_profile(number, watched=True), _PARTS)
    return script.state, script.now_s


def _holding(count: int, policy: Policy = _POLICY) -> CoreScript:
    script = CoreScript(policy)
    script.state, script.now_s = _held(count)
    return script


def _store_among_entries(count: int) -> Act:
    script = _holding(count)
    script.read(_profile(0), Freshness.FRESH)
    build = script.running(_profile(0))
    return lambda: script.finish(build, recency=())


def _evict_among_entries(count: int) -> Act:
    script = _holding(count, Policy(max_entries=count, max_build_duty=1.0))
    script.read(_profile(count))
    build, order = script.running(_profile(count)), dict.fromkeys(script.state.entries)
    return lambda: script.finish(build, recency=order)


def _put_among_entries(count: int) -> Act:
    script, target = _holding(count), _profile(0)
    made, order = content(), dict.fromkeys(script.state.entries)
    mark = Mark(target.key, script.state.version_of(target), target, script.state.marker_of(target), script.now_s)
    return lambda: script.take(Put(mark, made, script.state.held_bytes, recency=order))


def _take_out_one_among_entries(count: int) -> Act:
    script = _holding(count)
    return lambda: script.take(Evict((_profile(0).key,)))


def _weigh_among_entries(count: int) -> Act:
    script = _holding(count)
    order = dict.fromkeys(script.state.entries)
    return lambda: script.take(Weighed(script.state.held_bytes, order, leaving=True))


def _outdate_one_among_entries(count: int) -> Act:
    script = _holding(count)
    return lambda: script.invalidate("profile 1")


def _check_among_scopes(count: int) -> Act:
    script = _holding(count)
    return lambda: script.check(_profile(0, watched=True), _PARTS)


def _wake_among_scopes(count: int) -> Act:
    script = _holding(count)
    script.now_s += 0.06
    for number in range(count):
        script.now_s += 0.000_01
        script.read(_profile(number, watched=True))
    script.now_s = script.state.wake_at_s
    return lambda: script.wait(0.0)


def _come_and_give_up_among_waiters(count: int) -> Act:
    script = CoreScript(_POLICY)
    reads = [script.read(target_of()) for _ in range(count)]

    def act() -> None:
        script.read(target_of())
        script.take(Leave(reads[count // 2]))

    return act


def _time_out_among_waiters(count: int) -> Act:
    script = CoreScript(_POLICY)
    for _ in range(count):
        script.now_s += 0.000_01
        script.read(target_of(), timeout_s=1.0)
    script.now_s = script.state.wake_at_s
    return lambda: script.wait(0.0)


def _check_among_those_who_wait_for_other_keys(count: int) -> Act:
    script = CoreScript(_POLICY)
    for number in range(count):
        script.read(_profile(number))
    return lambda: script.check(target_of("work", watched=True), _PARTS)


def _build_that_ends_beside_those_who_wait_for_a_check(count: int) -> Act:
    script = CoreScript(Policy(max_waiters=20_000, max_build_duty=1.0))
    here = target_of(watched=True)
    script.hold(here, _PARTS)
    script.now_s += 3.0
    script.check(here, _PARTS)
    script.read(here)
    script.now_s += 1.0
    build = script.running(here)
    for _ in range(count):
        script.read(here)
    script.invalidate("another")
    return lambda: script.finish(build)


def _stream_among_streams(count: int) -> Act:
    script = CoreScript(_POLICY)
    for number in range(count):
        script.start_stream(f"turn {number}", f"profile {number}")

    def act() -> None:
        script.start_stream("one more", "work")
        script.stop_stream("turn 1")

    return act


def _read_among_streams(count: int) -> Act:
    script = CoreScript(_POLICY)
    script.hold(target_of())
    for number in range(count):
        script.start_stream(f"turn {number}", f"profile {number}")
    script.read(target_of())
    return lambda: script.read(target_of())


def _read_after_a_start_among_streams_of_other_profiles(count: int) -> Act:
    script = CoreScript(_POLICY)
    script.hold(target_of())
    for number in range(count):
        script.start_stream(f"turn {number}", f"profile {number}")
    return lambda: script.read(target_of())


def _event_among_profiles(count: int) -> Act:
    script = CoreScript(_POLICY)
    for number in range(count):
        script.invalidate(f"profile {number}")
    return lambda: script.invalidate("one more")


_ACTS: tuple[Callable[[int], Act], ...] = (
    _store_among_entries, _evict_among_entries, _put_among_entries, _take_out_one_among_entries,
    _weigh_among_entries, _outdate_one_among_entries,
    _check_among_scopes, _wake_among_scopes,
    _come_and_give_up_among_waiters, _time_out_among_waiters, _check_among_those_who_wait_for_other_keys,
    _build_that_ends_beside_those_who_wait_for_a_check,
    _stream_among_streams, _read_among_streams, _read_after_a_start_among_streams_of_other_profiles,
    _event_among_profiles,
)  # fmt: skip


@pytest.mark.parametrize("prepare", _ACTS, ids=lambda prepare: prepare.__name__.strip("_"))
@pytest.mark.parametrize("count", [1_000, 10_000])
def test_one_message_costs_hardly_more_among_many(prepare: Callable[[int], Act], count: int) -> None:
    """I19, B5"""
    among_few, among_many = steps_of(prepare(_FEW)), steps_of(prepare(count))

    assert among_few > 100
    assert among_many <= 2 * among_few


def _put_under_waiters(count: int) -> Act:
    script, here = CoreScript(_POLICY), target_of()
    for _ in range(count):
        script.read(here)
    mark = Mark(here.key, script.state.version_of(here), here, script.state.marker_of(here), script.now_s)
    return lambda: script.take(Put(mark, content(), 100))


def _build_under_waiters(count: int) -> Act:
    script = CoreScript(_POLICY)
    for _ in range(count):
        script.read(target_of())
    build = script.running(target_of())
    return lambda: script.finish(build)


def _overtaken_build_under_waiters(count: int) -> Act:
    script = CoreScript(_POLICY)
    script.read(target_of())
    build = script.running(target_of())
    script.invalidate()
    for _ in range(count):
        script.read(target_of())
    return lambda: script.finish(build)


def _check_under_waiters(count: int) -> Act:
    script = CoreScript(_POLICY)
    here = target_of(watched=True)
    script.hold(here, _PARTS)
    script.now_s += 1.0
    for _ in range(count):
        script.read(here)
    return lambda: script.check(here, (("content", 2),))


@pytest.mark.parametrize("prepare", [_build_under_waiters, _put_under_waiters, _check_under_waiters])
def test_what_answers_all_waiters_costs_the_same_for_each(prepare: Callable[[int], Act]) -> None:
    """I19, B5: it touches every one of them, and none of them twice"""
    among_few, among_many = steps_of(prepare(_FEW)), steps_of(prepare(2_000))

    assert among_many / 2_000 <= 1.5 * among_few / _FEW


def _view(number: int) -> Target:
    return target_of(watched=True, agent_limit=number)


def _followed(count: int) -> CoreScript:
    """Return a core that holds views of one scope, each of them followed."""
    script = CoreScript(_POLICY)
    for number in range(count):
        script.hold(_view(number), _PARTS, took_s=0.001)
    for number in range(count):
        script.take(Follow(number, _view(number)))
    script.check(_view(0), _PARTS)
    return script


def _build_that_ends_among_followed(count: int) -> Act:
    script = _followed(count)
    script.invalidate()
    build = script.running(_view(0))
    return lambda: script.finish(build, recency=())


def test_a_build_that_ends_costs_hardly_more_among_many_followed_keys() -> None:
    """I19, R13"""
    among_few, among_many = (steps_of(_build_that_ends_among_followed(count)) for count in (_FEW, 1_000))

    assert among_many <= 1.5 * among_few


def _event_for_followed(count: int) -> Act:
    return _followed(count).invalidate


def _in_a_pause_of_followed(count: int) -> CoreScript:
    script = _followed(count)
    script.invalidate()
    while script.state.builds:
        script.now_s += 0.001
        script.finish(next(iter(script.state.builds.values())), recency=())
    return script


def _event_in_a_pause_of_followed(count: int) -> Act:
    return _in_a_pause_of_followed(count).invalidate


def _end_of_a_pause_of_followed(count: int) -> Act:
    script = _in_a_pause_of_followed(count)
    script.invalidate()
    script.now_s = script.state.scopes[_view(0).scope].release_at_s()
    return lambda: script.wait(0.0)


def _check_of_followed(count: int) -> Act:
    script = _followed(count)
    script.now_s += 1.0
    return lambda: script.check(_view(0), (("content", 2),))


@pytest.mark.parametrize(
    "prepare",
    [_event_for_followed, _event_in_a_pause_of_followed, _end_of_a_pause_of_followed, _check_of_followed],
)
def test_what_concerns_all_followed_keys_costs_little_for_each(prepare: Callable[[int], Act]) -> None:
    """I19, R13: one scope may have a thousand of them, and nobody is answered meanwhile"""
    among_few, among_many = steps_of(prepare(_FEW)), steps_of(prepare(1_000))

    assert among_many / 1_000 <= 1.5 * among_few / _FEW
    assert among_many / 1_000 < 2_500


def test_followed_keys_whose_builds_queue_already_are_not_judged_again() -> None:
    """I19, R13: each of these builds makes a check, which concerns all keys of the scope"""
    script = _followed(_FEW)

    first, second = steps_of(script.invalidate), steps_of(script.invalidate)

    assert 4 * second < first


def test_a_walk_over_all_who_wait_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """I19: the tester, tested"""
    walk = decide.next_wake_s

    def planted(state: State, policy: Policy) -> float:
        return min([walk(state, policy), *(waiter.until_s for waiter in state.all_waiters())])

    monkeypatch.setattr(decide, "next_wake_s", planted)

    among_few, among_many = (steps_of(_time_out_among_waiters(count)) for count in (_FEW, 1_000))

    assert among_many > 2 * among_few


def test_those_whom_an_overtaken_build_cannot_answer_wait_on_in_one_step() -> None:
    """B5: they neither go nor come again."""
    steps = steps_of(_overtaken_build_under_waiters(2_000))

    assert steps / 2_000 < 1_500
