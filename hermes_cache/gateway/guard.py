"""The layer that every request passes first: its bounds, who is let in, and the headers of every answer.

It is an ASGI application around the others, so that it also sees their errors. Source: rules W5, W6.
"""

from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hermes_cache.gateway.access import PARAMETER, Access
from hermes_cache.gateway.answers import error_answer
from hermes_cache.gateway.view_query import ParameterError
from hermes_cache.logs import SparseLogger

_logger: Final = SparseLogger(__name__)

MAX_HEAD_BYTES: Final = 16 * 1024
"""The most bytes of the line and the headers of a request; browsers send about 1 KiB, with many cookies 8."""

_MAX_PARAMETERS: Final = 64
"""The views have 16 parameters; front ends add a few of their own."""

_SECURITY: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


def parameters_of(request: Request) -> dict[str, list[str]]:
    """Return the query parameters of a request, all values by name, without its token.

    Raises:
        ParameterError: There are too many.
    """
    query: bytes = request.scope["query_string"]
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise ParameterError("query", "too long", f"at most {_MAX_PARAMETERS} parameters") from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    values.pop(PARAMETER, None)
    return values


@lru_cache(maxsize=256)
def _spelled(name: bytes) -> bytes:
    # Scripts that look for `ETag:` in what curl prints go on to find it.
    return b"ETag" if name == b"etag" else name.title()


class Guard:
    """Refuses requests that are too large or not let in, and answers those whose endpoint failed.

    Args:
        app: The application behind it.
        access: Decides who is let in.
    """

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        cookie = self._access.cookie(request)
        added = _SECURITY if cookie is None else (*_SECURITY, (b"set-cookie", cookie.encode("latin-1")))
        has_begun = False

        async def send_secured(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = [(_spelled(name), value) for name, value in (*message["headers"], *added)]
            await send(message)

        try:
            await (self._refusal(request) or self._app)(scope, receive, send_secured)
        except Exception as error:
            # Also an error that the framework has no handler for. The connection ends if half an answer is out.
            extra = {"hermes_cache.path": request.url.path[:100]}
            _logger.failure("hermes_cache.request_failed", error, extra=extra)
            if has_begun:
                raise
            failed = error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the gateway failed; its log says why")
            await failed(scope, receive, send_secured)

    def _refusal(self, request: Request) -> ASGIApp | None:
        scope = request.scope
        head_bytes = len(scope["raw_path"]) + len(scope["query_string"])
        head_bytes += sum([len(name) + len(value) for name, value in scope["headers"]])
        if head_bytes > MAX_HEAD_BYTES:
            reason = f"the head of a request may have {MAX_HEAD_BYTES} bytes"
            return error_answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, reason)
        return self._access.refusal(request)
