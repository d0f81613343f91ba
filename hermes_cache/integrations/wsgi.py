"""Lists, patches and event streams for WSGI, for `http.server`, and for frameworks that know a WSGI environment.

`Application` and `session_application` make whole applications. `respond` answers a request in a view of your own;
`arespond` does that on an event loop, such as in an asynchronous view of Django. Source: rules W4, D4, O7.
"""

from collections.abc import Callable, Hashable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, TypeAlias, Unpack
from urllib.parse import unquote
from wsgiref.types import StartResponse

from hermes_cache.cache.list_cache import ListCache
from hermes_cache.cache.reads import ReadOptions
from hermes_cache.errors import HermesCacheError
from hermes_cache.integrations.answers import Asked, error_answer, failure_answer
from hermes_cache.integrations.reading import READ_TIMEOUT_S, Envelope, aanswer, answer
from hermes_cache.integrations.view_query import asked_changes, asked_view
from hermes_cache.integrations.wsgi_streams import (
    MAX_STREAMS,
    Environ,
    EventStream,
    EventStreams,
    Response,
    end_at_stop_signals,
    response_of,
    since_in,
)
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.session_list_cache import SessionListCache

__all__ = [
    "MAX_STREAMS",
    "Application",
    "Environ",
    "EventStream",
    "EventStreams",
    "Response",
    "arespond",
    "end_at_stop_signals",
    "environ_of",
    "reply",
    "respond",
    "session_application",
]

KeyOf: TypeAlias = Callable[[Environ], Hashable]
"""Returns the key that a request asks for."""

ProfileOf: TypeAlias = Callable[[Environ], str | None]
"""Returns whose changes a request wants to hear; None for everybody's."""

_READING: Final = ("GET", "HEAD")


def respond(
    cache: ListCache[Any],
    key: Hashable,
    environ: Environ,
    *,
    envelope: Envelope = None,
    **options: Unpack[ReadOptions],
) -> Response[bytes]:
    """Answer a request for a list: with the list, with what changed (`?since=`), with 304, or with the error.

    Args:
        cache: Has the list.
        key: The list.
        environ: Says what the client has and can read.
        envelope: Fields that the body gets behind its own; then the tag is weak. Patches do not have them (O7).
        options: How the read wants its answer.

    Returns:
        The status, the headers, and the body as bytes.
    """
    return response_of(answer(cache, key, _asked(environ), envelope, **options), environ)


async def arespond(
    cache: ListCache[Any],
    key: Hashable,
    environ: Environ,
    *,
    envelope: Envelope = None,
    **options: Unpack[ReadOptions],
) -> Response[bytes]:
    """Do what `respond` does without blocking the event loop."""
    return response_of(await aanswer(cache, key, _asked(environ), envelope, **options), environ)


class Application:
    """A WSGI application that answers a list at its root, `/events` for changes, and `/follow`.

    Args:
        cache: Has the lists. Its start and stop are the caller's.
        key_of: Returns the list that a request asks for.
        profile_of: Returns whose changes a request wants to hear; None for those that touch its list.
        streams: Has the seats of event streams; None for those of this application alone.
        timeout: How many seconds a request waits for its list before it is answered with 504.
    """

    def __init__(
        self,
        cache: ListCache[Any],
        key_of: KeyOf,
        *,
        profile_of: ProfileOf | None = None,
        streams: EventStreams | None = None,
        timeout: float | None = READ_TIMEOUT_S,
    ) -> None:
        self.streams = streams or EventStreams(cache)
        self._cache = cache
        self._key_of = key_of
        self._profile_of = profile_of or (lambda environ: cache.profile_of(key_of(environ)))
        self._timeout_s = timeout

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        status, headers, body = self.answer(environ)
        start_response(status, headers)
        return [body] if isinstance(body, bytes) else body

    def answer(self, environ: Environ) -> Response[bytes | EventStream]:
        """Return the answer to a request."""
        if environ["REQUEST_METHOD"] not in _READING:
            refused = error_answer(HTTPStatus.METHOD_NOT_ALLOWED, "a list is asked for with GET or HEAD")
            refused.headers["Allow"] = ", ".join(_READING)
            return response_of(refused, environ)
        try:
            match environ.get("PATH_INFO", "").removesuffix("/"):
                case "":
                    return respond(self._cache, self._key_of(environ), environ, timeout=self._timeout_s)
                case "/events":
                    return self.streams.changes(environ, self._profile_of(environ))
                case "/follow":
                    return self.streams.follow(environ, self._key_of(environ))
                case _:
                    reason = "nothing is here; there is the list itself, and below it /events and /follow"
                    return response_of(error_answer(HTTPStatus.NOT_FOUND, reason), environ)
        except HermesCacheError as error:
            return response_of(failure_answer(error), environ)


def session_application(
    cache: SessionListCache,
    *,
    default: SessionListKey | None = None,
    streams: EventStreams | None = None,
    timeout: float | None = READ_TIMEOUT_S,
) -> Application:
    """Make an application for session lists: every field of a key is a query parameter.

    Args:
        cache: Has the lists.
        default: Says what an absent parameter means; None for what an absent field of a key means.
        streams: As for `Application`.
        timeout: Likewise.
    """
    absent = default or SessionListKey()
    return Application(
        cache,
        lambda environ: asked_view(environ.get("QUERY_STRING", ""), absent).key,
        profile_of=lambda environ: asked_changes(environ.get("QUERY_STRING", ""))[0],
        streams=streams,
        timeout=timeout,
    )


def environ_of(handler: BaseHTTPRequestHandler, mounted_at: str = "") -> dict[str, str]:
    """Return what a request of `http.server` says, as much of a WSGI environment as an `Application` needs.

    Args:
        handler: Has the request.
        mounted_at: The path at which the application is. What is asked for elsewhere is not found.
    """
    path, _, query = handler.path.partition("?")
    path = unquote(path, "latin-1")
    # No path of an application begins with two slashes.
    below = path.removeprefix(mounted_at) if path.startswith(mounted_at) else f"/{path}"
    environ = {"REQUEST_METHOD": handler.command, "PATH_INFO": below, "QUERY_STRING": query}
    for name in set(handler.headers.keys()):
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = ", ".join(handler.headers.get_all(name, []))
    return environ


def reply(handler: BaseHTTPRequestHandler, response: Response[bytes | EventStream]) -> None:
    """Send an answer from a handler of `http.server`; a stream is sent until either side ends it."""
    body = response.body
    handler.send_response(response.code)
    for name, value in response.headers:
        handler.send_header(name, value)
    if isinstance(body, EventStream):
        handler.close_connection = True
        handler.send_header("Connection", "close")
    try:
        handler.end_headers()
        for part in body if isinstance(body, EventStream) else (body,):
            handler.wfile.write(part)
    except ConnectionError:
        handler.close_connection = True  # The client is gone.
    finally:
        if isinstance(body, EventStream):
            body.close()


def _asked(environ: Environ) -> Asked:
    return Asked(since_in(environ), environ.get("HTTP_IF_NONE_MATCH"), environ.get("HTTP_ACCEPT_ENCODING"))
