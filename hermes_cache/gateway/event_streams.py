"""Server-sent events: each open stream is a subscription of the cache, or a view that is followed, sent as text.

The ids of its events are versions, or editions, so that a client that comes back gets what it missed.
Streams live on the event loop and take no thread, but their number is bounded. Source: rules E7 to E9, W1, W5, W6.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final, Generic, Protocol, TypeVar

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hermes_cache.bus.changes import Change
from hermes_cache.bus.subscription import Subscription
from hermes_cache.gateway.answers import error_answer
from hermes_cache.gateway.view_query import ParameterError, Query
from hermes_cache.sessions.session_list_cache import SessionListCache

STREAM_PARAMETERS: Final = ("profile", "since")
RETRY_MS: Final = 2_000
"""How long a browser waits before it connects again."""

IS_STREAM: Final = "hermes_cache.is_stream"
"""In the state of a request: its answer has no end of its own."""

_HEARTBEAT: Final = b": alive\n\n"
_MAX_VERSION_LENGTH: Final = 200


class _Source(Protocol):
    """What a stream is made of."""

    @property
    def closed(self) -> bool: ...

    def close(self) -> None: ...

    def __hash__(self) -> int: ...


S = TypeVar("S", bound=_Source)


class EventStreams:
    """The event streams that are open now.

    Args:
        limit: The most streams at once; further requests are refused.
        heartbeat_s: After so long without an event a stream sends a comment, so that proxies keep it open.
    """

    def __init__(self, cache: SessionListCache, *, limit: int, heartbeat_s: float) -> None:
        self.limit = limit
        self._cache = cache
        self._heartbeat_s = heartbeat_s
        self._lock = threading.Lock()
        self._open: set[_Source] = set()
        self._open_count = 0
        self._closed = False

    async def answer(self, parameters: Mapping[str, Sequence[str]], last_seen: str | None) -> Response:
        """Open a stream.

        Args:
            parameters: `profile`: the profile whose changes are sent; all if absent. `since`: a version.
            last_seen: The last version that the client saw, as its browser says; it counts before `since`.

        Raises:
            ParameterError: A parameter is wrong.
        """
        query = Query(parameters, STREAM_PARAMETERS)
        since = last_seen or query.text("since")
        if since and len(since) > _MAX_VERSION_LENGTH:
            raise ParameterError("since", since[:20], f"a version, at most {_MAX_VERSION_LENGTH} characters")
        # On a thread, because missed events may have to be read from a slow journal.
        opened = partial(run_in_threadpool, self._cache.subscribe, query.profile(), since=since)
        return await self.seat(opened, _Changes)

    async def seat(self, opened: "Callable[[], Awaitable[S]]", stream: "type[EventStream[S]]") -> Response:
        """Return the answer that sends what a source tells, if there is a seat for it.

        Args:
            opened: Opens the source; called once there is a seat.
            stream: The answer.

        Raises:
            HermesCacheError: The source cannot be opened.
        """
        if not self._count_up():
            return self._refusal()
        try:
            source = await opened()
        except BaseException:
            self._count_down()
            raise
        with self._lock:
            self._open.add(source)
            is_late = self._closed
        if is_late:
            source.close()
        return stream(self, source, self._heartbeat_s)

    def close(self) -> None:
        """End all streams, and let no new one in. Any thread may call it."""
        with self._lock:
            self._closed = True
            ending = list(self._open)
        for source in ending:
            source.close()

    def drop(self, source: "_Source") -> None:
        """Forget a stream that ended; its seat is free."""
        source.close()
        with self._lock:
            self._open.discard(source)
        self._count_down()

    def _refusal(self) -> Response:
        many = f"{self.limit} event streams are open, and no more are allowed; close one, or poll the list"
        reason = "the gateway ends; connect again" if self._closed else many
        response = error_answer(HTTPStatus.SERVICE_UNAVAILABLE, reason)
        response.headers["Retry-After"] = "5"
        return response

    def _count_up(self) -> bool:
        with self._lock:
            if self._closed or self._open_count >= self.limit:
                return False
            self._open_count += 1
            return True

    def _count_down(self) -> None:
        with self._lock:
            self._open_count -= 1


class EventStream(Response, Generic[S]):
    """The answer that sends what a source tells until either side ends it.

    Args:
        streams: Have the seat.
        source: What is sent; closed at the end.
        heartbeat_s: As in `EventStreams`.
    """

    media_type = "text/event-stream"

    def __init__(self, streams: EventStreams, source: S, heartbeat_s: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["Content-Length"]
        self.source = source
        self._streams = streams
        self._heartbeat_s = heartbeat_s

    def hello(self) -> bytes:
        """Return the first lines of the stream."""
        return b"retry: %d\n\n" % RETRY_MS

    async def next(self, timeout_s: float) -> Sequence[bytes | memoryview] | None:
        """Return the next event in parts; None if nothing came in time, or the source is closed."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        scope.setdefault("state", {})[IS_STREAM] = True
        watching = asyncio.ensure_future(self._close_when_gone(receive))
        try:
            await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                await self._send_events(send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            watching.cancel()
            self._streams.drop(self.source)

    async def _send_events(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": self.hello(), "more_body": True})
        while not self.source.closed:
            parts = await self.next(self._heartbeat_s)
            for part in parts or (_HEARTBEAT,):
                await send({"type": "http.response.body", "body": part, "more_body": True})

    async def _close_when_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.source.close()


class _Changes(EventStream[Subscription]):
    """The changes of a subscription."""

    def hello(self) -> bytes:
        version = self.source.version
        hello = b"retry: %d\nid: %b\nevent: hello\ndata: %b\n\n"
        return hello % (RETRY_MS, _id(version), orjson.dumps({"version": version}))

    async def next(self, timeout_s: float) -> Sequence[bytes | memoryview] | None:
        change = await self.source.aget(timeout_s)
        return None if change is None else (_message(change),)


def _message(change: Change) -> bytes:
    fields: dict[str, str] = {"type": "sessions_changed", "version": change.version, "reason": change.reason}
    if change.profile is not None:
        fields["profile"] = change.profile
    if change.session_id is not None:
        fields["session_id"] = change.session_id
    return b"id: %b\nevent: sessions_changed\ndata: %b\n\n" % (_id(change.version), orjson.dumps(fields))


def _id(version: str) -> bytes:
    # A line break would end the field and begin another one.
    return "".join(version.split()).encode()
