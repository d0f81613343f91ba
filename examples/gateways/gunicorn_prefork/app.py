"""A gateway in several processes of gunicorn, which share a journal; a plain WSGI application.

`gunicorn --preload --workers 2 --threads 8 examples.gateways.gunicorn_prefork.app:app`, or without threads.

With `--preload` the cache is made before the workers are forked; it starts in each of them at its first read. A
rename returns a ticket. A client shows it to read what it wrote, whichever process answers.
"""

import json
from collections.abc import Iterable
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIEnvironment

from examples.gateways.database import JOURNAL, load, rename
from hermes_cache import SessionListCache, SessionListKey
from hermes_cache.integrations import wsgi

cache = SessionListCache(load, journal=JOURNAL)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    asked = dict(parse_qsl(environ["QUERY_STRING"]))
    if environ["REQUEST_METHOD"] == "POST":
        rename(asked["session_id"], asked["title"])
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"ticket": cache.invalidate(reason="session_rename")}).encode()]
    status, headers, body = wsgi.respond(cache, SessionListKey(), environ, at_least=asked.get("ticket"))
    start_response(status, headers)
    return [body]
