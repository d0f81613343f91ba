"""The policy: every bound and every span that a user may set.

Source: the rules that name a number.
"""

from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Final, Self

from hermes_cache.arguments import check_type
from hermes_cache.errors import PolicyError

_STREAMING_TTL_S: Final = 10.0
_CADENCES_PER_STREAMING_TTL: Final = 1.5
"""A streaming TTL that is not longer than the poll makes every poll stale (rule H3)."""

_COUNTS: Final = frozenset(
    {"pool_size", "max_queue", "max_waiters", "max_abandoned", "max_entries", "max_bytes", "max_edition_bytes",
     "max_followers", "subscription_size", "journal_max_events"}
)  # fmt: skip
_OPTIONAL: Final = frozenset({"streaming_ttl", "poll_interval", "max_stale"})
_MAY_BE_ZERO: Final = frozenset(
    {"ttl", "owner_wait", "follower_wait", "duty_window", "retry_delay", "retry_delay_max", "max_stale",
     "max_edition_bytes", "repeat_window", "stamp_interval", "journal_wait", "journal_interval", "stop_timeout"}
)  # fmt: skip
_WAITED_FOR: Final = frozenset({"journal_wait", "stop_timeout"})
_SHARE: Final = "a share above 0 and at most 1"
_LONGEST_WAIT_S: Final = 1e9
"""31 years; past 292 the system refuses to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the cache may cost and how long it waits. Times in seconds.

    Attributes:
        ttl: Age at which an idle entry is refreshed (R3, H3).
        streaming_ttl: The same while a stream holds the entry down; None for the greater of 10 s and 1.5 times
            `poll_interval`.
        poll_interval: The front end's cadence, if it has one.
        owner_wait: How long the read that finds an entry stale by source waits for its build (R4).
        follower_wait: How long the other readers of that key wait.
        build_timeout: A build past it is abandoned; a reader past it gets `BuildTimeoutError` (R5, B6).
        pool_size: Builds side by side (B5).
        max_queue: Builds that may wait for a slot.
        max_waiters: Readers that may wait.
        max_abandoned: Hung builds, past which further ones fail at once (B6).
        max_build_duty: Share of the time that refreshes of one scope may take; 1.0 for no bound (B9).
        duty_window: The longest that B9 holds a refresh back.
        retry_delay: Pause after a second failure in a row; doubles (R7).
        retry_delay_max: The longest such pause.
        max_stale: How long after its build a payload may stand in for builds that fail (R7); None for no bound.
        max_entries: Entries held (P4).
        max_bytes: Bytes held, by encoded size.
        repeat_window: A key that was asked for twice within it, and is still asked for, is evicted after those
            that were not; 0 if only the last use counts (P4).
        max_edition_bytes: What editions of views may take, for patches from them (D1); 0 for no patches.
        stamp_interval: Least time between two checks of a scope; 0 for a check at every read (S4).
        follow_interval: Least time between two looks at a followed view whose sources tell of no change (R13).
        max_followers: Views that may be followed at a time, each counted as often as it is followed.
        stream_lease: When a stream without a sign of life is forgotten (H4).
        subscription_size: Changes that a subscription holds before it merges (E7).
        journal_wait: How long `send` waits for its commit (J3).
        journal_interval: Least time between two checks of the journal (J3).
        journal_lease: Without the journal for this long, reads that insist on freshness are refused (J5).
        journal_max_age: Age at which events are compacted (J6).
        journal_max_events: Count at which they are.
        stop_timeout: How long `stop` waits for threads (L1).

    Raises:
        PolicyError: A value cannot work; it names the field.
    """

    ttl: float = 2.5
    streaming_ttl: float | None = None
    poll_interval: float | None = None
    owner_wait: float = 1.0
    follower_wait: float = 0.10
    build_timeout: float = 60.0
    pool_size: int = 2
    max_queue: int = 256
    max_waiters: int = 10_000
    max_abandoned: int = 8
    max_build_duty: float = 0.2
    duty_window: float = 10.0
    retry_delay: float = 0.1
    retry_delay_max: float = 5.0
    max_stale: float | None = None
    max_entries: int = 64
    max_bytes: int = 256 * 2**20
    repeat_window: float = 0.0
    max_edition_bytes: int = 32 * 2**20
    stamp_interval: float = 0.05
    follow_interval: float = 1.0
    max_followers: int = 1_000
    stream_lease: float = 900.0
    subscription_size: int = 64
    journal_wait: float = 0.25
    journal_interval: float = 0.05
    journal_lease: float = 10.0
    journal_max_age: float = 604_800.0
    journal_max_events: int = 100_000
    stop_timeout: float = 5.0

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(each.name, getattr(self, each.name))
        if self.max_build_duty > 1:
            raise PolicyError("max_build_duty", self.max_build_duty, _SHARE)
        if self.retry_delay_max < self.retry_delay:
            raise PolicyError("retry_delay_max", self.retry_delay_max, f"at least retry_delay, {self.retry_delay}")
        if self.poll_interval and self.streaming_ttl is not None and self.streaming_ttl <= self.poll_interval:
            expected = f"longer than poll_interval, {self.poll_interval}, or every poll finds its entry stale"
            raise PolicyError("streaming_ttl", self.streaming_ttl, expected)

    @classmethod
    def strict(cls, **given: Any) -> Self:
        """Return a policy by which no read gets what its sources or a journal on this machine have outdated.

        Every read checks its sources and the journal, waits for the build that it needs however long that takes,
        and no refresh is held back for its cost.

        Args:
            given: Fields of the policy; they win over what it sets by itself.
        """
        build_timeout = cls(**given).build_timeout
        waits = {"owner_wait": build_timeout, "follower_wait": build_timeout}
        return cls(**{"stamp_interval": 0.0, "max_build_duty": 1.0, "journal_interval": 0.0, **waits, **given})

    def ttl_s(self, *, streaming: bool) -> float:
        """Return the age at which an entry is refreshed (H3)."""
        if not streaming:
            return self.ttl
        if self.streaming_ttl is not None:
            return self.streaming_ttl
        return max(_STREAMING_TTL_S, _CADENCES_PER_STREAMING_TTL * (self.poll_interval or 0.0))

    def retry_delay_s(self, failures: int) -> float:
        """Return the pause after so many failures in a row: none after the first, then doubling (R7)."""
        if failures <= 1:
            return 0.0
        doublings = min(failures - 2, 60)
        return float(min(self.retry_delay * 2**doublings, self.retry_delay_max))

    def duty_pause_s(self, took_s: float) -> float:
        """Return the pause after a refresh that took so long (B9)."""
        # In this order: one by the least share is infinite, and no time at all of it is not a number.
        return min(took_s / self.max_build_duty - took_s, self.duty_window)


def policy_or_default(policy: Policy | None) -> Policy:
    """Return a policy, or the one of the defaults for None.

    Raises:
        TypeError: It is no policy.
    """
    check_type("policy", policy, Policy)
    return Policy() if policy is None else policy


def _check(name: str, value: object) -> None:
    if value is None and name in _OPTIONAL:
        return
    wanted = int if name in _COUNTS else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise PolicyError(name, value, _expected(name))
    least_is_zero = name in _MAY_BE_ZERO
    if not _fits(value) or value < 0 or (value == 0 and not least_is_zero):
        raise PolicyError(name, value, "finite and at least 0" if least_is_zero else "finite and above 0")
    if name in _WAITED_FOR and value > _LONGEST_WAIT_S:
        raise PolicyError(name, value, f"at most {_LONGEST_WAIT_S:,.0f} s")


def _expected(name: str) -> str:
    if name == "max_build_duty":
        return _SHARE
    return "a whole number" if name in _COUNTS else "a number of seconds"


def _fits(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False
