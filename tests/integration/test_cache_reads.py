"""What a read gets from a running cache (rules R1 to R12)."""

import logging
import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from hermes_cache import (
    BuildError,
    Bus,
    Lookup,
    LookupTimeoutError,
    Policy,
    SessionListCache,
    SessionListKey,
    StreamStarted,
)
from hermes_cache.ports import LastKnown
from hermes_cache.testing import GatedBuilder, Listener, ManualClock, VersionedSources
from tests.waiting import LASTING, WAIT_S, await_readers, until

_KEY = SessionListKey("work")
_OTHER = SessionListKey("home")
_CHECKED = Policy(stamp_interval=0, max_build_duty=1.0, owner_wait=WAIT_S, follower_wait=WAIT_S)
"""Every read looks at the sources itself and waits for what it starts, so that no outcome hangs on timing."""


def test_an_event_that_comes_while_a_build_is_being_stored_is_never_lost(bus: Bus) -> None:
    """R1: 500 rounds of 50 rows; the event comes from another thread, between a build's end and its storing."""
    race = _Race(bus)
    lost = []

    with SessionListCache(race.build, bus=bus) as cache, race:
        for seed in range(500):
            event = race.begin(seed)
            cache.get(_KEY)
            assert event.wait(WAIT_S)
            if cache.get(_KEY)["truth"] != race.truth:
                lost.append(seed)
            cache.invalidate("work")

    assert lost == []


class _Race:
    """A builder whose end sets off a publisher on another thread."""

    def __init__(self, bus: Bus) -> None:
        self.truth = 0
        self._bus = bus
        self._built = threading.Semaphore(0)
        self._racing = False
        self._ends = False
        self._thread = threading.Thread(target=self._publish)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._ends = True
        self._built.release()
        self._thread.join(WAIT_S)

    def begin(self, seed: int) -> threading.Event:
        """Have the next build followed by an event; what is given is set once that was published."""
        self._published = threading.Event()
        self._turns = random.Random(seed).randrange(3_000)
        self._racing = True
        return self._published

    def build(self, _key: SessionListKey) -> Mapping[str, object]:
        truth = self.truth
        if self._racing:
            self._racing = False
            self._built.release()
        return {"truth": truth, "sessions": [{"session_id": f"s{n}", "title": "t" * 50} for n in range(50)]}

    def _publish(self) -> None:
        while self._built.acquire(timeout=WAIT_S) and not self._ends:
            for _ in range(self._turns):
                pass
            self.truth += 1
            self._bus.session_list_changed.send(profile="work")
            self._published.set()


def test_a_read_that_begins_after_an_invalidation_waits_for_a_build_that_began_after_it(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """R1, B4"""
    builder.close()
    with SessionListCache(builder, bus=bus) as cache:
        before = readers.submit(cache.get, _KEY)
        builder.wait_for_calls(1)
        ticket = cache.invalidate("work")
        after = readers.submit(cache.lookup, _KEY)
        await_readers(cache, 2)

        builder.let_through(2)

        assert before.result(WAIT_S)["call"] == 1
        assert after.result(WAIT_S).payload["call"] == 2
        assert after.result().overtaken_by == ticket.event_id
        assert cache.get(_KEY)["call"] == 2


@pytest.mark.parametrize("profile", ["work", None, "  "])
def test_what_an_invalidation_touches_is_built_anew(bus: Bus, builder: GatedBuilder, profile: str | None) -> None:
    """R1, V1"""
    everything = SessionListKey(all_profiles=True)
    with SessionListCache(builder, bus=bus, policy=LASTING) as cache:
        for key in (_KEY, _OTHER, everything):
            cache.get(key)

        bus.session_list_changed.send(profile=profile)
        found = {key: cache.lookup(key) for key in (_KEY, _OTHER, everything)}

    assert (found[_KEY].outcome, found[_KEY].reason) == ("built", "event")
    assert (found[everything].outcome, found[everything].reason) == ("built", "event")
    assert found[_OTHER].outcome == ("hit" if profile == "work" else "built")


def test_settings_that_change_outdate_everything(bus: Bus, builder: GatedBuilder) -> None:
    """R1, V1"""
    with SessionListCache(builder, bus=bus) as cache:
        cache.get(_KEY)

        bus.settings_changed.send()
        found = cache.lookup(_KEY)

    assert (found.outcome, found.reason, found.payload["call"]) == ("built", "event", 2)


def test_an_invalidated_payload_is_not_served_when_its_build_fails_or_takes_long(
    bus: Bus, builder: GatedBuilder
) -> None:
    """R1, R6, R7"""
    with SessionListCache(builder, bus=bus) as cache:
        cache.get(_KEY)
        cache.invalidate("work")
        builder.close()

        with pytest.raises(LookupTimeoutError):
            cache.get(_KEY, timeout=0.02)
        builder.fail_with(OSError("gone"))
        builder.open()
        with pytest.raises(BuildError):
            cache.get(_KEY)


def test_a_hit_gives_the_very_payload_again(bus: Bus, builder: GatedBuilder) -> None:
    """R2, P1"""
    clock = ManualClock()
    with SessionListCache(builder, bus=bus, clock=clock) as cache:
        first = cache.get(_KEY)
        clock.advance(2.4)

        found = cache.lookup(_KEY)

    assert found.payload is first
    assert (found.outcome, found.reason, builder.calls()) == ("hit", None, 1)
    assert found.age_s == pytest.approx(2.4)


def test_age_counts_from_the_end_of_the_build(bus: Bus) -> None:
    """R2"""
    clock = ManualClock()

    def build(_key: SessionListKey) -> Mapping[str, object]:
        clock.advance(30.0)
        return {"sessions": []}

    with SessionListCache(build, bus=bus, clock=clock) as cache:
        cache.get(_KEY)
        clock.advance(2.4)

        found = cache.lookup(_KEY)

    assert found.outcome == "hit"
    assert found.build_s == pytest.approx(30.0)


@pytest.mark.parametrize("moves", ["hit", "stale by age", "stale by source"])
def test_what_is_served_becomes_the_most_recently_used(bus: Bus, builder: GatedBuilder, moves: str) -> None:
    """R2, R3, R4"""
    clock, sources = ManualClock(), VersionedSources()
    policy = Policy(max_entries=2, stamp_interval=0, max_build_duty=1.0, owner_wait=0)
    with SessionListCache(builder, bus=bus, clock=clock, sources=sources, policy=policy) as cache:
        for key in (_KEY, _OTHER):
            clock.advance(0.1)
            cache.get(key)
        clock.advance(2.5 if moves == "stale by age" else 0.1)
        sources.set_part(1 if moves == "stale by source" else 0, profile="work")
        builder.close()

        served = cache.lookup(_KEY)
        builder.open()
        clock.advance(0.1)
        cache.get(SessionListKey("third"))

        assert moves.startswith(served.outcome)
        assert cache.peek(_KEY) is not None
        assert cache.peek(_OTHER) is None


def test_what_is_stale_by_age_is_served_at_once_and_refreshed_once_behind_it(
    bus: Bus, builder: GatedBuilder
) -> None:
    """R3"""
    clock, stored = ManualClock(), Listener(bus.entry_stored)
    with SessionListCache(builder, bus=bus, clock=clock) as cache:
        cache.get(_KEY)
        clock.advance(2.5)
        builder.close()

        served = [cache.lookup(_KEY) for _ in range(5)]
        builder.open()
        stored.wait_for(2)

        assert {(each.outcome, each.reason, each.payload["call"]) for each in served} == {("stale", "age", 1)}
        assert cache.lookup(_KEY).outcome == "hit"
        assert cache.get(_KEY)["call"] == 2


def test_the_read_that_finds_the_sources_moved_waits_for_the_build_it_starts(
    bus: Bus, builder: GatedBuilder
) -> None:
    """R4"""
    sources = VersionedSources()
    with SessionListCache(builder, bus=bus, sources=sources, policy=_CHECKED) as cache:
        cache.get(_KEY)
        sources.set_part(1, profile="work")

        found = cache.lookup(_KEY)

    assert (found.outcome, found.reason, found.payload["call"]) == ("built", "source", 2)


def test_past_its_wait_a_read_gets_what_is_stale_by_source_and_the_build_goes_on(
    bus: Bus, builder: GatedBuilder
) -> None:
    """R4"""
    sources, stored = VersionedSources(), Listener(bus.entry_stored)
    policy = Policy(ttl=600, stamp_interval=0, owner_wait=0.5, max_build_duty=1.0)
    with SessionListCache(builder, bus=bus, sources=sources, policy=policy) as cache:
        # For the refresh of a build that took longer than that, nobody waits.
        while cache.lookup(_KEY).build_s >= policy.owner_wait:
            cache.invalidate("work")
        builds = builder.calls()
        sources.set_part(1, profile="work")
        builder.close()

        began_s = time.monotonic()
        found = cache.lookup(_KEY)
        waited_s = time.monotonic() - began_s
        builder.open()
        stored.wait_for(builds + 1)

        assert (found.outcome, found.reason, found.payload["call"]) == ("stale", "source", builds)
        assert 0.5 <= waited_s < WAIT_S / 2
        assert cache.get(_KEY)["call"] == builds + 1


def test_a_follower_waits_for_its_own_shorter_span(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """R4"""
    sources = VersionedSources()
    policy = Policy(stamp_interval=0, owner_wait=WAIT_S, follower_wait=0.3, max_build_duty=1.0)
    with SessionListCache(builder, bus=bus, sources=sources, policy=policy) as cache:
        cache.get(_KEY)
        sources.set_part(1, profile="work")
        builder.close()
        owner = readers.submit(cache.lookup, _KEY)
        builder.wait_for_calls(2)

        follower = cache.lookup(_KEY)
        was_waiting = not owner.done()
        builder.open()

        assert (follower.outcome, follower.payload["call"], was_waiting) == ("stale", 1, True)
        assert (owner.result(WAIT_S).outcome, owner.result().payload["call"]) == ("built", 2)


def test_a_follower_gets_the_build_that_ends_in_time(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """R4, B1"""
    sources = VersionedSources()
    with SessionListCache(builder, bus=bus, sources=sources, policy=_CHECKED) as cache:
        cache.get(_KEY)
        sources.set_part(1, profile="work")
        builder.close()
        owner = readers.submit(cache.lookup, _KEY)
        builder.wait_for_calls(2)
        followers = [readers.submit(cache.lookup, _KEY) for _ in range(5)]
        await_readers(cache, 6)

        builder.open()

        assert {each.result(WAIT_S).outcome for each in followers} == {"waited"}
        assert {each.result().payload["call"] for each in (owner, *followers)} == {2}


def test_nobody_waits_for_a_refresh_where_the_last_build_took_longer_than_the_wait(bus: Bus) -> None:
    """R4"""
    clock, sources = ManualClock(), VersionedSources()
    gate, entered = threading.Event(), threading.Semaphore(0)
    gate.set()

    def build(_key: SessionListKey) -> Mapping[str, object]:
        entered.release()
        gate.wait(WAIT_S)
        clock.advance(1.5)
        return {"sessions": []}

    policy = Policy(stamp_interval=0, max_build_duty=1.0)
    with SessionListCache(build, bus=bus, sources=sources, policy=policy, clock=clock) as cache:
        cache.get(_KEY)
        clock.advance(0.1)
        sources.set_part(1, profile="work")
        gate.clear()

        # Its clock stands still: a read that waited would hang.
        found = cache.lookup(_KEY)
        gate.set()

    assert (found.outcome, found.reason) == ("stale", "source")


def test_a_read_bounds_its_own_wait_and_the_build_goes_on(bus: Bus, builder: GatedBuilder) -> None:
    """R6"""
    stored = Listener(bus.entry_stored)
    builder.close()
    with SessionListCache(builder, bus=bus, policy=LASTING) as cache:
        with pytest.raises(LookupTimeoutError) as refused:
            cache.get(_KEY, timeout=0.05)
        with pytest.raises(LookupTimeoutError):
            cache.get(_KEY, timeout=0)
        builder.open()
        stored.wait_for(1)

        assert isinstance(refused.value, TimeoutError)
        assert refused.value.timeout_s == 0.05
        assert (cache.lookup(_KEY).outcome, builder.calls()) == ("hit", 1)


@pytest.mark.parametrize("timeout", [0, 0.5])
def test_past_its_own_bound_a_read_gets_the_stale_payload_where_no_event_forbids_it(
    bus: Bus, builder: GatedBuilder, timeout: float
) -> None:
    """R6"""
    sources = VersionedSources()
    with SessionListCache(builder, bus=bus, sources=sources, policy=_CHECKED) as cache:
        cache.get(_KEY)
        sources.set_part(1, profile="work")
        builder.close()
        found: list[Lookup] = []

        def finds_it_stale() -> bool:
            found.append(cache.lookup(_KEY, timeout=timeout))
            return found[-1].outcome != "hit"

        # On a busy machine a check may come too late for its read, which goes by the last one then.
        until(finds_it_stale)
        builder.open()

    assert (found[-1].outcome, found[-1].reason, found[-1].payload["call"]) == ("stale", "source", 1)


def test_every_reader_that_waits_for_a_failed_build_is_told_why(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """R7"""
    cause = OSError("disk on fire")
    builder.close()
    builder.fail_with(cause)
    with SessionListCache(builder, bus=bus) as cache:
        waiting = [readers.submit(cache.get, _KEY) for _ in range(20)]
        await_readers(cache, 20)

        builder.open()
        errors = [each.exception(WAIT_S) for each in waiting]

    assert builder.calls() == 1
    assert all(isinstance(error, BuildError) and error.__cause__ is cause for error in errors)
    assert "disk on fire" in str(errors[0])


def test_a_failure_is_logged_once_whoever_waited(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """R7"""
    caplog.set_level(logging.WARNING, "hermes_cache")
    builder.close()
    builder.fail_with(OSError("disk on fire"))
    with SessionListCache(builder, bus=bus) as cache:
        waiting: list[Future[object]] = [readers.submit(cache.get, _KEY) for _ in range(5)]
        await_readers(cache, 5)
        builder.open()
        for each in waiting:
            each.exception(WAIT_S)

    assert [record.getMessage() for record in caplog.records] == ["hermes_cache.build_failed"]


def test_what_is_stale_by_source_is_served_when_its_refresh_fails(bus: Bus, builder: GatedBuilder) -> None:
    """R7, R9"""
    sources = VersionedSources()
    with SessionListCache(builder, bus=bus, sources=sources, policy=_CHECKED) as cache:
        cache.get(_KEY)
        sources.set_part(1, profile="work")
        builder.fail_with(OSError("disk on fire"))

        found = cache.lookup(_KEY)
        builder.fail_with(None)
        mended = cache.lookup(_KEY)

    assert (found.outcome, found.payload["call"]) == ("stale", 1)
    assert "disk on fire" in str(found.error)
    assert found.retry_in_s == 0
    assert (mended.outcome, mended.payload["call"], mended.error) == ("built", 3, None)


def test_a_failed_key_is_tried_again_after_pauses_that_double(bus: Bus, builder: GatedBuilder) -> None:
    """R7: none after the first, then 0.1 s doubling to 5 s; meanwhile readers are told the same at once."""
    clock = ManualClock()
    builder.fail_with(OSError("disk on fire"))
    pauses = [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    tried_too_soon = []

    with SessionListCache(builder, bus=bus, clock=clock) as cache:
        for count, pause_s in enumerate(pauses):
            _fail(cache)
            assert builder.calls() == count + 1
            if pause_s:
                clock.advance(pause_s * 0.99)
                error = _fail(cache)
                tried_too_soon.append(builder.calls() != count + 1)
                assert error.retry_in_s == pytest.approx(pause_s * 0.01)
                clock.advance(pause_s * 0.011)

    assert not any(tried_too_soon)


def _fail(cache: SessionListCache) -> BuildError:
    with pytest.raises(BuildError) as failed:
        cache.get(_KEY)
    return failed.value


def test_an_invalidation_brings_the_next_attempt_forward(bus: Bus, builder: GatedBuilder) -> None:
    """R7: after two failures in a row, to no less than 0.2 s after the last."""
    clock = ManualClock()
    builder.fail_with(OSError("disk on fire"))
    with SessionListCache(builder, bus=bus, clock=clock) as cache:
        for _ in range(4):
            clock.advance(5.0)
            _fail(cache)
        builder.fail_with(None)
        cache.invalidate("work")

        clock.advance(0.19)
        _fail(cache)
        clock.advance(0.011)
        payload = cache.get(_KEY)

    assert payload["call"] == 5


def test_sources_that_moved_bring_the_next_attempt_forward(bus: Bus, builder: GatedBuilder) -> None:
    """R7"""
    clock, sources = ManualClock(), VersionedSources()
    policy = Policy(stamp_interval=0, max_build_duty=1.0)
    with SessionListCache(builder, bus=bus, clock=clock, sources=sources, policy=policy) as cache:
        cache.get(_KEY)
        builder.fail_with(OSError("disk on fire"))
        for version in range(1, 5):
            clock.advance(5.0)
            sources.set_part(version, profile="work")
            cache.get(_KEY)
        builder.fail_with(None)
        clock.advance(0.21)

        held = cache.lookup(_KEY)
        clock.advance(0.01)
        sources.set_part(9, profile="work")
        mended = cache.lookup(_KEY)

    assert (held.outcome, held.payload["call"]) == ("stale", 1)
    assert (mended.outcome, mended.payload["call"]) == ("built", 6)


def test_a_fresh_read_is_a_hit_once_a_check_that_began_after_it_agrees(bus: Bus, builder: GatedBuilder) -> None:
    """R8"""
    # By its own clock, no check of a busy machine comes too late.
    sources, clock, outcomes = VersionedSources(), ManualClock(), list[str]()
    with SessionListCache(builder, bus=bus, sources=sources, policy=Policy(ttl=WAIT_S), clock=clock) as cache:
        cache.get(_KEY)
        before = sources.calls(_KEY)

        for _ in range(20):
            clock.advance(0.01)
            outcomes.append(cache.lookup(_KEY, freshness="fresh").outcome)

        assert set(outcomes) == {"hit"}
        assert sources.calls(_KEY) >= before + 20
        assert builder.calls() == 1


def test_a_fresh_read_sees_what_moved_just_before_it(bus: Bus) -> None:
    """R8: 100 commits, each read at once, while the checks that default reads go by are up to 0.1 s old."""
    sources = VersionedSources()
    version = 0

    def build(_key: SessionListKey) -> Mapping[str, object]:
        return {"version": version, "sessions": []}

    missed = []
    with SessionListCache(build, bus=bus, sources=sources, policy=Policy(ttl=WAIT_S)) as cache:
        for version in range(100):
            sources.set_part(version, profile="work")
            if cache.get(_KEY, freshness="fresh")["version"] != version:
                missed.append(version)
            cache.get(_KEY)

    assert missed == []


def test_a_check_that_could_not_read_verifies_nothing_for_a_fresh_read(bus: Bus, builder: GatedBuilder) -> None:
    """R8, S2"""
    sources = VersionedSources()
    with SessionListCache(builder, bus=bus, sources=sources, policy=Policy(ttl=WAIT_S)) as cache:
        cache.get(_KEY)
        sources.set_part(LastKnown(0), profile="work")

        fresh = cache.lookup(_KEY, freshness="fresh")
        default = cache.lookup(_KEY)

    assert (fresh.outcome, fresh.payload["call"]) == ("built", 2)
    assert default.outcome == "hit"


def test_a_fresh_read_is_not_answered_by_a_build_that_began_before_it(
    bus: Bus, builder: GatedBuilder, readers: ThreadPoolExecutor
) -> None:
    """R8"""
    builder.close()
    with SessionListCache(builder, bus=bus) as cache:
        before = readers.submit(cache.lookup, _KEY)
        builder.wait_for_calls(1)
        fresh = readers.submit(cache.lookup, _KEY, freshness="fresh")
        await_readers(cache, 2)

        builder.open()

        assert before.result(WAIT_S).payload["call"] == 1
        assert fresh.result(WAIT_S).payload["call"] == 2


def test_a_read_that_insists_gets_the_error_and_never_the_stale_payload(bus: Bus, builder: GatedBuilder) -> None:
    """R8"""
    sources = VersionedSources()
    with SessionListCache(builder, bus=bus, sources=sources, policy=_CHECKED) as cache:
        cache.get(_KEY)
        ticket = cache.invalidate("home")
        sources.set_part(1, profile="work")
        builder.fail_with(OSError("disk on fire"))

        with pytest.raises(BuildError):
            cache.get(_KEY, freshness="fresh")
        with pytest.raises(BuildError):
            cache.get(_KEY, at_least=ticket)
        builder.close()
        with pytest.raises(LookupTimeoutError):
            cache.get(_OTHER, freshness="fresh", timeout=0.05)
        builder.open()


def test_any_with_a_ticket_takes_nothing_that_may_lack_its_event(bus: Bus, builder: GatedBuilder) -> None:
    """R8, J8"""
    with SessionListCache(builder, bus=bus) as cache:
        cache.get(_KEY)
        ticket = cache.invalidate("work")

        found = cache.lookup(_KEY, freshness="any", at_least=str(ticket))

    assert found.outcome == "built"


def test_any_takes_even_what_is_outdated_and_builds_behind_it(bus: Bus, builder: GatedBuilder) -> None:
    """R8"""
    stored = Listener(bus.entry_stored)
    with SessionListCache(builder, bus=bus, policy=LASTING) as cache:
        cache.get(_KEY)
        cache.invalidate("work")
        builder.close()

        found = cache.lookup(_KEY, freshness="any")
        builder.open()
        stored.wait_for(2)

        assert (found.outcome, found.reason, found.payload["call"]) == ("outdated", "event", 1)
        assert cache.lookup(_KEY, freshness="any").outcome == "hit"
        assert cache.get(_KEY)["call"] == 2


def test_any_waits_only_where_nothing_is_held(bus: Bus, builder: GatedBuilder) -> None:
    """R8"""
    with SessionListCache(builder, bus=bus) as cache:
        found = cache.lookup(_KEY, freshness="any")

    assert (found.outcome, found.reason, found.payload["call"]) == ("built", "miss", 1)


def test_a_stream_that_starts_makes_what_is_held_stale_even_for_a_fresh_hit(
    bus: Bus, builder: GatedBuilder
) -> None:
    """R8, H2: hold-down still applies to a fresh read."""
    sources, heard = VersionedSources(), Listener(bus.stream_started)
    with SessionListCache(builder, bus=bus, sources=sources, policy=_CHECKED) as cache:
        cache.get(_KEY)

        bus.stream_started.send(stream_id="turn", profile="work")
        moved = cache.lookup(_KEY)
        sources.set_part(1, profile="work")
        held = cache.lookup(_KEY, freshness="fresh")

    assert isinstance(heard.heard[0], StreamStarted)
    assert (moved.outcome, moved.reason) == ("built", "source")
    assert (held.outcome, held.payload["call"]) == ("hit", 2)


def test_a_lookup_tells_what_get_hides(bus: Bus, builder: GatedBuilder) -> None:
    """R9"""
    clock, sources = ManualClock(), VersionedSources()
    with SessionListCache(builder, bus=bus, clock=clock, sources=sources, policy=_CHECKED) as cache:
        cache.invalidate("work")
        built = cache.lookup(_KEY)
        clock.advance(1.0)
        hit = cache.lookup(_KEY)

    assert (built.outcome, built.reason, built.age_s, built.version) == ("built", "miss", 0.0, 1)
    assert built.stamp["content/work"] == 0
    assert (hit.outcome, hit.reason, hit.age_s, hit.build_s) == ("hit", None, 1.0, 0.0)
    assert (hit.overtaken_by, hit.error, hit.retry_in_s) == (None, None, None)


def test_a_lookup_raises_what_get_raises(bus: Bus, builder: GatedBuilder) -> None:
    """R9"""
    builder.fail_with(OSError("disk on fire"))
    with SessionListCache(builder, bus=bus) as cache:
        with pytest.raises(BuildError) as from_lookup:
            cache.lookup(_KEY)
        with pytest.raises(BuildError) as from_get:
            cache.get(_KEY)

    assert from_lookup.value.reason == from_get.value.reason == "OSError: disk on fire"


def test_a_peek_does_no_work_and_changes_no_order(bus: Bus, builder: GatedBuilder) -> None:
    """R10"""
    sources = VersionedSources()
    policy = Policy(max_entries=2, stamp_interval=0)
    with SessionListCache(builder, bus=bus, sources=sources, policy=policy) as cache:
        nothing = cache.peek(_KEY)
        first = cache.get(_KEY)
        cache.get(_OTHER)
        checks = sources.calls(_KEY)

        held = cache.peek(_KEY)
        assert sources.calls(_KEY) == checks
        cache.get(SessionListKey("third"))

        assert nothing is None
        assert held is not None
        assert held.payload is first
        assert cache.peek(_KEY) is None, "the peek counted as a use"
        assert builder.calls() == 3


def test_a_peek_tells_of_what_an_event_outdated(bus: Bus, builder: GatedBuilder) -> None:
    """R10, R9"""
    with SessionListCache(builder, bus=bus) as cache:
        cache.get(_KEY)
        cache.invalidate("work")

        held = cache.peek(_KEY)

    assert held is not None
    assert (held.outcome, held.reason, builder.calls()) == ("outdated", "event", 1)


def test_a_read_brings_its_own_builder_and_it_runs_on_another_thread(bus: Bus, builder: GatedBuilder) -> None:
    """R11"""
    ran_on = []

    def own(key: SessionListKey) -> Mapping[str, object]:
        ran_on.append(threading.get_ident())
        return {"sessions": [], "own": key.profile_name}

    with SessionListCache(builder, bus=bus, policy=LASTING) as cache:
        built = cache.get(_KEY, builder=own)
        hit = cache.get(_KEY, builder=builder)

    assert built["own"] == "work"
    assert hit is built
    assert ran_on != [threading.get_ident()]
    assert builder.calls() == 0


def test_a_restart_uses_the_builder_of_the_newest_waiter(bus: Bus, readers: ThreadPoolExecutor) -> None:
    """R11, B4"""
    builders = [GatedBuilder(lambda _key, _call, n=number: {"sessions": [], "by": n}) for number in range(3)]  # type: ignore[misc]
    with SessionListCache(bus=bus) as cache:
        first = readers.submit(cache.get, _KEY, builder=builders[0])
        builders[0].wait_for_calls(1)
        cache.invalidate("work")
        later = []
        for number in (1, 2):
            later.append(readers.submit(cache.get, _KEY, builder=builders[number]))
            await_readers(cache, 1 + number)

        for each in builders:
            each.open()

        assert first.result(WAIT_S)["by"] == 0
        assert [each.result(WAIT_S)["by"] for each in later] == [2, 2]
        assert builders[1].calls() == 0


def test_a_refresh_that_was_held_back_uses_the_builder_that_its_reader_brought(bus: Bus) -> None:
    """R11, B9"""
    sources, stored = VersionedSources(), Listener(bus.entry_stored)
    clock = ManualClock()

    def own(_key: SessionListKey) -> Mapping[str, object]:
        clock.advance(0.1)
        return {"sessions": []}

    policy = Policy(stamp_interval=0, owner_wait=WAIT_S)
    with SessionListCache(bus=bus, sources=sources, policy=policy, clock=clock) as cache:
        for version in range(3):
            clock.advance(0.01)
            sources.set_part(version, profile="work")
            held = cache.lookup(_KEY, builder=own)
        clock.advance(1.0)
        cache.lookup(_KEY, builder=own, freshness="any")
        stored.wait_for(3)

        assert held.outcome == "stale"
        assert cache.health().failing == {}


def test_a_read_without_any_builder_is_refused_at_once(bus: Bus) -> None:
    """R11"""
    with SessionListCache(bus=bus) as cache, pytest.raises(TypeError, match="builder"):
        cache.get(_KEY)


def test_nothing_known_and_known_to_be_empty_never_look_alike(bus: Bus, builder: GatedBuilder) -> None:
    """R12"""
    builder.fail_with(OSError("disk on fire"))
    with SessionListCache(builder, bus=bus, policy=LASTING) as cache:
        with pytest.raises(BuildError):
            cache.get(_KEY)
        nothing = cache.peek(_KEY)
        builder.fail_with(None)
        empty = cache.get(_KEY)

        assert nothing is None
        assert empty["sessions"] == []
        assert cache.peek(_KEY) is not None
        assert cache.lookup(_KEY).outcome == "hit"
