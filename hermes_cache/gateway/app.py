"""The web application: its routes, what becomes of errors, and which layers a request passes.

An endpoint that only looks into memory is a coroutine and runs on the event loop. One that may wait for a file or
a lock is a function, and runs on one of a bounded number of threads. Source: rules W1, W6.
"""

from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from hermes_cache.errors import HermesCacheError, ProfileNotFoundError, SourceError
from hermes_cache.gateway.access import READING_METHODS, SIGN_IN_PATH, Access
from hermes_cache.gateway.answers import (
    Assets,
    Metrics,
    description_answer,
    explanation_answer,
    failure_answer,
    health_answer,
    http_error_answer,
    options_answer,
    overview_answer,
    readiness_answer,
)
from hermes_cache.gateway.guard import Guard
from hermes_cache.gateway.publishing import DEMO_PATH, EVENTS_PATH, Demo, DemoAnswers, Publishing
from hermes_cache.gateway.request_log import RequestLog
from hermes_cache.gateway.session_lists import SessionLists
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.gateway.sign_in import SignIn
from hermes_cache.gateway.view_defaults import USUAL_AGENT_LIMIT, ViewDefaults
from hermes_cache.integrations.asgi import query_of
from hermes_cache.integrations.asgi_streams import EventStreams
from hermes_cache.integrations.view_query import (
    VIEW_PARAMETERS,
    asked_changes,
    asked_view,
    ignored_parameters,
    key_of,
    parameters_in,
)
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.session_list_cache import SessionListCache
from hermes_cache.stores.hermes import HermesHome

_PAGE: Final = Path(__file__).with_name("page")


def create_app(
    cache: SessionListCache, home: HermesHome, *, settings: GatewaySettings | None = None, demo: Demo | None = None
) -> Starlette:
    """Make the application that serves the lists of a home from a cache.

    It neither starts nor stops the cache; the caller does. Its event streams are `app.state.streams`.

    Args:
        cache: Has the lists; events that clients publish go to its bus.
        home: Has the settings of the views.
        settings: Which requests are let in, and bounds.
        demo: What the page can ask for in a demo; None if this is none.

    Source: rules W1, W2, W5.
    """
    settings = settings or GatewaySettings()
    streams = EventStreams(cache, limit=settings.max_streams, heartbeat_s=settings.heartbeat_s)
    endpoints = _Endpoints(
        cache,
        ViewDefaults(home.view_settings, agent_limit=USUAL_AGENT_LIMIT),
        SessionLists(cache, read_timeout_s=settings.read_timeout_s),
        streams,
        home,
        settings.root_path,
    )
    access = Access(settings, writes=(SIGN_IN_PATH, EVENTS_PATH, DEMO_PATH))
    sign_in = SignIn(access)
    app = Starlette(
        routes=_routes(cache, endpoints, sign_in, demo),
        middleware=_middleware(settings, access, sign_in),
        exception_handlers={HermesCacheError: _failure, HTTPException: _http_error},
    )
    # They would lack the prefix of a proxy, and its TLS.
    app.router.redirect_slashes = False
    app.state.streams = streams
    return app


def _routes(
    cache: SessionListCache, endpoints: "_Endpoints", sign_in: SignIn, demo: Demo | None
) -> list[Route | Mount]:
    return [
        Route("/api/sessions", endpoints.sessions),
        Route("/api/sessions/events", endpoints.events),
        Route("/api/sessions/follow", endpoints.follow),
        Route("/api/explain", endpoints.explain),
        Route("/api/cache", partial(_overview, cache, demo)),
        Route(EVENTS_PATH, Publishing(cache.bus).answer, methods=["POST"]),
        *_demo_routes(demo),
        Route("/api/openapi.json", endpoints.openapi),
        Route("/api/health", endpoints.health),
        Route("/api/ready", endpoints.ready),
        Route("/metrics", endpoints.metrics),
        Route("/", Assets(directory=_PAGE, html=True)),
        Route(SIGN_IN_PATH, sign_in.answer, methods=["GET", "POST"]),
        Mount("/page", Assets(directory=_PAGE)),
    ]


def _middleware(settings: GatewaySettings, access: Access, sign_in: SignIn) -> list[Middleware]:
    token, root_path = settings.token, settings.root_path
    return [
        Middleware(RequestLog, token=token, root_path=root_path, logs_all=settings.access_log),
        Middleware(Guard, access=access, sign_in=sign_in, root_path=root_path, token=token),
    ]


class _Endpoints:
    def __init__(
        self,
        cache: SessionListCache,
        defaults: ViewDefaults,
        lists: SessionLists,
        streams: EventStreams,
        home: HermesHome,
        root_path: str,
    ) -> None:
        self._cache = cache
        self._defaults = defaults
        self._lists = lists
        self._streams = streams
        self._home = home
        self._metrics = Metrics(cache)
        self._root_path = root_path

    async def sessions(self, request: Request) -> Response:
        view = self._defaults.kept()
        if view is None:
            view = await run_in_threadpool(self._defaults.view)
        asked = asked_view(query_of(request), view)
        return _naming(await self._lists.answer(asked.key, request, asked.since), asked.ignored)

    async def follow(self, request: Request) -> Response:
        asked = asked_view(query_of(request), await run_in_threadpool(self._defaults.view))
        since = request.headers.get("Last-Event-ID") or asked.since
        answer = await self._streams.follow(asked.key, since, request.headers.get("Accept-Encoding"))
        return _naming(answer, asked.ignored)

    async def events(self, request: Request) -> Response:
        profile, since, ignored = asked_changes(query_of(request))
        answer = await self._streams.changes(profile, request.headers.get("Last-Event-ID") or since)
        return _naming(answer, ignored)

    def explain(self, request: Request) -> Response:
        parameters = parameters_in(query_of(request))
        explanation = self._cache.explain(key_of(parameters, self._defaults.view()))
        if isinstance(explanation.key, SessionListKey) and explanation.condition == "missing":
            self._refuse_missing_profile(explanation.key)
        return _naming(explanation_answer(explanation), ignored_parameters(parameters, VIEW_PARAMETERS))

    def _refuse_missing_profile(self, key: SessionListKey) -> None:
        try:
            known = self._home.profiles()
        except SourceError:
            return  # What is known of the list is answered all the same.
        if not key.all_profiles and key.profile_name not in known:
            raise ProfileNotFoundError("profiles", key.profile_name)

    def openapi(self, _request: Request) -> Response:
        return description_answer(self._root_path)

    async def health(self, _request: Request) -> Response:
        return health_answer(self._cache.health(), holds_lists=self._holds_lists())

    async def ready(self, _request: Request) -> Response:
        return readiness_answer(holds_lists=self._holds_lists())

    def metrics(self, request: Request) -> Response:
        return self._metrics.answer(request.headers.get("Accept", ""))

    def _holds_lists(self) -> bool:
        return self._cache.stats().entries > 0


def _overview(cache: SessionListCache, demo: Demo | None, _request: Request) -> Response:
    return overview_answer(cache.overview(), cache.stats(), None if demo is None else demo.state())


def _demo_routes(demo: Demo | None) -> list[Route]:
    if demo is None:
        return []
    answers = DemoAnswers(demo)
    return [Route(DEMO_PATH, answers.do, methods=["POST"]), Route(f"{DEMO_PATH}/naive", answers.naive)]


def _naming(answer: Response, ignored: str | None) -> Response:
    if ignored is not None:
        answer.headers["X-Hermes-Cache-Ignored"] = ignored
    return answer


async def _failure(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HermesCacheError):
        raise error
    return failure_answer(error)


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    path: str = request.scope["path"]
    if path == "*":
        error = HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
    if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        return http_error_answer(error.status_code, path)
    allowed = (error.headers or {}).get("Allow", "").replace(",", " ").split()
    allow = ", ".join(sorted({*allowed, *READING_METHODS}))
    if request.method == "OPTIONS":
        return options_answer(allow)
    answer = http_error_answer(error.status_code, path)
    answer.headers["Allow"] = allow
    return answer
