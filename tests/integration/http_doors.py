"""The frameworks as doors to a cache of owners: each is asked as its server would ask it, without a socket."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator
from zlib import decompressobj

from flask import Flask
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from hermes_cache.cache.list_cache import ListCache
from hermes_cache.integrations import asgi, wsgi
from hermes_cache.integrations.flask import HermesCache


@dataclass(frozen=True)
class Answered:
    """What came back; the names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def last_id(self) -> str:
        """The id of the last event of a stream."""
        return self.body.rpartition(b"id: ")[2].partition(b"\n")[0].decode()


class Ask(Protocol):
    """Asks with GET for a list at the path `/list`, whose owner is the parameter `of`.

    Args:
        until: The client goes once the body has this; empty for the whole body.
    """

    def __call__(self, target: str, headers: dict[str, str] | None = None, *, until: bytes = b"") -> Answered: ...


def through_asgi(cache: ListCache[Any], *, max_streams: int = 8) -> Ask:
    streams = asgi.EventStreams(cache, limit=max_streams)
    routes = asgi.routes(cache, lambda request: request.query_params["of"], path="/list", streams=streams)
    return asgi_door(Starlette(routes=routes))


def through_wsgi(cache: ListCache[Any], *, max_streams: int = 8) -> Ask:
    streams = wsgi.EventStreams(cache, limit=max_streams)
    owner = lambda environ: parse_qs(environ["QUERY_STRING"])["of"][0]  # noqa: E731 - as a user would write it
    return wsgi_door(wsgi.Application(cache, owner, streams=streams), mounted_at="/list")


def through_flask(cache: ListCache[Any], *, max_streams: int = 8) -> Ask:
    app = Flask("lists")
    app.config["HERMES_CACHE_MAX_STREAMS"] = max_streams
    HermesCache(app, make=lambda **_given: cache, key_of=lambda request: request.args["of"], path="/list")
    return wsgi_door(app)


def through_views_on_a_loop(cache: ListCache[Any], *, max_streams: int = 8) -> Ask:
    """As asynchronous views of Django do it."""
    streams = wsgi.EventStreams(cache, limit=max_streams)

    def ask(target: str, headers: dict[str, str] | None = None, *, until: bytes = b"") -> Answered:
        return asyncio.run(answered(_environ(target, headers or {}, "/list"), until))

    async def answered(environ: dict[str, Any], until: bytes) -> Answered:
        owner = parse_qs(environ["QUERY_STRING"])["of"][0]
        response: wsgi.Response[bytes | wsgi.EventStream]
        match environ["PATH_INFO"]:
            case "/events":
                response = streams.changes(environ, owner)
            case "/follow":
                response = streams.follow(environ, owner)
            case _:
                response = await wsgi.arespond(cache, owner, environ)
        named = {name.lower(): value for name, value in response.headers}
        if isinstance(response.body, bytes):
            return Answered(response.code, named, response.body)
        body = b""
        async with aclosing(response.body.on_loop()) as parts:
            async for part in parts:
                body += part
                if until in _plain(body):
                    break
        return Answered(response.code, named, body)

    return ask


DOORS = [through_asgi, through_wsgi, through_flask, through_views_on_a_loop]


def asgi_door(app: ASGIApp) -> Ask:
    """Return what asks an ASGI application."""

    def ask(target: str, headers: dict[str, str] | None = None, *, until: bytes = b"") -> Answered:
        return asyncio.run(_asked(app, target, headers or {}, until))

    return ask


async def _asked(app: ASGIApp, target: str, headers: dict[str, str], until: bytes) -> Answered:
    sent: list[Message] = []
    gone = asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if until and until in _plain(_body_of(sent)):
            gone.set()

    where = urlsplit(target)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": where.path,
        "query_string": where.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, receive, send)
    named = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Answered(sent[0]["status"], named, _body_of(sent))


def _plain(body: bytes) -> bytes:
    """Return what a client can read of a stream, which may be compressed."""
    return decompressobj(wbits=31).decompress(body) if body.startswith(b"\x1f\x8b") else body


def _body_of(sent: list[Message]) -> bytes:
    return b"".join(bytes(message.get("body", b"")) for message in sent)


def wsgi_door(app: Callable[..., Iterable[bytes]], *, mounted_at: str = "") -> Ask:
    """Return what asks a WSGI application, and holds it to PEP 3333."""

    def ask(target: str, headers: dict[str, str] | None = None, *, until: bytes = b"") -> Answered:
        environ = _environ(target, headers or {}, mounted_at)
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, named: list[tuple[str, str]], _error: object = None
        ) -> Callable[..., None]:
            started.append((status, named))
            return lambda _part: None

        body = b""
        answered: Any = validator(app)(environ, start_response)
        with closing(answered) as parts:
            for part in parts:
                body += part
                if until and until in _plain(body):
                    break
        status, named = started[0]
        return Answered(int(status[:3]), {name.lower(): value for name, value in named}, body)

    return ask


def _environ(target: str, headers: dict[str, str], mounted_at: str) -> dict[str, Any]:
    where = urlsplit(target)
    environ: dict[str, Any] = {"QUERY_STRING": where.query, "SCRIPT_NAME": mounted_at}
    environ["PATH_INFO"] = where.path.removeprefix(mounted_at)
    for name, value in headers.items():
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    setup_testing_defaults(environ)
    return environ
