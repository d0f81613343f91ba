"""Builders and sources that are coroutine functions (rules B2, B6, L1, L5, W4)."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import pytest

from hermes_cache import (
    BuildError,
    BuildTimeoutError,
    Bus,
    CacheStoppedError,
    Lookup,
    Policy,
    SessionListCache,
    SessionListKey,
)
from hermes_cache.cache.reads import ReadOptions
from hermes_cache.core.messages import Tick
from hermes_cache.errors import CoroutineCancelledError
from hermes_cache.ports import Builder
from hermes_cache.testing import GatedBuilder, ManualClock
from hermes_cache.threads.coroutines import Coroutines
from tests.integration.event_loops import Run, every_loop
from tests.waiting import LASTING, WAIT_S, until

KEY = SessionListKey("work")
OTHER = SessionListKey("home")

Payload = Mapping[str, object]


async def _where(_key: object) -> Payload:
    await asyncio.sleep(0)
    return {"sessions": [], "loop": id(asyncio.get_running_loop()), "thread": threading.current_thread().name}


class _Where:
    """A builder whose instances can be awaited when they are called."""

    async def __call__(self, key: object) -> Payload:
        return await _where(key)


class _Sleeper:
    """A coroutine builder that waits until it is let go, or cancelled."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.calls = 0
        self.cancelled = 0
        self.let_go = threading.Event()
        self._stubborn = stubborn

    async def __call__(self, _key: object) -> Payload:
        self.calls += 1
        while not self.let_go.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                self.cancelled += 1
                if not self._stubborn:
                    raise
        return {"sessions": []}


@contextmanager
def _plain(cache: SessionListCache) -> Iterator[SessionListCache]:
    with cache:
        yield cache


_GUISES: dict[str, Callable[[], Builder]] = {
    "function": lambda: _where,
    "partial": lambda: functools.partial(_where),
    "object": _Where,
    "lambda": lambda: lambda key: _where([key]),
}


@every_loop
@pytest.mark.parametrize("builder", _GUISES.values(), ids=_GUISES)
def test_a_coroutine_builder_runs_on_the_loop_in_which_the_cache_was_entered(
    run: Run, builder: Callable[[], Builder]
) -> None:
    """B2, R11: the cache's own, and a read's own"""

    async def main() -> tuple[set[object], int]:
        async with SessionListCache(builder(), bus=Bus()) as cache, SessionListCache(bus=Bus()) as without:
            own, given = await cache.aget(KEY), await without.aget(KEY, builder=builder())
            return {own["loop"], given["loop"]}, id(asyncio.get_running_loop())

    loops, home = run(main())

    assert loops == {home}


def test_without_such_a_loop_each_build_has_one_of_its_own_on_the_thread_of_its_build() -> None:
    """B2"""
    with SessionListCache(_where, bus=Bus()) as cache:
        built = [cache.get(key) for key in (KEY, OTHER)]

    assert {payload["thread"] for payload in built} == {"hermes_cache.builder"}


def test_in_a_worker_process_it_has_a_loop_there() -> None:
    """B2, B8"""
    with SessionListCache(_where, bus=Bus(), executor="processes") as cache:
        own, given = cache.get(KEY), cache.get(OTHER, builder=_Where())

    assert own["thread"] == given["thread"] == "MainThread"


def test_readers_on_other_loops_and_threads_are_served_by_the_loop_of_the_cache() -> None:
    """B2, W4"""

    async def main() -> tuple[set[object], int]:
        async with SessionListCache(_where, bus=Bus()) as cache:
            away = asyncio.to_thread(asyncio.run, cache.aget(KEY))
            payloads = [await away, await asyncio.to_thread(cache.get, OTHER)]
            return {payload["loop"] for payload in payloads}, id(asyncio.get_running_loop())

    loops, home = asyncio.run(main())

    assert loops == {home}


def test_a_loop_that_was_closed_is_not_used_any_more() -> None:
    """B2: nobody left the cache."""
    cache = SessionListCache(_where, bus=Bus())
    asyncio.run(cache.__aenter__())
    try:
        assert cache.get(KEY)["thread"] == "hermes_cache.builder"
    finally:
        cache.stop()


def test_a_loop_that_is_closed_over_a_build_fails_that_build() -> None:
    """B6: its readers hear of it at once, and not past the build's time."""
    builder, loop = _Sleeper(stubborn=True), asyncio.new_event_loop()
    cache = SessionListCache(builder, bus=Bus())
    loop.run_until_complete(cache.__aenter__())
    reader: list[BaseException] = []
    with cache:
        thread = threading.Thread(target=lambda: reader.append(_raised_by(cache.get)))

        async def begin() -> None:
            # The build needs a loop that runs, else it gets one of its own.
            thread.start()
            await asyncio.to_thread(until, lambda: builder.calls)

        loop.run_until_complete(begin())
        tasks = asyncio.all_tasks(loop)
        loop.close()
        thread.join(WAIT_S)
    builder.let_go.set()
    for task in tasks:
        # Nobody runs it any more, and the interpreter would complain of that.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()

    assert isinstance(reader[0], BuildError)
    assert isinstance(reader[0].__cause__, CoroutineCancelledError)


def _raised_by(get: Callable[[SessionListKey], object]) -> BaseException:
    try:
        get(KEY)
    except BuildError as error:
        return error
    return AssertionError("nothing was raised")


async def _timed_out(cache: SessionListCache, builder: _Sleeper, clock: ManualClock) -> None:
    """Read, and let the time of the build pass once the builder was called."""
    calls = builder.calls
    reading = asyncio.create_task(cache.aget(KEY))
    await asyncio.to_thread(until, lambda: builder.calls == calls + 1)
    clock.advance(60.0)
    await asyncio.to_thread(cache._living().ask, Tick())
    with pytest.raises(BuildTimeoutError):
        await reading


@pytest.mark.parametrize("entered", [True, False])
def test_past_its_time_a_coroutine_is_cancelled_and_its_slot_is_free_again(*, entered: bool) -> None:
    """B2, B6"""
    builder, policy, clock = _Sleeper(), Policy(build_timeout=60.0, pool_size=1), ManualClock()

    async def main(cache: SessionListCache) -> None:
        for calls in (1, 2):
            await _timed_out(cache, builder, clock)
            await asyncio.to_thread(until, lambda: builder.cancelled == calls)  # noqa: B023 - waited for
            await asyncio.to_thread(until, lambda: cache.stats().abandoned == 0)
            assert builder.calls == calls

    async def entering(cache: SessionListCache) -> None:
        async with cache:
            await main(cache)

    cache = SessionListCache(builder, bus=Bus(), policy=policy, clock=clock)
    if entered:
        asyncio.run(entering(cache))
    else:
        with cache:
            asyncio.run(main(cache))


@every_loop
def test_one_that_goes_on_though_it_was_cancelled_counts_as_abandoned_until_it_ends(run: Run) -> None:
    """B2, B6"""
    builder, clock = _Sleeper(stubborn=True), ManualClock()
    policy = Policy(build_timeout=60.0, max_abandoned=1)

    async def main() -> None:
        async with SessionListCache(builder, bus=Bus(), policy=policy, clock=clock) as cache:
            await _timed_out(cache, builder, clock)
            assert cache.stats().abandoned == 1
            with pytest.raises(BuildError, match="hang"):
                await cache.aget(OTHER)
            assert cache.stats().abandoned == 1
            builder.let_go.set()
            await asyncio.to_thread(until, lambda: cache.stats().abandoned == 0)

    async def letting_go() -> None:
        # Else the loop of a test that failed would wait for the coroutine for ever.
        try:
            await main()
        finally:
            builder.let_go.set()

    run(letting_go())

    assert builder.cancelled == 1


@every_loop
def test_leaving_the_cache_cancels_its_coroutines_and_waits_for_their_end(run: Run) -> None:
    """B2, L1: what they use may be closed then; the loop of the gateway goes on meanwhile."""
    builder = _Sleeper()

    async def main() -> tuple[BaseException, int]:
        async with SessionListCache(builder, bus=Bus()) as cache:
            reading = asyncio.create_task(cache.aget(KEY))
            await asyncio.to_thread(until, lambda: builder.calls)
        (error,) = await asyncio.gather(reading, return_exceptions=True)
        assert isinstance(error, BaseException)
        return error, builder.cancelled

    error, cancelled = run(main())

    assert (type(error), cancelled) == (CacheStoppedError, 1)


def test_a_stop_on_the_loop_itself_does_not_wait_for_its_coroutines() -> None:
    """L1: they could not end while it waits."""
    builder = _Sleeper()

    async def main() -> None:
        async with SessionListCache(builder, bus=Bus()) as cache:
            reading = asyncio.create_task(cache.aget(KEY))
            await asyncio.to_thread(until, lambda: builder.calls)
            cache.stop()
            assert cache._ending is None, "the stop waited in vain"
            with pytest.raises(CacheStoppedError):
                await reading

    asyncio.run(main())


def _await_later(key: SessionListKey) -> Awaitable[Payload]:
    """A plain function that returns a coroutine: nobody sees from outside that it must be awaited."""
    return _where(key)


@every_loop
def test_a_read_that_blocks_the_loop_is_refused_once_a_builder_turns_out_to_need_it(run: Run) -> None:
    """L5, W4: at the first read, too, and not only after `build_timeout`; the build goes on."""

    async def main() -> tuple[Payload, int, str]:
        async with SessionListCache(_await_later, bus=Bus(), policy=LASTING) as cache:
            with pytest.raises(BuildError, match=r"await cache\.aget"):
                cache.get(KEY)
            first = await cache.aget(KEY)
            with pytest.raises(BuildError, match=r"await cache\.aget"):
                cache.get(OTHER)
            return first, id(asyncio.get_running_loop()), cache.lookup(KEY).outcome

    payload, loop, outcome = run(main())

    assert payload["loop"] == loop
    assert outcome == "hit"


@pytest.mark.parametrize("read", [SessionListCache.aget, SessionListCache.alookup, SessionListCache.get])
def test_a_read_inside_a_coroutine_builder_waits_for_nobody(
    read: Callable[[SessionListCache, SessionListKey], object],
) -> None:
    """L5: also in a task that the builder starts."""

    async def build(key: SessionListKey) -> Payload:
        asked = (OTHER, KEY) if key == KEY else ()
        found = [await asyncio.create_task(_outcome(read, cache, each)) for each in asked]
        return {"sessions": [], "found": found}

    cache = SessionListCache(build, bus=Bus())

    async def main() -> object:
        async with cache:
            await cache.aget(OTHER)
            return (await cache.aget(KEY))["found"]

    assert asyncio.run(main()) == ["read", "BuildError"]


async def _outcome(
    read: Callable[[SessionListCache, SessionListKey], object], cache: SessionListCache, key: SessionListKey
) -> str:
    try:
        result = read(cache, key)
        if isinstance(result, Awaitable):
            await result
    except BuildError as error:
        return type(error).__name__
    return "read"


_TRACE: ContextVar[str] = ContextVar("trace", default="none")


@contextmanager
def _traced(key: SessionListKey) -> Iterator[None]:
    token = _TRACE.set(f"trace of {key.profile}")
    yield
    _TRACE.reset(token)


class _Noted:
    """Notes that it was begun."""

    def __init__(self) -> None:
        self.is_begun = False

    def __await__(self) -> Iterator[Any]:
        self.is_begun = True
        return iter(())


def test_a_coroutine_that_a_stop_cancels_before_the_loop_began_it_is_never_begun() -> None:
    """L1: its thread is let go by then, and saw to it that nothing warns."""
    noted, stepped = _Noted(), threading.Event()

    def wait(coroutines: Coroutines) -> None:
        with pytest.raises(CacheStoppedError):
            coroutines.result(noted, "the builder")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        coroutines = Coroutines(home=lambda: loop)
        threads = [threading.Thread(target=wait, args=[coroutines]), threading.Thread(target=coroutines.stop)]
        threads[0].start()
        # These waits block the loop on purpose: it must not begin the coroutine before the stop.
        until(lambda: coroutines._runs)
        (over,) = (run._over for run in coroutines._runs.values())
        until(lambda: over._waiters)
        over.when_over(lambda: stepped.wait(WAIT_S))
        threads[1].start()
        until(lambda: over.is_over)
        for _ in range(3):
            await asyncio.sleep(0)
        stepped.set()
        for thread in threads:
            await asyncio.to_thread(thread.join, WAIT_S)

    asyncio.run(main())

    assert not noted.is_begun


async def _named_trace(_key: object) -> Payload:
    await asyncio.sleep(0)
    return {"sessions": [], "trace": _TRACE.get()}


@pytest.mark.parametrize("entered", [True, False])
def test_context_variables_of_the_build_context_reach_the_coroutine(*, entered: bool) -> None:
    """B2"""
    cache = SessionListCache(_named_trace, bus=Bus(), build_context=_traced)

    async def main() -> object:
        async with cache:
            return (await cache.aget(KEY))["trace"]

    if entered:
        assert asyncio.run(main()) == "trace of work"
    else:
        with cache:
            assert cache.get(KEY)["trace"] == "trace of work"


async def _fail(_key: object) -> Payload:
    raise LookupError("no such table")


async def _give_up(_key: object) -> Payload:
    raise asyncio.CancelledError


async def _return_a_set(_key: object) -> Payload:
    return {"sessions": [], "tags": {"a"}}


@every_loop
@pytest.mark.parametrize(
    ("builder", "cause"), [(_fail, LookupError), (_give_up, CoroutineCancelledError), (_return_a_set, ValueError)]
)
def test_a_coroutine_that_fails_fails_its_build_alone(run: Run, builder: Builder, cause: type[Exception]) -> None:
    """B2, B7, R7: that it cancelled itself does not cancel those who read."""

    async def main() -> BaseException | None:
        async with SessionListCache(_where, bus=Bus()) as cache:
            with pytest.raises(BuildError) as raised:
                await cache.aget(KEY, builder=builder)
            await cache.aget(OTHER)
            return raised.value.__cause__

    assert isinstance(run(main()), cause)


async def _exit(_key: object) -> Payload:
    await asyncio.sleep(0)
    raise SystemExit(3)


@every_loop
@pytest.mark.parametrize("entered", [True, False])
def test_a_coroutine_that_exits_fails_its_build_and_the_loop_goes_on(run: Run, *, entered: bool) -> None:
    """B2, B6: as for a function; out of a task, it would end the loop."""

    async def main(cache: SessionListCache) -> BaseException | None:
        with pytest.raises(BuildError) as raised:
            await cache.aget(KEY, builder=_exit)
        await cache.aget(OTHER)
        return raised.value.__cause__

    async def entering(cache: SessionListCache) -> BaseException | None:
        async with cache:
            return await main(cache)

    cache = SessionListCache(_where, bus=Bus())
    if entered:
        cause = run(entering(cache))
    else:
        with cache:
            cause = run(main(cache))

    assert isinstance(cause, SystemExit)


async def _stream(_key: object) -> AsyncIterator[Payload]:
    yield {"sessions": []}


def test_an_asynchronous_generator_is_refused_where_it_is_given() -> None:
    """B2, E4"""
    builder: Any = _stream

    with pytest.raises(TypeError, match=r"^builder is .*one value"):
        SessionListCache(builder, bus=Bus())
    with SessionListCache(_where, bus=Bus()) as cache, pytest.raises(TypeError, match=r"^builder is "):
        cache.get(KEY, builder=builder)


class _Sources:
    """Sources whose stamp must be awaited."""

    def __init__(self) -> None:
        self.version = 1
        self.threads: set[str] = set()
        self.hang = asyncio.Event()
        self.hang.set()
        self.cancelled = 0

    def scope(self, _key: SessionListKey, /) -> Hashable:
        return None

    async def stamp(self, _key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
        del held
        self.threads.add(threading.current_thread().name)
        try:
            await self.hang.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {"table": self.version}


async def _moved(cache: SessionListCache) -> Lookup:
    """Read until it is found that the sources moved: a read waits no longer than 50 ms for a check (S4)."""
    async with asyncio.timeout(WAIT_S):
        while (found := await cache.alookup(KEY)).reason is None:
            pass
    return found


@every_loop
def test_a_source_may_be_a_coroutine_function_too(run: Run) -> None:
    """B2, S4, R4"""
    sources = _Sources()
    policy = Policy.strict(ttl=600.0)

    async def main() -> tuple[list[Lookup], str]:
        async with SessionListCache(_where, sources=sources, bus=Bus(), policy=policy) as cache:
            found = [await cache.alookup(KEY) for _ in range(2)]
            sources.version = 2
            found.append(await _moved(cache))
            return found, threading.current_thread().name

    found, home = run(main())

    assert [lookup.outcome for lookup in found] == ["built", "hit", "built"]
    assert [lookup.stamp["table"] for lookup in found] == [1, 1, 2]
    assert sources.threads == {home}


@every_loop
def test_a_read_that_blocks_the_loop_of_its_sources_is_refused_if_these_must_be_looked_at(run: Run) -> None:
    """L5, R4, R5: nothing could come, and memory alone does not do without an interval."""
    builder, policy = GatedBuilder(is_open=True), Policy(ttl=600.0, stamp_interval=0)
    refused: list[ReadOptions] = [{}, {"timeout": WAIT_S}, {"freshness": "fresh"}]

    async def main() -> tuple[str, bool]:
        async with SessionListCache(builder, sources=_Sources(), bus=Bus(), policy=policy) as cache:
            await cache.aget(KEY)
            for options in refused:
                with pytest.raises(BuildError, match=r"await cache\.aget"):
                    cache.get(KEY, **options)
            return cache.lookup(KEY, freshness="any").outcome, cache.health().healthy

    assert run(main()) == ("hit", True)


@every_loop
def test_a_read_on_any_loop_sees_that_a_coroutine_source_moved(run: Run) -> None:
    """R4, S4: nobody entered the cache on a loop, and the thread of the read cannot run a second one."""
    sources = _Sources()
    policy = Policy(ttl=600.0, stamp_interval=0, owner_wait=60)
    cache = SessionListCache(_where, sources=sources, bus=Bus(), policy=policy)

    async def main() -> list[object]:
        found: list[object] = []
        for sources.version in (1, 2):
            # A read waits no longer than 50 ms for a check (S4).
            until(lambda: cache.lookup(KEY).stamp["table"] == sources.version)
            found.append(cache.lookup(KEY, timeout=WAIT_S).outcome)
        cache.stop()
        cache.start()
        # What was held before the stop is, and nothing is known of the sources.
        sources.version = 3
        found.append(cache.lookup(KEY).stamp["table"])
        health = cache.health()
        return [*found, *health.failing_checks, *health.failing_callables]

    with cache:
        assert run(main()) == ["hit", "hit", 3]


def test_without_the_loop_of_a_gateway_a_source_has_one_on_the_thread_of_its_check() -> None:
    """B2, S4"""
    sources = _Sources()

    with SessionListCache(_where, sources=sources, bus=Bus()) as cache:
        assert cache.lookup(KEY).stamp["table"] == 1

    assert sources.threads == {"hermes_cache.checker"}


def test_a_source_that_hangs_is_cancelled_past_the_time_of_a_build() -> None:
    """B2, S4: the check failed long before, and a later one succeeds again."""
    sources, policy = _Sources(), Policy(build_timeout=0.2)

    async def main() -> None:
        async with SessionListCache(_where, sources=sources, bus=Bus(), policy=policy) as cache:
            sources.hang.clear()
            with pytest.raises(BuildTimeoutError):
                await cache.aget(KEY)
            await asyncio.to_thread(until, lambda: "was cancelled" in str(cache.health().failing_checks))
            assert sources.cancelled
            sources.hang.set()
            async with asyncio.timeout(WAIT_S):
                # The check of the build that was given up may still come, after a later one.
                while cache.health().failing_checks or cache.peek(KEY) is None:
                    with suppress(BuildTimeoutError):
                        await cache.aget(KEY, freshness="fresh")
            assert (await cache.alookup(KEY, freshness="any")).stamp["table"] == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    "guise", [lambda ask: ask, lambda ask: lambda key: ask(key=key)], ids=["function", "lambda"]
)
def test_one_callable_as_sources_may_be_a_coroutine_function_too(guise: Callable[[Any], Any]) -> None:
    """B2, S4"""
    versions, policy = iter((1, 1, 2)), Policy(ttl=600.0, stamp_interval=0, owner_wait=WAIT_S)

    async def version_of(key: object) -> int:
        del key
        return next(versions, 2)

    async def main() -> list[Lookup]:
        cache = SessionListCache(_where, sources=guise(version_of), bus=Bus(), policy=policy)
        async with cache:
            return [await cache.alookup(KEY), await _moved(cache)]

    first, second = asyncio.run(main())

    assert (first.stamp["source"], second.stamp["source"]) == (1, 2)
