"""Sources on the running cache: when they are checked, by whom, and what a check decides (S4, S5, B3, V3, R8)."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import inf

import pytest

from hermes_cache import Bus, Lookup, Policy, SessionListCache, SessionListKey
from hermes_cache.core.messages import Tick
from hermes_cache.core.state import State
from hermes_cache.ports import LastKnown
from hermes_cache.testing import GatedBuilder, ManualClock, VersionedSources
from tests.waiting import WAIT_S, until

_KEY = SessionListKey()
_CHECKER = "hermes_cache.checker"
_PATIENCE_S = WAIT_S


class _WatchedSources(VersionedSources):
    """Sources that remember who checked them and when, and that can hang."""

    def __init__(self) -> None:
        super().__init__()
        self.checks: list[tuple[float, threading.Thread]] = []
        self.most_at_once = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.hang_for: set[Hashable] = set()
        self.now: list[Hashable] = []

    def stamp(self, key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
        self.checks.append((time.monotonic(), threading.current_thread()))
        self.now.append(self.scope(key))
        self.most_at_once = max(self.most_at_once, self.now.count(self.scope(key)))
        if not self.hang_for or self.scope(key) in self.hang_for:
            self.goes_on.wait(3 * _PATIENCE_S)
        self.now.remove(self.scope(key))
        return super().stamp(key, held=held)

    def checked_by(self, name: str) -> list[float]:
        return [at_s for at_s, thread in self.checks if thread.name.startswith(name)]


@contextmanager
def _running(
    sources: VersionedSources,
    policy: Policy | None = None,
    *,
    clock: ManualClock | None = None,
    builder: Callable[[SessionListKey], Mapping[str, object]] | None = None,
    settings_version: Callable[[], Hashable] | None = None,
) -> Iterator[SessionListCache]:
    cache = SessionListCache(
        builder or GatedBuilder(is_open=True),
        sources=sources,
        policy=policy,
        bus=Bus(),
        clock=clock,
        settings_version=settings_version,
    )
    with cache:
        yield cache


def _settle(cache: SessionListCache, is_settled: Callable[[State], bool]) -> None:
    """Let the actor look until a state is reached."""
    life = cache._living()
    ends_at_s = time.monotonic() + _PATIENCE_S
    while not is_settled(life.state):
        assert time.monotonic() < ends_at_s, "the state was not reached"
        life.ask(Tick())


def _unread(state: State) -> bool:
    return all(scope.asked_s is None and scope.due_s == inf for scope in state.scopes.values())


def _read_until(cache: SessionListCache, is_seen: Callable[[Lookup], bool]) -> Lookup:
    ends_at_s = time.monotonic() + 2 * _PATIENCE_S
    while not is_seen(looked := cache.lookup(_KEY)):
        assert time.monotonic() < ends_at_s, "it was never seen"
    return looked


def _read_until_checked(cache: SessionListCache, sources: _WatchedSources, checks: int) -> int:
    reads, ends_at_s = 0, time.monotonic() + _PATIENCE_S
    while len(sources.checked_by(_CHECKER)) < checks:
        assert time.monotonic() < ends_at_s, "there were too few checks"
        cache.get(_KEY)
        reads += 1
    return reads


def test_while_reads_are_dense_one_checker_checks_once_an_interval() -> None:
    """S4"""
    sources, began_s = _WatchedSources(), time.monotonic()
    with _running(sources, Policy(stamp_interval=0.05, ttl=60)) as cache:
        cache.get(_KEY)

        with ThreadPoolExecutor(4) as readers:
            reads = sum(readers.map(lambda _: _read_until_checked(cache, sources, 10), range(4)))
        took_s = time.monotonic() - began_s

    checks = sources.checked_by(_CHECKER)
    # Threads of a busy machine begin a check late, but none is asked for before its time.
    assert 10 <= len(checks) <= took_s / 0.05 + 1
    assert reads > 10 * len(checks)
    assert len(checks) + len(sources.checked_by("hermes_cache.builder")) == len(sources.checks)
    assert sources.most_at_once == 1


def test_checks_of_one_scope_never_overlap_whoever_asks() -> None:
    """S4"""
    sources = _WatchedSources()
    keys = [SessionListKey(), SessionListKey(show_cron=True)]
    with _running(sources, Policy(stamp_interval=0.001, ttl=0.0, max_build_duty=1)) as cache:

        def read(number: int) -> None:
            for _ in range(30):
                cache.get(keys[number % 2], freshness="fresh" if number % 3 else "default")

        with ThreadPoolExecutor(8) as readers:
            list(readers.map(read, range(8)))

    assert len(sources.checks) > 30
    assert sources.most_at_once == 1


def test_a_checker_stops_by_itself_when_nobody_reads_and_the_cache_sleeps() -> None:
    """S4"""
    sources, clock = VersionedSources(), ManualClock()
    with _running(sources, clock=clock) as cache:
        cache.get(_KEY)
        clock.advance(0.2)
        cache.get(_KEY)
        clock.advance(0.05)
        _settle(cache, _unread)
        checks = sources.calls(_KEY)
        clock.advance(120.0)
        cache._living().ask(Tick())

        assert checks == 3
        assert sources.calls(_KEY) == checks
        assert cache._living().actor.wake_at_s == inf


def test_reading_goes_on_being_checked_after_a_pause() -> None:
    """S4"""
    sources, clock = VersionedSources(), ManualClock()
    with _running(sources, Policy(ttl=600), clock=clock) as cache:
        cache.get(_KEY)
        _settle(cache, _unread)
        clock.advance(60.0)
        sources.set_part(1)

        looked = cache.lookup(_KEY)

    assert (looked.outcome, looked.reason) == ("built", "source")


def test_a_read_uses_a_check_that_began_two_intervals_ago_and_waits_for_none() -> None:
    """S4"""
    sources, clock = _WatchedSources(), ManualClock()
    with _running(sources, Policy(ttl=600), clock=clock) as cache:
        cache.get(_KEY)
        sources.goes_on.clear()
        clock.advance(0.09)

        looked = cache.lookup(_KEY)

        assert looked.outcome == "hit"
        sources.goes_on.set()


def test_without_an_interval_every_read_is_checked_on_its_own_thread() -> None:
    """S4"""
    sources = _WatchedSources()
    with _running(sources, Policy(stamp_interval=0, ttl=60)) as cache:
        cache.get(_KEY)

        for _ in range(20):
            cache.get(_KEY)

        here = [thread for _, thread in sources.checks if thread is threading.current_thread()]
        assert len(here) == 20
        assert len(sources.checks) == 21


def test_sources_that_hang_hold_a_read_up_for_fifty_milliseconds_and_the_last_check_serves() -> None:
    """S4"""
    sources, clock = _WatchedSources(), ManualClock()
    policy = Policy(stamp_interval=0.001, ttl=60)
    with _running(sources, policy, clock=clock) as cache, ThreadPoolExecutor(1) as reader:
        cache.get(_KEY)
        sources.goes_on.clear()
        clock.advance(0.1)
        read = reader.submit(cache.lookup, _KEY)
        _settle(cache, lambda state: state.waiting == 1)

        clock.advance(0.049)
        cache._living().ask(Tick())
        assert cache.stats().waiting == 1
        clock.advance(0.002)
        _settle(cache, lambda state: state.waiting == 0)

        assert read.result(_PATIENCE_S).outcome == "hit"
        sources.goes_on.set()


def test_past_the_ttl_sources_that_hang_count_as_moved() -> None:
    """S4, R4"""
    sources, clock, builder = _WatchedSources(), ManualClock(), GatedBuilder(is_open=True)
    policy = Policy(stamp_interval=0.001, ttl=1.0, owner_wait=0.05)
    with (
        _running(sources, policy, clock=clock, builder=builder) as cache,
        ThreadPoolExecutor(1) as reader,
    ):
        cache.get(_KEY)
        _settle(cache, _unread)
        sources.goes_on.clear()
        builder.close()
        clock.advance(1.1)
        read = reader.submit(cache.lookup, _KEY)

        for _ in ("the check", "the build"):
            _settle(cache, lambda state: state.waiting == 1)
            clock.advance(0.051)
            cache._living().ask(Tick())

        looked = read.result(_PATIENCE_S)
        builder.open()
        sources.goes_on.set()
    assert (looked.outcome, looked.reason) == ("stale", "source")
    assert looked.payload["call"] == 1


def test_without_an_interval_a_check_that_hangs_holds_other_readers_up_for_fifty_milliseconds_in_all() -> None:
    """S4"""
    took_s: list[float] = []

    def is_one_short() -> bool:
        took_s.extend(_beside_a_check_that_hangs_s())
        return min(took_s, default=inf) < 0.09

    # A busy machine makes some take longer; none could be shorter if two waits came one after the other.
    until(is_one_short)

    assert min(took_s) > 0.04


def _beside_a_check_that_hangs_s() -> list[float]:
    """Return how long three hits took; none of a time in which the check took so long that it failed."""
    sources = _WatchedSources()
    with _running(sources, Policy(stamp_interval=0, ttl=60)) as cache, ThreadPoolExecutor(1) as other:
        cache.get(_KEY)
        sources.goes_on.clear()
        first = other.submit(cache.get, _KEY)
        while len(sources.checks) < 2:
            assert not first.done()

        took_s = [_hit_in_s(cache) for _ in range(3)]
        failed = cache.health().failing_checks

        sources.goes_on.set()
        first.result(_PATIENCE_S)
    return [] if failed else took_s


def _hit_in_s(cache: SessionListCache) -> float:
    began_s = time.monotonic()
    assert cache.lookup(_KEY).outcome == "hit"
    return time.monotonic() - began_s


def test_a_reader_whose_own_bound_ends_before_its_check_is_back_fails_no_check() -> None:
    """S4: the check has its second, whoever waits for it."""
    sources, clock = _WatchedSources(), ManualClock()
    policy = Policy(stamp_interval=0, ttl=60)
    with _running(sources, policy, clock=clock) as cache, ThreadPoolExecutor(1) as reader:
        cache.get(_KEY)
        sources.goes_on.clear()
        read = reader.submit(cache.lookup, _KEY, timeout=0.02)
        until(lambda: len(sources.checks) == 2, "the check never began")
        clock.advance(0.03)
        _settle(cache, lambda state: state.waiting == 0)
        assert read.result(_PATIENCE_S).outcome == "hit"
        health = cache.health()

        sources.goes_on.set()
    assert len(sources.checks) == 2
    assert not health.failing_checks


def _out(sources: _WatchedSources) -> list[Hashable]:
    """Return the scopes whose checks hang."""
    return [scope for scope in sources.now if scope in sources.hang_for]


def _checkers() -> int:
    return sum(thread.name.startswith(_CHECKER) for thread in threading.enumerate())


def test_half_of_the_checkers_may_hang_and_the_others_serve() -> None:
    """S4"""
    sources = _WatchedSources()
    hanging = [SessionListKey(f"profile-{number}") for number in range(20)]
    with _running(sources, Policy(stamp_interval=0.001, ttl=600, max_build_duty=1)) as cache:
        for key in (_KEY, *hanging):
            cache.get(key)
        sources.hang_for = set(map(sources.scope, hanging))
        sources.goes_on.clear()

        for key in hanging * 2:
            cache.get(key)
            cache.get(_KEY)
        sources.set_part(1)
        seen = _read_until(cache, lambda looked: looked.stamp["content/default"] == 1)
        until(lambda: len(_out(sources)) == 8, "the checks never began")
        out = _out(sources)
        # On a busy machine more may start than there may be; those end at once.
        until(lambda: _checkers() <= 16, "too many threads check")

        sources.goes_on.set()
    assert seen.payload["call"] == 2
    assert len(out) == len(set(out)) == 8


def test_what_is_let_go_is_weighed_though_every_checker_hangs() -> None:
    """S4, P4"""
    sources = _WatchedSources()
    hanging = [SessionListKey(f"profile-{number}") for number in range(4)]
    with _running(sources, Policy(stamp_interval=0.001, ttl=60)) as cache:
        for key in (_KEY, *hanging):
            cache.get(key)
        sources.hang_for = set(map(sources.scope, hanging))
        sources.goes_on.clear()
        while len(sources.now) < 4:
            for key in hanging:
                cache.get(key)
        held_bytes = cache.stats().held_bytes

        for _ in range(20):
            cache.invalidate("default")
            cache.get(_KEY)

        runner = cache._living().runner
        _settle(cache, lambda _state: runner.held_bytes <= held_bytes + 20)
        assert len(sources.now) == 4
        sources.goes_on.set()


def test_a_commit_during_a_build_is_seen_at_the_very_next_read_without_an_interval() -> None:
    """B3, S4"""
    sources, commits, seen = VersionedSources(), 0, 0

    def build(_key: SessionListKey) -> Mapping[str, object]:
        nonlocal commits
        read = commits
        if read % 2 == 0:
            commits += 1
            sources.set_part(commits)
        return {"sessions": [], "commits": read}

    policy = Policy(stamp_interval=0, max_build_duty=1, ttl=60, owner_wait=WAIT_S)
    with _running(sources, policy, builder=build) as cache:
        for _ in range(100):
            commits += commits % 2
            cache.invalidate()
            cache.get(_KEY)
            looked = cache.lookup(_KEY)
            seen += looked.reason == "source" and looked.payload["commits"] == commits

    assert seen == 100


def test_a_commit_during_a_build_is_seen_at_the_next_check() -> None:
    """B3"""
    sources, clock, commits, seen = VersionedSources(), ManualClock(), 0, 0

    def build(_key: SessionListKey) -> Mapping[str, object]:
        nonlocal commits
        read = commits
        if read % 2 == 0:
            commits += 1
            sources.set_part(commits)
        return {"sessions": [], "commits": read}

    with _running(sources, Policy(max_build_duty=1, ttl=600), clock=clock, builder=build) as cache:
        for _ in range(100):
            commits += commits % 2
            cache.invalidate()
            cache.get(_KEY)
            clock.advance(0.2)
            looked = cache.lookup(_KEY)
            seen += looked.reason == "source" and looked.payload["commits"] == commits

    assert seen == 100


def test_the_check_of_a_build_is_the_last_check_of_its_scope() -> None:
    """B3"""
    sources, clock = VersionedSources(), ManualClock()
    other = SessionListKey(show_cron=True)
    with _running(sources, Policy(ttl=600), clock=clock) as cache:
        cache.get(_KEY)
        sources.set_part(1)
        clock.advance(0.01)

        cache.get(other)
        looked = cache.lookup(_KEY)

        assert (looked.outcome, looked.reason) == ("built", "source")
        assert sources.calls(_KEY) == 3


def test_sources_that_raise_fail_the_check_and_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """S5, S4: the list is served by its age meanwhile, and the next good check counts as moved."""
    sources = VersionedSources()
    sources.fail_with(OSError("gone"))
    with _running(sources, Policy(stamp_interval=0, ttl=60, max_build_duty=1, owner_wait=WAIT_S)) as cache:
        first = cache.lookup(_KEY)
        again = [cache.lookup(_KEY).outcome for _ in range(5)]
        sick = cache.health()
        sources.fail_with(None)
        back = cache.lookup(_KEY)

        assert (first.outcome, first.stamp["sources"]) == ("built", "unknown")
        assert again == ["hit"] * 5
        assert sick.failing_callables == {"sources"}
        assert sick.failing_checks == {_KEY: "OSError: gone"}
        assert not sick.healthy
        assert (back.outcome, back.reason, back.stamp["content/default"]) == ("built", "source", 0)
        assert cache.health().healthy
    logged = [record for record in caplog.records if record.message == "hermes_cache.callable_failed"]
    assert [record.levelno for record in logged] == [logging.WARNING]


def test_without_a_check_that_succeeds_a_list_is_served_until_its_ttl() -> None:
    """S4"""
    sources, clock = VersionedSources(), ManualClock()
    sources.fail_with(OSError("gone"))
    with _running(sources, Policy(ttl=600), clock=clock) as cache:
        cache.get(_KEY)
        clock.advance(599.0)
        before = cache.lookup(_KEY)
        clock.advance(2.0)
        after = cache.lookup(_KEY)

    assert before.outcome == "hit"
    assert (after.outcome, after.reason) == ("built", "source")


class _Failing(VersionedSources):
    """Sources whose checks raise an error while there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None

    def stamp(self, key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
        if self.error is not None:
            raise self.error
        return super().stamp(key, held=held)


class _OwnInterruptError(BaseException):
    pass


_ERRORS: tuple[BaseException, ...] = (
    OSError(), asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), _OwnInterruptError(),
)  # fmt: skip


@pytest.mark.parametrize("error", _ERRORS, ids=repr)
def test_a_check_that_raises_anything_at_all_is_followed_by_another(error: BaseException) -> None:
    """S4"""
    sources = _Failing()
    with _running(sources, Policy(ttl=600, owner_wait=WAIT_S)) as cache:
        cache.get(_KEY)
        sources.error = error
        _read_until(cache, lambda _: bool(cache.health().failing_checks))
        sources.error = None
        sources.set_part(1)

        looked = _read_until(cache, lambda looked: looked.outcome != "hit")
        health = cache.health()

    assert (looked.outcome, looked.reason) == ("built", "source")
    assert health.healthy


@pytest.mark.parametrize("error", _ERRORS, ids=repr)
def test_a_build_whose_own_check_failed_runs_and_counts_as_moved_at_the_next(error: BaseException) -> None:
    """S4, B3"""
    sources, clock = _Failing(), ManualClock()
    with _running(sources, Policy(ttl=600), clock=clock) as cache:
        sources.error = error
        first = cache.lookup(_KEY, timeout=_PATIENCE_S)
        sources.error = None
        clock.advance(0.5)

        second = cache.lookup(_KEY)

    assert first.outcome == "built"
    assert (second.outcome, second.reason, second.payload["call"]) == ("built", "source", 2)


def test_a_check_whose_thread_is_refused_has_failed_and_the_next_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """S4, L7"""
    refused: list[str] = []
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(_CHECKER) and len(refused) < 5:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sources = VersionedSources()
    with _running(sources, Policy(ttl=600, owner_wait=WAIT_S)) as cache:
        first = cache.lookup(_KEY)
        _read_until(cache, lambda _: len(refused) == 5)

        second = _read_until(cache, lambda looked: looked.outcome != "hit")
        _read_until(cache, lambda _: cache.health().healthy)

    assert first.stamp["sources"] == "unknown"
    assert (second.reason, second.stamp["content/default"]) == ("source", 0)


def test_a_check_that_never_comes_back_costs_its_scope_alone_and_no_read_waits_for_it() -> None:
    """S4"""
    sources, clock = _WatchedSources(), ManualClock()
    with _running(sources, Policy(ttl=600), clock=clock) as cache:
        cache.get(_KEY)
        sources.goes_on.clear()
        clock.advance(0.06)
        cache.get(_KEY)
        until(lambda: len(sources.checks) == 2, "the check never began")
        clock.advance(1.5)
        _settle(cache, lambda state: any(scope.is_late for scope in state.scopes.values()))
        sick = cache.health()

        # With a clock that stands still, a read that waited for a check would wait for ever.
        outcomes = [cache.lookup(_KEY).outcome for _ in range(20)]
        checks = len(sources.checks)
        sources.set_part(1)
        sources.goes_on.set()
        _settle(cache, lambda state: not any(scope.is_late for scope in state.scopes.values()))
        looked = _read_until(cache, lambda looked: looked.outcome != "hit")

        assert sick.failing_checks == {_KEY: "it was not back after 1 s"}
        assert outcomes == ["hit"] * 20
        assert checks == 2
        assert looked.reason == "source"
        assert cache.health().healthy


def test_a_build_waits_a_second_for_its_own_check_and_runs_without() -> None:
    """S4: and the next build of that scope does not wait for the one that hangs."""
    sources = _WatchedSources()
    sources.goes_on.clear()
    with _running(sources, Policy(ttl=600)) as cache:
        first = cache.lookup(_KEY, timeout=_PATIENCE_S)
        cache.invalidate()
        second = cache.lookup(_KEY, timeout=_PATIENCE_S)

        assert [first.stamp["sources"], second.stamp["sources"]] == ["unknown", "unknown"]
        assert len(sources.now) == 1
        assert "hangs" in cache.health().failing_checks[_KEY]
        sources.goes_on.set()


@pytest.mark.parametrize(
    "parts", [{5: 1}, {"content": 1, 5: 1}, {"content": [1]}, [("content", 1)]],
    ids=["no name", "two kinds of names", "no value", "no mapping"],
)  # fmt: skip
def test_a_part_that_can_be_none_is_a_failure_of_the_sources(parts: Mapping[str, Hashable]) -> None:
    """S5: no reader gets the error, and what shows the stamp does not fail by it."""

    class _Odd(VersionedSources):
        def stamp(self, _key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
            return {} if held else parts

    with _running(_Odd(), Policy(stamp_interval=0)) as cache:
        looked = [cache.lookup(_KEY), cache.render(_KEY).lookup]
        failing = cache.health().failing_callables

    assert [each.stamp["sources"] for each in looked] == ["unknown", "unknown"]
    assert failing == {"sources"}


def test_a_settings_version_that_fails_fails_the_check() -> None:
    """S4, V3"""
    sources = VersionedSources()

    def version() -> Hashable:
        raise OSError("no settings")

    with _running(sources, settings_version=version) as cache:
        cache.get(_KEY)

        assert cache.health().failing_callables == {"settings_version"}
        assert cache.health().failing_checks == {_KEY: "OSError: no settings"}


@pytest.mark.parametrize("scope", [OSError("gone"), []])
def test_a_key_whose_scope_cannot_be_named_shares_its_checks_with_no_other(
    scope: object, caplog: pytest.LogCaptureFixture
) -> None:
    """S5"""

    class _Unnamed(VersionedSources):
        def scope(self, _key: SessionListKey, /) -> Hashable:
            if isinstance(scope, Exception):
                raise scope
            return scope

        def stamp(self, key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
            return {"held": held, "key": key}

    clock = ManualClock()
    with _running(_Unnamed(), Policy(ttl=600), clock=clock) as cache:
        cache.get(_KEY)
        clock.advance(1.0)

        assert cache.lookup(_KEY).outcome == "hit"
        assert cache.peek(_KEY) is not None
    logged = [record for record in caplog.records if record.message == "hermes_cache.callable_failed"]
    assert len(logged) == 1


def test_a_fresh_read_sees_every_commit_from_before_it_whoever_else_reads_and_writes() -> None:
    """R8, B3"""
    sources, lock, committed = VersionedSources(), threading.Lock(), 0

    def build(_key: SessionListKey) -> Mapping[str, object]:
        return {"sessions": [], "commits": committed}

    def commit_and_read(_writer: int) -> int:
        nonlocal committed
        seen = 0
        for _ in range(50):
            with lock:
                committed += 1
                sources.set_part(committed)
                own = committed
            commits = cache.get(_KEY, freshness="fresh")["commits"]
            seen += isinstance(commits, int) and commits >= own
        return seen

    with _running(sources, Policy(max_build_duty=1), builder=build) as cache, ThreadPoolExecutor(4) as writers:
        seen = sum(writers.map(commit_and_read, range(4)))

    assert seen == 200


@pytest.mark.parametrize("streaming", [False, True])
def test_the_settings_part_is_live_whether_a_turn_streams_or_not(*, streaming: bool) -> None:
    """V3, H1, B9"""
    sources, clock = VersionedSources(), ManualClock()
    with _running(sources, Policy(ttl=600, streaming_ttl=600), clock=clock) as cache:
        if streaming:
            cache._bus.stream_started.send(stream_id="a")
        cache.get(_KEY)
        sources.set_settings("moved")
        clock.advance(0.2)

        looked = cache.lookup(_KEY)

    assert (looked.outcome, looked.reason, looked.stamp["settings"]) == ("built", "source", "moved")


@pytest.mark.parametrize("streaming", [False, True])
def test_the_settings_version_is_part_of_every_stamp(*, streaming: bool) -> None:
    """V3"""
    versions = [1]
    clock = ManualClock()
    policy = Policy(ttl=600, streaming_ttl=600)
    with _running(VersionedSources(), policy, clock=clock, settings_version=lambda: versions[-1]) as cache:
        if streaming:
            cache._bus.stream_started.send(stream_id="a")
        before = cache.lookup(_KEY)
        versions.append(2)
        clock.advance(0.2)
        after = cache.lookup(_KEY)
        cache._bus.settings_changed.send()
        later = cache.lookup(_KEY)

    assert (after.outcome, after.reason) == ("built", "source")
    assert (later.outcome, later.reason) == ("built", "event")
    stamps = [looked.stamp["settings_version"] for looked in (before, after, later)]
    assert stamps == [(0, 1), (0, 2), (1, 2)]


def test_a_settings_version_alone_is_watched() -> None:
    """V3"""
    versions, clock = [1], ManualClock()
    cache = SessionListCache(
        GatedBuilder(is_open=True), bus=Bus(), clock=clock, settings_version=lambda: versions[-1]
    )
    with cache:
        cache.get(_KEY)
        versions.append(2)
        clock.advance(0.2)

        looked = cache.lookup(_KEY)

    assert looked.reason == "source"


def test_a_fresh_read_is_a_hit_where_a_check_of_its_own_finds_nothing_moved() -> None:
    """R8"""
    sources = VersionedSources()
    with _running(sources, Policy(ttl=60)) as cache:
        cache.get(_KEY)

        before = sources.calls(_KEY)
        looked = cache.lookup(_KEY, freshness="fresh")

        assert looked.outcome == "hit"
        assert sources.calls(_KEY) > before


def test_a_value_that_is_merely_the_last_known_verifies_nothing_for_a_fresh_read() -> None:
    """R8, S2"""
    sources = VersionedSources()
    with _running(sources, Policy(stamp_interval=60, ttl=60)) as cache:
        cache.get(_KEY)
        sources.set_part(LastKnown(0))

        default = cache.lookup(_KEY)
        checks = sources.calls(_KEY)
        fresh = cache.lookup(_KEY, freshness="fresh")

        assert default.outcome == "hit"
        assert (fresh.outcome, fresh.payload["call"]) == ("built", 2)
        assert sources.calls(_KEY) - checks == 2


def test_a_last_known_value_compares_as_that_value() -> None:
    """S2"""
    sources, clock = VersionedSources(), ManualClock()
    with _running(sources, Policy(ttl=600), clock=clock) as cache:
        cache.get(_KEY)
        sources.set_part(LastKnown(0))
        clock.advance(0.2)
        same = cache.lookup(_KEY)
        sources.set_part(LastKnown(1))
        clock.advance(0.2)
        other = cache.lookup(_KEY)

    assert same.outcome == "hit"
    assert other.reason == "source"
