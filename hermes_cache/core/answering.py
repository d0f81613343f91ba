"""Answering: what a read gets when it does not get what it came for.

A stale payload if rule R1 and the reader's request allow it, else the error. Source: rules R4 to R8, B5.
"""

from collections.abc import Hashable
from dataclasses import replace

from hermes_cache.core.effects import Deliver, Served
from hermes_cache.core.followed import FollowedMoved, without_content
from hermes_cache.core.requests import Request
from hermes_cache.core.stamps import Check, moved_parts
from hermes_cache.core.state import Entry, Failure, Reason, State, Target, Waiter
from hermes_cache.core.turn import Turn
from hermes_cache.errors import (
    BuildError,
    BuildTimeoutError,
    CacheBusyError,
    HermesCacheError,
    LookupTimeoutError,
    ProfileNotFoundError,
)

_KEPT_BOUNDS = 2
"""What is kept for waiting readers may fill `max_bytes` this many times, with what is held (R4)."""

_FAILURES_THAT_SLOW = 2
_LEAST_PAUSE_S = 0.2
"""After two failures in a row even an invalidation brings the next attempt no closer than this (R7)."""


def stale_for(state: State, waiter: Waiter) -> Entry | None:
    """Return the stale payload that a read may get: none if it insists, or if an invalidation came before it.

    One that was evicted while the read waits is kept for it (R4). What was held of a profile that is gone answers
    nobody (X8).
    """
    failure = state.failures.get(waiter.read.target.key)
    is_gone = failure is not None and isinstance(failure.cause, ProfileNotFoundError)
    if is_gone or not waiter.request.takes_stale:
        return None
    held = state.entry_of(waiter.read.target)
    return held if held is not None and held.version >= waiter.version else waiter.kept


def answer_stale(turn: Turn, waiter: Waiter, entry: Entry, reason: Reason) -> None:
    """Answer with what is held, though a newer one is wanted."""
    failure = turn.state.failures.get(entry.target.key)
    turn.answer(waiter.read, Served(entry, "stale", reason, waiter.overtaken_by, failure))


def answer_instead(turn: Turn, waiter: Waiter, error: HermesCacheError) -> None:
    """Answer with the stale payload that the read may get, else with an error."""
    entry = stale_for(turn.state, waiter)
    if entry is None or is_too_old_to_serve(turn, entry):
        turn.answer(waiter.read, error)
        return
    answer_stale(turn, waiter, entry, waiter.reason or "source")


def is_too_old_to_serve(turn: Turn, entry: Entry) -> bool:
    """Say whether builds of a key fail, and its payload is too old to be served in their stead (R7)."""
    most_s, key = turn.policy.max_stale, entry.target.key
    return most_s is not None and key in turn.state.failures and turn.now_s - entry.built_at_s > most_s


def answer_failed(turn: Turn, waiter: Waiter, failure: Failure) -> None:
    """Answer a read for which a build failed, or may not be tried again yet (R7)."""
    answer_instead(turn, waiter, failure_error(waiter.read.target, failure, turn.now_s))


def answer_expired(turn: Turn, waiter: Waiter) -> None:
    """Answer a read that waited as long as it may (R4 to R6)."""
    target, build_timeout_s, entry = waiter.read.target, turn.policy.build_timeout, stale_for(turn.state, waiter)
    if turn.now_s < waiter.request.until_s(build_timeout_s) and entry and is_too_old_to_serve(turn, entry):
        # It became too old while the reader waited for a build after one that failed.
        turn.answer(waiter.read, failure_error(target, turn.state.failures[target.key], turn.now_s))
        return
    waited_for = "a check of its sources" if waiter.awaits == "check" else "its build"
    error = timeout_error(target.key, waiter.request, build_timeout_s, waited_for)
    answer_instead(turn, waiter, error)


def timeout_error(key: Hashable, request: Request, build_timeout_s: float, waited_for: str) -> HermesCacheError:
    """Return the error of a reader that waited as long as it may: its own bound, else `Policy.build_timeout`."""
    if request.timeout_s < build_timeout_s:
        return LookupTimeoutError(key, request.timeout_s, waited_for)
    return BuildTimeoutError(key, f"a reader waited {build_timeout_s:g} s, Policy.build_timeout, for {waited_for}")


def is_over_kept_bound(turn: Turn) -> bool:
    """Say whether so much is held that no reader may wait that can fall back to a payload (R4)."""
    return turn.state.held_bytes > _KEPT_BOUNDS * turn.policy.max_bytes


def has_room(turn: Turn) -> bool:
    """Say whether one more read may wait (B5)."""
    return turn.state.waiting < turn.policy.max_waiters


def answer_busy(turn: Turn, waiter: Waiter) -> None:
    """Answer a read that there is no room for (B5)."""
    answer_instead(turn, waiter, CacheBusyError("max_waiters", turn.policy.max_waiters))


def retry_at_s(state: State, failure: Failure, target: Target) -> float:
    """Return when a key that failed may be built again; a change since then brings that forward (R7)."""
    slowed = failure.count >= _FAILURES_THAT_SLOW
    if state.version_of(target) == failure.version and not _moved(failure.seen, state.check_of(target)):
        return failure.retry_at_s
    return min(failure.retry_at_s, failure.at_s + (_LEAST_PAUSE_S if slowed else 0.0))


def deliver(turn: Turn, target: Target, answer: Served | HermesCacheError) -> None:
    """Hand a payload, or why there is none, to the followers of a key, if there are any (R13)."""
    followed = turn.state.followed.get(target.key)
    if followed is None:
        return
    if isinstance(answer, Served):
        if followed.needed is not None and answer.entry.version < followed.needed:
            # Its build began before the followers needed it: it may lack what they wait for (R1).
            return
        if followed.delivered is not None and followed.delivered.is_newer_than(answer.entry):
            return
        delivered = without_content(answer.entry)
        turn.record(FollowedMoved((replace(followed, delivered=delivered, needed=None),)))
    turn.do(Deliver(followed.followers, target.key, answer))


def standing_failure(turn: Turn, target: Target) -> Failure | None:
    """Return the failure because of which a key may not be built yet."""
    failure = turn.state.failures.get(target.key)
    if failure is None or turn.now_s >= retry_at_s(turn.state, failure, target):
        return None
    return failure


def failure_error(target: Target, failure: Failure, now_s: float) -> BuildError:
    """Return the error for a failure; a new one for every reader."""
    retry_in_s = max(0.0, failure.retry_at_s - now_s)
    kind = BuildTimeoutError if failure.cause is None else BuildError
    error = kind(target.key, reason_of_failure(failure), retry_in_s=retry_in_s)
    error.__cause__ = failure.cause
    return error


def reason_of_failure(failure: Failure) -> str:
    """Return why a build failed, in words; with the name of what was raised, if anything was."""
    return failure.why if failure.cause is None else f"{type(failure.cause).__name__}: {failure.why}"


def _moved(seen: Check | None, check: Check | None) -> bool:
    return check is not None and bool(moved_parts(seen.parts if seen else (), check.parts))
