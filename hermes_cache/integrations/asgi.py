"""Lists, patches and event streams for Starlette and FastAPI; it needs the extra `asgi`.

`routes` and `session_routes` make whole routes; `respond` answers a request in a route of your own. All of it runs
on the event loop: a read that waits for a build takes no thread. Source: rules W4, D4, O7.
"""

from collections.abc import Awaitable, Callable, Hashable
from inspect import isawaitable
from typing import Any, TypeAlias, Unpack

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hermes_cache.cache.list_cache import ListCache
from hermes_cache.cache.reads import ReadOptions
from hermes_cache.errors import HermesCacheError
from hermes_cache.integrations.answers import Asked, failure_answer
from hermes_cache.integrations.asgi_lifespan import lifespan
from hermes_cache.integrations.asgi_streams import EventStreams, response_of
from hermes_cache.integrations.reading import READ_TIMEOUT_S, Envelope, aanswer
from hermes_cache.integrations.view_query import asked_changes, asked_view
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.session_list_cache import SessionListCache

__all__ = ["EventStreams", "KeyOf", "lifespan", "respond", "routes", "session_routes"]

KeyOf: TypeAlias = Callable[[Request], Hashable | Awaitable[Hashable]]
"""Returns the key that a request asks for; it may be a coroutine function. What it raises, the request raises."""


async def respond(
    cache: ListCache[Any],
    key: Hashable,
    request: Request,
    *,
    envelope: Envelope = None,
    **options: Unpack[ReadOptions],
) -> Response:
    """Answer a request for a list: with the list, with what changed (`?since=`), with 304, or with the error.

    Args:
        cache: Has the list.
        key: The list.
        request: Says what the client has and can read.
        envelope: Fields that the body gets behind its own; then the tag is weak. Patches do not have them (O7).
        options: How the read wants its answer.
    """
    asked = asked_in(request, request.query_params.get("since"))
    return response_of(await aanswer(cache, key, asked, envelope, **options))


def asked_in(request: Request, since: str | None) -> Asked:
    """Return what a request says of the answer that it wants."""
    return Asked(since, _listed(request, "If-None-Match"), _listed(request, "Accept-Encoding"))


def routes(
    cache: ListCache[Any],
    key_of: KeyOf,
    *,
    path: str = "/",
    streams: EventStreams | None = None,
    timeout: float | None = READ_TIMEOUT_S,
) -> list[BaseRoute]:
    """Make the routes of a list: itself, `/events` for its changes, and `/follow` for the followed view.

    Args:
        cache: Has the lists. Its start and stop are the caller's; `lifespan` does both.
        key_of: Returns the list that a request asks for. The changes are those that touch it.
        path: Where the list is; the others are below it.
        streams: Has the seats of event streams; None for seats of these routes alone.
        timeout: How many seconds a request waits for its list before it is answered with 504.
    """

    async def find(request: Request) -> Hashable:
        key = key_of(request)
        return await key if isawaitable(key) else key

    async def find_profile(request: Request) -> str | None:
        return cache.profile_of(await find(request))

    return _routes(path, _Endpoints(cache, find, find_profile, streams or EventStreams(cache), timeout))


def session_routes(
    cache: SessionListCache,
    *,
    path: str = "/api/sessions",
    default: SessionListKey | None = None,
    streams: EventStreams | None = None,
    timeout: float | None = READ_TIMEOUT_S,
) -> list[BaseRoute]:
    """Make the routes of session lists, as `routes` does: every field of a key is a query parameter.

    Args:
        cache: Has the lists.
        path: Where the list is.
        default: Says what an absent parameter means; None for what an absent field of a key means.
        streams: Has the seats of event streams; None for seats of these routes alone.
        timeout: As for `routes`.
    """
    absent = default or SessionListKey()

    async def find(request: Request) -> Hashable:
        return asked_view(query_of(request), absent).key

    async def find_profile(request: Request) -> str | None:
        return asked_changes(query_of(request))[0]

    return _routes(path, _Endpoints(cache, find, find_profile, streams or EventStreams(cache), timeout))


class _Endpoints:
    def __init__(
        self,
        cache: ListCache[Any],
        find: Callable[[Request], Awaitable[Hashable]],
        find_profile: Callable[[Request], Awaitable[str | None]],
        streams: EventStreams,
        timeout_s: float | None,
    ) -> None:
        self._cache = cache
        self._find = find
        self._find_profile = find_profile
        self._streams = streams
        self._timeout_s = timeout_s

    async def view(self, request: Request) -> Response:
        return await self._answered(self._view(request))

    async def events(self, request: Request) -> Response:
        return await self._answered(self._events(request))

    async def follow(self, request: Request) -> Response:
        return await self._answered(self._follow(request))

    async def _view(self, request: Request) -> Response:
        return await respond(self._cache, await self._find(request), request, timeout=self._timeout_s)

    async def _events(self, request: Request) -> Response:
        return await self._streams.changes(await self._find_profile(request), _last_seen(request))

    async def _follow(self, request: Request) -> Response:
        encoding = request.headers.get("Accept-Encoding")
        return await self._streams.follow(await self._find(request), _last_seen(request), encoding)

    async def _answered(self, answer: Awaitable[Response]) -> Response:
        try:
            return await answer
        except HermesCacheError as error:
            return response_of(failure_answer(error))


def _routes(path: str, endpoints: _Endpoints) -> list[BaseRoute]:
    below = path.rstrip("/")
    return [
        Route(path, endpoints.view),
        Route(f"{below}/events", endpoints.events),
        Route(f"{below}/follow", endpoints.follow),
    ]


def query_of(request: Request) -> str:
    """Return what stands behind the question mark of an address."""
    query: bytes = request.scope["query_string"]
    return query.decode("latin-1")


def _last_seen(request: Request) -> str | None:
    return request.headers.get("Last-Event-ID") or request.query_params.get("since")


def _listed(request: Request, name: str) -> str | None:
    # A list may come in several lines.
    return ", ".join(request.headers.getlist(name)) if name in request.headers else None
