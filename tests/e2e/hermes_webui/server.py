"""Serves the stand-in for hermes-webui: `python server.py HOME`. It prints its port, and ends with its input."""

import sqlite3
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlparse

from api import config, models, profiles, routes
from api.session_events import publish_session_list_changed


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        profiles.set_request_profile(self.headers.get("X-Profile"))
        try:
            if routes.handle_get(self, urlparse(self.path)) is False:
                routes.t(self, b"not found", 404)
        finally:
            profiles.set_request_profile(None)

    def do_POST(self) -> None:
        asked = urlparse(self.path)
        answer = getattr(self, asked.path[1:])(**dict(parse_qsl(asked.query)))
        routes.t(self, str(answer).encode())

    def log_message(self, *_: object) -> None:
        pass

    def rename(self, session_id: str, title: str) -> None:
        with closing(sqlite3.connect(config.HOME / "state.db", timeout=60)) as connection, connection:
            connection.execute("UPDATE sessions SET title = ? WHERE id = ?", (title, session_id))
        publish_session_list_changed("session_rename", profile="default", session_id=session_id)

    def start(self, session_id: str, stream_id: str) -> None:
        config.SESSIONS[session_id] = SimpleNamespace(active_stream_id=stream_id, pending_user_message=None)
        config.STREAMS[stream_id] = object()

    def ask(self, session_id: str, message: str) -> None:
        config.SESSIONS[session_id] = SimpleNamespace(active_stream_id=None, pending_user_message=message)

    def stop(self, session_id: str, stream_id: str) -> None:
        config.SESSIONS[session_id].active_stream_id = None
        del config.STREAMS[stream_id]

    def hold(self) -> None:
        models.waiting.clear()
        models.gate.clear()

    def wait(self) -> object:
        return models.waiting.wait(60)

    def release(self) -> None:
        models.gate.set()

    def builds(self) -> object:
        return routes.builds


if __name__ == "__main__":
    config.HOME = Path(sys.argv[1])
    routes.SETTINGS_FILE = config.HOME / "settings.json"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.shutdown()
