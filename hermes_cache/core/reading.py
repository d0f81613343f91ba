"""Reading: what a read gets, at once or after a wait.

Source: rules R1 to R8, S4, B9.
"""

from dataclasses import replace
from math import inf

from hermes_cache.core import duty
from hermes_cache.core.answering import (
    answer_busy,
    answer_expired,
    answer_failed,
    answer_instead,
    answer_stale,
    has_room,
    is_over_kept_bound,
    is_too_old_to_serve,
    stale_for,
    standing_failure,
)
from hermes_cache.core.building import request_build
from hermes_cache.core.checking import no_check_will_come_in_time, want_check
from hermes_cache.core.effects import Served
from hermes_cache.core.freshness import CHECK_WAIT_S, Verdict, judge, reason_of, refresh_for
from hermes_cache.core.state import Entry, HeldBack, Read, Reason, Waiter
from hermes_cache.core.turn import Turn
from hermes_cache.errors import CacheStoppedError


def read(turn: Turn, asked: Read) -> None:
    """Take in a read: note its key's version, and answer it or let it wait."""
    if turn.state.stopped:
        turn.answer(asked, CacheStoppedError())
        return
    version = turn.state.version_of(asked.target)
    moves = turn.state.streams.moves.of(asked.target.reach)
    request = asked.request
    check_by_s = request.began_s + CHECK_WAIT_S if request.freshness.waits else -inf
    serve(turn, Waiter(asked, version, moves, "check", turn.now_s, check_by_s))


def serve(turn: Turn, waiter: Waiter) -> None:
    """Answer a read by what is held now, or let it wait for what it needs."""
    target, request = waiter.read.target, waiter.request
    verdict = judge(turn.state, turn.policy, target, request, turn.now_s, check_by_s=waiter.check_by_s)
    entry = turn.state.entry_of(target)
    if entry is None:
        _serve_missing(turn, waiter)
        return
    reason = reason_of(verdict)
    if reason is None:
        if turn.policy.stamp_interval > 0:
            want_check(turn, target)
        turn.answer(waiter.read, Served(entry, "hit"))
    elif request.freshness.takes_outdated:
        _serve_even_outdated(turn, waiter, entry, reason)
    elif verdict is Verdict.UNCHECKED:
        _await_check(turn, waiter)
    elif reason == "event" or not request.takes_stale or is_too_old_to_serve(turn, entry):
        _await_build(turn, replace(waiter, reason=reason))
    else:
        _serve_stale(turn, replace(waiter, reason=reason), entry)


def expire(turn: Turn, waiter: Waiter) -> None:
    """Answer a read whose wait is over; if it waited for a check, judge it by the last check that came back."""
    bound_s = waiter.request.began_s + waiter.request.timeout_s
    if waiter.awaits == "check" and turn.now_s < bound_s:
        serve(turn, replace(waiter, check_by_s=-inf))
        return
    answer_expired(turn, waiter)


def _serve_missing(turn: Turn, waiter: Waiter) -> None:
    if waiter.kept is None:
        _await_build(turn, replace(waiter, reason="miss"))
        return
    # Its entry was evicted while the read waited for a check. Nothing says that the payload is current, so it
    # counts as stale by source.
    _serve_stale(turn, replace(waiter, reason="source"), waiter.kept)


def _await_check(turn: Turn, waiter: Waiter) -> None:
    if not has_room(turn):
        answer_busy(turn, waiter)
        return
    want_check(turn, waiter.read.target, at_once=waiter.request.freshness.insists)
    if no_check_will_come_in_time(turn, waiter.read.target):
        serve(turn, replace(waiter, check_by_s=-inf))
        return
    _wait(turn, replace(waiter, awaits="check"), until_s=waiter.check_by_s)


def _await_build(turn: Turn, waiter: Waiter) -> None:
    target = waiter.read.target
    failure = standing_failure(turn, target)
    if failure:
        want_check(turn, target)
        answer_failed(turn, waiter, failure)
        return
    if not has_room(turn):
        answer_busy(turn, waiter)
        return
    if target.key not in turn.state.builds:
        reason = waiter.reason or "miss"
        refused = request_build(turn, target, reason, request=waiter.request)
        if refused:
            answer_instead(turn, waiter, refused)
            return
        waiter = replace(waiter, outcome="built")
    _wait(turn, replace(waiter, awaits="build"), until_s=waiter.request.began_s + turn.policy.build_timeout)


def _serve_stale(turn: Turn, waiter: Waiter, entry: Entry) -> None:
    """Serve a stale entry: by age at once, by source after a short wait for its refresh (R3, R4)."""
    is_building = entry.target.key in turn.state.builds
    reason = waiter.reason or "source"
    refreshing = _refresh(turn, waiter, reason)
    wait_s = turn.policy.follower_wait if is_building else turn.policy.owner_wait
    at_once = reason == "age" or not refreshing or wait_s <= 0 or entry.build_s > wait_s
    if at_once or is_over_kept_bound(turn) or not has_room(turn):
        answer_stale(turn, waiter, entry, reason)
        return
    waiting = replace(waiter, awaits="build", outcome="waited" if is_building else "built")
    _wait(turn, waiting, until_s=min(turn.now_s + wait_s, waiter.request.began_s + turn.policy.build_timeout))


def _serve_even_outdated(turn: Turn, waiter: Waiter, entry: Entry, reason: Reason) -> None:
    target = waiter.read.target
    want_check(turn, target)
    if reason != "event":
        _refresh(turn, waiter, reason)
        answer_stale(turn, waiter, entry, reason)
        return
    if target.key not in turn.state.builds and standing_failure(turn, target) is None:
        request_build(turn, target, reason, request=waiter.request)
    failure = turn.state.failures.get(target.key)
    turn.answer(waiter.read, Served(entry, "outdated", reason, failure=failure))


def _refresh(turn: Turn, waiter: Waiter, reason: Reason) -> bool:
    """See that a refresh runs or is queued; say whether one is."""
    target = waiter.read.target
    if target.key in turn.state.builds:
        return True
    if standing_failure(turn, target):
        return False
    refresh, request = refresh_for(turn.state, target, reason), waiter.request
    if duty.is_held_back(turn, target, refresh):
        duty.hold_back(turn, [HeldBack(target, refresh, request.builder)])
        return False
    return request_build(turn, target, reason, refresh=refresh, request=request) is None


def _wait(turn: Turn, waiter: Waiter, *, until_s: float) -> None:
    if waiter.request.timeout_s <= 0:
        answer_expired(turn, waiter)
        return
    turn.wait(replace(waiter, kept=stale_for(turn.state, waiter)), until_s=until_s)
