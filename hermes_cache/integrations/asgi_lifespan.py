"""The life of caches in an ASGI application: they start and stop with it.

A server such as uvicorn waits for its open answers before it lets an application end, and an event stream has no
end of its own. So the streams end at the signal that tells the server to stop. Source: rules W1, W4, L1.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette

from hermes_cache.cache.list_cache import ListCache
from hermes_cache.integrations.seats import Source
from hermes_cache.integrations.stop_signals import at_stop_signals
from hermes_cache.threads.aside import aside

OPEN_STREAMS: Final = "hermes_cache.open_streams"
"""The `OpenStreams` in the state of an application and of its requests."""


class OpenStreams:
    """The event streams that an application sends now. Only its event loop uses it."""

    def __init__(self) -> None:
        self._sources: set[Source] = set()
        self._ends = False

    def add(self, source: Source) -> None:
        """Note a stream that begins; it ends at once if the application does."""
        self._sources.add(source)
        if self._ends:
            aside.begin(source.close)

    def discard(self, source: Source) -> None:
        """Forget a stream that ended."""
        self._sources.discard(source)

    def end(self) -> None:
        """End all of them, and those that come."""
        self._ends = True
        for source in list(self._sources):
            # Not waited for: the loop goes on.
            aside.begin(source.close)


def lifespan(
    *caches: ListCache[Any],
) -> Callable[[Starlette], AbstractAsyncContextManager[Mapping[str, object]]]:
    """Return a lifespan for `Starlette(lifespan=...)` or `FastAPI(lifespan=...)`.

    Caches start before the first request, and stop after the last one. Coroutine builders run on the loop of the
    application.

    Args:
        caches: The caches of the application.
    """

    @asynccontextmanager
    async def run(_app: Starlette) -> AsyncIterator[Mapping[str, object]]:
        streams = OpenStreams()
        async with AsyncExitStack() as stack:
            for cache in caches:
                await stack.enter_async_context(cache)
            loop = asyncio.get_running_loop()
            take_back = at_stop_signals(partial(loop.call_soon_threadsafe, streams.end))
            try:
                yield {OPEN_STREAMS: streams}
            finally:
                if take_back is not None:
                    take_back()
            streams.end()

    return run
