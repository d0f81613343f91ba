"""A gateway in several processes of uvicorn, on Starlette, which share a journal.

`uvicorn --workers 2 examples.gateways.uvicorn_workers.app:app`

A rename returns a ticket. A client shows it to read what it wrote, whichever process answers.
"""

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.gateways.database import JOURNAL, load, rename
from hermes_cache import SessionListCache, SessionListKey
from hermes_cache.integrations import asgi

cache = SessionListCache(load, journal=JOURNAL)


async def sessions(request: Request) -> Response:
    if request.method == "POST":
        await run_in_threadpool(rename, request.query_params["session_id"], request.query_params["title"])
        return JSONResponse({"ticket": await cache.ainvalidate(reason="session_rename")})
    return await asgi.respond(cache, SessionListKey(), request, at_least=request.query_params.get("ticket"))


app = Starlette(
    routes=[Route("/api/sessions", sessions, methods=["GET", "POST"]), *asgi.session_routes(cache)],
    lifespan=asgi.lifespan(cache),
)
