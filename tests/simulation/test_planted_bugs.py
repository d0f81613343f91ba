"""The tester, tested: each of these bugs, planted into the core, is found by the simulation within 300 seeds.

A bug that no schedule finds would mean that a law is missing, not that the core is right.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from math import inf
from typing import TypeAlias

import pytest

from hermes_cache.core import (
    answering,
    building,
    checking,
    decide,
    duty,
    freshness,
    hits,
    reading,
    storing,
    transitions,
)
from hermes_cache.core import versions as core_versions
from hermes_cache.core.effects import Abandon, Release, RunBuild, Served
from hermes_cache.core.freshness import Verdict, judge
from hermes_cache.core.hits import Hits
from hermes_cache.core.messages import Built
from hermes_cache.core.policy import Policy
from hermes_cache.core.record import PastBuild, Touches
from hermes_cache.core.requests import Freshness, Request
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import (
    Build,
    Entry,
    Failure,
    Read,
    Reason,
    Refresh,
    ScopeState,
    State,
    Target,
    Waiter,
)
from hermes_cache.core.streams import Streams
from hermes_cache.core.tables import Table, Timers
from hermes_cache.core.turn import Turn
from hermes_cache.core.versions import Versions
from tests.simulation.campaigns import assert_found
from tests.simulation.simulation import Simulation

Plant: TypeAlias = Callable[[pytest.MonkeyPatch], None]

_SEEDS = 300


def _always(answer: object) -> Callable[..., object]:
    return lambda *_args, **_options: answer


def _build_answers_everybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(building, "_answers", _always(answer=True))


def _judge_ignores_versions(patch: pytest.MonkeyPatch) -> None:
    def planted(
        state: State, policy: Policy, target: Target, request: Request, now_s: float, *, check_by_s: float
    ) -> Verdict:
        verdict = judge(state, policy, target, request, now_s, check_by_s=check_by_s)
        return Verdict.FRESH if verdict is Verdict.OUTDATED else verdict

    patch.setattr(reading, "judge", planted)


def _overtaken_payload_is_stored(patch: pytest.MonkeyPatch) -> None:
    def planted(turn: Turn, entry: Entry, message: Built) -> None:
        storing.store(turn, replace(entry, version=turn.state.version_of(entry.target)), message)

    patch.setattr(building, "why_not_stored", _always(None))
    patch.setattr(building, "store", planted)


def _nobody_is_dismissed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Turn, "dismiss", lambda _turn, waiters: list(waiters))


def _leftovers_are_not_queued_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(building, "_build_again", _always(None))


def _build_is_run_twice(patch: pytest.MonkeyPatch) -> None:
    do = Turn.do

    def planted(turn: Turn, effect: object) -> None:
        do(turn, effect)  # type: ignore[arg-type]  # as it came
        if isinstance(effect, RunBuild):
            do(turn, effect)

    patch.setattr(Turn, "do", planted)


def _refresh_forgets_the_build_under_way(patch: pytest.MonkeyPatch) -> None:
    def planted(turn: Turn, waiter: Waiter, reason: Reason) -> bool:
        target, request = waiter.read.target, waiter.request
        return building.request_build(turn, target, reason, refresh=Refresh.SOURCE, request=request) is None

    patch.setattr(reading, "_refresh", planted)


def _abandoned_slot_is_not_filled(patch: pytest.MonkeyPatch) -> None:
    do = Turn.do

    def planted(turn: Turn, effect: object) -> None:
        if not isinstance(effect, Abandon):
            do(turn, effect)  # type: ignore[arg-type]  # as it came

    patch.setattr(Turn, "do", planted)


def _hanging_build_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    def planted(key: Hashable, build: PastBuild, build_s: float, failure: Failure | None) -> transitions.Ended:
        known = replace(build, outcome="failed") if build.outcome == "abandoned" else build
        return transitions.Ended(key, known, build_s, failure)

    patch.setattr(building, "Ended", planted)


def _builds_are_never_abandoned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "abandon_overdue", _always(None))


def _too_many_may_hang(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(building, "too_many_hang", _always(answer=False))


def _late_result_is_stored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(building, "_live", lambda turn, begun: turn.state.builds.get(begun.target.key))


def _older_check_replaces_a_newer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checking, "newer", _always(answer=True))


def _moved_sources_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(freshness, "_differs", _always(answer=False))


def _old_check_is_trusted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(freshness, "trusted_for_s", _always(inf))


def _fresh_read_trusts_an_old_check(patch: pytest.MonkeyPatch) -> None:
    trusted = freshness.trusted

    def planted(check: Check | None, request: Request, now_s: float, policy: Policy) -> bool:
        return trusted(check, replace(request, freshness=Freshness.DEFAULT), now_s, policy)

    patch.setattr(freshness, "trusted", planted)


def _unread_check_verifies(patch: pytest.MonkeyPatch) -> None:
    trusted = freshness.trusted

    def planted(check: Check | None, request: Request, now_s: float, policy: Policy) -> bool:
        return trusted(check and replace(check, verified=True), request, now_s, policy)

    patch.setattr(freshness, "trusted", planted)


def _failed_check_stays_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "check_failed", _always(None))


def _hanging_check_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ScopeState, "give_up_at_s", _always(inf))


def _another_check_is_begun_while_one_hangs(patch: pytest.MonkeyPatch) -> None:
    def planted(turn: Turn, scope: ScopeState) -> None:
        turn.record(transitions.ScopeMoved(replace(scope, asked_s=None)))

    patch.setattr(decide, "give_up_check", planted)


def _failed_checks_are_repeated_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checking, "_earliest_s", _always(-inf))


def _build_without_a_check_takes_the_last(patch: pytest.MonkeyPatch) -> None:
    differs = freshness._differs
    patch.setattr(freshness, "_differs", lambda check, own: not own.is_failed and differs(check, own))


def _expired_streams_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Streams, "without_expired", lambda streams, _now_s: streams)


def _stop_is_not_final(patch: pytest.MonkeyPatch) -> None:
    stop = Streams.stop

    def planted(streams: Streams, stream_id: str, *, position: int, until_s: float) -> Streams:
        return replace(stop(streams, stream_id, position=position, until_s=until_s), stopped=Table())

    patch.setattr(Streams, "stop", planted)


def _streams_move_no_marker(patch: pytest.MonkeyPatch) -> None:
    marker = Streams.marker

    def planted(streams: Streams, reach: str, listed: Iterable[str] = ()) -> object:
        return marker(streams, reach, listed)._replace(moves=0)

    patch.setattr(Streams, "marker", planted)


def _reads_forget_streams_that_moved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "Waiter", lambda read, version, _moves, *rest: Waiter(read, version, 0, *rest))


def _all_profiles_are_not_outdated(patch: pytest.MonkeyPatch) -> None:
    def planted(versions: Versions, profile: str | None, position: int) -> Versions:
        after = touched(versions, profile, position)
        return after if profile is None else replace(after, all_profiles=versions.all_profiles)

    touched = Versions.touched
    patch.setattr(Versions, "touched", planted)


def _forgotten_profile_counts_as_never_touched(patch: pytest.MonkeyPatch) -> None:
    def planted(versions: Versions, profile: str | None, position: int) -> Versions:
        after = touched(versions, profile, position)
        return after if profile is None else replace(after, everything=versions.everything)

    touched = Versions.touched
    patch.setattr(Versions, "touched", planted)
    patch.setattr(core_versions, "MOST_PROFILES", 1)


def _history_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Touches, "after", lambda touches, _touch: touches)


def _every_event_touches_all(patch: pytest.MonkeyPatch) -> None:
    after = Touches.after
    patch.setattr(Touches, "after", lambda touches, touch: after(touches, touch._replace(profile=None)))


def _nothing_ages(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(freshness, "ttl_s", _always(inf))


def _retry_delay_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "standing_failure", _always(None))
    patch.setattr(building, "standing_failure", _always(None))


def _duty_pause_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(duty, "is_held_back", _always(answer=False))


def _duty_pause_is_cut_short(patch: pytest.MonkeyPatch) -> None:
    leave = duty.leave

    def planted(turn: Turn, build: Build) -> None:
        scope = transitions.scope_of(turn.state, build.target)
        turn.record(transitions.ScopeMoved(replace(scope, pause_until_s=0.0, age_pause_until_s=0.0)))
        leave(turn, build)

    patch.setattr(duty, "leave", planted)


def _joining_as(refresh: Refresh) -> Callable[[Turn, Iterable[Build]], None]:
    join = duty.join
    return lambda turn, builds: join(turn, [replace(build, refresh=refresh) for build in builds])


def _refresh_by_age_counts_as_by_source(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(duty, "join", _joining_as(Refresh.SOURCE))


def _refresh_by_age_begins_no_pause(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(duty, "join", _joining_as(Refresh.STOP))


def _stop_of_a_stream_begins_a_pause(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ScopeState, "is_refreshed_by_source", lambda scope: scope.refreshing_by - {Refresh.AGE})


def _stops_never_begin_a_pause(patch: pytest.MonkeyPatch) -> None:
    paused = duty._paused

    def planted(turn: Turn, scope: ScopeState) -> ScopeState:
        return paused(turn, replace(scope, stop_until_s=0.0))

    patch.setattr(duty, "_paused", planted)


def _commit_during_a_refresh_by_age_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(building, "_is_behind", _always(answer=False))


def _payload_that_is_too_old_stands_in(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(answering, "is_too_old_to_serve", _always(answer=False))
    patch.setattr(reading, "is_too_old_to_serve", _always(answer=False))


def _held_back_is_never_released(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ScopeState, "release_at_s", _always(inf))


def _scope_is_checked_all_the_time(patch: pytest.MonkeyPatch) -> None:
    def planted(turn: Turn, target: Target, *, at_once: bool = False) -> None:
        del at_once
        if target.watched:
            checking.take_check(turn, transitions.scope_of(turn.state, target))

    patch.setattr(reading, "want_check", planted)


def _most_recently_used_goes_first(patch: pytest.MonkeyPatch) -> None:
    evict = storing._evict
    patch.setattr(storing, "_evict", lambda turn, recency, *, keep: evict(turn, recency[::-1], keep=keep))


def _bytes_are_not_bounded(patch: pytest.MonkeyPatch) -> None:
    def planted(turn: Turn) -> str | None:
        return "entries" if len(turn.state.entries) > turn.policy.max_entries else None

    patch.setattr(storing, "_bound_reached", planted)


def _replaced_content_is_kept(patch: pytest.MonkeyPatch) -> None:
    do = Turn.do

    def planted(turn: Turn, effect: object) -> None:
        if not isinstance(effect, Release):
            do(turn, effect)  # type: ignore[arg-type]  # as it came

    patch.setattr(Turn, "do", planted)


def _own_timeout_is_ignored(patch: pytest.MonkeyPatch) -> None:
    def planted(turn: Turn, waiter: Waiter, *, until_s: float) -> None:
        turn.record(transitions.Waited(replace(waiter, until_s=until_s)))

    patch.setattr(Turn, "wait", planted)


def _those_who_leave_are_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_leave", _always(None))


def _stop_lets_nobody_go(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_stop", lambda turn: turn.record(transitions.CacheStopped()))


def _reader_without_room_waits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "has_room", _always(answer=True))


def _refreshes_go_first(patch: pytest.MonkeyPatch) -> None:
    def planted(turn: Turn) -> None:
        while turn.state.queue and turn.state.running() < turn.policy.pool_size:
            building._start(turn, turn.state.builds[list(turn.state.queue.values())[-1]])

    patch.setattr(building, "start_builds", planted)


def _strict_read_gets_a_stale_payload(patch: pytest.MonkeyPatch) -> None:
    answer = Turn.answer

    def planted(turn: Turn, read: Read, answered: object) -> None:
        entry = turn.state.entry_of(read.target)
        stale = Served(entry, "stale", "source") if entry and isinstance(answered, Exception) else answered
        answer(turn, read, stale)  # type: ignore[arg-type]  # as it came

    patch.setattr(Turn, "answer", planted)


def _hits_outlive(patch: pytest.MonkeyPatch, *parts: str) -> None:
    """Let hits stand though these parts of the state change."""
    follow = Hits.follow

    def planted(remembered: Hits, before: State, after: State) -> None:
        follow(remembered, replace(before, **{part: getattr(after, part) for part in parts}), after)

    patch.setattr(Hits, "follow", planted)


def _hits_outlive_streams(patch: pytest.MonkeyPatch) -> None:
    _hits_outlive(patch, "streams")


def _hits_outlive_events(patch: pytest.MonkeyPatch) -> None:
    _hits_outlive(patch, "versions")


def _hits_outlive_a_check_that_finds_another(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hits, "_finds_the_same", _always(answer=True))


def _hits_outlive_their_check(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Hits, "_trusted_until_s", _always(inf))


def _hits_never_age(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hits, "ttl_s", _always(inf))


def _waiting_reader_arms_no_timer(patch: pytest.MonkeyPatch) -> None:
    apply = transitions.Waited.apply

    def planted(waited: transitions.Waited, state: State) -> State:
        return replace(apply(waited, state), wake_at_s=state.wake_at_s)

    patch.setattr(transitions.Waited, "apply", planted)


def _scope_arms_no_timer(patch: pytest.MonkeyPatch) -> None:
    apply = transitions.ScopeMoved.apply

    def planted(moved: transitions.ScopeMoved, state: State) -> State:
        return replace(apply(moved, state), wake_at_s=state.wake_at_s)

    patch.setattr(transitions.ScopeMoved, "apply", planted)


def _timer_of_a_reader_is_lost(patch: pytest.MonkeyPatch) -> None:
    due = Timers.due
    patch.setattr(Timers, "due", lambda timers, now_s: due(timers, now_s)[:1])


def _evicted_payload_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    wait = Turn.wait
    patch.setattr(
        Turn, "wait", lambda turn, waiter, *, until_s: wait(turn, replace(waiter, kept=None), until_s=until_s)
    )


def _kept_payload_is_let_go(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Turn, "let_go", Turn._release)


def _reader_is_told_of_a_timeout_before_its_time(patch: pytest.MonkeyPatch) -> None:
    wait = Turn.wait
    patch.setattr(
        Turn, "wait", lambda turn, waiter, *, until_s: wait(turn, waiter, until_s=min(until_s, turn.now_s + 1.0))
    )


def _reader_is_told_of_a_timeout_that_was_none(patch: pytest.MonkeyPatch) -> None:
    record = Turn.record

    def planted(turn: Turn, happened: object) -> None:
        if isinstance(happened, transitions.Ended) and happened.failure is not None:
            failure = replace(happened.failure, why="it took too long", cause=None)
            happened = replace(happened, failure=failure)
        record(turn, happened)  # type: ignore[arg-type]  # as it came

    patch.setattr(Turn, "record", planted)


def _reader_is_told_to_come_back_though_there_is_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "has_room", lambda turn: turn.state.waiting + 1 < turn.policy.max_waiters)


def _subscribers_hear_all_the_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(storing, "_NEWS_EVERY_S", 0.0)


def _subscribers_never_hear_the_last(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "send_delayed_news", _always(None))
    patch.setattr(decide, "due_again_s", _always(inf))


_PLANTS: tuple[Plant, ...] = (
    _build_answers_everybody, _judge_ignores_versions, _overtaken_payload_is_stored, _nobody_is_dismissed,
    _leftovers_are_not_queued_again, _build_is_run_twice, _refresh_forgets_the_build_under_way,
    _abandoned_slot_is_not_filled, _hanging_build_is_forgotten, _builds_are_never_abandoned, _too_many_may_hang,
    _late_result_is_stored, _older_check_replaces_a_newer,
    _failed_check_stays_out, _hanging_check_is_waited_for, _another_check_is_begun_while_one_hangs,
    _failed_checks_are_repeated_at_once, _build_without_a_check_takes_the_last,
    _moved_sources_pass, _old_check_is_trusted, _fresh_read_trusts_an_old_check, _unread_check_verifies,
    _expired_streams_stay, _stop_is_not_final, _streams_move_no_marker, _reads_forget_streams_that_moved,
    _all_profiles_are_not_outdated, _forgotten_profile_counts_as_never_touched,
    _history_is_forgotten, _every_event_touches_all,
    _nothing_ages, _retry_delay_is_ignored, _duty_pause_is_ignored,
    _duty_pause_is_cut_short, _refresh_by_age_counts_as_by_source, _refresh_by_age_begins_no_pause,
    _stop_of_a_stream_begins_a_pause, _stops_never_begin_a_pause, _commit_during_a_refresh_by_age_is_forgotten,
    _held_back_is_never_released, _payload_that_is_too_old_stands_in, _scope_is_checked_all_the_time,
    _most_recently_used_goes_first, _bytes_are_not_bounded, _replaced_content_is_kept, _own_timeout_is_ignored,
    _those_who_leave_are_kept, _stop_lets_nobody_go, _reader_without_room_waits, _refreshes_go_first,
    _hits_outlive_streams, _hits_outlive_events, _hits_outlive_a_check_that_finds_another,
    _hits_outlive_their_check, _hits_never_age,
    _waiting_reader_arms_no_timer, _scope_arms_no_timer, _timer_of_a_reader_is_lost,

    _evicted_payload_is_not_kept, _kept_payload_is_let_go,
    _reader_is_told_of_a_timeout_before_its_time, _reader_is_told_of_a_timeout_that_was_none,
    _reader_is_told_to_come_back_though_there_is_room,
    _strict_read_gets_a_stale_payload, _subscribers_hear_all_the_time, _subscribers_never_hear_the_last,
)  # fmt: skip
_FOUND_BY: dict[Plant, int] = {
    _older_check_replaces_a_newer: 27, _hanging_check_is_waited_for: 7, _fresh_read_trusts_an_old_check: 7,
    _unread_check_verifies: 13, _duty_pause_is_cut_short: 7, _refresh_by_age_counts_as_by_source: 11,
    _stop_of_a_stream_begins_a_pause: 11, _stops_never_begin_a_pause: 15, _hits_outlive_streams: 12,
    _hits_outlive_a_check_that_finds_another: 35, _hits_never_age: 29, _subscribers_never_hear_the_last: 13,
}  # fmt: skip
"""The seed by which a bug was found that the first seeds do not find; it is run before the others."""


@pytest.mark.timeout(240)  # seconds, but slow on a busy machine
@pytest.mark.parametrize("plant", _PLANTS, ids=lambda plant: plant.__name__.strip("_"))
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariants I1 to I13 see what they are there for."""
    plant(monkeypatch)

    assert_found(Simulation, seeds=_SEEDS, first=_FOUND_BY.get(plant, 0))
