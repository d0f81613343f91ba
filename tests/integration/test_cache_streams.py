"""The hold-down while a chat turn streams, on the running cache (H1 to H5, E7)."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hermes_cache import Bus, Lookup, Policy, PolicyError, SessionListCache, SessionListKey
from hermes_cache.core.events import EventId, StreamStarted
from hermes_cache.core.messages import Tick
from hermes_cache.core.streams import Marker
from hermes_cache.testing import GatedBuilder, ManualClock, VersionedSources
from tests.integration.heard import drained
from tests.waiting import WAIT_S, await_readers

_KEY = SessionListKey()
_WORK = SessionListKey("work")
_EVERY = SessionListKey(all_profiles=True)


class _Gateway:
    """A cache with what surrounds it."""

    def __init__(
        self, policy: Policy | None = None, *, active_stream_ids: Callable[[], Iterable[str]] | None = None
    ) -> None:
        self.bus, self.clock = Bus(), ManualClock(wall_s=time.time())
        self.sources, self.builder = VersionedSources(), GatedBuilder(is_open=True)
        self.cache = SessionListCache(
            self.builder,
            sources=self.sources,
            policy=policy or Policy(ttl=3_600.0, streaming_ttl=3_600.0, max_build_duty=1.0),
            bus=self.bus,
            clock=self.clock,
            active_stream_ids=active_stream_ids,
        )

    def lookup(self, key: SessionListKey = _KEY) -> Lookup:
        """Read once the last check is too old to be used."""
        self.clock.advance(1.0)
        return self.cache.lookup(key)

    def read(self, *keys: SessionListKey) -> list[str]:
        return [f"{looked.outcome} {looked.reason or ''}".strip() for looked in map(self.lookup, keys)]

    def advance(self, span_s: float) -> None:
        self.clock.advance(span_s)
        self.cache._living().ask(Tick())


@contextmanager
def _running(
    policy: Policy | None = None, *, active_stream_ids: Callable[[], Iterable[str]] | None = None
) -> Iterator[_Gateway]:
    gateway = _Gateway(policy, active_stream_ids=active_stream_ids)
    with gateway.cache:
        yield gateway


def test_token_writes_during_a_stream_change_nothing_and_are_not_looked_at() -> None:
    """H1"""
    with _running() as gateway:
        gateway.bus.stream_started.send(stream_id="a")
        gateway.lookup()
        looks = gateway.sources.calls(_KEY) - gateway.sources.held_calls(_KEY)

        for token in range(50):
            gateway.sources.set_part(token + 1)
            assert gateway.read(_KEY) == ["hit"]

        assert looks == 0
        assert gateway.sources.calls(_KEY) == gateway.sources.held_calls(_KEY) > 50
        assert gateway.builder.calls() == 1


def test_the_stamp_of_a_held_payload_has_a_marker_for_what_a_stream_moves() -> None:
    """H1"""
    with _running() as gateway:
        gateway.bus.stream_started.send(stream_id="b")
        gateway.bus.stream_started.send(stream_id="a")

        stamp = gateway.lookup().stamp

        assert stamp["streams"] == Marker(("a", "b"), 2)
        assert set(stamp) == {"settings", "settings_version", "streams"}


def test_a_start_and_a_stop_make_stale_by_source_as_of_the_read() -> None:
    """H2"""
    with _running() as gateway:
        gateway.lookup()

        gateway.bus.stream_started.send(stream_id="a")
        started = gateway.cache.lookup(_KEY)
        gateway.sources.set_part(1)
        gateway.bus.stream_stopped.send(stream_id="a")
        stopped = gateway.cache.lookup(_KEY)

        assert (started.outcome, started.reason) == (stopped.outcome, stopped.reason) == ("built", "source")
        assert stopped.stamp["content/default"] == 1


def test_a_turn_that_came_and_went_between_two_reads_is_noticed() -> None:
    """H2"""
    with _running() as gateway:
        gateway.lookup()

        gateway.bus.stream_started.send(stream_id="a")
        gateway.bus.stream_stopped.send(stream_id="a")

        assert gateway.read(_KEY, _KEY) == ["built source", "hit"]


def test_a_start_or_stop_is_never_held_back_by_the_cost_of_the_last_refresh() -> None:
    """H2, B9"""
    with _running(Policy(ttl=3_600.0, streaming_ttl=3_600.0)) as gateway:
        gateway.lookup()
        for number in range(5):
            gateway.bus.stream_started.send(stream_id=f"s{number}")
            assert gateway.read(_KEY) == ["built source"]
            gateway.bus.stream_stopped.send(stream_id=f"s{number}")
            assert gateway.read(_KEY) == ["built source"]


def test_a_build_that_noted_another_marker_answers_only_as_stale_and_is_built_again() -> None:
    """H2"""
    with _running() as gateway, ThreadPoolExecutor(2) as readers:
        gateway.builder.close()
        early = readers.submit(gateway.cache.lookup, _KEY)
        gateway.builder.wait_for_calls(1)
        gateway.bus.stream_started.send(stream_id="a")
        late = readers.submit(gateway.cache.lookup, _KEY)
        await_readers(gateway.cache, 2)

        gateway.builder.let_through()
        first, second = early.result(WAIT_S), late.result(WAIT_S)
        gateway.builder.wait_for_calls(2)
        gateway.builder.open()

        assert (first.outcome, first.reason) == ("built", "miss")
        assert (second.outcome, second.reason) == ("stale", "source")
        assert first.payload is second.payload


def test_a_strict_read_waits_for_the_build_that_noted_its_marker() -> None:
    """H2, R8"""
    with _running() as gateway, ThreadPoolExecutor(2) as readers:
        gateway.builder.close()
        early = readers.submit(gateway.cache.lookup, _KEY)
        gateway.builder.wait_for_calls(1)
        gateway.bus.stream_started.send(stream_id="a")
        late = readers.submit(gateway.cache.lookup, _KEY, freshness="fresh")
        await_readers(gateway.cache, 2)

        gateway.builder.open()

        assert early.result(WAIT_S).payload["call"] == 1
        assert late.result(WAIT_S).payload["call"] == 2
        assert late.result().stamp["streams"] == Marker(("a",), 1)


def test_whoever_starts_or_stops_a_stream_never_gets_a_hit_from_before_it() -> None:
    """H2"""
    bus = Bus()
    policy = Policy(ttl=3_600.0, streaming_ttl=3_600.0)
    with (
        SessionListCache(GatedBuilder(is_open=True), bus=bus, sources=VersionedSources(), policy=policy) as cache,
        ThreadPoolExecutor(4) as turns,
    ):

        def stream(turn: int) -> int:
            wrong = 0
            for number in range(40):
                stream_id = f"{turn}.{number}"
                bus.stream_started.send(stream_id=stream_id)
                during = cache.lookup(_KEY)
                bus.stream_stopped.send(stream_id=stream_id)
                after = cache.lookup(_KEY)
                wrong += during.outcome != "stale" and stream_id not in _active(during)
                wrong += after.outcome != "stale" and stream_id in _active(after)
            return wrong

        wrong = sum(turns.map(stream, range(4)))

    assert wrong == 0


def test_without_reads_a_start_or_stop_builds_nothing() -> None:
    """H2"""
    with _running() as gateway:
        gateway.lookup()

        gateway.bus.stream_started.send(stream_id="a")
        gateway.bus.stream_stopped.send(stream_id="a")
        gateway.advance(60.0)

        assert gateway.builder.calls() == 1


def test_a_payload_lives_longer_while_a_turn_streams() -> None:
    """H3"""
    with _running(Policy()) as gateway:
        gateway.lookup()

        assert gateway.read(_KEY, _KEY, _KEY) == ["hit", "hit", "stale age"]
    with _running(Policy()) as gateway:
        gateway.bus.stream_started.send(stream_id="a")
        gateway.lookup()

        assert gateway.read(*[_KEY] * 10) == [*["hit"] * 9, "stale age"]


def test_a_streaming_ttl_that_every_poll_would_exceed_is_refused() -> None:
    """H3"""
    with pytest.raises(PolicyError, match="streaming_ttl"):
        Policy(poll_interval=30.0, streaming_ttl=30.0)

    assert Policy(poll_interval=30.0).ttl_s(streaming=True) == 45.0
    assert Policy(poll_interval=5.0).ttl_s(streaming=True) == 10.0


@pytest.mark.parametrize(
    ("profile", "moved"),
    [
        ("work", ["hit", "built source", "built source"]),
        ("default", ["built source", "hit", "built source"]),
        (None, ["built source"] * 3),
        (" ", ["built source"] * 3),
    ],
)
def test_a_stream_touches_its_profile_and_all_profiles_views_alone(profile: str | None, moved: list[str]) -> None:
    """H5"""
    with _running() as gateway:
        gateway.read(_KEY, _WORK, _EVERY)

        gateway.bus.stream_started.send(stream_id="a", profile=profile)
        started = gateway.read(_KEY, _WORK, _EVERY)
        gateway.bus.stream_stopped.send(stream_id="a")
        stopped = gateway.read(_KEY, _WORK, _EVERY)

        assert started == stopped == moved


def test_a_profile_without_a_stream_is_watched_as_ever() -> None:
    """H5, H1"""
    with _running() as gateway:
        gateway.read(_KEY, _WORK)
        gateway.bus.stream_started.send(stream_id="a", profile="work")
        gateway.sources.set_part(1)
        gateway.sources.set_part(1, profile="work")

        assert gateway.read(_KEY, _WORK, _WORK) == ["built source", "built source", "hit"]
        assert gateway.sources.held_calls(_KEY) == 0


def test_a_stop_is_final_though_its_start_comes_later() -> None:
    """H4"""
    with _running() as gateway:
        gateway.bus.stream_stopped.send(stream_id="a")
        gateway.bus.stream_started.send(stream_id="a")

        assert gateway.cache.stats().streams == 0
        assert gateway.lookup().stamp["streams"] == Marker((), 1)


def test_a_repeated_start_is_a_sign_of_life_and_makes_nothing_stale() -> None:
    """H4"""
    with _running() as gateway:
        gateway.bus.stream_started.send(stream_id="a")
        gateway.lookup()
        gateway.advance(800.0)
        _start(gateway, "a", gateway.clock.wall_s())
        again = gateway.read(_KEY)
        gateway.advance(800.0)
        alive = gateway.cache.stats().streams
        gateway.advance(110.0)

        assert again == ["hit"]
        assert (alive, gateway.cache.stats().streams) == (1, 0)


def test_a_stream_that_is_never_stopped_is_forgotten_when_its_lease_ends() -> None:
    """H4"""
    with _running() as gateway:
        _start(gateway, "a", gateway.clock.wall_s())
        gateway.lookup()

        gateway.advance(898.0)
        held = gateway.cache.stats().streams
        gateway.advance(1.5)

        assert (held, gateway.cache.stats().streams) == (1, 0)
        assert gateway.read(_KEY, _KEY) == ["built source", "hit"]


@pytest.mark.parametrize(("age_s", "lasts_s"), [(600.0, 300.0), (-600.0, 900.0), (899.0, 1.0)])
def test_a_lease_counts_from_the_events_own_time_and_never_beyond_its_arrival(
    age_s: float, lasts_s: float
) -> None:
    """H4"""
    with _running() as gateway:
        gateway.cache.start()
        _start(gateway, "a", gateway.clock.wall_s() - age_s)

        gateway.advance(lasts_s - 0.5)
        held = gateway.cache.stats().streams
        gateway.advance(1.0)

        assert (held, gateway.cache.stats().streams) == (1, 0)


def test_a_start_from_before_its_lease_holds_nothing_down() -> None:
    """H4"""
    with _running() as gateway:
        gateway.cache.start()
        _start(gateway, "a", gateway.clock.wall_s() - 901.0)

        assert gateway.lookup().stamp["streams"] == Marker((), 1)
        assert gateway.cache.stats().streams == 0


def test_listed_streams_hold_all_down_until_they_are_listed_no_more() -> None:
    """H4, H5"""
    listed = ["a"]
    with _running(active_stream_ids=lambda: listed) as gateway:
        first = gateway.lookup()
        gateway.sources.set_part(1)
        held = gateway.read(_KEY)
        listed.clear()
        ended = gateway.read(_KEY, _KEY)

        assert first.stamp["streams"] == Marker(("a",), 0)
        assert held == ["hit"]
        assert ended == ["built source", "hit"]


def test_the_profile_that_the_bus_gave_stands_when_the_id_is_listed_too() -> None:
    """H5"""
    with _running(active_stream_ids=lambda: ["a"]) as gateway:
        gateway.bus.stream_started.send(stream_id="a", profile="work")

        assert gateway.lookup(_KEY).stamp["streams"] == Marker((), 0)
        assert gateway.lookup(_WORK).stamp["streams"] == Marker(("a",), 1)


def test_a_stream_that_was_stopped_is_over_though_it_is_still_listed() -> None:
    """H4"""
    with _running(active_stream_ids=lambda: ["a"]) as gateway:
        gateway.lookup()

        gateway.bus.stream_stopped.send(stream_id="a")

        assert gateway.read(_KEY, _KEY) == ["built source", "hit"]
        assert gateway.lookup().stamp["streams"] == Marker((), 1)


@pytest.mark.parametrize("answer", [OSError("gone"), None, [5, "a"]])
def test_a_callable_that_cannot_list_streams_lists_none(answer: object, caplog: pytest.LogCaptureFixture) -> None:
    """H4"""

    def list_streams() -> Iterable[str]:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    with _running(active_stream_ids=list_streams) as gateway:
        assert gateway.lookup().stamp["streams"] == Marker((), 0)
        assert gateway.read(_KEY, _KEY) == ["hit", "hit"]
        assert gateway.cache.health().failing_callables == {"active_stream_ids"}
    logged = [record for record in caplog.records if record.message == "hermes_cache.callable_failed"]
    assert [record.levelno for record in logged] == [logging.WARNING]


def test_streams_are_listed_by_checkers_never_in_the_mailbox() -> None:
    """H4"""
    names: set[str] = set()

    def list_streams() -> Iterable[str]:
        names.add(threading.current_thread().name)
        return ()

    with _running(active_stream_ids=list_streams) as gateway:
        gateway.read(_KEY, _KEY, _KEY)

    assert names == {"hermes_cache.checker"}


def test_a_listed_stream_that_ended_is_active_nowhere_though_one_scope_is_read_no_more() -> None:
    """O3, H4"""
    listed = ["a"]
    with _running(active_stream_ids=lambda: listed) as gateway:
        gateway.read(_WORK, _KEY)
        before = gateway.cache.overlay([{"session_id": "s", "active_stream_id": "a"}])
        listed.clear()
        gateway.read(_KEY)

        after = gateway.cache.overlay([{"session_id": "s", "active_stream_id": "a"}])

        assert [row["is_streaming"] for row in before if isinstance(row, dict)] == [True]
        assert [row["is_streaming"] for row in after if isinstance(row, dict)] == [False]


def test_subscribers_of_a_profile_hear_of_its_streams_and_of_stops_that_nobody_knows() -> None:
    """E7"""
    with _running() as gateway:
        work, home = gateway.cache.subscribe("work"), gateway.cache.subscribe("home")

        gateway.bus.stream_started.send(stream_id="a", profile="work", session_id="s")
        gateway.bus.stream_stopped.send(stream_id="a")
        gateway.bus.stream_stopped.send(stream_id="unknown")
        heard = [[(change.reason, change.profile) for change in drained(each)] for each in (work, home)]

        assert heard == [
            [("stream_started", "work"), ("stream_stopped", "work"), ("stream_stopped", None)],
            [("stream_stopped", None)],
        ]


def _start(gateway: _Gateway, stream_id: str, at_s: float) -> None:
    """Let another process's start arrive, said at a moment of its own."""
    gateway.bus.relay(StreamStarted(id=EventId("elsewhere", 1), at_s=at_s, stream_id=stream_id))


def _active(looked: Lookup) -> tuple[str, ...]:
    marker = looked.stamp["streams"]
    assert isinstance(marker, Marker)
    return marker.stream_ids
