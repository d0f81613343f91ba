"""The HTTP server: threads that answer requests, and a stop that is quick whoever is still connected."""

import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, Self
from weakref import WeakSet

from cheroot.makefile import StreamReader, StreamWriter
from cheroot.server import HTTPConnection
from cheroot.wsgi import Server
from flask import Flask

from hermes_cache.gateway.app import STREAMS_EXTENSION
from hermes_cache.gateway.event_streams import EventStreams
from hermes_cache.logs import QuietLogger

_logger: Final = QuietLogger(__name__)

_WORKERS: Final = 16
"""The threads for lists; each event stream has one more. Builds run elsewhere, so these mostly wait."""

_BACKLOG: Final = 128
_KEPT_ALIVE: Final = 256
_IDLE_TIMEOUT_S: Final = 30.0
"""Longer than the front end's poll, so that its connections last."""

_FLAG_WAIT_S: Final = 0.02
_GRACE_S: Final = 1.0
_LAST_WAIT_S: Final = 1.0


class GatewayServer:
    """Serves an application on an address, from `start` to `stop`, once.

    Args:
        app: An application of `create_app`.
        port: 0 takes a free one.
    """

    def __init__(self, app: Flask, host: str = "127.0.0.1", port: int = 0) -> None:
        self._streams: EventStreams = app.extensions[STREAMS_EXTENSION]
        self._connections: WeakSet[HTTPConnection] = WeakSet()
        self._listener = self._listen_on(app, host, port)
        self._ready: Future[None] = Future()

    @property
    def url(self) -> str:
        """The address for a browser; known after `start`."""
        host, port = self._listener.bind_addr[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def start(self) -> None:
        """Listen and serve.

        Raises:
            OSError: The address cannot be bound.
        """
        # Threads started by a daemon thread are daemons too, so that no exit of the process waits for them.
        threading.Thread(target=self._run, name="hermes_cache.gateway", daemon=True).start()
        self._ready.result()

    def stop(self) -> None:
        """End within 3 s: streams at once, requests after a second, then all connections that are left."""
        self._streams.close()
        ending = threading.Thread(target=self._listener.stop, name="hermes_cache.gateway_stop", daemon=True)
        ending.start()
        ending.join(_FLAG_WAIT_S)
        self._knock()
        ending.join(_GRACE_S)
        if ending.is_alive():
            self._cut_connections()
            ending.join(_LAST_WAIT_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            self._listener.prepare()
        except OSError as error:
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        self._listener.serve()

    def _listen_on(self, app: Flask, host: str, port: int) -> "_Listener":
        threads = _WORKERS + self._streams.limit
        listener = _Listener((host, port), app, numthreads=threads, max=threads, request_queue_size=_BACKLOG)
        listener.timeout = _IDLE_TIMEOUT_S
        listener.keep_alive_conn_limit = _KEPT_ALIVE
        listener.ConnectionClass = self._connect
        return listener

    def _connect(self, server: Server, sock: socket.socket, _makefile: Callable[..., object]) -> HTTPConnection:
        connection = HTTPConnection(server, sock, _makefile_of_ours)
        self._connections.add(connection)
        return connection

    def _knock(self) -> None:
        # The listener looks at its flag twice a second, or when a connection comes.
        with suppress(OSError):
            socket.create_connection(self._listener.bind_addr[:2], timeout=1.0).close()

    def _cut_connections(self) -> None:
        # A client that reads nothing blocks its thread in a write; only the end of the socket frees it.
        for connection in list(self._connections):
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)


class _Listener(Server):
    """cheroot's server, with its log sent to `logging`."""

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:  # noqa: FBT001, FBT002 -- cheroot's signature
        _logger.log(level, "hermes_cache.server_said", extra={"hermes_cache.said": msg}, exc_info=traceback)


class _Output(StreamWriter):
    """What a connection sends. If the connection is cut, the rest is dropped without an error."""

    def __del__(self) -> None:
        # From Python 3.13 on, the destructor of the parent class raises the error of the last write.
        with suppress(OSError, ValueError):
            self.close()


def _makefile_of_ours(sock: socket.socket, mode: str, size: int) -> StreamReader | StreamWriter:
    return StreamReader(sock, mode, size) if "r" in mode else _Output(sock, mode, size)
