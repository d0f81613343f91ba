"""How a cache starts, stops, forks, ends and survives what is hostile (rules L1 to L5, B6, B7, W4)."""

import asyncio
import contextlib
import gc
import math
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import pytest

from hermes_cache import (
    BuildError,
    Bus,
    CacheStoppedError,
    JournalUnavailableError,
    Policy,
    SessionListCache,
    SessionListKey,
)
from hermes_cache.cache.cache_actor import CacheActor
from hermes_cache.core.record import Tally
from hermes_cache.ports import SystemClock
from hermes_cache.testing import GatedBuilder, Listener, VersionedSources
from hermes_cache.threads.aside import aside
from tests.waiting import LASTING, WAIT_S, answered, threads_left, until

_KEY = SessionListKey("work")
_OTHER = SessionListKey("home")


def _empty(_key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": []}


def test_start_and_stop_may_be_called_twice(bus: Bus, builder: GatedBuilder) -> None:
    """L1"""
    cache = SessionListCache(builder, bus=bus)

    cache.stop()
    cache.start()
    cache.start()
    payload = cache.get(_KEY)
    cache.stop()
    cache.stop()

    assert payload["call"] == 1
    assert not cache.health().running


def test_a_read_before_start_starts(bus: Bus, builder: GatedBuilder) -> None:
    """L1"""
    cache = SessionListCache(builder, bus=bus)
    was_running = cache.health().running

    payload = cache.get(_KEY)
    is_running = cache.health().running
    cache.stop()

    assert payload["call"] == 1
    assert (was_running, is_running) == (False, True)


def test_a_cache_that_was_never_started_has_no_thread(bus: Bus, builder: GatedBuilder) -> None:
    """L1"""
    before = set(threading.enumerate())

    cache = SessionListCache(builder, bus=bus)
    told = (cache.peek(_KEY), cache.stats().entries, cache.health().running, cache.explain(_KEY).age_s)
    cache.invalidate()
    aside.end_threads(WAIT_S)

    assert set(threading.enumerate()) <= before
    assert told == (None, 0, False, None)


def test_stop_lets_waiting_readers_go(bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor) -> None:
    """L1"""
    builder.close()
    cache = SessionListCache(builder, bus=bus, policy=Policy(stop_timeout=WAIT_S))
    waiting = [readers.submit(cache.get, _KEY) for _ in range(4)]
    until(lambda: cache.stats().waiting == 4)

    stopping = readers.submit(cache.stop)
    errors = [each.exception(WAIT_S) for each in waiting]
    was_stopping = not stopping.done()
    builder.open()
    stopping.result(WAIT_S)

    assert {type(error) for error in errors} == {CacheStoppedError}
    assert was_stopping, "stop did not wait for the builder's thread"


def test_a_stopped_cache_refuses_reads_and_hears_nothing(bus: Bus, builder: GatedBuilder) -> None:
    """L1"""
    with SessionListCache(builder, bus=bus) as cache:
        cache.get(_KEY)

    for read in (cache.get, cache.lookup, cache.render):
        with pytest.raises(CacheStoppedError):
            read(_KEY)
    events = cache.stats().events
    bus.settings_changed.send()

    assert cache.peek(_KEY) is None
    assert cache.stats().events == events


def test_a_cache_that_starts_again_is_empty_and_hears_events(bus: Bus, builder: GatedBuilder) -> None:
    """L1"""
    cache = SessionListCache(builder, bus=bus)
    with cache:
        cache.get(_KEY)

    with cache:
        nothing = cache.peek(_KEY)
        again = cache.lookup(_KEY)
        cache.invalidate("work")
        after = cache.lookup(_KEY)

    assert nothing is None
    assert (again.outcome, again.reason) == ("built", "miss")
    assert (after.outcome, after.reason) == ("built", "event")


def test_stop_from_a_receiver_works(bus: Bus, builder: GatedBuilder) -> None:
    """L1: a receiver of a fact, on the publisher's thread."""
    cache = SessionListCache(builder, bus=bus)
    cache.get(_KEY)
    bus.session_list_changed.connect(lambda _sender, **_event: cache.stop())

    bus.session_list_changed.send()

    assert not cache.health().running
    assert threads_left() == []


def test_stop_from_a_monitor_works(bus: Bus, builder: GatedBuilder) -> None:
    """L1, E6: a receiver of a notice, on the notifier's thread."""
    cache, stopped = SessionListCache(builder, bus=bus), threading.Event()

    def stop(_sender: object, **_event: object) -> None:
        cache.stop()
        stopped.set()

    bus.entry_stored.connect(stop)
    cache.get(_KEY)

    assert stopped.wait(WAIT_S)
    assert not cache.health().running
    until(lambda: threads_left() == [])


def test_stop_from_a_builder_works(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    """L1: the read that waits for that builder is let go."""
    stopped = threading.Event()

    def build(_key: SessionListKey) -> Mapping[str, object]:
        cache.stop()
        stopped.set()
        return {"sessions": []}

    cache = SessionListCache(build, bus=bus)

    with pytest.raises(CacheStoppedError):
        cache.get(_KEY)

    assert stopped.wait(WAIT_S)
    until(lambda: threads_left() == [])
    assert caplog.records == []


def test_many_threads_may_stop_at_once(bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor) -> None:
    """L1"""
    cache = SessionListCache(builder, bus=bus)
    for _ in range(20):
        cache.start()
        cache.get(_KEY)
        together = threading.Barrier(8)

        stops = [readers.submit(_together, together, cache.stop) for _ in range(8)]

        for each in stops:
            each.result(WAIT_S)
        assert not cache.health().running


def test_reads_that_race_with_stop_are_answered_or_refused(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """L1"""
    for _ in range(50):
        cache = SessionListCache(builder, bus=bus)
        cache.start()
        together = threading.Barrier(8)
        reads: list[Future[object]] = [readers.submit(_together, together, cache.get, _KEY) for _ in range(7)]

        _together(together, cache.stop)
        errors = {type(each.exception(WAIT_S)) for each in reads}

        assert errors <= {type(None), CacheStoppedError}


def test_a_read_in_the_middle_of_a_stop_does_not_start_the_cache_again(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1"""
    tally, refused = CacheActor.tally, list[BaseException | None]()

    def read_meanwhile(actor: CacheActor) -> Tally:
        refused.append(readers.submit(cache.get, _KEY).exception(WAIT_S))
        return tally(actor)

    monkeypatch.setattr(CacheActor, "tally", read_meanwhile)
    cache = SessionListCache(builder, bus=bus)
    cache.get(_KEY)

    cache.stop()

    assert [type(error) for error in refused] == [CacheStoppedError]
    assert not cache.health().running
    assert threads_left() == []


def _together(barrier: threading.Barrier, act: Callable[..., object], *given: object) -> object:
    barrier.wait(WAIT_S)
    return act(*given)


def test_a_builder_that_outlasts_stop_bounds_it_and_its_late_result_harms_nobody(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """L1"""
    builder.close()
    cache = SessionListCache(builder, bus=bus, policy=Policy(stop_timeout=0.2))
    waiting = readers.submit(cache.get, _KEY)
    builder.wait_for_calls(1)

    began_s = time.monotonic()
    cache.stop()
    took_s = time.monotonic() - began_s
    builder.open()
    until(lambda: threads_left() == [])

    assert isinstance(waiting.exception(WAIT_S), CacheStoppedError)
    assert 0.2 <= took_s < WAIT_S / 2, "it waited for the builder"
    assert [record.getMessage() for record in caplog.records] == ["hermes_cache.stopped_late"]


def test_an_event_that_comes_while_the_cache_starts_is_applied(bus: Bus, builder: GatedBuilder) -> None:
    """L1, E5"""
    cache = SessionListCache(builder, bus=bus)
    cache._lock = _StartsFirst(cache)  # type: ignore[assignment]

    cache.invalidate("work")
    with cache:
        events, version = cache.stats().events, cache.lookup(_KEY).version

    assert (events, version) == (1, 1)


class _StartsFirst:
    """The lock of a cache, as it is for a thread that comes second: the first one started the cache."""

    def __init__(self, cache: SessionListCache) -> None:
        self._cache = cache
        self._lock = cache._lock

    def __enter__(self) -> None:
        cache, cache._lock = self._cache, self._lock
        cache.start()
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


def test_events_from_before_the_start_are_known(bus: Bus, builder: GatedBuilder) -> None:
    """L1, H1"""
    cache = SessionListCache(builder, bus=bus, sources=VersionedSources())
    bus.stream_started.send(stream_id="turn", profile="work")
    bus.session_list_changed.send(profile="work")

    with cache:
        found = cache.lookup(_KEY)
        streams = cache.stats().streams

    assert (found.version, streams) == (2, 1)
    assert found.stamp["streams"] == (("turn",), 1)


def test_statistics_and_health_wait_for_nobody(bus: Bus, builder: GatedBuilder) -> None:
    """L4, R10: the mailbox is held by somebody else."""
    with SessionListCache(builder, bus=bus, policy=LASTING) as cache:
        cache.get(_KEY)
        cache.get(_KEY)
        assert cache._life is not None

        with cache._life.actor.actor_inbox._lock:
            stats, health, held = cache.stats(), cache.health(), cache.peek(_KEY)

    assert stats.outcomes == {"built": 1, "hit": 1}
    assert (stats.builds, stats.entries, stats.building, stats.waiting) == (1, 1, 0, 0)
    assert stats.held_bytes > 0
    assert health.healthy
    assert held is not None


def test_health_names_what_fails(bus: Bus, builder: GatedBuilder) -> None:
    """L4"""
    sources = VersionedSources()
    with SessionListCache(builder, bus=bus, sources=sources, policy=Policy(stamp_interval=0)) as cache:
        builder.fail_with(OSError("disk on fire"))
        sources.fail_with(OSError("no such drive"))
        with pytest.raises(BuildError):
            cache.get(_KEY)

        sick = cache.health()
        builder.fail_with(None)
        sources.fail_with(None)
        cache.get(_KEY)
        well = cache.health()

    assert not sick.healthy
    assert sick.failing == {_KEY: "disk on fire"}
    assert sick.failing_callables == {"sources"}
    assert well.healthy
    assert (well.failing, well.failing_callables) == ({}, frozenset())


def test_the_outcomes_count_every_read_once(bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor) -> None:
    """L4"""
    with SessionListCache(builder, bus=bus) as cache:
        reads = [readers.submit(cache.get, _KEY) for _ in range(1_000)]
        for each in reads:
            each.result(WAIT_S)

        outcomes = cache.stats().outcomes

    assert sum(outcomes.values()) == 1_000
    assert outcomes["built"] == 1


def test_a_receiver_reads_the_list_without_what_the_event_outdated(bus: Bus, builder: GatedBuilder) -> None:
    """L5, E5"""
    seen: list[object] = []
    with SessionListCache(builder, bus=bus) as cache:
        cache.get(_KEY)
        bus.session_list_changed.connect(lambda _sender, **_event: seen.append(cache.get(_KEY)["call"]))

        bus.session_list_changed.send(profile="work")

    assert seen == [2]


def test_a_monitor_may_read(bus: Bus, builder: GatedBuilder) -> None:
    """L5, E6"""
    seen: list[object] = []
    read = threading.Event()
    with SessionListCache(builder, bus=bus, policy=LASTING) as cache:

        def hear(_sender: object, **_event: object) -> None:
            seen.append(cache.get(_KEY)["call"])
            read.set()

        bus.entry_stored.connect(hear)
        cache.get(_KEY)

        assert read.wait(WAIT_S)
        assert seen == [1]


def _read(cache: SessionListCache, key: SessionListKey) -> object:
    return cache.get(key, timeout=WAIT_S)


def _await(cache: SessionListCache, key: SessionListKey) -> object:
    return asyncio.run(cache.aget(key))


def _render(cache: SessionListCache, key: SessionListKey) -> object:
    return cache.render(key).lookup.payload


_READS = pytest.mark.parametrize("read", [_read, _await, _render])


@_READS
def test_a_builder_reads_what_is_held_from_memory(
    bus: Bus, read: Callable[[SessionListCache, SessionListKey], object]
) -> None:
    """L5"""

    def build(key: SessionListKey) -> Mapping[str, object]:
        held = read(cache, _OTHER) if key == _KEY else None
        return {"sessions": [], "held": held}

    cache = SessionListCache(build, bus=bus, policy=Policy(pool_size=1, ttl=60.0))
    with cache:
        other = cache.get(_OTHER)
        found = cache.get(_KEY)

    assert found["held"] == other


@_READS
def test_a_builder_that_reads_what_is_not_held_is_told_at_once(
    bus: Bus, read: Callable[[SessionListCache, SessionListKey], object]
) -> None:
    """L5: its own key and another one alike; with one slot in the pool, a wait would be for ever."""

    def build(_key: SessionListKey) -> Mapping[str, object]:
        told = []
        for key in (_KEY, _OTHER):
            with pytest.raises(BuildError, match="builder asked the cache") as refused:
                read(cache, key)
            told.append(refused.value.reason)
        return {"sessions": [], "told": told}

    cache = SessionListCache(build, bus=bus, policy=Policy(pool_size=1))
    with cache:
        found = cache.get(_KEY, timeout=WAIT_S)

    assert found["told"]


def test_a_builder_that_insists_on_freshness_is_told_at_once(bus: Bus) -> None:
    """L5, R8: what is held in memory is verified by nobody; 'any' takes even what is outdated."""
    told: list[object] = []

    def build(key: SessionListKey) -> Mapping[str, object]:
        if key == _KEY:
            with pytest.raises(BuildError):
                cache.get(_OTHER, freshness="fresh")
            told.append(cache.lookup(_OTHER, freshness="any").outcome)
        return {"sessions": []}

    cache = SessionListCache(build, bus=bus)
    with cache:
        cache.get(_OTHER)
        cache.invalidate("home")
        cache.get(_KEY)

    assert told == ["outdated"]


def test_an_event_sent_by_a_builder_overtakes_its_own_build(bus: Bus) -> None:
    """L5, B4: who waited before is answered, nothing is stored."""
    calls = 0

    def build(_key: SessionListKey) -> Mapping[str, object]:
        nonlocal calls
        calls += 1
        if calls == 1:
            bus.session_list_changed.send(profile="work")
        return {"sessions": [], "call": calls}

    with SessionListCache(build, bus=bus) as cache:
        first = cache.lookup(_KEY)
        held = cache.peek(_KEY)
        second = cache.lookup(_KEY)

    assert (first.payload["call"], held) == (1, None)
    assert first.overtaken_by is not None
    assert (second.payload["call"], second.outcome) == (2, "built")


def test_a_builder_that_always_publishes_keeps_nobody_waiting_for_more_than_two_builds(
    bus: Bus, readers: ThreadPoolExecutor
) -> None:
    """L5, B4"""

    def build(_key: SessionListKey) -> Mapping[str, object]:
        bus.session_list_changed.send()
        return {"sessions": []}

    with SessionListCache(build, bus=bus) as cache:
        reads = [readers.submit(cache.get, _KEY) for _ in range(100)]
        errors = [each.exception(WAIT_S) for each in reads]

        assert errors == [None] * 100
        assert cache.stats().builds <= 200


def test_awaiting_a_build_does_not_block_the_event_loop(bus: Bus, builder: GatedBuilder) -> None:
    """W4, R5: the loop itself opens the gate; 200 tasks wait for one build."""
    builder.close()

    async def read_all(cache: SessionListCache) -> list[object]:
        tasks = [asyncio.create_task(cache.aget(_KEY)) for _ in range(200)]
        await asyncio.to_thread(builder.wait_for_calls, 1)
        await asyncio.to_thread(until, lambda: cache.stats().waiting == 200)
        builder.open()
        return [payload["call"] for payload in await asyncio.gather(*tasks)]

    with SessionListCache(builder, bus=bus) as cache:
        calls = asyncio.run(read_all(cache))

    assert calls == [1] * 200


def test_awaiting_gives_hits_errors_and_lookups_like_reading(bus: Bus, builder: GatedBuilder) -> None:
    """W4, R9"""

    async def read(cache: SessionListCache) -> tuple[str, str]:
        built = await cache.alookup(_KEY)
        hit = await cache.alookup(_KEY)
        builder.fail_with(OSError("disk on fire"))
        with pytest.raises(BuildError):
            await cache.aget(_OTHER)
        with pytest.raises(TypeError):
            await cache.aget(_KEY, patience=1)  # type: ignore[call-arg]
        return built.outcome, hit.outcome

    with SessionListCache(builder, bus=bus, policy=LASTING) as cache:
        outcomes = asyncio.run(read(cache))

    assert outcomes == ("built", "hit")


def test_awaiting_a_check_does_not_block_the_event_loop(bus: Bus, builder: GatedBuilder) -> None:
    """W4, S4: the sources are looked at on another thread, also where every read is checked."""
    sources = _LoopedSources()

    async def read(cache: SessionListCache) -> list[str]:
        sources.forbidden = threading.get_ident()
        return [(await cache.alookup(_KEY)).outcome for _ in range(5)]

    for interval in (0, 0.05):
        policy = Policy(ttl=600.0, stamp_interval=interval)
        with SessionListCache(builder, bus=bus, sources=sources, policy=policy) as cache:
            outcomes = asyncio.run(read(cache))

        assert outcomes == ["built", "hit", "hit", "hit", "hit"]
        assert not sources.was_on_the_loop


class _LoopedSources(VersionedSources):
    """Sources that tell whether they were looked at on a forbidden thread."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden = 0
        self.was_on_the_loop = False

    def stamp(self, key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
        self.was_on_the_loop |= threading.get_ident() == self.forbidden
        return super().stamp(key, held=held)


def test_a_cancelled_read_leaves_no_waiter(bus: Bus, builder: GatedBuilder) -> None:
    """W4"""
    builder.close()

    async def read(cache: SessionListCache) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cache.aget(_KEY), 0.02)
        task = asyncio.create_task(cache.aget(_KEY))
        await asyncio.to_thread(until, lambda: cache.stats().waiting == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with SessionListCache(builder, bus=bus) as cache:
        asyncio.run(read(cache))
        until(lambda: cache.stats().waiting == 0)
        builder.open()

        assert cache.get(_KEY)["call"] == 1


def test_stop_lets_awaiting_tasks_go(bus: Bus, builder: GatedBuilder) -> None:
    """L1, W4"""
    builder.close()

    async def read(cache: SessionListCache) -> BaseException | None:
        task = asyncio.create_task(cache.aget(_KEY))
        await asyncio.to_thread(builder.wait_for_calls, 1)
        stopping = asyncio.create_task(asyncio.to_thread(cache.stop))
        (error,) = await asyncio.gather(task, return_exceptions=True)
        builder.open()
        await stopping
        return error if isinstance(error, BaseException) else None

    cache = SessionListCache(builder, bus=bus)

    assert isinstance(asyncio.run(read(cache)), CacheStoppedError)


def test_an_interrupt_frees_the_reader_that_waits_and_harms_nobody_else(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """L1: KeyboardInterrupt in the main thread, while another one waits for the same build."""
    builder.close()
    with SessionListCache(builder, bus=bus, policy=LASTING) as cache:
        other = readers.submit(cache.get, _KEY)
        builder.wait_for_calls(1)

        def interrupt() -> None:
            until(lambda: cache.stats().waiting == 2)
            os.kill(os.getpid(), signal.SIGINT)

        readers.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            cache.get(_KEY)
        until(lambda: cache.stats().waiting == 1)
        builder.open()

        assert other.result(WAIT_S)["call"] == 1
        assert cache.lookup(_KEY).outcome == "hit"


class _UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "raised",
    [OSError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(), MemoryError(),
     RecursionError(), _UnprintableError()],
    ids=repr,
)  # fmt: skip
def test_whatever_a_builder_raises_fails_its_own_build_alone(
    bus: Bus, builder: GatedBuilder, raised: BaseException
) -> None:
    """B6, R7"""
    with SessionListCache(builder, bus=bus, policy=Policy(pool_size=1)) as cache:
        builder.fail_with(raised)
        with pytest.raises(BuildError) as failed:
            cache.get(_KEY, timeout=WAIT_S)
        failing = cache.health().failing
        builder.fail_with(None)

        other, mended = cache.get(_OTHER), cache.get(_KEY)

    assert type(raised).__name__ in str(failed.value)
    assert list(failing) == [_KEY]
    assert (other["call"], mended["call"]) == (1, 2)


class _BrokenMapping(dict[str, object]):
    def items(self) -> object:  # type: ignore[override]
        raise RuntimeError("broken inside")

    def get(self, *_name: object) -> object:
        raise RuntimeError("broken inside")


def _cycle() -> dict[str, object]:
    payload: dict[str, object] = {}
    payload["self"] = payload
    return payload


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (None, "NoneType"),
        (5, "int"),
        ("text", "str"),
        ([{"session_id": "s"}], "list"),
        ({1: 2}, ""),
        ({"sessions": [{"session_id": "a"}, {"tags": {1, 2}}]}, "sessions[1].tags"),
        ({"sessions": [{"updated_at": math.nan}]}, "sessions[0].updated_at"),
        ({"sessions": [{"title": "\ud800"}]}, "sessions[0].title"),
        ({"count": 2**70}, "count"),
        ({"profile": object()}, "profile"),
        (_cycle(), "self"),
        (_BrokenMapping(a=1), "broken inside"),
        (iter(()), ""),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value[:12],
)
def test_what_is_no_payload_fails_the_build_and_says_where(bus: Bus, returned: object, told: str) -> None:
    """B7"""
    with SessionListCache(lambda _key: returned, bus=bus) as cache:  # type: ignore[arg-type]
        with pytest.raises(BuildError) as failed:
            cache.get(_KEY, timeout=WAIT_S)

        assert told in str(failed.value)
        assert cache.stats().entries == 0
        assert cache.get(_KEY, builder=_empty)["sessions"] == []


def test_a_failed_build_keeps_nothing_of_its_builder_alive(bus: Bus) -> None:
    """R7: a failure is remembered, the frames of its builder are not."""

    class Large:
        pass

    kept: list[weakref.ref[Large]] = []

    def build(_key: SessionListKey) -> Mapping[str, object]:
        large = Large()
        kept.append(weakref.ref(large))
        raise OSError(f"{type(large).__name__} was lost")

    with SessionListCache(build, bus=bus) as cache:
        with pytest.raises(BuildError):
            cache.get(_KEY)
        gc.collect()

        assert kept[0]() is None


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"freshness": "new"}, ValueError, "freshness"),
        ({"freshness": ["fresh"]}, ValueError, "freshness"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"timeout": math.nan}, ValueError, "timeout"),
        ({"timeout": "5"}, TypeError, "timeout"),
        ({"builder": 5}, TypeError, "builder"),
        ({"patience": 1}, TypeError, "patience"),
        ({"at_least": "no ticket"}, ValueError, "no ticket"),
        ({"at_least": 5}, TypeError, "at_least"),
        ({"at_least": "another:1"}, JournalUnavailableError, "another:1"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused_at_once_by_name(
    bus: Bus, builder: GatedBuilder, options: dict[str, object], error: type[Exception], told: str
) -> None:
    """R6, R8, R11, J8"""
    with SessionListCache(builder, bus=bus) as cache:
        for read in (cache.get, cache.lookup, cache.render):
            with pytest.raises(error, match=told):
                read(_KEY, **options)  # type: ignore[arg-type]

    assert builder.calls() == 0


@pytest.mark.parametrize("key", [None, "work", {}])
def test_what_is_no_key_is_refused(bus: Bus, builder: GatedBuilder, key: object) -> None:
    """K1"""
    with SessionListCache(builder, bus=bus) as cache:
        for read in (cache.get, cache.lookup, cache.render, cache.peek, cache.explain):
            with pytest.raises(TypeError):
                read(key)  # type: ignore[arg-type]


def test_a_cache_refuses_a_builder_that_cannot_be_called(bus: Bus) -> None:
    """B2"""
    with pytest.raises(TypeError, match="builder"):
        SessionListCache(5, bus=bus)  # type: ignore[arg-type]


@pytest.mark.parametrize("listed", [[1, "a"], "turn", None, 5, [None], [["x"]]], ids=repr)
def test_stream_ids_that_cannot_be_count_as_none(bus: Bus, builder: GatedBuilder, listed: Any) -> None:
    """H4"""
    with SessionListCache(builder, bus=bus, active_stream_ids=lambda: listed) as cache:
        found = cache.lookup(_KEY, timeout=WAIT_S)
        failing = cache.health().failing_callables

    assert found.stamp["streams"] == ((), 0)
    assert failing == {"active_stream_ids"}


def test_sources_that_end_their_thread_count_as_absent(bus: Bus, builder: GatedBuilder) -> None:
    """S5"""

    class Ending(VersionedSources):
        def stamp(self, _key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
            raise SystemExit(held)

    with SessionListCache(builder, bus=bus, sources=Ending()) as cache:
        payloads = [cache.get(_KEY, timeout=WAIT_S, freshness="fresh") for _ in range(3)]

    assert [payload["call"] for payload in payloads] == [1, 2, 3]


def test_spans_beyond_what_a_thread_can_wait_are_no_error(bus: Bus, builder: GatedBuilder) -> None:
    """R6"""
    with SessionListCache(builder, bus=bus, policy=Policy(build_timeout=1e12)) as cache:
        payload = cache.get(_KEY, timeout=1e11)

    assert payload["call"] == 1


def test_a_hung_builder_costs_its_own_build_alone(bus: Bus, builder: GatedBuilder) -> None:
    """B6, L1: its late result is discarded."""
    discarded = Listener(bus.build_discarded)
    builder.close()
    policy = Policy(pool_size=1, build_timeout=0.5)
    with SessionListCache(builder, bus=bus, policy=policy) as cache:
        with pytest.raises(BuildError):
            cache.get(_KEY)
        # The reader waits no longer than the build may take, and began a moment before it.
        until(lambda: cache.stats().abandoned == 1)
        other = answered(lambda: cache.get(_OTHER, builder=_empty))
        builder.open()
        discarded.wait_for(1)
        until(lambda: cache.stats().abandoned == 0)

        assert other["sessions"] == []
        assert cache.peek(_KEY) is None


def test_an_event_that_a_stop_and_a_start_overtake_reaches_the_next_life(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """R1, L1"""
    asked, go_on = threading.Event(), threading.Event()

    def is_root_profile(name: str) -> bool:
        if name == "slow":
            asked.set()
            go_on.wait(WAIT_S)
        return name == "slow"

    key = SessionListKey("default")
    with SessionListCache(builder, bus=bus, is_root_profile=is_root_profile) as cache:
        sent = readers.submit(cache.invalidate, "slow")
        assert asked.wait(WAIT_S)
        cache.stop()
        cache.start()
        go_on.set()
        sent.result(WAIT_S)

        assert [touch.profile for touch in cache.explain(key).events] == [None]


def test_a_stop_ends_the_subscriptions_of_a_cache_that_never_started(
    bus: Bus, readers: ThreadPoolExecutor
) -> None:
    """L1"""
    cache = SessionListCache(bus=bus)
    subscription = cache.subscribe()
    waiting = readers.submit(list, subscription)

    cache.stop()

    assert waiting.result(WAIT_S) == []


def test_a_stop_from_a_signal_handler_inside_the_mailbox_ends_the_cache(bus: Bus, builder: GatedBuilder) -> None:
    """L1: a handler runs between any two steps of its thread, here where the mailbox looks at the clock."""

    class InterruptingClock(SystemClock):
        """A clock at which a handler comes, once it is armed."""

        handler: Callable[[], None] | None = None

        def monotonic_s(self) -> float:
            handler, self.handler = self.handler, None
            if handler and threading.current_thread() is threading.main_thread():
                handler()
            return time.monotonic()

    before = set(threading.enumerate())
    clock = InterruptingClock()
    cache = SessionListCache(builder, bus=bus, clock=clock)
    cache.get(_KEY)
    clock.handler = cache.stop

    with contextlib.suppress(CacheStoppedError):
        cache.get(_KEY)

    with pytest.raises(CacheStoppedError):
        cache.get(_KEY)
    until(lambda: set(threading.enumerate()) <= before)
