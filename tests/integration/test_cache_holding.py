"""What a gateway puts into a cache and takes out itself (rules V2, R1, B7, P4, S4)."""

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from hermes_cache import (
    BuildError,
    Bus,
    CacheStoppedError,
    ListCache,
    Mark,
    Policy,
    SessionListCache,
    SessionListKey,
)
from hermes_cache.testing import GatedBuilder, VersionedSources
from tests.waiting import LASTING, WAIT_S, await_readers, until

KEY, OTHER, THIRD = SessionListKey("work"), SessionListKey("home"), SessionListKey("third")
PAYLOAD: Mapping[str, Any] = {"sessions": [{"session_id": "s1", "title": "put", "is_streaming": False}]}


def test_what_is_put_is_served_and_the_gateways_own_objects_stay_its_own(bus: Bus, builder: GatedBuilder) -> None:
    """V2, P1, P3"""
    rows = [{"session_id": "s1", "title": "put"}]
    with SessionListCache(builder, bus=bus, policy=LASTING) as cache:
        assert cache.put(KEY, {"sessions": rows}, as_of=cache.mark(KEY))
        rows[0]["title"] = "changed later"
        found = cache.lookup(KEY)

    assert (found.outcome, found.payload) == ("hit", PAYLOAD)
    with pytest.raises(TypeError):
        found.payload.update(more=1)
    assert builder.calls() == 0


@pytest.mark.parametrize("act", ["invalidate", "everybody", "settings"])
def test_what_an_event_touched_since_the_mark_is_not_stored(act: str, bus: Bus, builder: GatedBuilder) -> None:
    """V2, R1"""
    with SessionListCache(builder, bus=bus) as cache:
        as_of = cache.mark(KEY)
        if act == "settings":
            bus.settings_changed.send()
        else:
            cache.invalidate(None if act == "everybody" else "work")

        assert not cache.put(KEY, PAYLOAD, as_of=as_of)
        assert cache.peek(KEY) is None


def test_an_event_of_another_profile_hinders_nothing(bus: Bus, builder: GatedBuilder) -> None:
    """V1, V2"""
    with SessionListCache(builder, bus=bus) as cache:
        as_of = cache.mark(KEY)
        cache.invalidate("home")

        assert cache.put(KEY, PAYLOAD, as_of=as_of)


def test_with_sources_what_is_put_counts_as_moved(bus: Bus, builder: GatedBuilder) -> None:
    """V2, S4, R4"""
    with SessionListCache(builder, bus=bus, sources=VersionedSources(), policy=Policy(owner_wait=WAIT_S)) as cache:
        cache.get(KEY)
        assert cache.put(KEY, PAYLOAD, as_of=cache.mark(KEY))
        held = cache.peek(KEY)
        found = cache.lookup(KEY)

    assert held is not None
    assert (held.outcome, held.reason, held.payload) == ("stale", "source", PAYLOAD)
    assert (found.outcome, found.reason) == ("built", "source")


def test_readers_who_wait_for_a_build_are_answered(bus: Bus, readers: ThreadPoolExecutor) -> None:
    """V2, R1, R5"""
    builder = GatedBuilder()
    with SessionListCache(builder, bus=bus) as cache:
        reads = [readers.submit(cache.lookup, KEY) for _ in range(10)]
        await_readers(cache, 10)
        assert cache.is_building(KEY)

        assert cache.put(KEY, PAYLOAD, as_of=cache.mark(KEY))

        found = [each.result(WAIT_S) for each in reads]
        assert all((each.outcome, each.payload) == ("waited", PAYLOAD) for each in found)
        builder.open()
        until(lambda: not cache.is_building(KEY))
        assert cache.get(KEY) == PAYLOAD


@pytest.mark.parametrize(
    "payload", [[], {"sessions": {1}}, {"sessions": [{"session_id": "s", "at": float("nan")}]}]
)
def test_what_no_builder_may_return_cannot_be_put(payload: Any, bus: Bus, builder: GatedBuilder) -> None:
    """B7"""
    with SessionListCache(builder, bus=bus) as cache:
        as_of = cache.mark(KEY)
        with pytest.raises(BuildError, match="use str keys and JSON values"):
            cache.put(KEY, payload, as_of=as_of)

        assert cache.peek(KEY) is None


def test_a_mark_serves_its_own_key_and_cache_alone(bus: Bus, builder: GatedBuilder) -> None:
    """V2"""
    with SessionListCache(builder, bus=bus) as cache, SessionListCache(builder, bus=bus) as another:
        as_of = cache.mark(KEY)
        wrong: list[tuple[SessionListCache, SessionListKey, Any, type[Exception]]] = [
            (cache, OTHER, as_of, ValueError),
            (another, KEY, as_of, ValueError),
            (cache, KEY, "a mark", TypeError),
        ]
        for asked, key, given, error in wrong:
            with pytest.raises(error, match="as_of is"):
                asked.put(key, PAYLOAD, as_of=given)


def test_the_names_of_one_profile_share_a_mark(bus: Bus, builder: GatedBuilder) -> None:
    """V2, K3"""
    root, alias = SessionListKey(), SessionListKey("root")
    with SessionListCache(builder, bus=bus, is_root_profile=lambda name: name == "root") as cache:
        as_of = cache.mark(alias)
        cache.mark(root)

        assert cache.put(root, PAYLOAD, as_of=as_of)
        assert cache.get(alias) == PAYLOAD
        assert cache.keys() == (root,)
        assert cache.evict(alias)


def test_a_mark_from_before_a_restart_stores_nothing(bus: Bus, builder: GatedBuilder) -> None:
    """V2, L1: who knows what happened meanwhile"""
    with SessionListCache(builder, bus=bus) as cache:
        as_of = cache.mark(KEY)
        cache.stop()
        with pytest.raises(CacheStoppedError):
            cache.put(KEY, PAYLOAD, as_of=as_of)
        cache.start()

        assert not cache.put(KEY, PAYLOAD, as_of=as_of)
        assert cache.put(KEY, PAYLOAD, as_of=cache.mark(KEY))


def test_a_mark_of_the_parent_stores_nothing_in_a_forked_child(bus: Bus, builder: GatedBuilder) -> None:
    """V2, L2"""
    with SessionListCache(builder, bus=bus) as cache:
        as_of = cache.mark(KEY)
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if not cache.put(KEY, PAYLOAD, as_of=as_of) and not cache.keys() else 1)
            finally:
                os._exit(2)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_builder_may_mark_and_put_another_key(bus: Bus) -> None:
    """L5, V2"""

    def build(key: SessionListKey) -> Mapping[str, object]:
        if key == KEY:
            stored.append(cache.put(OTHER, PAYLOAD, as_of=cache.mark(OTHER)))
        return {"sessions": []}

    stored: list[bool] = []
    with SessionListCache(build, bus=bus, policy=LASTING) as cache:
        cache.get(KEY)

        assert stored == [True]
        assert cache.lookup(OTHER).outcome == "hit"


def test_a_builder_that_marks_what_only_a_callable_knows_is_refused(bus: Bus) -> None:
    """L5"""

    def build(key: SessionListKey) -> Mapping[str, object]:
        return {"sessions": [], "mark": str(cache.mark(replace(key, show_cron=True)))}

    with (
        SessionListCache(build, bus=bus, sources=VersionedSources()) as cache,
        pytest.raises(BuildError, match="waits for nobody"),
    ):
        cache.get(KEY)


def test_subscribers_hear_what_moved(bus: Bus, builder: GatedBuilder) -> None:
    """E9"""
    with SessionListCache(builder, bus=bus) as cache, cache.subscribe("work") as changes:
        cache.get(KEY)
        cache.put(KEY, PAYLOAD, as_of=cache.mark(KEY))
        change = changes.get(timeout=WAIT_S)

    assert change is not None
    assert (change.reason, change.profile) == ("source_changed", "work")


def test_what_is_too_large_is_returned_to_who_waits_and_weighs_nothing(bus: Bus) -> None:
    """P4"""
    with SessionListCache(GatedBuilder(is_open=True), bus=bus, policy=Policy(max_bytes=40)) as cache:
        assert not cache.put(KEY, PAYLOAD, as_of=cache.mark(KEY))
        until(lambda: cache.stats().held_bytes == 0)


def test_keys_are_named_coldest_first_and_hits_count(bus: Bus, builder: GatedBuilder) -> None:
    """P4"""
    with SessionListCache(builder, bus=bus) as cache:
        for key in (KEY, OTHER, THIRD):
            cache.get(key)
        assert cache.keys() == (KEY, OTHER, THIRD)
        cache.get(OTHER)
        cache.get(OTHER)
        cache.get(KEY)
        assert cache.keys() == (THIRD, OTHER, KEY)
        cache.put(THIRD, PAYLOAD, as_of=cache.mark(THIRD))

        assert cache.keys() == (OTHER, KEY, THIRD)


def test_what_is_evicted_is_gone_and_built_at_the_next_read(bus: Bus, builder: GatedBuilder) -> None:
    """P4"""
    with SessionListCache(builder, bus=bus) as cache:
        cache.get(KEY)
        cache.get(OTHER)

        assert cache.evict(KEY)
        assert not cache.evict(KEY)
        assert cache.keys() == (OTHER,)
        assert cache.lookup(KEY).reason == "miss"
        cache.clear()
        assert cache.keys() == ()
        assert cache.stats().evicted == {"asked": 3}


def test_a_build_goes_on_while_its_key_is_evicted(bus: Bus, readers: ThreadPoolExecutor) -> None:
    """P4, R1, R5: nobody who waits is lost"""
    builder = GatedBuilder(is_open=True)
    with SessionListCache(builder, bus=bus) as cache:
        cache.get(KEY)
        builder.close()
        cache.invalidate("work")
        read = readers.submit(cache.lookup, KEY)
        await_readers(cache, 1)

        assert cache.evict(KEY)
        assert cache.is_building(KEY)
        builder.open()

        assert read.result(WAIT_S).outcome == "built"
        assert cache.keys() == (KEY,)


def test_a_cache_that_does_not_run_holds_nothing(bus: Bus, builder: GatedBuilder) -> None:
    """L1"""
    cache = SessionListCache(builder, bus=bus)
    assert (cache.keys(), cache.is_building(KEY), cache.evict(KEY)) == ((), False, False)
    cache.clear()
    cache.mark(KEY)
    cache.stop()
    with pytest.raises(CacheStoppedError):
        cache.mark(KEY)


def test_on_an_event_loop_it_is_the_same(bus: Bus, builder: GatedBuilder) -> None:
    """W4, V2"""

    async def act(cache: SessionListCache) -> list[object]:
        stored = await cache.aput(KEY, PAYLOAD, as_of=await cache.amark(KEY))
        evicted = await cache.aevict(KEY)
        await cache.aget(OTHER)
        await cache.aclear()
        return [stored, evicted, cache.keys()]

    with SessionListCache(builder, bus=bus) as cache:
        assert asyncio.run(act(cache)) == [True, True, ()]


def test_a_list_of_any_kind_has_them_too(bus: Bus) -> None:
    """K5"""
    with ListCache(lambda key: {"n": key}, bus=bus) as cache:
        as_of = cache.mark(7)
        assert isinstance(as_of, Mark)
        assert (as_of.key, as_of.version) == (7, 0)
        assert cache.put(7, {"n": -7}, as_of=as_of)
        assert cache.get(7) == {"n": -7}


class _Race:
    """Threads that put what they read, evict, read and invalidate; notes what was served outdated."""

    def __init__(self, bus: Bus) -> None:
        self.wrong: list[tuple[int, int]] = []
        self._truth = 0
        self._is_over = False
        self._cache: ListCache[int, Mapping[str, int]] = ListCache(self._read, bus=bus)

    def run(self) -> None:
        acts = [self._put, self._put, self._look, self._look, self._change]
        with self._cache, ThreadPoolExecutor(len(acts)) as threads:
            for each in [threads.submit(act) for act in acts]:
                each.result(60)

    def _read(self, _key: int) -> Mapping[str, int]:
        return {"n": self._truth}

    def _put(self) -> None:
        while not self._is_over:
            as_of = self._cache.mark(1)
            self._cache.put(1, self._read(1), as_of=as_of)
            if self._truth % 7 == 0:
                self._cache.evict(1)

    def _look(self) -> None:
        while not self._is_over:
            least = self._told
            found = self._cache.get(1)["n"]
            if found < least:
                self.wrong.append((least, found))

    def _change(self) -> None:
        for _ in range(300):
            self._truth += 1
            self._cache.invalidate()
            self._told = self._truth
        self._is_over = True

    _told = 0


def test_while_others_invalidate_nothing_that_was_put_is_served_outdated(bus: Bus) -> None:
    """R1, V2: a payload read before an event is never served after it"""
    race = _Race(bus)

    race.run()

    assert race.wrong == []
