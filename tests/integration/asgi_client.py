"""Asks an ASGI application as a server would, without a socket."""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answered:
    """What came back; the names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


async def asked(
    app: ASGIApp, target: str, headers: dict[str, str] | None = None, *, until: bytes = b""
) -> Answered:
    """Ask with GET.

    Args:
        until: The client goes once the body has this; empty for the whole body.
    """
    sent: list[Message] = []
    gone = asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if until and until in _body_of(sent):
            gone.set()

    where = urlsplit(target)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": where.path,
        "query_string": where.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    await app(scope, receive, send)
    named = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Answered(sent[0]["status"], named, _body_of(sent))


def _body_of(sent: list[Message]) -> bytes:
    return b"".join(bytes(message.get("body", b"")) for message in sent)
