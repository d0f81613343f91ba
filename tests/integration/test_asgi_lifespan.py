"""Rules W4, L1: caches live as long as their ASGI application, and event streams do not hold up its server."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.types import Message, Scope

from hermes_cache import Bus, Policy, SessionListCache
from hermes_cache.integrations import asgi

POLICY = Policy(ttl=60, stop_timeout=2.0)


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """The signals that the server got; it handles them as uvicorn does."""
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: got.append(number))
    yield got
    signal.signal(signal.SIGTERM, before)


def cached() -> SessionListCache:
    return SessionListCache(lambda _key: {"sessions": []}, bus=Bus(), policy=POLICY)


def test_a_cache_starts_and_stops_with_its_application() -> None:
    # Proves W4, L1.
    cache = cached()

    async def run() -> list[bool]:
        async with asgi.lifespan(cache)(Starlette()):
            within = cache.health().running
        return [within, cache.health().running]

    assert asyncio.run(run()) == [True, False]


def test_the_signal_that_stops_the_server_ends_its_streams_and_reaches_the_server_too(signals: list[int]) -> None:
    # Proves W4: a server waits for its open answers, and a stream has no end of its own.
    async def during(streaming: Callable[[], Awaitable[None]], begun: asyncio.Event) -> None:
        stream = asyncio.ensure_future(streaming())
        await begun.wait()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(stream, 20)
        # One that comes too late is sent nothing but its first lines.
        await asyncio.wait_for(streaming(), 20)

    handler = signal.getsignal(signal.SIGTERM)

    asyncio.run(streamed(during))

    assert signals == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_without_the_main_thread_streams_end_with_the_application() -> None:
    # Proves W4: only the main thread can handle signals.
    async def during(streaming: Callable[[], Awaitable[None]], begun: asyncio.Event) -> None:
        streams.append(asyncio.ensure_future(streaming()))
        await begun.wait()

    async def run() -> None:
        await streamed(during)
        await asyncio.wait_for(streams[0], 20)
        ended.append(True)

    streams: list[asyncio.Future[None]] = []
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join(30)

    assert ended == [True]


async def streamed(during: Callable[[Callable[[], Awaitable[None]], asyncio.Event], Awaitable[None]]) -> None:
    """Run an application, and give what asks it for an event stream, and what is set once one has begun."""
    cache, begun = cached(), asyncio.Event()
    app = Starlette(routes=asgi.session_routes(cache, path="/list"))
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[Any]] = asgi.lifespan(cache)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if b"event: hello" in message.get("body", b""):
            begun.set()

    async with lifespan(app) as state:

        async def streaming() -> None:
            scope: Scope = {
                "type": "http",
                "method": "GET",
                "path": "/list/events",
                "query_string": b"",
                "headers": [],
            }
            await app({**scope, "query_string": b"", "headers": [], "state": dict(state)}, receive, send)

        await during(streaming, begun)
