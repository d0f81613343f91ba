"""Bounds and spans far beyond what anybody means: each works, or is refused by its field's name."""

import asyncio
import math
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hermes_cache import Bus, HermesCacheError, Policy, PolicyError, SessionListCache, SessionListKey
from hermes_cache.errors import shown

_KEY = SessionListKey()
_TINY = [5e-324, 1e-300, -0.0]
_HUGE = [
    1e9, threading.TIMEOUT_MAX, math.nextafter(threading.TIMEOUT_MAX, math.inf), 1e10, 1e300, sys.float_info.max,
    sys.maxsize, 2**63, 10**30,
]  # fmt: skip
_TOO_LARGE_FOR_A_FLOAT = [10**400, 10**5000]
_IMPOSSIBLE = [math.nan, -1, -1e300, -(10**400), -(10**5000), True, "1"]
_TOLD = r"^timeout is .*; it must be .*, or None for no bound"
_GETS: list[Callable[[SessionListCache, Any], object]] = [
    lambda cache, timeout: cache.get(_KEY, timeout=timeout),
    lambda cache, timeout: cache.lookup(_KEY, timeout=timeout, freshness="fresh"),
    lambda cache, timeout: cache.render(_KEY, timeout=timeout, at_least=cache.invalidate()),
    lambda cache, timeout: asyncio.run(_aget(cache, timeout)),
]


@pytest.mark.parametrize("name", [each.name for each in fields(Policy)])
def test_a_policy_of_extreme_values_serves_or_is_refused(name: str, tmp_path: Path) -> None:
    """R5, R6, L1, J3: no policy that is accepted fails a read or a stop with a foreign error."""
    for value in [*_TINY, *_HUGE, *_TOO_LARGE_FOR_A_FLOAT, *_IMPOSSIBLE, math.inf]:
        try:
            policy = Policy(**{name: value})  # type: ignore[arg-type]
        except PolicyError as refusal:
            assert name in str(refusal)  # noqa: PT017 - most values are accepted
            continue
        _use(policy, f"sqlite:///{tmp_path}/journal.db")


@pytest.mark.parametrize("name", ["journal_wait", "stop_timeout"])
def test_a_span_that_is_waited_for_is_bounded_by_what_can_be_waited_for(name: str) -> None:
    """L1, J3"""
    with pytest.raises(PolicyError, match=f"Policy.{name} is 1e\\+300; it must be at most 1,000,000,000 s"):
        Policy(**{name: 1e300})  # type: ignore[arg-type]


@pytest.mark.parametrize("get", _GETS)
@pytest.mark.parametrize("timeout", [*_HUGE, *_TOO_LARGE_FOR_A_FLOAT, math.inf], ids=shown)
def test_a_huge_timeout_of_a_read_is_no_bound(
    get: Callable[[SessionListCache, Any], object], timeout: float
) -> None:
    """R6"""
    with SessionListCache(lambda _key: {"sessions": []}, bus=Bus()) as cache:
        assert get(cache, timeout)


@pytest.mark.parametrize("get", _GETS)
@pytest.mark.parametrize("timeout", _IMPOSSIBLE, ids=shown)
def test_a_timeout_that_is_no_span_is_refused_by_name(
    get: Callable[[SessionListCache, Any], object], timeout: object
) -> None:
    """R6"""
    with (
        SessionListCache(lambda _key: {"sessions": []}, bus=Bus()) as cache,
        pytest.raises((TypeError, ValueError), match=_TOLD),
    ):
        get(cache, timeout)


@pytest.mark.parametrize("timeout", [*_HUGE, *_TOO_LARGE_FOR_A_FLOAT, math.inf], ids=shown)
def test_a_subscriber_waits_for_as_long_as_it_likes(timeout: float) -> None:
    """E7"""
    with SessionListCache(lambda _key: {"sessions": []}, bus=Bus()) as cache:
        subscription = cache.subscribe()
        later = threading.Timer(0.05, cache.invalidate)
        later.start()

        change = subscription.get(timeout)

        assert change is not None
        later.join()


@pytest.mark.parametrize("timeout", _IMPOSSIBLE, ids=shown)
def test_a_subscriber_that_waits_for_no_span_is_told_so(timeout: Any) -> None:
    """E7"""
    with (
        SessionListCache(lambda _key: {"sessions": []}, bus=Bus()) as cache,
        pytest.raises((TypeError, ValueError), match=_TOLD),
    ):
        cache.subscribe().get(timeout)


def _use(policy: Policy, journal: str) -> None:
    with SessionListCache(lambda _key: {"sessions": []}, policy=policy, bus=Bus(), journal=journal) as cache:
        subscription = cache.subscribe()
        ticket = cache.invalidate("work")
        assert subscription.get(10.0) is not None
        for options in ({}, {"freshness": "fresh"}, {"at_least": ticket}):
            # A bound of next to nothing is kept, too.
            try:
                assert cache.get(_KEY, **options) == {"sessions": []}
            except HermesCacheError as told:
                assert str(told)  # noqa: PT017 - most reads are served
        assert str(cache.explain(_KEY))
        cache.health()


async def _aget(cache: SessionListCache, bound: object) -> object:
    return await cache.aget(_KEY, timeout=bound)  # type: ignore[arg-type]
