"""Server-sent events on ASGI: each open stream is a subscription of the cache, or a view that is followed.

Streams live on the event loop and take no thread, but their number is bounded.
Source: rules E7 to E9, R13, D4, W1.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Generic

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hermes_cache.bus.subscription import Subscription
from hermes_cache.cache.following import Following
from hermes_cache.cache.list_cache import ListCache
from hermes_cache.errors import CacheStoppedError
from hermes_cache.integrations.answers import Answer
from hermes_cache.integrations.asgi_lifespan import OPEN_STREAMS, OpenStreams
from hermes_cache.integrations.negotiation import edition_of
from hermes_cache.integrations.news_text import NewsText, news_text
from hermes_cache.integrations.seats import HEARTBEAT_S, MAX_STREAMS, S, Seats, checked_heartbeat_s
from hermes_cache.integrations.server_sent_events import (
    HEADERS,
    HEARTBEAT,
    PART_BYTES,
    change_event,
    checked_version,
    hello,
)
from hermes_cache.threads.loops import aside_on_loop

IS_STREAM: Final = "hermes_cache.is_stream"
"""In the state of a request: its answer has no end of its own."""


class BodyResponse(Response):
    """An answer whose body is sent in parts, each once the client has taken most of those before."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        if len(self.body) <= PART_BYTES:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        whole = memoryview(self.body)
        for start in range(0, len(whole), PART_BYTES):
            end = start + PART_BYTES
            part = {"type": "http.response.body", "body": whole[start:end], "more_body": end < len(whole)}
            await send(part)


def response_of(answer: Answer) -> Response:
    """Return an answer in the form of Starlette."""
    return BodyResponse(answer.body, answer.status, answer.headers)


class EventStreams:
    """The event streams of a cache.

    Args:
        cache: Has the views.
        limit: The most streams at once; further requests are refused.
        heartbeat_s: After so long without an event a stream sends a comment, so that proxies keep it open.
    """

    def __init__(
        self, cache: ListCache[Any], *, limit: int = MAX_STREAMS, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self.seats = Seats(limit)
        self._cache = cache
        self._heartbeat_s = checked_heartbeat_s(heartbeat_s)

    async def changes(self, profile: str | None, since: str | None) -> Response:
        """Send the changes of a profile.

        Args:
            profile: None for every profile.
            since: The last version that the client saw; what it missed comes first.

        Raises:
            ParameterError: The version is too long.
        """
        opened = partial(self._cache.asubscribe, profile, since=checked_version(since))
        source = await self.seats.agive(opened)
        return (
            response_of(source) if isinstance(source, Answer) else _Changes(self.seats, source, self._heartbeat_s)
        )

    async def follow(self, key: object, since: str | None, accept_encoding: str | None = None) -> Response:
        """Follow a view: send it, or what changed in it, and then what changes.

        Args:
            key: The view.
            since: The edition that the client has: the id of the last event that it saw, or a tag.
            accept_encoding: The header; the stream is compressed if the client can read that.

        Raises:
            CacheBusyError: As many views are followed as may be.
        """
        edition = None if since is None else edition_of(since)
        source = self.seats.give(partial(self._cache.follow, key, since=edition))
        if isinstance(source, Answer):
            return response_of(source)
        return _News(self.seats, source, self._heartbeat_s, news_text(accept_encoding))

    def close(self) -> None:
        """End all streams, and let no new one in. Any thread may call it."""
        self.seats.close()


class _EventStream(Response, Generic[S]):
    """The answer that sends what a source has until either side ends it.

    Args:
        seats: Have the seat of the source.
        source: What is sent; dropped at the end.
        heartbeat_s: As in `EventStreams`.
        headers: Those of the answer.
    """

    def __init__(self, seats: Seats, source: S, heartbeat_s: float, headers: Mapping[str, str] = HEADERS) -> None:
        super().__init__(headers=headers)
        del self.headers["Content-Length"]
        self._seats = seats
        self._source = source
        self._heartbeat_s = heartbeat_s
        seats.drop_with(self, source)

    @abstractmethod
    def _head(self) -> bytes:
        """Return the first lines of the stream."""

    def _heartbeat(self) -> bytes:
        """Return what is sent if nothing came in time."""
        return HEARTBEAT

    def _end(self) -> bytes:
        """Return the last bytes of the stream."""
        return b""

    @abstractmethod
    async def _next(self) -> Sequence[bytes | memoryview] | None:
        """Return the next event in parts; None if nothing came in time, or the source is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        state = scope.setdefault("state", {})
        state[IS_STREAM] = True
        open_streams: OpenStreams = state.get(OPEN_STREAMS) or OpenStreams()
        open_streams.add(self._source)
        watching = asyncio.ensure_future(self._close_when_gone(receive))
        try:
            await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                await self._send_events(send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            watching.cancel()
            open_streams.discard(self._source)
            await aside_on_loop(partial(self._seats.drop, self._source))

    async def _send_events(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": self._head(), "more_body": True})
        while not self._source.closed:
            parts = await self._next()
            for part in parts or (self._heartbeat(),):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": self._end(), "more_body": True})

    async def _close_when_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await aside_on_loop(self._source.close)


class _Changes(_EventStream[Subscription]):
    """The changes of a subscription."""

    def _head(self) -> bytes:
        return hello(self._source.version)

    async def _next(self) -> Sequence[bytes | memoryview] | None:
        change = await self._source.aget(self._heartbeat_s)
        return None if change is None else (change_event(change),)


class _News(_EventStream[Following]):
    """What is new of a followed view."""

    def __init__(self, seats: Seats, source: Following, heartbeat_s: float, text: NewsText) -> None:
        super().__init__(seats, source, heartbeat_s, text.headers)
        self._text = text

    def _head(self) -> bytes:
        return self._text.head()

    def _heartbeat(self) -> bytes:
        return self._text.heartbeat()

    def _end(self) -> bytes:
        return self._text.end()

    async def _next(self) -> Sequence[bytes | memoryview] | None:
        try:
            news = await self._source.aget(self._heartbeat_s)
        except CacheStoppedError:
            self._source.close()
            return None
        if news is None:
            return None
        if self._text.is_quick(news):
            return self._text.event(news)
        return await run_in_threadpool(self._text.event, news)
