"""A gateway on Django, in one file: a view that runs in a thread, and one that runs on the event loop.

`gunicorn --threads 8 examples.gateways.django_app.app:sync_app`, or
`uvicorn examples.gateways.django_app.app:async_app`
"""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from examples.gateways.database import load, rename
from hermes_cache import SessionListCache, SessionListKey
from hermes_cache.integrations import wsgi

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of the example")  # noqa: S106 - no secret

cache = SessionListCache(load)
streams = wsgi.EventStreams(cache)


def sessions(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        rename(request.GET["session_id"], request.GET["title"])
        cache.invalidate(reason="session_rename")
        return HttpResponse(status=204)
    answer = wsgi.respond(cache, SessionListKey(), request.META)
    return HttpResponse(answer.body, status=answer.code, headers=dict(answer.headers))


async def sessions_on_a_loop(request: HttpRequest) -> HttpResponse:
    answer = await wsgi.arespond(cache, SessionListKey(), request.META)
    return HttpResponse(answer.body, status=answer.code, headers=dict(answer.headers))


def events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    answer = streams.changes(request.META)
    if isinstance(answer.body, bytes):
        return HttpResponse(answer.body, status=answer.code, headers=dict(answer.headers))
    body = answer.body.on_loop() if isinstance(request, ASGIRequest) else answer.body
    return StreamingHttpResponse(body, headers=dict(answer.headers))


urlpatterns = [
    path("api/sessions", sessions),
    path("api/sessions/async", sessions_on_a_loop),
    path("api/sessions/events", events),
    path("api/sessions/async/events", events),
]
sync_app = get_wsgi_application()
async_app = get_asgi_application()
# For gunicorn, which handles signals already; with `--preload` this belongs into its `post_worker_init`.
wsgi.end_at_stop_signals(streams)
