"""Freshness: may an entry be served?

Source: rules R2 to R4, R8, S4, H2, H3.
"""

from enum import Enum, auto
from math import inf
from typing import assert_never

from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Request
from hermes_cache.core.stamps import SETTINGS_PART, Check, may_only_have_moved, moved_parts
from hermes_cache.core.state import Entry, Reason, Refresh, State, Target

CHECK_WAIT_S = 0.05
"""The longest that a read waits for checks, in all (S4)."""

_INTERVALS_TRUSTED = 2
"""A check is trusted for so many stamp intervals, and for as long as it took itself (S4)."""


class Verdict(Enum):
    """What may be done with what is held for a key."""

    FRESH = auto()
    UNCHECKED = auto()
    AGED = auto()
    MOVED = auto()
    OUTDATED = auto()
    MISSING = auto()


def judge(
    state: State, policy: Policy, target: Target, request: Request, now_s: float, *, check_by_s: float
) -> Verdict:
    """Say whether a key's entry may answer a read, and if not, the first reason: event, source, age.

    Args:
        state: What the cache knows: the entry, the streams and the last check count.
        policy: The policy; its spans count.
        target: The key that is read.
        request: How fresh the reader wants it, and since when.
        now_s: Monotonic seconds.
        check_by_s: Until when the read may wait for a check; past it the last one must do.
    """
    entry = state.entry_of(target)
    if entry is None:
        return Verdict.MISSING
    if entry.version < state.version_of(target):
        return Verdict.OUTDATED
    if state.marker_of(target) != entry.stamp.marker:
        return Verdict.MOVED
    seen = _judge_sources(state, policy, target, request, now_s, check_by_s=check_by_s)
    if seen is not Verdict.FRESH:
        return seen
    return Verdict.AGED if now_s - entry.built_at_s >= ttl_s(entry, policy) else Verdict.FRESH


def reason_of(verdict: Verdict) -> Reason | None:
    """Return why a read with that verdict is no hit; None if it is one."""
    match verdict:
        case Verdict.FRESH:
            return None
        case Verdict.MISSING:
            return "miss"
        case Verdict.OUTDATED:
            return "event"
        case Verdict.AGED:
            return "age"
        case Verdict.MOVED | Verdict.UNCHECKED:
            # What nobody looked at in time counts as moved (S4).
            return "source"
        case _:
            assert_never(verdict)


def ttl_s(entry: Entry, policy: Policy) -> float:
    """Return the age at which an entry is stale (H3)."""
    return policy.ttl_s(streaming=entry.stamp.marker.held)


def trusted(check: Check | None, request: Request, now_s: float, policy: Policy) -> bool:
    """Say whether a check still counts (S4); for a read that insists, only one that began after it does (R8)."""
    if check is None:
        return False
    if request.freshness.insists:
        return check.verified and check.began_s >= request.began_s
    if policy.stamp_interval == 0:
        return check.began_s >= request.began_s
    return now_s - check.began_s <= trusted_for_s(check, policy)


def trusted_for_s(check: Check, policy: Policy) -> float:
    """Return for how long after its beginning a check counts."""
    return _INTERVALS_TRUSTED * policy.stamp_interval + check.took_s


def refresh_for(state: State, target: Target, reason: Reason, replaced: Entry | None = None) -> Refresh:
    """Return what a refresh of a key is asked for (B9).

    Args:
        state: What the cache knows: the entry, the streams and the last check count.
        target: The key.
        reason: Why what is held will not do.
        replaced: What is to be replaced, if it is not what is held.
    """
    if reason == "age":
        return Refresh.AGE
    entry, check, marker = replaced or state.entry_of(target), state.check_of(target), state.marker_of(target)
    if entry is None:
        # It was evicted while a reader waited for a check: a miss is never held back.
        return Refresh.URGENT
    if entry.stamp.marker != marker:
        # If streams were only added, none stopped. A stream that came and went since is not among them.
        has_started = set(marker.stream_ids) > set(entry.stamp.marker.stream_ids)
        return Refresh.URGENT if has_started else Refresh.STOP
    # What a build without a check of its own was built from may have moved or not: that is no known setting.
    # Nor does a check that is no newer than the build's own say anything of it (B3).
    own = entry.stamp.check
    known = check is not None and check.began_s > own.began_s and not own.is_failed
    moved = moved_parts(entry.stamp.check.parts, check.parts) if check and known else ()
    if check and may_only_have_moved(entry.stamp.check.parts, check.parts):
        return Refresh.AGE
    return Refresh.URGENT if any(name.startswith(SETTINGS_PART) for name in moved) else Refresh.SOURCE


def has_moved_since(state: State, target: Target, entry: Entry) -> bool:
    """Say whether a check that began after the entry's own found its sources moved, or it counts as moved.

    Args:
        state: What the cache knows; the last check counts.
        target: What the entry's key means now; after a change of settings that may be another scope.
        entry: The entry.
    """
    if entry.stamp.check.is_missing:
        return target.watched
    check = state.check_of(target)
    comparable = check is not None and check.held == entry.stamp.marker.held
    return comparable and check is not None and _differs(check, entry.stamp.check)


def _judge_sources(
    state: State, policy: Policy, target: Target, request: Request, now_s: float, *, check_by_s: float
) -> Verdict:
    entry = state.entries[target.key]
    if not target.watched:
        return Verdict.MOVED if request.freshness.insists else Verdict.FRESH
    if entry.stamp.check.is_missing:
        return Verdict.MOVED
    check = state.check_of(target)
    comparable = check is not None and check.held == entry.stamp.marker.held
    if not comparable or not trusted(check, request, now_s, policy):
        if now_s < check_by_s and not _looked_in_vain(check, request):
            return Verdict.UNCHECKED
        if now_s - _last_seen_s(check, entry.stamp.check) > ttl_s(entry, policy) or request.freshness.insists:
            return Verdict.MOVED
    return Verdict.MOVED if has_moved_since(state, target, entry) else Verdict.FRESH


def _looked_in_vain(check: Check | None, request: Request) -> bool:
    # A locked file stays locked: to look again at once, and again, would only burn the wait (S2, R8).
    if check is None or check.verified:
        return False
    return request.freshness.insists and check.began_s >= request.began_s


def _last_seen_s(check: Check | None, own: Check) -> float:
    # A build reads the sources itself: if its own check failed, the build counts as one until the TTL.
    began_s = own.began_s if own.is_failed else -inf
    return max(began_s, check.began_s) if check else began_s


def _differs(check: Check, own: Check) -> bool:
    # An entry is never compared with a check older than its own (B3).
    return check.began_s > own.began_s and check.parts != own.parts
