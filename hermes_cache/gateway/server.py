"""The HTTP server: uvicorn on an event loop of its own thread.

The main thread is free for signals. What a connection may take of time and memory is decided in `connections.py`.
Source: rules L1, W6.
"""

import asyncio
import errno
import resource
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from math import ceil
from pathlib import Path
from typing import Any, Final, Self

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from starlette.applications import Starlette

from hermes_cache.gateway.connections import Connection, Deadlines, ServerState
from hermes_cache.gateway.guard import MAX_HEAD_BYTES
from hermes_cache.gateway.listening import BACKLOG, listener
from hermes_cache.integrations.asgi_streams import EventStreams
from hermes_cache.logs import QuietLogger

_logger: Final = QuietLogger(__name__)

_THREADS: Final = 20
"""For the few requests that may wait for a file or a lock. Those that wait for a build take none."""

_ACCEPTED_AT_ONCE: Final = 8
"""More at once could take all file descriptors before the first of them is counted."""

_MOST_CONNECTIONS: Final = 4_096
_RESERVED_DESCRIPTORS: Final = 24
"""What a build, a journal and a worker process may open while all connections are taken."""

_GRACE_S: Final = 1
_STOP_WAIT_S: Final = 3.0

_NO_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class GatewayServer:
    """Serves an application on an address, from `start` to `stop`, once.

    Args:
        app: An application of `create_app`.
        port: 0 takes a free one.
        bound: What `listener` returned, if the address is bound already.
        deadlines: How long it waits for clients.
        on_failure: Called on the server's thread if an error ends it after `start`.
    """

    def __init__(
        self,
        app: Starlette,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        bound: socket.socket | None = None,
        deadlines: Deadlines | None = None,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        self._streams: EventStreams = app.state.streams
        self._address = (host, port)
        self._listener = bound
        self._server = _Server(app, deadlines or Deadlines(), on_failure)
        self._thread: threading.Thread | None = None
        self._bound: tuple[str, int] = self._address

    @property
    def url(self) -> str:
        """The address for a browser; known after `start`."""
        host, port = self._bound
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def start(self) -> None:
        """Listen and serve.

        Raises:
            OSError: The address cannot be bound.
        """
        bound = self._listener or listener(*self._address)
        self._bound = bound.getsockname()[:2]
        # A daemon, and so are the threads that it starts: no exit of the process waits for them.
        self._thread = threading.Thread(
            target=self._server.run, args=([bound],), name="hermes_cache.gateway", daemon=True
        )
        self._thread.start()
        self._server.is_ready.result()

    def stop(self) -> None:
        """End within 3 s: streams at once, requests after a second, then all connections that are left."""
        self._streams.close()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_STOP_WAIT_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(uvicorn.Server):
    """uvicorn's server, with a look at every connection once a second.

    Attributes:
        is_ready: Has a result once requests are answered, or the error that stands in the way.
    """

    def __init__(self, app: Starlette, deadlines: Deadlines, on_failure: Callable[[], None] | None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                # Our own log says what happens, at a bounded rate; uvicorn's has a line for each bad request.
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_ACCEPTED_AT_ONCE,
                timeout_keep_alive=ceil(deadlines.idle_s),
                timeout_graceful_shutdown=_GRACE_S,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
        )
        self.server_state: ServerState = ServerState(deadlines)
        self.is_ready: Future[None] = Future()
        self._on_failure = on_failure

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit` is set."""
        try:
            super().run(sockets)
        except BaseException as error:
            if not self.is_ready.done():
                self.is_ready.set_exception(error)
                return
            _logger.exception("hermes_cache.gateway_failed")
            if self._on_failure is not None:
                self._on_failure()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        asyncio.get_running_loop().set_exception_handler(_log_loop_error)
        current_default_thread_limiter().total_tokens = _THREADS
        self.server_state.most_connections = _most_connections()
        await super().startup(sockets)
        for each in sockets or ():
            # asyncio takes one number for how many may wait in the system and for how many it accepts at once.
            each.listen(BACKLOG)
        self.is_ready.set_result(None)

    async def on_tick(self, counter: int) -> bool:
        """Do what is due ten times a second."""
        if counter % 10 == 0:
            self.server_state.look(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all connections: those that are busy within the grace time, the others at once."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _most_connections() -> int:
    """Return how many connections there may be, so that the process keeps some descriptors for itself."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    folder = Path("/dev/fd")
    used = sum(1 for _ in folder.iterdir()) if folder.is_dir() else _RESERVED_DESCRIPTORS
    return max(4, min(_MOST_CONNECTIONS, soft - used - _RESERVED_DESCRIPTORS))


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _NO_RESOURCES:
        # asyncio tries again after a second, and goes on once there are some.
        _logger.warning("hermes_cache.no_connection_accepted", extra={"hermes_cache.error": str(error)})
    else:
        extra = {"hermes_cache.message": context.get("message")}
        _logger.warning("hermes_cache.server_failed", extra=extra, exc_info=error or False)
