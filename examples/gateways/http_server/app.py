"""A gateway on `http.server`: `python -m examples.gateways.http_server.app 8000`."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from examples.gateways.database import load, rename
from hermes_cache import SessionListCache
from hermes_cache.integrations import wsgi

cache = SessionListCache(load)
application = wsgi.session_application(cache)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wsgi.reply(self, application.answer(wsgi.environ_of(self, "/api/sessions")))

    def do_POST(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        rename(asked["session_id"][0], asked["title"][0])
        cache.invalidate(reason="session_rename")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    with cache, ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            application.streams.close()
