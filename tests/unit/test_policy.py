"""The policy: defaults, bounds and the spans that follow from them."""

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from hermes_cache.core.policy import Policy
from hermes_cache.errors import PolicyError

DEFAULTS = {
    "ttl": 2.5,
    "streaming_ttl": None,
    "poll_interval": None,
    "owner_wait": 1.0,
    "follower_wait": 0.10,
    "build_timeout": 60.0,
    "pool_size": 2,
    "max_queue": 256,
    "max_waiters": 10_000,
    "max_abandoned": 8,
    "max_build_duty": 0.2,
    "duty_window": 10.0,
    "retry_delay": 0.1,
    "retry_delay_max": 5.0,
    "max_stale": None,
    "max_entries": 64,
    "max_bytes": 256 * 1024 * 1024,
    "stamp_interval": 0.05,
    "stream_lease": 15 * 60,
    "subscription_size": 64,
    "journal_wait": 0.25,
    "journal_interval": 0.05,
    "journal_lease": 10.0,
    "journal_max_age": 7 * 24 * 3600,
    "journal_max_events": 100_000,
    "stop_timeout": 5.0,
}
COUNTS = [
    "pool_size",
    "max_queue",
    "max_waiters",
    "max_abandoned",
    "max_entries",
    "max_bytes",
    "subscription_size",
    "journal_max_events",
]
MAY_BE_ZERO = ["ttl", "owner_wait", "follower_wait", "stamp_interval", "journal_wait", "journal_interval"]
NEVER_ZERO = [
    "build_timeout",
    "max_build_duty",
    "stream_lease",
    "journal_lease",
    "journal_max_age",
    "poll_interval",
]


def policy(**fields: Any) -> Policy:
    """Make a policy from values of any type."""
    return Policy(**fields)


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_each_rule_that_names_a_number_is_a_default(name: str, default: object) -> None:
    """R4, R5, R7, B5, B6, B9, P4, S4, H3, H4, E7, J3, J5, J6, L1"""
    assert getattr(Policy(), name) == default


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Policy().ttl = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "streaming_s"),
    [
        ({}, 10.0),
        ({"poll_interval": 5.0}, 10.0),
        ({"poll_interval": 30.0}, 45.0),
        ({"streaming_ttl": 3.0}, 3.0),
        ({"streaming_ttl": 31.0, "poll_interval": 30.0}, 31.0),
    ],
)
def test_the_streaming_ttl_outlasts_the_poll(fields: dict[str, float], streaming_s: float) -> None:
    """H3"""
    chosen = policy(**fields)

    assert (chosen.ttl_s(streaming=False), chosen.ttl_s(streaming=True)) == (2.5, streaming_s)


@pytest.mark.parametrize("streaming_ttl", [30.0, 5.0])
def test_a_streaming_ttl_that_does_not_outlast_the_poll_is_refused(streaming_ttl: float) -> None:
    """H3"""
    with pytest.raises(PolicyError, match="longer than poll_interval, 30") as refusal:
        Policy(streaming_ttl=streaming_ttl, poll_interval=30.0)

    assert (refusal.value.field, refusal.value.value) == ("streaming_ttl", streaming_ttl)


@pytest.mark.parametrize(
    ("failures", "pause_s"),
    [(0, 0.0), (1, 0.0), (2, 0.1), (3, 0.2), (4, 0.4), (7, 3.2), (8, 5.0), (10_000, 5.0)],
)
def test_the_retry_delay_doubles_from_the_second_failure(failures: int, pause_s: float) -> None:
    """R7"""
    assert Policy().retry_delay_s(failures) == pytest.approx(pause_s)


@pytest.mark.parametrize(
    ("took_s", "duty", "pause_s"), [(1.0, 0.2, 4.0), (0.5, 0.5, 0.5), (1.0, 1.0, 0.0), (60.0, 0.2, 10.0)]
)
def test_the_cost_of_a_refresh_bounds_its_frequency(took_s: float, duty: float, pause_s: float) -> None:
    """B9"""
    assert Policy(max_build_duty=duty).duty_pause_s(took_s) == pytest.approx(pause_s)


@pytest.mark.parametrize("name", MAY_BE_ZERO)
def test_a_wait_may_be_nothing(name: str) -> None:
    assert getattr(policy(**{name: 0}), name) == 0


@pytest.mark.parametrize("name", [*COUNTS, *NEVER_ZERO])
def test_a_bound_of_nothing_is_refused_by_name(name: str) -> None:
    with pytest.raises(PolicyError, match=f"Policy.{name} is 0; it must be finite and above 0"):
        policy(**{name: 0})


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", True, [1]])
def test_a_value_that_cannot_work_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(PolicyError) as refusal:
        policy(**{name: value})

    assert refusal.value.field == name


@pytest.mark.parametrize("name", [each for each in DEFAULTS if DEFAULTS[each] is not None])
def test_only_what_may_be_left_out_may_be_none(name: str) -> None:
    with pytest.raises(PolicyError):
        policy(**{name: None})


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_a_whole_number(name: str) -> None:
    with pytest.raises(PolicyError, match="a whole number"):
        policy(**{name: 2.5})


def test_a_share_of_more_than_everything_is_refused() -> None:
    """B9"""
    with pytest.raises(PolicyError, match="at most 1"):
        Policy(max_build_duty=1.1)


def test_the_longest_retry_delay_is_no_shorter_than_the_first() -> None:
    """R7"""
    with pytest.raises(PolicyError, match="at least retry_delay, 2"):
        Policy(retry_delay=2.0, retry_delay_max=1.0)


def test_a_strict_policy_checks_at_each_read_and_waits_for_each_build() -> None:
    """R4, S4, B9, J3"""
    policy = Policy.strict()

    assert (policy.stamp_interval, policy.journal_interval, policy.max_build_duty) == (0, 0, 1)
    assert policy.owner_wait == policy.follower_wait == policy.build_timeout == 60.0


def test_what_is_given_to_a_strict_policy_wins() -> None:
    """R4"""
    policy = Policy.strict(build_timeout=5.0, follower_wait=0.5, ttl=1.0)

    assert (policy.owner_wait, policy.follower_wait, policy.build_timeout, policy.ttl) == (5.0, 0.5, 5.0, 1.0)


def test_a_strict_policy_refuses_what_cannot_work_by_name() -> None:
    """R4"""
    with pytest.raises(PolicyError, match="build_timeout"):
        Policy.strict(build_timeout=0)
