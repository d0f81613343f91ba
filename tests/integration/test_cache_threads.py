"""The cache's threads go on whatever foreign code raises on them; a missing one is told and made anew (L7)."""

import threading
import time
from asyncio import CancelledError
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from hermes_cache import BuildError, Bus, Health, Policy, SessionListCache, SessionListKey
from hermes_cache.core.events import AppliedEvent
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.ports import Position
from hermes_cache.testing import GatedBuilder, Listener, UnpluggableJournal, VersionedSources
from hermes_cache.threads import kept_thread
from tests.integration.log_handlers import raising_log_handler
from tests.waiting import WAIT_S

_KEY = SessionListKey()
_POLICY = Policy(ttl=3_600.0, streaming_ttl=3_600.0, journal_interval=0, journal_wait=5.0)


class _OwnError(BaseException):
    """No `Exception`."""


_ERRORS = [CancelledError, SystemExit, GeneratorExit, KeyboardInterrupt, _OwnError]


class _HostileJournal(MemoryJournal):
    """Raises what it is told to, once for each time; and says when it did."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.errors: SimpleQueue[type[BaseException]] = SimpleQueue()
        self.raised: SimpleQueue[str] = SimpleQueue()

    def wait(self, seen: Hashable, /, *, timeout_s: float) -> None:
        try:
            error = self.errors.get_nowait()
        except Empty:
            super().wait(seen, timeout_s=timeout_s)
            return
        self.raised.put(threading.current_thread().name)
        raise error


@pytest.mark.parametrize("error", _ERRORS)
def test_what_a_journal_raises_does_not_end_the_tail(error: type[BaseException]) -> None:
    """L7"""
    store = MemoryStore()
    hostile, bus, others = _HostileJournal(store), Bus(), Bus()
    heard = Listener(bus.session_list_changed)
    with (
        SessionListCache(GatedBuilder(is_open=True), bus=bus, journal=hostile, policy=_POLICY) as cache,
        SessionListCache(GatedBuilder(is_open=True), bus=others, journal=MemoryJournal(store), policy=_POLICY),
    ):
        hostile.errors.put(error)
        raised_on = hostile.raised.get(timeout=WAIT_S)
        others.session_list_changed.send(reason="later")
        [event] = heard.wait_for(1, timeout_s=WAIT_S)
        health = cache.health()

    assert raised_on == "hermes_cache.tail"
    assert event.reason == "later"
    assert (health.healthy, health.missing_threads) == (True, frozenset())


@pytest.mark.parametrize("error", [ValueError, *_ERRORS])
def test_what_a_log_handler_raises_ends_no_thread(error: type[BaseException]) -> None:
    """E4, L7"""
    store = MemoryStore()
    hostile, bus, others = _HostileJournal(store), Bus(), Bus()
    heard = Listener()

    def receive(_sender: object, event: AppliedEvent) -> None:
        heard._hear(_sender, event=event)
        raise error

    bus.session_list_changed.connect(receive)
    bus.build_started.connect(receive)
    with (
        raising_log_handler(error) as logged,
        SessionListCache(GatedBuilder(is_open=True), bus=bus, journal=hostile, policy=_POLICY) as cache,
        SessionListCache(GatedBuilder(is_open=True), bus=others, journal=MemoryJournal(store), policy=_POLICY),
    ):
        for number in range(3):
            hostile.errors.put(error)
            hostile.raised.get(timeout=WAIT_S)
            others.session_list_changed.send(reason=f"event {number}")
            cache.get(_KEY)
            heard.wait_for(2 * number + 2, timeout_s=WAIT_S)
        health = cache.health()

    assert (health.healthy, health.missing_threads) == (True, frozenset())
    assert {"hermes_cache.journal_not_followed", "hermes_cache.receiver_failed"} <= set(logged)


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_log_handler_that_raises_at_every_record_stops_nothing(error: type[BaseException]) -> None:
    """E4, L7: whatever fails, and whatever becomes of the record of it, the cache is well once it is mended."""
    store, bus, builder, sources = MemoryStore(), Bus(), GatedBuilder(is_open=True), VersionedSources()
    journal, fails = UnpluggableJournal(MemoryJournal(store)), [True]

    def call(*_: object, **__: object) -> Any:
        if fails:
            raise RuntimeError("as long as it is told to")
        return None

    bus.session_list_changed.connect(call)
    bus.build_failed.connect(call)
    cache = SessionListCache(
        builder,
        sources=sources,
        bus=bus,
        journal=journal,
        policy=replace(_POLICY, stamp_interval=0, owner_wait=60, follower_wait=60, max_build_duty=1),
        is_root_profile=call,
        active_stream_ids=lambda: call() or (),
        live_sessions=lambda: call() or {},
        settings_version=call,
    )
    with raising_log_handler(error) as logged, cache:
        builder.fail_with(RuntimeError("cannot build"))
        sources.fail_with(RuntimeError("cannot look"))
        for number in range(3):
            journal.unplug()
            bus.session_list_changed.send(reason=f"event {number}", profile="work")
            journal.wait_for_refusals(2 * number + 1, timeout_s=WAIT_S)
            with pytest.raises(BuildError):
                cache.get(SessionListKey("work"))
            journal.plug()
        fails.clear()
        builder.fail_with(None)
        sources.fail_with(None)
        ticket = bus.session_list_changed.ticket()
        bus.session_list_changed.send(reason="mended", profile="work")
        health = _health_once_well(cache, SessionListKey("work"))
        body = cache.render(SessionListKey("work"), freshness="fresh").body

    assert ticket is not None
    assert b"sessions" in body
    assert (health.healthy, health.missing_threads) == (True, frozenset())
    assert len(journal.read(Position(store.name))) == 4
    expected = {"build_failed", "callable_failed", "receiver_failed", "journal_not_written", "journal_not_read"}
    assert {f"hermes_cache.{name}" for name in expected} <= set(logged)


def _health_once_well(cache: SessionListCache, key: SessionListKey) -> Health:
    """Read until the cache is well, or until it takes too long: what failed is not tried again at once."""
    looks, ends_at_s = threading.Event(), time.monotonic() + WAIT_S
    while not cache.health().healthy and time.monotonic() < ends_at_s:
        with suppress(BuildError):
            cache.render(key)
        looks.wait(0.01)
    return cache.health()


def test_a_thread_that_the_machine_refuses_is_reported_and_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """L7, L4"""
    monkeypatch.setattr(kept_thread, "_RETRY_S", 0)
    store = MemoryStore()
    bus, others = Bus(), Bus()
    heard = Listener(bus.session_list_changed)
    cache = SessionListCache(GatedBuilder(is_open=True), bus=bus, journal=MemoryJournal(store), policy=_POLICY)
    with monkeypatch.context() as short_of_threads:
        short_of_threads.setattr(threading.Thread, "start", _start_no_tail)
        cache.start()
        sick, before = cache.health(), cache.stats().threads_made_anew
    with cache, SessionListCache(bus=others, journal=MemoryJournal(store), policy=_POLICY):
        cache.get(_KEY)
        well, made_anew = cache.health(), cache.stats().threads_made_anew - before
        others.session_list_changed.send(reason="later")
        [event] = heard.wait_for(1, timeout_s=WAIT_S)

    assert made_anew == 1
    assert (sick.healthy, sick.missing_threads) == (False, frozenset({"hermes_cache.tail"}))
    assert (well.healthy, well.missing_threads) == (True, frozenset())
    assert event.reason == "later"


_start = threading.Thread.start


def _start_no_tail(thread: threading.Thread) -> None:
    if thread.name == "hermes_cache.tail":
        raise RuntimeError("can't start new thread")
    _start(thread)
