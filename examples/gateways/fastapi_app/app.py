"""A gateway on FastAPI: `uvicorn examples.gateways.fastapi_app.app:app`."""

from fastapi import FastAPI

from examples.gateways.database import load, rename
from hermes_cache import SessionListCache
from hermes_cache.integrations import asgi

cache = SessionListCache(load)
app = FastAPI(routes=asgi.session_routes(cache, path="/api/sessions"), lifespan=asgi.lifespan(cache))


@app.post("/api/sessions", status_code=204)
def rename_session(session_id: str, title: str) -> None:
    rename(session_id, title)
    cache.invalidate(reason="session_rename")
