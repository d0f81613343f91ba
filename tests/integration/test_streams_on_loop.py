"""Rules W4, L6: an event stream that ends does not block the loop that sends it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.types import Message

from hermes_cache import Bus, Policy, SessionListCache
from hermes_cache.integrations import asgi, wsgi
from hermes_cache.integrations.asgi_lifespan import OPEN_STREAMS, OpenStreams
from tests.waiting import WAIT_S

TURNS = 20
BLOCKED_S = 4.0
"""Less than what the main thread waits for another one at most."""

POLICY = Policy(ttl=60, stop_timeout=2.0)


@contextmanager
def held(lock: Any) -> Iterator[threading.Event]:
    """Have another thread hold a lock until what is returned is set, as one that publishes may."""
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            is_held.set()
            may_go.wait(WAIT_S)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert is_held.wait(WAIT_S)
        yield may_go
    finally:
        may_go.set()
        thread.join(WAIT_S)


async def turned() -> None:
    """Return after some turns of the loop."""
    for _ in range(TURNS):
        await asyncio.sleep(0.001)


def lock_of(stream: Any) -> Any:
    """Return the lock that each change takes, and each end of a stream."""
    source: Any = stream._events.source if isinstance(stream, wsgi.EventStream) else stream._source
    return source._lock


@pytest.mark.parametrize("by", ["client", "server"])
def test_a_loop_goes_on_while_a_stream_ends(by: str, caplog: pytest.LogCaptureFixture) -> None:
    # Proves W4, L6: 200 clients that vanish at once held the loop up for a second beside a busy thread.
    async def run() -> bool:
        asyncio.get_running_loop().slow_callback_duration = BLOCKED_S
        begun, gone, open_streams = asyncio.Event(), asyncio.Event(), OpenStreams()
        stream = await streams.changes(None, None)
        scope = {"type": "http", "method": "GET", "state": {OPEN_STREAMS: open_streams}}

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if b"event: hello" in message.get("body", b""):
                begun.set()

        sending = asyncio.ensure_future(stream(scope, receive, send))
        await begun.wait()
        with held(lock_of(stream)) as may_go:
            if by == "client":
                gone.set()
            else:
                open_streams.end()
            await turned()
            is_open = not sending.done()
            may_go.set()
            await asyncio.wait_for(sending, WAIT_S)
        return is_open

    with SessionListCache(lambda _key: {"sessions": []}, bus=Bus(), policy=POLICY) as cache:
        streams = asgi.EventStreams(cache, limit=1)

        is_open = asyncio.run(run(), debug=True)
        next_one = asyncio.run(streams.changes(None, None))

    assert is_open
    assert [record.message for record in caplog.records if "took" in record.message] == []
    assert next_one.status_code == 200


def test_a_loop_goes_on_while_a_view_of_django_ends_its_stream() -> None:
    # Proves W4, L6.
    async def run() -> bool:
        stream = streams.changes({"REQUEST_METHOD": "GET"}).body
        assert isinstance(stream, wsgi.EventStream)
        parts = stream.on_loop()
        await anext(parts)
        with held(lock_of(stream)) as may_go:
            ending = asyncio.ensure_future(parts.aclose())
            await turned()
            is_open = not ending.done()
            may_go.set()
            await asyncio.wait_for(ending, WAIT_S)
        return is_open

    with SessionListCache(lambda _key: {"sessions": []}, bus=Bus(), policy=POLICY) as cache:
        streams = wsgi.EventStreams(cache)

        assert asyncio.run(run())
