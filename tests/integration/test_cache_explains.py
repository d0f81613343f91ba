"""Rule J7, on a running cache: who touched a key, what was built, and what its reads got meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hermes_cache import BuildError, Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.bus.codec import to_plain
from hermes_cache.testing import GatedBuilder, ManualClock
from tests.waiting import WAIT_S

KEY = SessionListKey("work")
POLICY = Policy(ttl=10.0, retry_delay=5.0, retry_delay_max=5.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_s=1_700_000_000.0)


@pytest.fixture
def cache(bus: Bus, clock: ManualClock, builder: GatedBuilder) -> Iterator[SessionListCache]:
    with SessionListCache(builder, policy=POLICY, bus=bus, clock=clock) as running:
        yield running


def test_hits_are_counted_from_the_payload_on_that_is_held(cache: SessionListCache) -> None:
    """J7"""
    for _ in range(4):
        cache.get(KEY)
    first = cache.explain(KEY).served
    cache.invalidate("work")
    for _ in range(2):
        cache.get(KEY)

    second = cache.explain(KEY).served

    assert first == {"built": 1, "hit": 3}
    assert second == {"built": 1, "hit": 1}


def test_hits_are_counted_once_whatever_else_the_cache_does_meanwhile(cache: SessionListCache) -> None:
    """J7"""
    for other in ("a", "b", "c"):
        for _ in range(3):
            cache.get(KEY)
        cache.get(SessionListKey(other))

    assert cache.explain(KEY).served == {"built": 1, "hit": 8}


def test_what_is_served_in_position_of_a_build_is_counted(
    cache: SessionListCache, clock: ManualClock, builder: GatedBuilder
) -> None:
    """J7, R3"""
    cache.get(KEY)
    builder.close()
    clock.advance(10.0)
    cache.get(KEY)
    builder.wait_for_calls(2, KEY)

    told = cache.explain(KEY)

    builder.open()
    assert told.served == {"built": 1, "stale": 1}
    assert told.condition == "aged"
    assert [(build.reason, build.outcome) for build in told.builds] == [("age", "running"), ("miss", "stored")]


def test_errors_are_counted_by_their_name(cache: SessionListCache, builder: GatedBuilder) -> None:
    """J7, R7"""
    builder.fail_with(OSError("locked"))
    for _ in range(3):
        with pytest.raises(BuildError):
            cache.get(KEY)

    told = cache.explain(KEY)

    assert told.served == {"BuildError": 3}
    assert (told.condition, told.failures, told.retry_in_s) == ("missing", 2, 5.0)
    assert [build.why for build in told.builds] == ["OSError: locked"] * 2


def test_the_event_that_overtook_a_build_is_shown_with_its_publisher_and_its_reason(
    cache: SessionListCache, bus: Bus, builder: GatedBuilder
) -> None:
    """J7, B4"""
    builder.close()
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(cache.get, KEY)
        builder.wait_for_calls(1, KEY)
        bus.session_list_changed.send("sidebar", reason="session_rename", profile="work", session_id="s1")
        builder.open()
        reading.result(WAIT_S)

    told = cache.explain(KEY)

    (event,), (build,) = told.events, told.builds
    assert (event.event.id.incarnation, event.is_foreign) == (bus.incarnation, False)
    assert to_plain(event.event).items() >= {"reason": "session_rename", "session_id": "s1"}.items()
    assert (build.outcome, build.overtaken_by) == ("discarded", event.event.id)
    assert (told.condition, told.served) == ("missing", {"built": 1})


def test_a_stopped_cache_still_explains(cache: SessionListCache) -> None:
    """J7, L1"""
    cache.get(KEY)
    cache.stop()

    told = cache.explain(KEY)

    assert (told.condition, told.served) == ("missing", {})


def test_events_from_before_the_start_are_shown(bus: Bus) -> None:
    """J7, E5"""
    cache = SessionListCache(GatedBuilder(is_open=True), policy=POLICY, bus=bus)
    bus.session_list_changed.send("sidebar", reason="session_rename", profile="work", session_id="s1")

    (told,) = cache.explain(KEY).events

    assert str(told.event.id) == bus.session_list_changed.ticket()
