"""What is logged of requests: those that are refused, and each of them if the operator asks for that.

Nothing that may hold a secret is in these records: no query, no header, no value of a parameter.
Source: rules W1, W6.
"""

import re
import time
from http import HTTPStatus
from typing import Final

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hermes_cache.gateway.request_facts import as_routed
from hermes_cache.logs import QuietLogger

_logger: Final = QuietLogger(__name__)

_SIGNS_OF_LIFE: Final = frozenset({"/api/health", "/api/ready"})
"""With these a status of 503 is an answer, and balancers ask every few seconds."""

_NO_REFUSAL: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR})
"""Browsers ask for what does not exist; and a request that fails has a record of its own."""

_OF_SECRETS: Final = frozenset({b"authorization", b"cookie"})
"""Headers that no reason quotes."""

_LONGEST_PATH: Final = 200


_LEFT_OUT: Final = "its reason quotes the token, so it is left out"


def path_for_log(scope: Scope, token: str | None) -> str:
    """Return the path of a request, without the token and then cut: half a token is a secret too."""
    path: str = scope["path"]
    if token:
        path = re.sub(re.escape(token), "<token>", path, flags=re.IGNORECASE)
    return path[:_LONGEST_PATH]


def log_refusal(status: int, reason: str, *, peer: str, method: str = "", path: str = "") -> None:
    """Log that a request was refused."""
    request = {"method": method, "path": path} if method else {}
    fields = {"status": status, "reason": reason, "peer": peer, **request}
    _logger.warning("hermes_cache.request_refused", extra=_prefixed(fields))


class RequestLog:
    """Logs what becomes of requests.

    Args:
        app: The application behind it.
        token: What must not be logged, also if somebody puts it into a path or a host name.
        root_path: The prefix of paths at a proxy.
        logs_all: Whether each request is logged, not only refusals.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, root_path: str, logs_all: bool) -> None:
        self._app = app
        self._root_path = root_path
        self._token = token
        self._logs_all = logs_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status, size_bytes = time.monotonic(), 0, 0

        async def send_counted(message: Message) -> None:
            nonlocal status, size_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                body = message.get("body", b"")
                if status >= HTTPStatus.BAD_REQUEST and not size_bytes:
                    self._log_refusal(scope, status, body)
                size_bytes += len(body)
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            if self._logs_all:
                took_ms = round((time.monotonic() - began_s) * 1_000, 1)
                fields = {"status": status, "took_ms": took_ms, "size_bytes": size_bytes, **self._facts(scope)}
                _logger.info("hermes_cache.request", extra=_prefixed(fields))

    def _log_refusal(self, scope: Scope, status: int, body: bytes) -> None:
        if status not in _NO_REFUSAL and as_routed(scope, self._root_path)["path"] not in _SIGNS_OF_LIFE:
            log_refusal(status, _LEFT_OUT if self._quotes_token(scope) else _reason(body), **self._facts(scope))

    def _quotes_token(self, scope: Scope) -> bool:
        """Return whether a reason may have the token, whole or cut: reasons quote what a request says."""
        if not self._token:
            return False
        headers = [value.decode("latin-1") for name, value in scope["headers"] if name not in _OF_SECRETS]
        return self._token.lower() in "\n".join((scope["method"], scope["path"], *headers)).lower()

    def _facts(self, scope: Scope) -> dict[str, str]:
        path = path_for_log(scope, self._token)
        return {"method": scope["method"], "path": path, "peer": peer_of(scope["client"])}


def peer_of(client: tuple[str, int] | None) -> str:
    """Return the address of a peer for a record."""
    return client[0] if client else "unknown"


def _reason(body: bytes) -> str:
    """Return why a request was refused. If a parameter was wrong: its name, as its value may be a secret."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        return "the form for the token" if body else ""
    return f"parameter {answer['field']}" if "field" in answer else str(answer.get("error", ""))


def _prefixed(fields: dict[str, object]) -> dict[str, object]:
    return {f"hermes_cache.{name}": value for name, value in fields.items()}
