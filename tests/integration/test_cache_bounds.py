"""The bound of a read holds whatever it waits for, and who hangs costs his own readers alone (R6, K3, L5)."""

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hermes_cache import (
    BuildError,
    BuildTimeoutError,
    Bus,
    CacheStoppedError,
    LookupTimeoutError,
    Policy,
    SessionListCache,
    SessionListKey,
)
from hermes_cache.testing import GatedBuilder, ManualClock, VersionedSources
from tests.waiting import LASTING, WAIT_S

_KEY = SessionListKey()
_WORK = SessionListKey("work")
_HUNG = SessionListKey("hung")
_PATIENCE_S = WAIT_S


@pytest.fixture
def goes_on() -> Iterator[threading.Event]:
    """Lets go what hangs; set at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


class _Hanging(VersionedSources):
    """Sources that hang for the profile `hung`."""

    def __init__(self, goes_on: threading.Event, *, scope: bool) -> None:
        super().__init__()
        self._goes_on = goes_on
        self._scope = scope

    def scope(self, key: SessionListKey, /) -> Hashable:
        if self._scope and key.profile == "hung":
            self._goes_on.wait(3 * _PATIENCE_S)
        return super().scope(key)

    def stamp(self, key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
        if not self._scope and key.profile == "hung":
            self._goes_on.wait(3 * _PATIENCE_S)
        return super().stamp(key, held=held)


def test_settings_that_change_faster_than_aliases_answer_do_not_hold_a_read_past_its_bound() -> None:
    """R6"""
    bus, clock, asked = Bus(), ManualClock(), 0

    def is_root_profile(_name: str) -> bool:
        nonlocal asked
        asked += 1
        clock.advance(0.1)
        bus.settings_changed.send(None)
        return False

    with SessionListCache(
        GatedBuilder(is_open=True), bus=bus, clock=clock, is_root_profile=is_root_profile
    ) as cache:
        began_s = clock.monotonic_s()
        with pytest.raises(LookupTimeoutError):
            cache.get(_WORK, timeout=0.3)
        took_s = clock.monotonic_s() - began_s
        with pytest.raises(BuildTimeoutError):
            cache.get(_WORK)

    assert 0.3 <= took_s <= 0.55
    assert asked < 620


@pytest.mark.parametrize(
    "get",
    [
        lambda cache: cache.get(_WORK, timeout=_PATIENCE_S),
        lambda cache: asyncio.run(cache.aget(_WORK, timeout=_PATIENCE_S)),
    ],
    ids=["waits", "awaits"],
)
def test_a_read_asks_anew_for_an_alias_that_settings_outdated(get: Callable[[SessionListCache], object]) -> None:
    """K3"""
    bus, answers = Bus(), iter([True, True, False])

    def is_root_profile(_name: str) -> bool:
        answer = next(answers)
        if answer:
            bus.settings_changed.send(None)
        return answer

    builder = GatedBuilder(is_open=True)
    with SessionListCache(builder, bus=bus, is_root_profile=is_root_profile) as cache:
        get(cache)

    assert builder.calls() == builder.calls(_WORK) == 1


@pytest.mark.parametrize("hangs", ["is_root_profile", "sources.scope"])
def test_a_callable_that_hangs_costs_the_readers_of_its_profile_alone(
    hangs: str, goes_on: threading.Event
) -> None:
    """R6"""

    def is_root_profile(name: str) -> bool:
        return name == "hung" and hangs == "is_root_profile" and not goes_on.wait(3 * _PATIENCE_S)

    sources = _Hanging(goes_on, scope=hangs == "sources.scope")
    with SessionListCache(
        GatedBuilder(is_open=True), bus=Bus(), sources=sources, is_root_profile=is_root_profile
    ) as cache:
        for _ in range(3):
            began_s = time.monotonic()
            with pytest.raises(LookupTimeoutError, match=r"sources\.scope"):
                cache.get(_HUNG, timeout=0.05)
            assert time.monotonic() - began_s >= 0.05
        others = [cache.get(SessionListKey(f"profile {number}"), timeout=_PATIENCE_S) for number in range(20)]
        goes_on.set()
        late = cache.get(_HUNG, timeout=_PATIENCE_S)

    assert len(others) == 20
    assert late["call"] == 1


def test_without_an_interval_a_check_that_hangs_keeps_no_bounded_read(goes_on: threading.Event) -> None:
    """R6, S4"""
    goes_on.set()
    sources = _Hanging(goes_on, scope=False)
    with SessionListCache(
        GatedBuilder(is_open=True), bus=Bus(), sources=sources, policy=Policy(stamp_interval=0, ttl=60)
    ) as cache:
        cache.get(_HUNG)
        goes_on.clear()

        looked = cache.lookup(_HUNG, timeout=0.05)

        assert looked.outcome == "hit"
        assert cache.lookup(_KEY, timeout=_PATIENCE_S).outcome == "built"
        goes_on.set()


def test_an_event_whose_alias_does_not_come_back_touches_all(goes_on: threading.Event) -> None:
    """K3, E5: and the next one of that name waits no more."""

    def is_root_profile(name: str) -> bool:
        return name == "hung" and goes_on.wait(3 * _PATIENCE_S)

    bus = Bus()
    with SessionListCache(GatedBuilder(is_open=True), bus=bus, is_root_profile=is_root_profile) as cache:
        cache.get(_KEY)
        cache.get(_WORK)

        bus.session_list_changed.send(None, profile="hung")
        outcomes = [cache.lookup(key).reason for key in (_KEY, _WORK)]
        began_s = time.monotonic()
        for _ in range(20):
            bus.session_list_changed.send(None, profile="hung")
        took_s = time.monotonic() - began_s

        goes_on.set()
    assert outcomes == ["event", "event"]
    assert took_s < 10


def test_a_stop_lets_a_read_go_that_waits_for_an_alias(goes_on: threading.Event) -> None:
    """L1"""
    asked = threading.Event()

    def is_root_profile(name: str) -> bool:
        asked.set()
        return name == "hung" and goes_on.wait(3 * _PATIENCE_S)

    cache = SessionListCache(
        GatedBuilder(is_open=True), bus=Bus(), is_root_profile=is_root_profile, policy=Policy(stop_timeout=0.1)
    )
    with ThreadPoolExecutor(1) as readers, cache:
        reading = readers.submit(cache.get, _HUNG)
        assert asked.wait(_PATIENCE_S)

        cache.stop()

        with pytest.raises(CacheStoppedError):
            reading.result(_PATIENCE_S)
        goes_on.set()
    cache.stop()


@pytest.mark.parametrize("name", ["active_stream_ids", "settings_version", "is_root_profile", "stamp", "scope"])
@pytest.mark.parametrize("interval_s", [0.0, 0.05])
def test_a_callable_that_reads_the_cache_is_answered_from_memory(name: str, interval_s: float) -> None:
    """L5"""
    answers: list[object] = []

    def read(answer: Any) -> Any:
        try:
            answers.append(cache.get(_WORK))
        except BuildError as error:
            answers.append(error)
        return answer

    class _Reading(VersionedSources):
        def scope(self, key: SessionListKey, /) -> Hashable:
            return read(super().scope(key)) if name == "scope" else super().scope(key)

        def stamp(self, key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
            found = super().stamp(key, held=held)
            return read(found) if name == "stamp" else found

    given: dict[str, Callable[..., Any]] = {
        "active_stream_ids": lambda: read(()),
        "settings_version": lambda: read(1),
        "is_root_profile": lambda _name: read(answer=False),
    }
    cache = SessionListCache(
        GatedBuilder(is_open=True),
        bus=Bus(),
        sources=_Reading(),
        policy=Policy(stamp_interval=interval_s, build_timeout=_PATIENCE_S),
        **({name: given[name]} if name in given else {}),  # type: ignore[arg-type]  # by its name
    )
    with cache:
        payload = cache.get(_WORK)
        cache.get(_WORK, freshness="fresh")
        cache.get(SessionListKey("home"))

    assert payload["call"] == 1
    assert isinstance(answers[0], BuildError)
    assert all(isinstance(each, BuildError | dict) for each in answers)


# On an event loop.


def _on_a_busy_loop(cache: SessionListCache, act: Callable[[], Any]) -> Any:
    """Run a coroutine on a loop whose default executor has no thread left."""
    over = threading.Event()

    async def run() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, over.wait, 3 * _PATIENCE_S)
        try:
            return await act()
        finally:
            over.set()
            await busy

    with cache:
        return asyncio.run(run())


def test_awaiting_uses_no_thread_of_the_loops_default_executor() -> None:
    """R6, W4"""
    cache = SessionListCache(
        GatedBuilder(is_open=True), bus=Bus(), sources=VersionedSources(), is_root_profile=lambda _name: False
    )

    payload = _on_a_busy_loop(cache, lambda: cache.aget(_WORK, timeout=_PATIENCE_S))

    assert payload["call"] == 1


def test_awaiting_before_the_start_starts_off_the_loop() -> None:
    """L1, W4"""
    cache = SessionListCache(GatedBuilder(is_open=True), bus=Bus())

    payload = asyncio.run(asyncio.wait_for(cache.aget(_KEY), _PATIENCE_S))
    cache.stop()
    with pytest.raises(CacheStoppedError):
        asyncio.run(cache.aget(_KEY))

    assert payload["call"] == 1


def test_awaiting_an_alias_that_hangs_ends_with_the_bound(goes_on: threading.Event) -> None:
    """R6"""
    cache = SessionListCache(
        GatedBuilder(is_open=True),
        bus=Bus(),
        is_root_profile=lambda name: name == "hung" and goes_on.wait(3 * _PATIENCE_S),
    )

    async def read() -> tuple[list[object], Any]:
        hung = [cache.aget(_HUNG, timeout=0.05) for _ in range(50)]
        return await asyncio.gather(*hung, return_exceptions=True), await cache.aget(_WORK, timeout=_PATIENCE_S)

    with cache:
        errors, payload = asyncio.run(read())
        goes_on.set()

    assert {type(error) for error in errors} == {LookupTimeoutError}
    assert payload["call"] == 1


def test_a_loop_goes_on_while_the_mailbox_is_held_by_another_thread() -> None:
    """L6"""

    async def read(cache: SessionListCache) -> tuple[int, Any]:
        inbox = cache._living().actor.actor_inbox
        turns = 0
        with inbox._lock:
            reading = asyncio.create_task(cache.aget(_KEY, timeout=_PATIENCE_S))
            for _ in range(100):
                await asyncio.sleep(0)
                turns += not reading.done()
        return turns, await reading

    with SessionListCache(GatedBuilder(is_open=True), bus=Bus()) as cache:
        turns, payload = asyncio.run(read(cache))

    assert turns == 100
    assert payload["call"] == 1


def test_a_hit_on_the_loop_is_answered_in_place() -> None:
    """L6, R2"""

    async def read(cache: SessionListCache) -> Any:
        reading = cache.aget(_KEY)
        with pytest.raises(StopIteration) as ended:
            reading.send(None)
        return ended.value.value

    with SessionListCache(GatedBuilder(is_open=True), bus=Bus(), policy=LASTING) as cache:
        cache.get(_KEY)
        cache.get(_KEY)
        payload = asyncio.run(read(cache))

    assert payload["call"] == 1


def test_a_read_that_is_sent_to_a_stopped_cache_gets_an_error() -> None:
    """L1"""
    with SessionListCache(GatedBuilder(is_open=True), bus=Bus()) as cache:
        cache.get(_KEY)
        life = cache._living()
        cache.stop()
        cache._life = life

        with pytest.raises(CacheStoppedError):
            asyncio.run(asyncio.wait_for(cache.aget(_KEY, freshness="fresh"), _PATIENCE_S))
        cache._life = None
