"""Rule W4: an application for WSGI behind `http.server`."""

import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.integrations import wsgi
from tests.waiting import WAIT_S

TITLE = "Plan the garden " * 100_000
"""So much that a connection takes it only in parts."""


class Server(ThreadingHTTPServer):
    """A gateway that notes what `http.server` would print.

    Attributes:
        errors: What the handlers raised.
        handled: Set once a connection is handled.
    """

    def __init__(self, cache: SessionListCache) -> None:
        application = wsgi.session_application(cache)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                wsgi.reply(self, application.answer(wsgi.environ_of(self, "/api/sessions")))

            def log_message(self, *_args: object) -> None:
                """Log nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.errors: list[object] = []
        self.handled = threading.Event()

    def handle_error(self, request: Any, _address: Any) -> None:
        """Note what `http.server` would print."""
        self.errors.append(request)

    def shutdown_request(self, request: Any) -> None:
        """Note that a connection is handled."""
        super().shutdown_request(request)
        self.handled.set()


@pytest.fixture
def is_asked() -> threading.Event:
    """Set once a list is asked for."""
    return threading.Event()


@pytest.fixture
def may_build() -> threading.Event:
    """Set once builds may end."""
    return threading.Event()


@pytest.fixture
def server(is_asked: threading.Event, may_build: threading.Event) -> Iterator[Server]:
    def build(_key: SessionListKey) -> Mapping[str, object]:
        is_asked.set()
        assert may_build.wait(WAIT_S)
        return {"sessions": [{"session_id": "s1", "title": TITLE}]}

    with (
        SessionListCache(build, bus=Bus(), policy=Policy(stop_timeout=2.0)) as cache,
        Server(cache) as served,
    ):
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        may_build.set()
        served.shutdown()
        thread.join(WAIT_S)


def test_a_client_that_vanishes_before_its_list_is_there_is_no_error(
    server: Server, is_asked: threading.Event, may_build: threading.Event
) -> None:
    # Proves W4: `http.server` prints a traceback for each error of a handler.
    with closing(socket.create_connection(("127.0.0.1", server.server_port))) as client:
        client.sendall(b"GET /api/sessions HTTP/1.1\r\nHost: here\r\n\r\n")
        assert is_asked.wait(WAIT_S)
        # Closed at once, with a reset.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    may_build.set()

    assert server.handled.wait(WAIT_S)
    assert server.errors == []


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/sessions", 200), ("/api/sessions/", 200), ("/", 404), ("/events", 404), ("/api/sessions/x", 404)],
)
def test_a_list_is_found_where_it_is_mounted_and_nowhere_else(
    path: str, status: int, server: Server, may_build: threading.Event
) -> None:
    # Proves W4.
    may_build.set()
    with closing(HTTPConnection("127.0.0.1", server.server_port, timeout=WAIT_S)) as client:
        client.request("GET", path)

        assert client.getresponse().status == status
