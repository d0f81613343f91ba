"""A heartbeat of an event loop that a gateway with a cache shares.

A coroutine sleeps 10 ms again and again; how late it wakes is the figure. Beside it on the same loop: 50 clients,
each of which reads a body every 100 ms (four keys, most reads are hits), 30 event streams (15 subscriptions, 15
followed views), and an event a second, which makes builds of 50 ms and of all rows: on a thread, with 500 rows of
35 fields, and in a worker process, with 5,500. The baseline is the heartbeat alone on the same kind of
loop. The two take turns of 3 s, three each. The loop is that of the main thread, as under uvicorn.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Literal

import pytest
import uvloop

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from tests.benchmarks.figures import Figure, at_most, in_units
from tests.benchmarks.rows import made_payload
from tests.benchmarks.timing import Benchmark, percentile, run_once

_BEAT_S: Final = 0.01
_TURN_S: Final = 3.0
_TURNS: Final = 3
_CLIENTS: Final = 50
_STREAMS: Final = 30
_POLL_S: Final = 0.1
_EVENT_S: Final = 1.0
_BUILD_S: Final = 0.05
_MOST_THREADS: Final = 40
_KEYS: Final = tuple(SessionListKey(show_cron=bool(n & 1), show_cli=bool(n & 2)) for n in range(4))

_LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.mark.main_thread
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("rows", "executor"), [(500, "threads"), (5_500, "processes")])
@pytest.mark.parametrize("kind", _LOOPS)
def test_heartbeat(
    benchmark: Benchmark,
    record: Callable[[Figure], None],
    kind: str,
    rows: int,
    executor: Literal["threads", "processes"],
) -> None:
    """W4, L6"""
    bare: list[float] = []
    ours: list[float] = []
    load = _Load()

    async def measure() -> None:
        async with SessionListCache(
            partial(_build, rows), bus=Bus(), policy=Policy(ttl=3_600.0), executor=executor
        ) as cache:
            await asyncio.gather(*[cache.arender(key) for key in _KEYS])
            for _ in range(_TURNS):
                bare.extend(await _lateness())
                async with load.on(cache):
                    ours.extend(await _lateness())

    def run() -> None:
        with asyncio.Runner(loop_factory=_LOOPS[kind]) as runner:
            runner.run(measure())

    run_once(benchmark, run)

    assert load.reads > _CLIENTS
    assert load.news > _STREAMS
    what = f"heartbeat of 10 ms on {kind}, {rows:,} rows in {executor}"
    record(at_most(f"{what}: p99 late by", percentile(ours, 99), "bare loop", percentile(bare, 99)))
    record(at_most("the same, most", max(ours), "bare loop", max(bare)))
    record(Figure("the same, reads a second", f"{load.reads / _TURNS / _TURN_S:,.0f}", "", ""))
    record(Figure("the same, slowest read", in_units(load.slowest_s), "", ""))
    met = load.threads <= _MOST_THREADS
    record(Figure("the same, threads", str(load.threads), "", "", f"<= {_MOST_THREADS}", met))


async def _lateness() -> list[float]:
    """Beat for one turn, and return by how many seconds each beat came late."""
    late: list[float] = []
    ends_at_s = time.perf_counter() + _TURN_S
    while (began_s := time.perf_counter()) < ends_at_s:
        await asyncio.sleep(_BEAT_S)
        late.append(max(0.0, time.perf_counter() - began_s - _BEAT_S))
    return late


class _Load:
    """What a gateway does on its loop, and what came of it."""

    def __init__(self) -> None:
        self.reads = 0
        self.news = 0
        self.slowest_s = 0.0
        self.threads = 0

    @asynccontextmanager
    async def on(self, cache: SessionListCache) -> AsyncIterator[None]:
        """Run it until the block ends."""
        views = [cache.follow(_KEYS[n % len(_KEYS)]) for n in range(_STREAMS // 2)]
        changes = [await cache.asubscribe() for _ in range(_STREAMS - len(views))]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._poll(cache, n)) for n in range(_CLIENTS)]
            tasks += [group.create_task(self._hear(stream)) for stream in (*views, *changes)]
            tasks.append(group.create_task(self._publish(cache)))
            yield
            self.threads = max(self.threads, threading.active_count())
            for task in tasks:
                task.cancel()
        for view in views:
            view.close()
        for subscription in changes:
            subscription.close()

    async def _poll(self, cache: SessionListCache, number: int) -> None:
        await asyncio.sleep(_POLL_S * number / _CLIENTS)
        while True:
            began_s = time.perf_counter()
            await cache.arender(_KEYS[number % len(_KEYS)])
            self.slowest_s = max(self.slowest_s, time.perf_counter() - began_s)
            self.reads += 1
            await asyncio.sleep(_POLL_S)

    async def _hear(self, stream: Any) -> None:
        async for _ in stream:
            self.news += 1

    async def _publish(self, cache: SessionListCache) -> None:
        while True:
            await cache.ainvalidate("default")
            await asyncio.sleep(_EVENT_S)


def _build(rows: int, _key: SessionListKey) -> Mapping[str, object]:
    time.sleep(_BUILD_S)
    return made_payload(rows)
