"""A cache that is entered, used and left on an event loop (rules W4, R6, L1, L6)."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
import uvloop

from hermes_cache import BuildError, Bus, CacheStoppedError, Policy, SessionListCache, SessionListKey
from hermes_cache.cache import list_cache
from hermes_cache.errors import NoThreadError
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.testing import GatedBuilder, UnpluggableJournal
from hermes_cache.threads.aside import aside
from tests.integration.event_loops import Run, every_loop
from tests.waiting import LASTING, WAIT_S, until

KEY = SessionListKey("work")
OTHER = SessionListKey("home")
_STEPS = 20
_N = count()


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
        # Once the stop has let the reader go: a build that ends before that answers it.
        async with _opened_after_some_steps(lambda: cache._ending and reading.done(), builder.open), cache:
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


@every_loop
def test_the_loop_goes_on_while_the_journal_takes_an_event(run: Run) -> None:
    """W4, J3: a receiver is not called on the loop either, and the ticket is that of `invalidate`."""
    journal, bus = _HangingJournal(), Bus()
    journal.gate.set()
    heard_on: list[int] = []
    bus.session_list_changed.connect(lambda _sender, **_event: heard_on.append(threading.get_ident()))

    async def main() -> bool | None:
        policy = Policy(journal_wait=WAIT_S)
        async with SessionListCache(GatedBuilder(is_open=True), bus=bus, journal=journal, policy=policy) as cache:
            await cache.aget(KEY)
            journal.gate.clear()
            async with _opened_after_some_steps(lambda: heard_on, journal.gate.set):
                ticket = await cache.ainvalidate("work", session_id="s1")
            assert (await cache.alookup(KEY, at_least=ticket)).outcome == "built"
            return ticket.committed

    assert run(main()) is True
    assert threading.get_ident() not in heard_on


def test_an_event_is_published_at_a_cache_that_is_stopped_too() -> None:
    """L1, W4: as by `invalidate`"""

    async def main() -> int:
        bus = Bus()
        async with SessionListCache(GatedBuilder(is_open=True), bus=bus) as cache:
            pass
        await cache.ainvalidate()
        return bus.last_number

    assert asyncio.run(main()) == 1


@every_loop
def test_the_loop_goes_on_while_a_subscription_opens(run: Run) -> None:
    """W4, J3: it looks at the journal first, which takes its time."""
    journal, policy = _HangingJournal(), Policy(journal_interval=0)
    journal.gate.set()

    async def main() -> str | None:
        async with SessionListCache(GatedBuilder(), bus=Bus(), journal=journal, policy=policy) as cache:
            since = (await cache.asubscribe()).version
            await cache.ainvalidate("work")
            journal.gate.clear()
            async with _opened_after_some_steps(lambda: True, journal.gate.set):
                changes = await cache.asubscribe(since=since)
            change = await changes.aget(WAIT_S)
            return change.profile if change else "nothing"

    assert run(main()) == "work"


@every_loop
def test_to_explain_and_to_say_that_the_overlay_changed_waits_for_no_alias(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L6: what is waited for off a loop would hang here."""
    monkeypatch.setattr(list_cache, "ALIAS_WAIT_S", 2 * WAIT_S)
    asked, gate = threading.Event(), threading.Event()

    def is_root_profile(_name: str) -> bool:
        asked.set()
        return gate.wait(WAIT_S)

    async def main() -> None:
        cache = SessionListCache(GatedBuilder(is_open=True), bus=Bus(), is_root_profile=is_root_profile)
        async with cache:
            explanation = cache.explain(KEY)
            assert not asked.is_set(), "to explain is to look into memory"
            cache.overlay_changed("work")
            assert explanation.key == KEY
            assert (cache.stats().entries, cache.peek(KEY)) == (0, None)
            gate.set()

    run(main())


def test_a_lookup_on_a_loop_has_its_payload_decoded_elsewhere() -> None:
    """W4, P4: a list of a worker process comes as bytes, and the attribute would decode it on the loop."""

    async def main() -> bool:
        cache = SessionListCache(_some_rows, bus=Bus(), executor="processes")
        async with cache:
            return (await cache.alookup(KEY)).content.payload is not None

    assert asyncio.run(main())


def _some_rows(_key: object) -> dict[str, object]:
    return {"sessions": [{"session_id": f"s{number}"} for number in range(5)]}


async def _some_rows_on_a_loop(key: object) -> dict[str, object]:
    return _some_rows(key)


def test_a_read_that_blocks_the_loop_of_its_builder_is_answered_from_memory_or_refused() -> None:
    """L5, L8: it would wait for the time of a build, and nothing could come."""

    async def main() -> list[str]:
        async with SessionListCache(_some_rows_on_a_loop, bus=Bus(), policy=LASTING) as cache:
            with pytest.raises(BuildError, match=r"await cache\.aget"):
                cache.get(KEY)
            await cache.aget(KEY)
            return [cache.lookup(KEY).outcome, cache.lookup(KEY, timeout=1).outcome]

    assert asyncio.run(main()) == ["hit", "hit"]


async def _use(cache: SessionListCache) -> None:
    """Call all of the asynchronous interface."""
    rendered = await cache.arender(KEY, envelope={"server_time": 1}, freshness="fresh", timeout=WAIT_S)
    async with cache.follow(KEY) as following:
        await following.aget(WAIT_S)
        changes = await cache.asubscribe("work", since=None)
        ticket = await cache.ainvalidate("work")
        async for change in changes:
            assert change.profile == "work"
            break
        await anext(following)
    await cache.acommitted(ticket)
    await cache.aget(KEY, at_least=ticket)
    await cache.alookup(OTHER, builder=_some_rows_on_a_loop)
    patch = await cache.apatch(KEY, since=rendered.edition)
    await cache.aencoded(patch, "gzip")


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_nothing_uses_the_default_executor_of_the_loop(
    executor: Literal["threads", "processes"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W4: a gateway may keep its threads busy."""
    used: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "run_in_executor", lambda *call: used.append(call))
        journal = f"sqlite:///{tmp_path / 'journal.db'}"
        async with SessionListCache(_counted, bus=Bus(), journal=journal, executor=executor) as cache:
            await _use(cache)

    asyncio.run(main())

    assert used == []


def _counted(_key: object) -> dict[str, object]:
    return {
        "sessions": [{"session_id": f"s{number}", "title": "a title" * 9} for number in range(50)],
        "n": next(_N),
    }


@every_loop
def test_reads_that_are_cancelled_leave_no_reader_behind(run: Run) -> None:
    """W4, R6: by a task group, by a bound, by hand; and the build serves who is left."""
    builder = GatedBuilder()

    async def read_within(cache: SessionListCache, bound_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(bound_s):
                await cache.arender(KEY)

    async def fail(cache: SessionListCache) -> None:
        while cache.stats().waiting < 30:  # noqa: ASYNC110 - other threads count
            await asyncio.sleep(0)
        raise LookupError

    async def main() -> tuple[int, int]:
        async with SessionListCache(builder, bus=Bus()) as cache:
            left = asyncio.create_task(cache.aget(KEY))
            by_hand = [asyncio.create_task(cache.alookup(KEY)) for _ in range(10)]
            with pytest.raises(ExceptionGroup):  # noqa: PT012 - the group raises at its end
                async with asyncio.TaskGroup() as group:
                    for _ in range(10):
                        group.create_task(cache.aget(KEY))
                        group.create_task(read_within(cache, WAIT_S))
                    group.create_task(fail(cache))
            for task in by_hand:
                task.cancel()
            await asyncio.gather(*by_hand, read_within(cache, 0.01), return_exceptions=True)
            await asyncio.to_thread(until, lambda: cache.stats().waiting == 1)
            builder.open()
            return int(str((await left)["call"])), builder.calls()

    assert run(main()) == (1, 1)


def test_loops_of_several_threads_read_one_cache() -> None:
    """W4: one build answers readers of all of them."""
    builder, loops = GatedBuilder(), 4

    async def read_all(cache: SessionListCache) -> set[object]:
        return {payload["call"] for payload in await asyncio.gather(*[cache.aget(KEY) for _ in range(25)])}

    with SessionListCache(builder, bus=Bus()) as cache, ThreadPoolExecutor(loops) as pool:
        runs = [pool.submit(asyncio.run, read_all(cache)) for _ in range(loops)]
        until(lambda: cache.stats().waiting == loops * 25)
        builder.open()

        assert [run.result(WAIT_S) for run in runs] == [{1}] * loops


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_is_closed_over_its_reads_leaves_no_reader_and_harms_no_build(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """W4: a stream is still open, a read waits for a build, and then nobody runs the loop any more."""
    builder, loop = GatedBuilder(), new_loop()

    async def begin(cache: SessionListCache) -> list[asyncio.Task[object]]:
        coroutines: list[Coroutine[Any, Any, object]] = [cache.aget(KEY), cache.subscribe().aget()]
        tasks = [loop.create_task(each) for each in coroutines]
        await asyncio.to_thread(until, lambda: cache.stats().waiting == 1)
        return tasks

    with SessionListCache(builder, bus=Bus()) as cache:
        tasks = loop.run_until_complete(begin(cache))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        cache.invalidate()
        for task in tasks:
            # Nobody runs it any more, and the interpreter would complain of that.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            task.get_coro().close()
        until(lambda: cache.stats().waiting == 0)
        builder.open()

        assert cache.get(KEY)["sessions"] == []


@every_loop
def test_the_loop_waits_for_no_thread_to_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """W4, L6: beside a busy thread, each start takes the time of several turns of the interpreter lock."""
    start, begun, gate = threading.Thread.start, threading.Event(), threading.Event()

    def start_late(thread: threading.Thread) -> None:
        if thread.name.startswith(("hermes_cache.away", "hermes_cache.aside")):
            begun.set()
            gate.wait(WAIT_S)
        start(thread)

    async def main() -> int:
        async with SessionListCache(GatedBuilder(is_open=True), bus=Bus()) as cache:
            streams = [cache.subscribe() for _ in range(30)]
            aside.end_threads()
            monkeypatch.setattr(threading.Thread, "start", start_late)
            async with _opened_after_some_steps(begun.is_set, gate.set):
                heard = asyncio.gather(*[stream.aget(WAIT_S) for stream in streams])
                await cache.ainvalidate()
            return sum(change is not None for change in await heard)

    assert run(main()) == 30


@every_loop
def test_what_needs_a_thread_that_the_machine_refuses_gets_an_error_or_is_done_on_the_loop(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L7: none hangs."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(("hermes_cache.away", "hermes_cache.aside")):
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main() -> None:
        async with SessionListCache(GatedBuilder(is_open=True), bus=Bus()) as cache:
            changes = cache.subscribe()
            aside.end_threads()
            with monkeypatch.context() as refusing:
                refusing.setattr(threading.Thread, "start", refuse)
                with pytest.raises(NoThreadError):
                    await cache.ainvalidate()
                assert (await changes.aget(0), changes.closed) == (None, False)
            await cache.ainvalidate("work")
            assert await changes.aget(WAIT_S)

    run(main())
