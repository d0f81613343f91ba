"""How builds run, what they answer and what they cost (rules B1 to B9, R5, R11)."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest

from hermes_cache import (
    BuildError,
    BuildTimeoutError,
    Bus,
    CacheBusyError,
    ListCache,
    LookupTimeoutError,
    Policy,
    SessionListCache,
    SessionListKey,
)
from hermes_cache.core.messages import Tick
from hermes_cache.testing import GatedBuilder, Listener, ManualClock, VersionedSources
from tests.waiting import PROCESS_S, WAIT_S, answered, await_readers, until

_KEY = SessionListKey("work")
_OTHER = SessionListKey("home")
_THIRD = SessionListKey("third")


@pytest.fixture
def builder() -> Iterator[GatedBuilder]:
    """A builder whose calls wait until the test opens its gate."""
    gated = GatedBuilder()
    yield gated
    gated.open()


def _let_time_pass(cache: SessionListCache, clock: ManualClock, span_s: float) -> None:
    """Move the clock, and have the cache look at it."""
    clock.advance(span_s)
    assert cache._life is not None
    cache._life.ask(Tick())


def test_two_hundred_threads_that_want_one_cold_key_wait_for_one_build(bus: Bus, builder: GatedBuilder) -> None:
    """R5, B1: all get the very same payload."""
    with SessionListCache(builder, bus=bus) as cache, ThreadPoolExecutor(200) as readers:
        reads = [readers.submit(cache.get, _KEY) for _ in range(200)]
        await_readers(cache, 200)

        builder.open()
        payloads = [each.result(WAIT_S) for each in reads]

    assert builder.calls() == 1
    assert all(payload is payloads[0] for payload in payloads)


def test_a_key_is_built_by_one_call_at_a_time_whatever_comes_meanwhile(
    bus: Bus, readers: ThreadPoolExecutor
) -> None:
    """R5, B1"""
    running: Counter[SessionListKey] = Counter()
    most: Counter[SessionListKey] = Counter()
    lock = threading.Lock()

    def build(key: SessionListKey) -> Mapping[str, object]:
        with lock:
            running[key] += 1
            most[key] = max(most[key], running[key])
        for _ in range(random.Random(running.total()).randrange(2_000)):
            pass
        with lock:
            running[key] -= 1
        return {"sessions": []}

    sources = VersionedSources()
    policy = Policy(ttl=0.001, stamp_interval=0, max_build_duty=1.0, pool_size=4)
    with SessionListCache(build, bus=bus, sources=sources, policy=policy) as cache:
        together = threading.Barrier(16)

        def use(number: int) -> None:
            together.wait(WAIT_S)
            pick = random.Random(number)
            for version in range(150):
                key = pick.choice((_KEY, _OTHER))
                cache.get(key, freshness=pick.choice(("default", "fresh", "any")))
                if version % 7 == number % 7:
                    cache.invalidate(pick.choice((None, "work")))
                if version % 5 == number % 5:
                    sources.set_part((number, version), profile="work")

        uses = [readers.submit(use, number) for number in range(16)]
        for each in uses:
            each.result(PROCESS_S)

    assert set(most.values()) == {1}


def test_a_reader_waits_for_at_most_two_builds_however_fast_invalidations_come(
    bus: Bus, readers: ThreadPoolExecutor
) -> None:
    """B4, R1"""
    builds = 0
    ends = threading.Event()

    def build(_key: SessionListKey) -> Mapping[str, object]:
        nonlocal builds
        builds += 1
        return {"sessions": [], "build": builds}

    with SessionListCache(build, bus=bus) as cache:

        def publish() -> None:
            while not ends.is_set():
                cache.invalidate("work")

        publishing = [readers.submit(publish) for _ in range(2)]
        waited = []
        for _ in range(300):
            before = builds
            found = cache.get(_KEY)["build"]
            assert isinstance(found, int)
            waited.append(found - before)
        ends.set()
        for each in publishing:
            each.result(WAIT_S)

    # A build that runs already may have been counted before the read began.
    assert max(waited) <= 2
    assert min(waited) >= 0


def test_an_overtaken_build_answers_those_who_came_before_the_event_and_is_not_stored(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """B4: nobody waits for a newer one, so none is built."""
    discarded = Listener(bus.build_discarded)
    with SessionListCache(builder, bus=bus) as cache:
        reading = readers.submit(cache.lookup, _KEY)
        builder.wait_for_calls(1)
        ticket = cache.invalidate("work")

        builder.open()
        found = reading.result(WAIT_S)
        (notice,) = discarded.wait_for(1)

        assert (found.outcome, found.payload["call"]) == ("built", 1)
        assert found.overtaken_by == notice.overtaken_by == ticket.event_id
        assert cache.peek(_KEY) is None
        assert builder.calls() == 1


def test_sources_that_move_during_a_build_make_its_entry_stale(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """B3: the stamp is taken before the builder is called."""
    sources = VersionedSources()
    policy = Policy(stamp_interval=0, max_build_duty=1.0, owner_wait=WAIT_S)
    with SessionListCache(builder, bus=bus, sources=sources, policy=policy) as cache:
        reading = readers.submit(cache.lookup, _KEY)
        builder.wait_for_calls(1)
        sources.set_part(1, profile="work")
        builder.open()

        first = reading.result(WAIT_S)
        second = cache.lookup(_KEY)

    assert first.stamp["content/work"] == 0
    assert (second.outcome, second.reason, second.stamp["content/work"]) == ("built", "source", 1)


def test_the_stamp_is_taken_when_a_build_leaves_the_queue(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """B3"""
    sources = VersionedSources()
    with SessionListCache(builder, bus=bus, sources=sources, policy=Policy(pool_size=1)) as cache:
        ahead = readers.submit(cache.get, _OTHER)
        builder.wait_for_calls(1)
        queued = readers.submit(cache.lookup, _KEY)
        await_readers(cache, 2)
        sources.set_part(1, profile="work")

        builder.open()

        assert queued.result(WAIT_S).stamp["content/work"] == 1
        assert ahead.result(WAIT_S)["call"] == 1


def test_builds_of_different_keys_run_side_by_side_up_to_the_size_of_the_pool(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """B5"""
    keys = [SessionListKey(f"profile-{number}") for number in range(5)]
    with SessionListCache(builder, bus=bus, policy=Policy(pool_size=3)) as cache:
        reads = [readers.submit(cache.get, key) for key in keys]
        await_readers(cache, 5)
        builder.wait_for_calls(3)
        stats = cache.stats()

        builder.open()
        for each in reads:
            each.result(WAIT_S)

    assert (stats.building, stats.queued) == (3, 2)


def test_a_build_that_a_reader_waits_for_goes_before_background_refreshes(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """B5"""
    clock, started = ManualClock(), Listener(bus.build_started)
    policy = Policy(pool_size=1, max_build_duty=1.0)
    with SessionListCache(builder, bus=bus, clock=clock, policy=policy) as cache:
        builder.let_through(2)
        cache.get(_KEY)
        cache.get(_OTHER)
        clock.advance(2.5)
        cache.get(_KEY)
        builder.wait_for_calls(3)
        cache.get(_OTHER)

        wanted = readers.submit(cache.get, _THIRD)
        await_readers(cache, 1)
        builder.open()
        wanted.result(WAIT_S)
        notices = started.wait_for(5)

    assert [notice.key for notice in notices[2:]] == [_KEY, _THIRD, _OTHER]


def test_a_reader_that_comes_promotes_a_queued_refresh(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """B5: the refresh of `third` was asked for last, and somebody waits for it since."""
    clock, started = ManualClock(), Listener(bus.build_started)
    policy = Policy(pool_size=1, max_build_duty=1.0)
    with SessionListCache(builder, bus=bus, clock=clock, policy=policy) as cache:
        builder.let_through(3)
        for key in (_KEY, _OTHER, _THIRD):
            cache.get(key)
        clock.advance(2.5)
        for key in (_KEY, _OTHER, _THIRD):
            cache.get(key)

        promoting = readers.submit(cache.get, _THIRD, freshness="fresh")
        await_readers(cache, 1)
        builder.open()
        promoting.result(WAIT_S)
        notices = started.wait_for(6)

    assert [notice.key for notice in notices[3:]] == [_KEY, _THIRD, _OTHER]


def test_past_the_bound_of_the_queue_a_read_is_refused_at_once(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """B5"""
    policy = Policy(pool_size=1, max_queue=1)
    with SessionListCache(builder, bus=bus, policy=policy) as cache:
        reads = [readers.submit(cache.get, _KEY)]
        builder.wait_for_calls(1)
        reads.append(readers.submit(cache.get, _OTHER))
        await_readers(cache, 2)

        with pytest.raises(CacheBusyError, match="max_queue"):
            cache.get(_THIRD)
        builder.open()

        assert [each.result(WAIT_S)["call"] for each in reads] == [1, 1]


def test_past_the_bound_of_waiters_a_read_is_refused_or_gets_what_is_stale(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """B5"""
    sources = VersionedSources()
    policy = Policy(max_waiters=1, stamp_interval=0, max_build_duty=1.0, owner_wait=WAIT_S)
    with SessionListCache(builder, bus=bus, sources=sources, policy=policy) as cache:
        builder.let_through(1)
        cache.get(_KEY)
        waiting = readers.submit(cache.get, _OTHER)
        await_readers(cache, 1)
        sources.set_part(1, profile="work")

        stale = cache.lookup(_KEY)
        with pytest.raises(CacheBusyError, match="max_waiters"):
            cache.get(_THIRD)
        cache.invalidate("work")
        with pytest.raises(CacheBusyError):
            cache.get(_KEY)
        builder.open()

        assert (stale.outcome, stale.payload["call"]) == ("stale", 1)
        assert waiting.result(WAIT_S)["call"] == 1


def test_a_reader_is_told_when_its_own_time_is_over_the_queue_included(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """R5, B6"""
    policy = Policy(pool_size=1, build_timeout=0.3, max_abandoned=1)
    with SessionListCache(builder, bus=bus, policy=policy) as cache:
        running = readers.submit(cache.get, _KEY)
        builder.wait_for_calls(1)
        queued = readers.submit(cache.get, _OTHER)
        errors = [each.exception(WAIT_S) for each in (running, queued)]
        builder.open()

    assert isinstance(errors[0], BuildTimeoutError)
    assert isinstance(errors[0], TimeoutError)
    assert isinstance(errors[1], BuildError)


def test_a_build_that_hangs_frees_its_position_and_its_late_result_is_discarded(
    bus: Bus, builder: GatedBuilder
) -> None:
    """B6"""
    discarded = Listener(bus.build_discarded)
    quick = GatedBuilder(is_open=True)
    with SessionListCache(builder, bus=bus, policy=Policy(pool_size=1, build_timeout=0.1)) as cache:
        with pytest.raises(BuildTimeoutError):
            cache.get(_KEY)
        # The reader waits no longer than the build may take, and began a moment before it.
        until(lambda: cache.stats().abandoned == 1)
        again = answered(lambda: cache.get(_KEY, builder=quick))
        builder.open()
        discarded.wait_for(1)
        until(lambda: cache.stats().abandoned == 0)

        assert cache.get(_KEY) is again


def test_too_many_hung_builds_refuse_further_ones_until_one_ends(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """B6, R7: at the bound it is `BuildError`, and what is stale is served in its stead."""
    discarded, quick, clock = Listener(bus.build_discarded), GatedBuilder(is_open=True), ManualClock()
    sources = VersionedSources()
    policy = Policy(build_timeout=1.0, max_abandoned=2, stamp_interval=0, max_build_duty=1.0)
    with SessionListCache(builder, bus=bus, policy=policy, sources=sources, clock=clock) as cache:
        cache.get(_THIRD, builder=quick)
        sources.set_part(1, profile="third")
        hung = [readers.submit(cache.get, key) for key in (_KEY, _OTHER)]
        builder.wait_for_calls(2)
        _let_time_pass(cache, clock, 1.0)
        assert {type(each.exception(WAIT_S)) for each in hung} == {BuildTimeoutError}
        until(lambda: cache.stats().abandoned == 2)

        with pytest.raises(BuildError, match="2 builds hang") as refused:
            cache.get(SessionListKey("fourth"), builder=quick)
        stale = cache.lookup(_THIRD, builder=quick)
        sick = cache.health().healthy
        builder.open()
        discarded.wait_for(2)

        assert not isinstance(refused.value, BuildTimeoutError)
        assert (stale.outcome, sick) == ("stale", False)
        assert cache.get(SessionListKey("fourth"), builder=quick)["call"] == 1


def test_the_queue_moves_on_past_builds_that_hang(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """B6, B5: one slot, three hung builds, all their readers answered, then one that works."""
    quick, failed = GatedBuilder(is_open=True), Listener(bus.build_failed)
    with SessionListCache(builder, bus=bus, policy=Policy(pool_size=1, build_timeout=0.15)) as cache:
        hung = [readers.submit(cache.get, SessionListKey(f"hung-{n}")) for n in range(3)]
        errors = [each.exception(WAIT_S) for each in hung]

        failed.wait_for(3)
        payload = answered(lambda: cache.get(_KEY, builder=quick))
        builder.open()

    assert all(isinstance(error, BuildTimeoutError) for error in errors)
    assert payload["call"] == 1


def test_a_payload_is_built_on_a_thread_of_the_pool_with_the_key_as_it_is(bus: Bus) -> None:
    """B2"""
    seen: list[tuple[str, SessionListKey]] = []

    def build(key: SessionListKey) -> Mapping[str, object]:
        seen.append((threading.current_thread().name, key))
        return {"sessions": []}

    key = SessionListKey("work", show_cron=True, extra=(("page", 2),))
    with SessionListCache(build, bus=bus) as cache:
        cache.get(key)

    assert seen == [("hermes_cache.builder", key)]


class _UnspeakableError(Exception):
    """Its text can be had once, on the thread that built."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def __str__(self) -> str:
        self.threads.append(threading.current_thread().name)
        if len(self.threads) > 1:
            raise SystemExit("no second time")
        return "only once"


def test_an_errors_own_text_is_asked_for_once_and_not_in_the_mailbox(bus: Bus) -> None:
    """R7, B6: it is foreign code, which may hang, raise anything, or read the cache."""
    raised = _UnspeakableError()

    def build(_key: object) -> Mapping[str, object]:
        raise raised

    with ListCache[str](build, bus=bus, policy=Policy(retry_delay=0.0)) as cache:
        for _ in range(2):
            raised.threads.clear()
            with pytest.raises(BuildError, match="_UnspeakableError: only once"):
                cache.get("k", timeout=WAIT_S)
        health, story = cache.health(), str(cache.explain("k"))

    assert health.failing == {"k": "only once"}
    assert "only once" in story
    assert raised.threads == ["hermes_cache.builder"]


def test_an_error_that_quotes_all_that_it_read_is_shortened_for_readers(bus: Bus) -> None:
    """R7: logs and answers over HTTP would carry all of it; the cause has it."""

    def build(_key: SessionListKey) -> Mapping[str, object]:
        raise ValueError("quoted " * 100_000)

    with (
        SessionListCache(build, bus=bus) as cache,
        pytest.raises(BuildError, match="ValueError: quoted") as failed,
    ):
        cache.get(_KEY)

    assert len(str(failed.value)) < 2_000
    assert len(str(failed.value.__cause__)) == 700_000


@pytest.mark.parametrize("raises", [ValueError("hidden"), SystemExit(3)])
def test_an_error_that_cannot_say_what_went_wrong_fails_its_build(bus: Bus, raises: BaseException) -> None:
    """R7, B6"""

    class SilentError(Exception):
        def __str__(self) -> str:
            raise raises

    def build(_key: object) -> Mapping[str, object]:
        raise SilentError

    with ListCache[str](build, bus=bus) as cache, pytest.raises(BuildError, match="SilentError: it cannot say"):
        cache.get("k", timeout=WAIT_S)


class _UnspeakableKey:
    def __str__(self) -> str:
        raise ValueError("it has no words")


def test_a_key_that_cannot_be_shown_harms_no_read(bus: Bus) -> None:
    """K5, R6: its text is no business of the mailbox, which goes on for all keys."""
    gate = threading.Event()

    def build(key: Hashable) -> Mapping[str, object]:
        if isinstance(key, str):
            return {"of": key}
        assert gate.wait(WAIT_S)
        raise OSError("locked")

    with ListCache[Hashable](build, bus=bus) as cache:
        with pytest.raises(LookupTimeoutError, match="no payload for a _UnspeakableKey that cannot be shown"):
            cache.get(_UnspeakableKey(), timeout=0.01)
        assert cache.get("k", timeout=WAIT_S) == {"of": "k"}
        gate.set()
        with pytest.raises(BuildError, match="a _UnspeakableKey that cannot be shown: OSError: locked"):
            cache.get(_UnspeakableKey(), timeout=WAIT_S)
        assert "_UnspeakableKey" in str(cache.explain(_UnspeakableKey()))


def test_the_cost_of_a_refresh_bounds_when_the_next_one_starts(bus: Bus) -> None:
    """B9: after a refresh of 1 s at a duty of 0.2, no other one for 4 s; then one timer refreshes all together."""
    clock, sources, scope = ManualClock(), VersionedSources(), _Scope()
    stored = Listener(bus.entry_stored)
    shown = SessionListKey("work", show_cron=True)

    def build(_key: SessionListKey) -> Mapping[str, object]:
        clock.advance(scope.takes_s)
        return {"sessions": []}

    policy = Policy(stamp_interval=0, owner_wait=WAIT_S)
    with SessionListCache(build, bus=bus, sources=sources, policy=policy, clock=clock) as cache:
        for key in (_KEY, shown):
            cache.get(key)
        scope.takes_s = 1.0
        _move(sources, clock, 1)
        first = cache.lookup(_KEY)
        stored.wait_for(3)
        _move(sources, clock, 2)

        held_back = [cache.lookup(key) for key in (_KEY, shown, _KEY, shown)]
        _let_time_pass(cache, clock, 3.9)
        too_early = len(stored.heard)
        _let_time_pass(cache, clock, 0.2)
        together = stored.wait_for(5)[3:]

    assert first.outcome == "built"
    assert {each.outcome for each in held_back} == {"stale"}
    assert too_early == 3
    assert {notice.key for notice in together} == {_KEY, shown}


def test_no_pause_is_longer_than_the_window(bus: Bus) -> None:
    """B9: a refresh of 30 s would ask for 120 s; the window is 10 s."""
    clock, sources, scope = ManualClock(), VersionedSources(), _Scope()
    stored = Listener(bus.entry_stored)

    def build(_key: SessionListKey) -> Mapping[str, object]:
        clock.advance(scope.takes_s)
        return {"sessions": []}

    policy = Policy(stamp_interval=0, owner_wait=WAIT_S)
    with SessionListCache(build, bus=bus, sources=sources, policy=policy, clock=clock) as cache:
        cache.get(_KEY)
        scope.takes_s = 30.0
        _move(sources, clock, 1)
        cache.get(_KEY)
        stored.wait_for(2)
        scope.takes_s = 0.0
        _move(sources, clock, 2)

        held_back = cache.lookup(_KEY)
        _let_time_pass(cache, clock, 9.5)
        too_early = len(stored.heard)
        _let_time_pass(cache, clock, 0.6)
        stored.wait_for(3)

    assert (held_back.outcome, held_back.reason) == ("stale", "source")
    assert too_early == 2


def _invalidate(bus: Bus, _sources: VersionedSources) -> None:
    bus.session_list_changed.send(profile="work")


def _change_settings(_bus: Bus, sources: VersionedSources) -> None:
    sources.set_settings("moved")


def _start_stream(bus: Bus, _sources: VersionedSources) -> None:
    bus.stream_started.send(stream_id="turn", profile="work")


def _stop_stream(bus: Bus, _sources: VersionedSources) -> None:
    bus.stream_stopped.send(stream_id="before")


def _commit(_bus: Bus, sources: VersionedSources) -> None:
    sources.set_part("moved", profile="work")


@pytest.mark.parametrize(
    ("happens", "freshness", "flag", "outcome"),
    [
        (_commit, "default", False, "stale"),
        (_commit, "fresh", False, "built"),
        (_commit, "default", True, "built"),
        (_invalidate, "default", False, "built"),
        (_change_settings, "default", False, "built"),
        (_start_stream, "default", False, "built"),
        (_stop_stream, "default", False, "built"),
    ],
    ids=["held back", "fresh", "miss", "invalidation", "settings", "stream starts", "stream stops"],
)
def test_a_commit_alone_is_held_back_while_the_pause_lasts(
    bus: Bus,
    happens: Callable[[Bus, VersionedSources], None],
    freshness: Literal["default", "fresh", "any"],
    flag: bool,  # noqa: FBT001 - a view that is held, or one that is not
    outcome: str,
) -> None:
    """B9: the pause lasts 3.6 s; what else a user waits for is built at once."""
    clock, sources, scope = ManualClock(), VersionedSources(), _Scope()

    def build(_key: SessionListKey) -> Mapping[str, object]:
        clock.advance(scope.takes_s)
        return {"sessions": []}

    policy = Policy(stamp_interval=0, owner_wait=WAIT_S)
    with SessionListCache(build, bus=bus, sources=sources, policy=policy, clock=clock) as cache:
        if happens is _stop_stream:
            bus.stream_started.send(stream_id="before", profile="work")
        cache.get(_KEY)
        scope.takes_s = 0.9
        clock.advance(0.01)
        sources.set_settings("moved first")
        cache.get(_KEY)
        clock.advance(0.01)

        happens(bus, sources)
        found = cache.lookup(SessionListKey("work", show_cron=flag), freshness=freshness)

    assert found.outcome == outcome


def test_a_duty_of_one_holds_nothing_back(bus: Bus, builder: GatedBuilder) -> None:
    """B9"""
    builder.open()
    sources = VersionedSources()
    policy = Policy(stamp_interval=0, max_build_duty=1.0, owner_wait=WAIT_S)
    with SessionListCache(builder, bus=bus, sources=sources, policy=policy) as cache:
        outcomes = []
        for version in range(20):
            sources.set_part(version + 1, profile="work")
            outcomes.append(cache.lookup(_KEY).outcome)

    assert outcomes == ["built"] * 20


def test_a_build_that_another_marker_was_noted_for_answers_as_stale_and_is_queued_again(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """H2"""
    sources = VersionedSources()
    stored = Listener(bus.entry_stored)
    with SessionListCache(builder, bus=bus, sources=sources) as cache:
        before = readers.submit(cache.lookup, _KEY)
        builder.wait_for_calls(1)
        bus.stream_started.send(stream_id="turn", profile="work")
        after = readers.submit(cache.lookup, _KEY)
        await_readers(cache, 2)

        builder.open()
        stored.wait_for(2)

        assert (before.result(WAIT_S).outcome, before.result().payload["call"]) == ("built", 1)
        assert (after.result(WAIT_S).outcome, after.result().reason) == ("stale", "source")
        assert cache.get(_KEY)["call"] == 2


class _Scope:
    """How long builds take, on a clock that they move themselves."""

    takes_s = 0.0


def _move(sources: VersionedSources, clock: ManualClock, version: int) -> None:
    """Commit something; checks are ordered by time, so time moves on a little."""
    clock.advance(0.01)
    sources.set_part(version, profile="work")
