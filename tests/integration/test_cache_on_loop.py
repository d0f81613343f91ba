"""A cache that is entered, used and left on an event loop (rules W4, L1, L6)."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hermes_cache import Bus, CacheStoppedError, SessionListCache, SessionListKey
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.testing import GatedBuilder, UnpluggableJournal
from tests.integration.event_loops import Run, every_loop
from tests.waiting import WAIT_S, until

KEY = SessionListKey("work")
_STEPS = 20


class _HangingJournal(UnpluggableJournal):
    """A journal whose calls wait at a gate."""

    def __init__(self) -> None:
        super().__init__(MemoryJournal(MemoryStore()))
        self.gate = threading.Event()

    def _pass(self) -> None:
        self.gate.wait(WAIT_S)


@asynccontextmanager
async def _opened_after_some_steps(begun: Callable[[], object], gate: Callable[[], None]) -> AsyncIterator[None]:
    """Open a gate once something began and the loop took some steps: what blocks the loop waits in vain."""

    async def step() -> None:
        while not begun():  # noqa: ASYNC110 - a thread begins it, and the steps of the loop are the point
            await asyncio.sleep(0)
        for _ in range(_STEPS):
            await asyncio.sleep(0)
        gate()

    steps = asyncio.create_task(step())
    yield
    assert steps.done(), "the loop took no steps"


@every_loop
def test_the_loop_goes_on_while_the_cache_starts(run: Run) -> None:
    """W4, L6: the start waits for its position in the journal."""
    journal = _HangingJournal()

    async def main() -> str:
        cache = SessionListCache(GatedBuilder(is_open=True), bus=Bus(), journal=journal)
        async with _opened_after_some_steps(lambda: cache._life, journal.gate.set), cache:
            return (await cache.alookup(KEY)).outcome

    assert run(main()) == "built"


@every_loop
def test_the_loop_goes_on_while_the_cache_stops(run: Run) -> None:
    """W4, L1: the stop waits for a build."""
    builder = GatedBuilder()

    async def main() -> None:
        cache = SessionListCache(builder, bus=Bus())
        async with _opened_after_some_steps(lambda: cache._ending, builder.open), cache:
            reading = asyncio.create_task(cache.aget(KEY))
            await asyncio.to_thread(builder.wait_for_calls, 1)
        with pytest.raises(CacheStoppedError):
            await reading
        assert cache._ending is None, "the stop waited in vain"

    run(main())


@every_loop
def test_to_enter_a_cache_that_runs_and_to_leave_it_twice_is_no_error(run: Run) -> None:
    """L1: and it can be entered again."""

    async def main() -> list[str]:
        outcomes: list[str] = []
        cache = SessionListCache(GatedBuilder(is_open=True), bus=Bus())
        for _ in range(2):
            async with cache, cache:
                outcomes.append((await cache.alookup(KEY)).outcome)
            with pytest.raises(CacheStoppedError):
                await cache.aget(KEY)
        return outcomes

    assert run(main()) == ["built", "built"]


@every_loop
def test_one_that_is_cancelled_while_it_starts_does_not_run_on(run: Run) -> None:
    """L1: nobody would leave it."""
    journal = _HangingJournal()

    async def main() -> None:
        cache = SessionListCache(GatedBuilder(is_open=True), bus=Bus(), journal=journal)
        entering = asyncio.create_task(cache.__aenter__())
        await asyncio.to_thread(until, lambda: cache._life)
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        journal.gate.set()
        await asyncio.to_thread(until, lambda: cache._stopped and cache._ending is None)
        with pytest.raises(CacheStoppedError):
            await cache.aget(KEY)

    run(main())


@every_loop
def test_one_that_is_cancelled_while_it_stops_stops_all_the_same(run: Run) -> None:
    """L1"""
    builder = GatedBuilder()

    async def main() -> None:
        cache = await SessionListCache(builder, bus=Bus()).__aenter__()
        reading = asyncio.create_task(cache.aget(KEY))
        await asyncio.to_thread(builder.wait_for_calls, 1)
        leaving = asyncio.create_task(cache.__aexit__(None, None, None))
        with pytest.raises(CacheStoppedError):
            await reading
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        builder.open()
        await asyncio.to_thread(until, lambda: cache._stopped and cache._ending is None)

    run(main())
