"""Requests that do something: events that clients publish, and what the page of a demo asks for.

An event over HTTP is an event like any other: checked at its publisher, applied before the answer, and kept by the
journal if there is one. The guard lets in only what has the gateway's own origin, or its token.

Source: rules E3, W2, W5.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Protocol

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from hermes_cache.bus.codec import KINDS, Kind
from hermes_cache.errors import EventError
from hermes_cache.integrations.answers import error_answer
from hermes_cache.integrations.asgi_streams import response_of
from hermes_cache.integrations.view_query import ParameterError
from hermes_cache.journal.bus import Bus
from hermes_cache.payload.frozen import Json

EVENTS_PATH: Final = "/api/events"
"""Where events are published."""

DEMO_PATH: Final = "/api/demo"
"""Where the page of a demo says what to do."""

_FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "session_list_changed": ("reason", "profile", "session_id"),
    "stream_started": ("stream_id", "profile", "session_id"),
    "stream_stopped": ("stream_id",),
    "settings_changed": (),
}


class Demo(Protocol):
    """What a demo can do beside serving its home."""

    def state(self) -> Mapping[str, object]:
        """Return what the page shows of it."""

    def do(self, what: str, session_id: str | None) -> None:
        """Do one of the things that the page has a button for.

        Raises:
            ValueError: It is not known.
        """

    def naive(self) -> Mapping[str, object]:
        """Return the list as a naive cache answers it, and which events it is behind."""


class Publishing:
    """Answers requests that publish an event.

    Args:
        bus: Where it is published.
    """

    def __init__(self, bus: Bus) -> None:
        self._topics = dict(zip(KINDS, bus.published(), strict=True))

    async def answer(self, request: Request) -> Response:
        """Publish an event; the answer comes when it is applied here.

        Raises:
            ParameterError: The body is no event.
        """
        fields = _mapping(await request.body())
        kind = fields.get("kind")
        if kind not in KINDS:
            raise ParameterError("kind", str(kind), f"one of {', '.join(KINDS)}")
        given = {name: fields[name] for name in _FIELDS[kind] if fields.get(name) is not None}
        try:
            # On a thread, because it may wait for the journal.
            await run_in_threadpool(self._topics[kind].send, "gateway", **given)
        except EventError as error:
            return response_of(error_answer(HTTPStatus.BAD_REQUEST, str(error), parameter=error.field))
        return Response(status_code=HTTPStatus.NO_CONTENT)


class DemoAnswers:
    """Answers requests of the page of a demo."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo

    async def do(self, request: Request) -> Response:
        """Do what the page has a button for.

        Raises:
            ParameterError: It is not known.
        """
        fields = _mapping(await request.body())
        what, session_id = str(fields.get("do")), fields.get("session_id")
        try:
            await run_in_threadpool(self._demo.do, what, None if session_id is None else str(session_id))
        except ValueError as error:
            raise ParameterError("do", what, str(error)) from error
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def naive(self, _request: Request) -> Response:
        """Answer a poll as a naive cache would."""
        body = orjson.dumps(self._demo.naive())
        return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")


def _mapping(body: bytes) -> Mapping[str, Json]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise ParameterError("body", body[:20].decode("utf-8", "replace"), "a JSON object")
    return fields
