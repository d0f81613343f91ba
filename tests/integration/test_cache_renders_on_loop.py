"""Bodies on an event loop (rules W4, O6, R6)."""

import asyncio
import gzip

import pytest
from starlette.requests import Request

from hermes_cache import Bus, LookupTimeoutError, SessionListCache, SessionListKey
from hermes_cache.cache.reads import ReadOptions
from hermes_cache.gateway.session_lists import SessionLists
from hermes_cache.testing import GatedBuilder
from tests.waiting import LASTING

KEY = SessionListKey()


def test_a_body_made_on_a_loop_is_the_one_that_threads_get() -> None:
    # Proves W4, O6: it is compressed once for both.
    async def rendered() -> None:
        with SessionListCache(GatedBuilder(is_open=True), bus=Bus(), policy=LASTING) as cache:
            built = await cache.arender(KEY)
            hit = await cache.arender(KEY, timeout=5)
            elsewhere = await asyncio.to_thread(cache.render, KEY)

            assert (built.lookup.outcome, hit.lookup.outcome) == ("built", "hit")
            assert built.body == hit.body == elsewhere.body
            assert built.etag == hit.etag == elsewhere.etag
            assert hit.encoded("gzip") is elsewhere.encoded("gzip")
            assert gzip.decompress(hit.encoded("gzip")) == hit.body

    asyncio.run(rendered())


@pytest.mark.parametrize("options", [{}, {"timeout": 5}, {"timeout": 5, "freshness": "default"}])
def test_a_hit_is_rendered_in_one_step_of_the_loop(options: ReadOptions) -> None:
    # Proves W4, W7: no thread is asked, so the coroutine never waits.
    async def outcome() -> str:
        with SessionListCache(GatedBuilder(is_open=True), bus=Bus(), policy=LASTING) as cache:
            # The first read builds, the second is judged a hit, and from then on the hit is remembered.
            await cache.arender(KEY)
            await cache.arender(KEY)
            step = cache.arender(KEY, **options)
            try:
                step.send(None)
            except StopIteration as end:
                return str(end.value.lookup.outcome)
            finally:
                step.close()
            return "waits"

    assert asyncio.run(outcome()) == "hit"


def test_a_read_on_a_loop_keeps_its_own_bound() -> None:
    # Proves R6, W4.
    async def read() -> None:
        builder = GatedBuilder()
        with SessionListCache(builder, bus=Bus()) as cache:
            try:
                with pytest.raises(LookupTimeoutError):
                    await cache.arender(KEY, timeout=0.05)
            finally:
                builder.open()

    asyncio.run(read())


def test_a_poll_that_finds_nothing_new_is_answered_in_one_step_of_the_loop() -> None:
    # Proves W7: what the gateway asks the cache for is a remembered hit.
    async def status() -> int:
        with SessionListCache(GatedBuilder(is_open=True), bus=Bus(), policy=LASTING) as cache:
            lists = SessionLists(cache, read_timeout_s=5)
            for _ in range(2):
                tag = (await lists.answer(KEY, request_with({}), None)).headers["ETag"]
            step = lists.answer(KEY, request_with({"if-none-match": tag}), None)
            try:
                step.send(None)
            except StopIteration as end:
                return int(end.value.status_code)
            finally:
                step.close()
            return 0

    assert asyncio.run(status()) == 304


def request_with(headers: dict[str, str]) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": raw})


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), ("1", TypeError)])
def test_a_timeout_that_cannot_be_is_refused_for_a_hit_too(timeout: object, error: type[Exception]) -> None:
    # Proves W4.
    async def read() -> None:
        with SessionListCache(GatedBuilder(is_open=True), bus=Bus()) as cache:
            await cache.arender(KEY)
            with pytest.raises(error):
                await cache.arender(KEY, timeout=timeout)  # type: ignore[arg-type]  # what a caller might try

    asyncio.run(read())
