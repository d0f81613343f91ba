"""Answers in the form of WSGI, and server-sent events: a stream takes a thread for as long as it is open.

Source: rules E7 to E9, R13, D4, W4; PEP 3333.
"""

from collections.abc import AsyncGenerator, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from hermes_cache.bus.subscription import Subscription
from hermes_cache.cache.following import Following, Interrupted
from hermes_cache.cache.list_cache import ListCache
from hermes_cache.errors import CacheStoppedError, HermesCacheError
from hermes_cache.integrations.answers import Answer, failure_answer
from hermes_cache.integrations.negotiation import edition_of
from hermes_cache.integrations.news_text import NewsText, news_text
from hermes_cache.integrations.seats import Seats, Source, checked_heartbeat_s
from hermes_cache.integrations.server_sent_events import (
    HEADERS,
    HEARTBEAT,
    change_event,
    checked_version,
    hello,
)
from hermes_cache.integrations.stop_signals import at_stop_signals
from hermes_cache.threads.gates import Gate, OwnThread
from hermes_cache.threads.loops import aside_on_loop

Environ: TypeAlias = Mapping[str, Any]
"""A WSGI environment, or what has the same names, as `request.META` of Django has."""

Parts: TypeAlias = Iterable[bytes | memoryview]

B_co = TypeVar("B_co", covariant=True)

_HEARTBEAT_S: Final = 5.0
"""A client that is gone is noticed at the second heartbeat, and until then takes a seat of few."""

MAX_STREAMS: Final = 8
"""A stream takes a thread of the server for as long as it is open."""


class Response(NamedTuple, Generic[B_co]):
    """An answer in the form of WSGI.

    Attributes:
        status: Such as "200 OK".
        headers: Pairs of a name and a value.
        body: The body; that of an event stream is iterated, and closed at its end.
    """

    status: str
    headers: list[tuple[str, str]]
    body: B_co

    @property
    def code(self) -> int:
        """The status as a number."""
        return int(self.status[:3])


class _Events(Protocol):
    """What a stream says, from its first lines to its end."""

    @property
    def source(self) -> Source: ...

    def head(self) -> bytes: ...

    def next(self) -> Parts:
        """Wait for an event; return it, or what is sent if nothing came in time."""

    async def anext(self) -> Parts: ...

    def end(self) -> bytes: ...


class EventStream:
    """The body of an event stream. Whoever iterates it calls `close` at the end, as servers do.

    Args:
        seats: Have the seat of its source.
        events: What it says.
    """

    def __init__(self, seats: Seats, events: _Events) -> None:
        self._seats = seats
        self._events = events
        seats.drop_with(self, events.source)

    def __iter__(self) -> Iterator[bytes]:
        yield self._events.head()
        while not self._events.source.closed:
            for part in self._events.next():
                yield bytes(part)
        yield self._events.end()

    async def on_loop(self) -> AsyncGenerator[bytes]:
        """Yield the same without blocking the event loop, and close it at the end."""
        try:
            yield self._events.head()
            while not self._events.source.closed:
                for part in await self._events.anext():
                    yield bytes(part)
            yield self._events.end()
        finally:
            await aside_on_loop(self.close)

    def close(self) -> None:
        """End it; its seat is free."""
        self._seats.drop(self._events.source)


class EventStreams:
    """The event streams of a cache. Each takes a thread of the server for as long as it is open.

    Call `changes` on a thread, also for a stream that is then sent on an event loop (`EventStream.on_loop`).

    Args:
        cache: Has the views.
        limit: The most streams at once; further requests are refused.
        heartbeat_s: After so long without an event a stream sends a comment. A client that
            is gone is noticed then.
    """

    def __init__(
        self, cache: ListCache[Any], *, limit: int = MAX_STREAMS, heartbeat_s: float = _HEARTBEAT_S
    ) -> None:
        self.seats = Seats(limit)
        self._cache = cache
        self._heartbeat_s = checked_heartbeat_s(heartbeat_s)

    def changes(self, environ: Environ, profile: str | None = None) -> "Response[bytes | EventStream]":
        """Send the changes of a profile, or of all; a client that comes back first gets what it missed."""
        try:
            since = checked_version(_last_seen(environ))
            source = self.seats.give(partial(self._cache.subscribe, profile, since=since))
        except HermesCacheError as error:
            return response_of(failure_answer(error), environ)
        if isinstance(source, Answer):
            return response_of(source, environ)
        return _stream_response(EventStream(self.seats, _Changes(source, self._heartbeat_s)), HEADERS, environ)

    def follow(self, environ: Environ, key: Hashable) -> "Response[bytes | EventStream]":
        """Send a view, or what changed in it since the client saw it, and then what changes."""
        since = _last_seen(environ)
        follow = partial(self._cache.follow, key, since=edition_of(since) if since else None)
        try:
            source = self.seats.give(follow)
        except HermesCacheError as error:
            return response_of(failure_answer(error), environ)
        if isinstance(source, Answer):
            return response_of(source, environ)
        text = news_text(environ.get("HTTP_ACCEPT_ENCODING"))
        stream = EventStream(self.seats, _News(self._cache, source, text, self._heartbeat_s))
        return _stream_response(stream, text.headers, environ)

    def close(self) -> None:
        """End all streams, and let no new one in. Any thread may call it."""
        self.seats.close()


def end_at_stop_signals(*streams: EventStreams) -> None:
    """End event streams when a signal tells the process to stop: servers wait for their open answers.

    Call it on the main thread of the process that serves, once its server handles signals. For gunicorn that is in
    the module that it imports; with `--preload` it is in `post_worker_init`. On another thread, or where nobody
    handles signals, it does nothing.
    """
    is_stopping = Gate()

    def end() -> None:
        is_stopping.wait()
        for each in streams:
            each.close()

    if at_stop_signals(is_stopping.open) is not None:
        # A thread that waits: a handler must wait for no lock, and under gevent not even for a thread to start.
        OwnThread(end, "hermes_cache.stop_signals").start()


class _Changes:
    def __init__(self, source: Subscription, heartbeat_s: float) -> None:
        self.source = source
        self._heartbeat_s = heartbeat_s

    def head(self) -> bytes:
        return hello(self.source.version)

    def next(self) -> Parts:
        change = self.source.get(self._heartbeat_s)
        return [HEARTBEAT if change is None else change_event(change)]

    async def anext(self) -> Parts:
        change = await self.source.aget(self._heartbeat_s)
        return [HEARTBEAT if change is None else change_event(change)]

    def end(self) -> bytes:
        return b""


class _News:
    def __init__(self, cache: ListCache[Any], source: Following, text: NewsText, heartbeat_s: float) -> None:
        self.source = source
        self._cache = cache
        self._text = text
        self._heartbeat_s = heartbeat_s

    def head(self) -> bytes:
        return self._text.head()

    def next(self) -> Parts:
        # A stop of the cache closes the source.
        with suppress(CacheStoppedError):
            news = self.source.get(self._heartbeat_s)
            return [self._text.heartbeat()] if news is None else self._text.event(news)
        return []

    async def anext(self) -> Parts:
        with suppress(CacheStoppedError):
            news = await self.source.aget(self._heartbeat_s)
            if news is None:
                return [self._text.heartbeat()]
            if not (isinstance(news, Interrupted) or self._text.is_quick(news)):
                await self._cache.aencoded(news, "gzip")
            return self._text.event(news)
        return []

    def end(self) -> bytes:
        return self._text.end()


def _stream_response(
    stream: EventStream, headers: Mapping[str, str], environ: Environ
) -> "Response[bytes | EventStream]":
    if environ["REQUEST_METHOD"] != "HEAD":
        return Response(_status(HTTPStatus.OK), list(headers.items()), stream)
    stream.close()
    return Response(_status(HTTPStatus.OK), list(headers.items()), b"")


def response_of(made: Answer, environ: Environ) -> Response[bytes]:
    """Return an answer in the form of WSGI; one to HEAD has no body."""
    headers = list(made.headers.items())
    if made.status is not HTTPStatus.NOT_MODIFIED:
        headers.append(("Content-Length", str(len(made.body))))
    return Response(_status(made.status), headers, b"" if environ["REQUEST_METHOD"] == "HEAD" else made.body)


def _status(status: HTTPStatus) -> str:
    return f"{status.value} {status.phrase}"


def since_in(environ: Environ) -> str | None:
    """Return what stands in `?since=`; None if there is none."""
    query = environ.get("QUERY_STRING", "")
    # Most requests have none, and to take a query apart is slow.
    return dict(parse_qsl(query)).get("since") if "since=" in query else None


def _last_seen(environ: Environ) -> str | None:
    return environ.get("HTTP_LAST_EVENT_ID") or since_in(environ)
