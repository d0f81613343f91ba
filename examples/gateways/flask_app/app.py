"""A gateway on Flask: `flask --app examples.gateways.flask_app.app run`."""

from flask import Flask, request

from examples.gateways.database import load, rename
from hermes_cache.integrations.flask import HermesCache

app = Flask(__name__)
sessions = HermesCache(app, load, path="/api/sessions")


@app.post("/api/sessions")
def rename_session() -> tuple[str, int]:
    rename(request.args["session_id"], request.args["title"])
    sessions.cache.invalidate(reason="session_rename")
    return "", 204
