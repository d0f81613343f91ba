"""Answers in the form of WSGI, and server-sent events: a stream takes a thread for as long as it is open.

Source: rules E7 to E9, R13, D4, W4; PEP 3333.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from hermes_cache.bus.subscription import Subscription
from hermes_cache.cache.following import Following
from hermes_cache.cache.list_cache import ListCache
from hermes_cache.errors import CacheStoppedError, HermesCacheError
from hermes_cache.integrations.answers import Answer, failure_answer
from hermes_cache.integrations.negotiation import edition_of
from hermes_cache.integrations.news_text import NewsText, news_text
from hermes_cache.integrations.seats import HEARTBEAT_S, Seats, Source
from hermes_cache.integrations.server_sent_events import (
    HEADERS,
    HEARTBEAT,
    change_event,
    checked_version,
    hello,
)

Environ: TypeAlias = Mapping[str, Any]
"""A WSGI environment, or what has the same names, as `request.META` of Django has."""

Parts: TypeAlias = Iterable[bytes | memoryview]

B_co = TypeVar("B_co", covariant=True)

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


class EventStream:
    """The body of an event stream. Whoever iterates it calls `close` at the end, as servers do.

    Args:
        seats: Have the seat of the source.
        source: What is sent.
        head: The first lines.
        wait: Returns the next event in parts, or what is sent if nothing came in time.
        end: Returns the last bytes.
    """

    def __init__(
        self,
        seats: Seats,
        source: Source,
        head: bytes,
        wait: Callable[[], Parts],
        end: Callable[[], bytes] = bytes,
    ) -> None:
        self._seats = seats
        self._source = source
        self._head = head
        self._wait = wait
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        while not self._source.closed:
            for part in self._wait():
                yield bytes(part)
        yield self._end()

    def close(self) -> None:
        """End it; its seat is free."""
        self._seats.drop(self._source)


class EventStreams:
    """The event streams of a cache. Each takes a thread of the server for as long as it is open.

    Args:
        cache: Has the views.
        limit: The most streams at once; further requests are refused.
        heartbeat_s: After so long without an event a stream sends a comment. A client that
            is gone is noticed then.
    """

    def __init__(
        self, cache: ListCache[Any], *, limit: int = MAX_STREAMS, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self.seats = Seats(limit)
        self._cache = cache
        self._heartbeat_s = heartbeat_s

    def changes(self, environ: Environ, profile: str | None = None) -> "Response[bytes | EventStream]":
        """Send the changes of a profile, or of all; a client that comes back first gets what it missed."""
        try:
            since = checked_version(_last_seen(environ))
            source = self.seats.give(partial(self._cache.subscribe, profile, since=since))
        except HermesCacheError as error:
            return response_of(failure_answer(error), environ)
        if isinstance(source, Answer):
            return response_of(source, environ)
        wait = partial(_next_change, source, self._heartbeat_s)
        return _stream_response(EventStream(self.seats, source, hello(source.version), wait), HEADERS, environ)

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
        wait = partial(_next_news, source, text, self._heartbeat_s)
        stream = EventStream(self.seats, source, text.head(), wait, text.end)
        return _stream_response(stream, text.headers, environ)

    def close(self) -> None:
        """End all streams, and let no new one in. Any thread may call it."""
        self.seats.close()


def _next_change(source: Subscription, timeout_s: float) -> Parts:
    change = source.get(timeout_s)
    return [HEARTBEAT if change is None else change_event(change)]


def _next_news(source: Following, text: NewsText, timeout_s: float) -> Parts:
    try:
        news = source.get(timeout_s)
    except CacheStoppedError:
        return []  # It is closed now.
    return [text.heartbeat()] if news is None else text.event(news)


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
