"""Connections: how long and how much each may take of the server.

uvicorn and h11 read requests and send answers; the bounds that they lack are here. A connection that waits for its
client is closed at a deadline; the server looks at all of them once a second. Source: rule W6.
"""

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import h11
import orjson
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState as UvicornState

from hermes_cache.gateway.guard import MAX_HEAD_BYTES, SECURITY_HEADERS
from hermes_cache.gateway.request_log import log_refusal, peer_of
from hermes_cache.integrations.asgi_streams import IS_STREAM
from hermes_cache.logs import QuietLogger

_logger: Final = QuietLogger(__name__)

MAX_BODY_BYTES: Final = 64 * 1024
"""Of a request. The gateway's own need less than one KiB."""

_FAREWELL_S: Final = 2.0
_FAREWELL_BYTES: Final = 2**20
"""How long, and how much, is read of a client that was refused: if the connection ended at once, the system would
drop the refusal before the client has read it."""

_REASONS: Final = {
    HTTPStatus.REQUEST_TIMEOUT: "the request took too long from its first byte to its last",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"the body of a request may have {MAX_BODY_BYTES} bytes",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"the head of a request may have {MAX_HEAD_BYTES} bytes",
    HTTPStatus.SERVICE_UNAVAILABLE: "there are too many connections; come again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long a server waits for a client.

    Attributes:
        request_s: How long a request may take, from its first byte to its last.
        idle_s: Without a request. Longer than the front end's poll, so that its connections last.
        unread_s: Without the client's taking anything of an answer that is ready.
    """

    request_s: float = 10.0
    idle_s: float = 60.0
    unread_s: float = 30.0


class ServerState(UvicornState):
    """The connections of a server.

    Attributes:
        deadlines: Theirs.
        most_connections: Past so many, those that have waited longest for a request are closed.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        super().__init__()
        self.deadlines = deadlines
        self.most_connections = sys.maxsize

    def look(self, now_s: float) -> None:
        """Close the connections whose time is over. An error costs its own connection, not the server."""
        for connection in list(self.connections):
            if isinstance(connection, Connection):
                try:
                    connection.look(now_s)
                except Exception:
                    _logger.exception("hermes_cache.connection_failed")
                    connection.transport.abort()

    def make_room(self, newest: "Connection") -> None:
        """Close connections if there are too many: those without a request so far first, or else the newest."""
        if len(self.connections) <= self.most_connections:
            return
        alive = [each for each in self.connections if not each.transport.is_closing()]
        excess = len(alive) - self.most_connections
        if excess <= 0:
            return
        _logger.warning("hermes_cache.too_many_connections", extra={"hermes_cache.most": self.most_connections})
        others = [
            each for each in alive if isinstance(each, Connection) and each.is_waiting and each is not newest
        ]
        others.sort(key=lambda each: (each.cycle is not None, each.waits_since_s))
        # A few more than must be: a flood would have all connections sorted again for each newcomer.
        for each in others[: excess + self.most_connections // 64]:
            each.transport.abort()
        if len(others) < excess:
            newest.refuse(HTTPStatus.SERVICE_UNAVAILABLE)


class Connection(H11Protocol):
    """One connection."""

    server_state: ServerState

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.waits_since_s = self.loop.time()
        self._request_since_s: float | None = None
        self._request_bytes = 0
        self._ends_at_s: float | None = None
        self._late_bytes = 0
        self._unread_bytes = 0
        self._unread_since_s = 0.0
        self._sends_no_more = False

    @property
    def is_waiting(self) -> bool:
        """Whether it has no whole request, and its client has taken all answers."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        return not is_answering and not self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and make room if there are too many."""
        super().connection_made(transport)
        self.server_state.make_room(self)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._ends_at_s is not None:
            self._late_bytes += len(data)
            if self._late_bytes > _FAREWELL_BYTES:
                self.transport.abort()
            return
        self._request_bytes += len(data)
        super().data_received(data)
        self._bound_request()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Return whether to stay open for a client that sends no more, until its answer is ready.

        A stream that has begun ends, because most clients that send no more are gone.
        """
        self._sends_no_more = True
        if self._ends_at_s is not None or self.conn.their_state not in {h11.DONE, h11.MUST_CLOSE}:
            return False
        is_answering = self.cycle is not None and not self.cycle.response_complete
        return is_answering and not self.scope["state"].get(IS_STREAM)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, which may lie here already."""
        self.waits_since_s = self.loop.time()
        super().on_response_complete()
        self._bound_request()
        if self._sends_no_more and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def resume_writing(self) -> None:
        """Go on with an answer: its client took most of what was ready."""
        self._unread_bytes = 0
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature; h11 knows better what is wrong
        """Refuse a request that h11 could not read."""
        error = sys.exception()
        self.refuse(
            error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else HTTPStatus.BAD_REQUEST
        )

    def refuse(self, status_code: int) -> None:
        """Answer with an error, if no answer has begun, and end the connection."""
        if self._ends_at_s is not None or self.transport.is_closing():
            return
        self._ends_at_s = self.loop.time() + _FAREWELL_S
        self._request_since_s = None
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._send_refusal(HTTPStatus(status_code))
        if self.cycle is not None:
            # Its endpoint learns that nobody waits for its answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            # The client may have reset the connection, and the event loop has not seen it so far.
            with suppress(OSError):
                self.transport.write_eof()
        self.transport.resume_reading()

    def look(self, now_s: float) -> None:
        """Close it if its time is over."""
        deadlines = self.server_state.deadlines
        if self._ends_at_s is not None:
            if now_s >= self._ends_at_s:
                self.transport.abort()
        elif self._request_since_s is not None:
            if now_s - self._request_since_s >= deadlines.request_s:
                self.refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif self.is_waiting and now_s - self.waits_since_s >= deadlines.idle_s:
            self.transport.close()
        self._look_at_answer(now_s)

    def _look_at_answer(self, now_s: float) -> None:
        unread_bytes = self.transport.get_write_buffer_size()
        if not unread_bytes or not self._unread_bytes or unread_bytes < self._unread_bytes:
            self._unread_since_s = now_s
        elif now_s - self._unread_since_s >= self.server_state.deadlines.unread_s:
            self.transport.abort()
        self._unread_bytes = unread_bytes

    def _bound_request(self) -> None:
        """Note whether a request has begun that is not whole, and refuse it if it is too large."""
        if self._ends_at_s is not None:
            return
        if self.cycle is not None and len(self.cycle.body) > MAX_BODY_BYTES:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif self.conn.their_state is h11.SEND_BODY:
            self._request_since_s = self._request_since_s or self.loop.time()
            if max(self._request_bytes - MAX_HEAD_BYTES, self._declared_bytes()) > MAX_BODY_BYTES:
                self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._request_since_s = self._request_since_s or self.loop.time()
        else:
            self._request_since_s = None
            self._request_bytes = 0

    def _declared_bytes(self) -> int:
        return next((int(value) for name, value in self.headers if name == b"content-length"), 0)

    def _send_refusal(self, status: HTTPStatus) -> None:
        reason = _REASONS.get(status, "the server cannot read this as an HTTP request")
        log_refusal(status, reason, peer=peer_of(self.client))
        body = orjson.dumps({"error": reason})
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *SECURITY_HEADERS,
        ]
        events: list[h11.Event] = [
            h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
        ]
        if self.conn.our_state is h11.IDLE or self.scope["method"] != "HEAD":
            events.append(h11.Data(data=body))
        for event in (*events, h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
