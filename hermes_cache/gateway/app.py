"""The web application: its routes, its error handlers, and the headers of every answer."""

from http import HTTPStatus
from typing import Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from hermes_cache.errors import HermesCacheError
from hermes_cache.gateway.access import Access, parameters_of
from hermes_cache.gateway.answers import (
    error_answer,
    explanation_answer,
    failure_answer,
    health_answer,
    readiness_answer,
)
from hermes_cache.gateway.event_streams import EventStreams
from hermes_cache.gateway.session_lists import SessionLists
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.gateway.view_query import USUAL_AGENT_LIMIT, ViewDefaults, key_of
from hermes_cache.sessions.session_list_cache import SessionListCache
from hermes_cache.stores.hermes import HermesHome

STREAMS_EXTENSION: Final = "hermes_cache.streams"
"""The name of an application's `EventStreams` among its extensions; the server that runs it looks there."""

_CONTENT_POLICY: Final = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def create_app(cache: SessionListCache, home: HermesHome, *, settings: GatewaySettings | None = None) -> Flask:
    """Make the application that serves the lists of a home from a cache.

    It neither starts nor stops the cache; the caller does.

    Source: rules W1, W5.
    """
    settings = settings or GatewaySettings()
    app = Flask(__name__, static_folder="page", static_url_path="/page")
    streams = EventStreams(cache, limit=settings.max_streams, heartbeat_s=settings.heartbeat_s)
    app.extensions[STREAMS_EXTENSION] = streams
    _guard(app, Access(settings))
    _answer_failures(app)
    lists = SessionLists(cache, read_timeout_s=settings.read_timeout_s)
    _route(app, cache, ViewDefaults(home.view_settings, agent_limit=USUAL_AGENT_LIMIT), lists, streams)
    return app


def _guard(app: Flask, access: Access) -> None:
    def refuse() -> Response | None:
        return access.refusal(request)

    def secure(response: Response) -> Response:
        access.remember(request, response)
        response.headers["Content-Security-Policy"] = _CONTENT_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    app.before_request(refuse)
    app.after_request(secure)


def _answer_failures(app: Flask) -> None:
    def answer_http(error: HTTPException) -> Response:
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        return error_answer(status, f"{status.phrase}: {request.path}")

    app.register_error_handler(HermesCacheError, failure_answer)
    app.register_error_handler(HTTPException, answer_http)


def _route(
    app: Flask, cache: SessionListCache, defaults: ViewDefaults, lists: SessionLists, streams: EventStreams
) -> None:
    def sessions() -> Response:
        return lists.answer(key_of(parameters_of(request), defaults.view()), request)

    def explain() -> Response:
        return explanation_answer(cache.explain(key_of(parameters_of(request), defaults.view())))

    def events() -> Response:
        return streams.answer(parameters_of(request), request.headers.get("Last-Event-ID"))

    def health() -> Response:
        return health_answer(cache.health(), holds_lists=cache.stats().entries > 0)

    def ready() -> Response:
        return readiness_answer(holds_lists=cache.stats().entries > 0)

    app.add_url_rule("/", "page", lambda: app.send_static_file("index.html"))
    app.add_url_rule("/api/sessions", "sessions", sessions)
    app.add_url_rule("/api/sessions/events", "events", events)
    app.add_url_rule("/api/explain", "explain", explain)
    app.add_url_rule("/api/health", "health", health)
    app.add_url_rule("/api/ready", "ready", ready)
