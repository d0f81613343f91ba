"""The layer that every request passes first: its bounds, the check of access, and the headers of every answer.

It is an ASGI application around the others, so that it also sees their errors. Source: rules W5, W6.
"""

from functools import lru_cache
from http import HTTPStatus
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hermes_cache.gateway.access import Access
from hermes_cache.gateway.answers import error_answer, http_error_answer
from hermes_cache.gateway.request_facts import as_routed, facts_of
from hermes_cache.gateway.request_log import path_for_log
from hermes_cache.gateway.sign_in import SignIn
from hermes_cache.logs import QuietLogger

_logger: Final = QuietLogger(__name__)

MAX_HEAD_BYTES: Final = 16 * 1024
"""The most bytes of the line and the headers of a request; browsers send about 1 KiB, with many cookies 8."""

SECURITY_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    # With `no-referrer` a browser would send `Origin: null` with the form for the token.
    (b"referrer-policy", b"same-origin"),
)
"""Every answer has them, so that no page of another site shows it, takes it for a script, or reads it."""


@lru_cache(maxsize=256)
def _spelled(name: bytes) -> bytes:
    # Scripts that look for `ETag:` in what curl prints go on to find it.
    return b"ETag" if name == b"etag" else name.title()


class Guard:
    """Refuses requests that are too large or not let in, and answers those whose endpoint failed.

    Args:
        app: The application behind it.
        access: Decides who is let in.
        sign_in: Offers the form for the token.
        root_path: The prefix of paths at a proxy.
        token: What must not be logged.
    """

    def __init__(
        self, app: ASGIApp, *, access: Access, sign_in: SignIn, root_path: str, token: str | None
    ) -> None:
        self._app = app
        self._access = access
        self._sign_in = sign_in
        self._root_path = root_path
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = as_routed(scope, self._root_path)
        has_begun = False

        async def send_secured(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = (*message["headers"], *SECURITY_HEADERS)
                message["headers"] = [(_spelled(name), value) for name, value in headers]
            await send(message)

        try:
            await (self._refusal(scope) or self._app)(scope, receive, send_secured)
        except ClientDisconnect:
            # Nobody waits for the answer any more.
            return
        except Exception:
            # Also an error that the framework has no handler for. The connection ends if half an answer is out.
            extra = {"hermes_cache.path": path_for_log(scope, self._token)}
            _logger.exception("hermes_cache.request_failed", extra=extra)
            if has_begun:
                raise
            failed = error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the gateway failed; its log says why")
            await failed(scope, receive, send_secured)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        head_bytes = len(scope["raw_path"]) + len(scope["query_string"])
        head_bytes += sum([len(name) + len(value) for name, value in scope["headers"]])
        if head_bytes > MAX_HEAD_BYTES:
            reason = f"the head of a request may have {MAX_HEAD_BYTES} bytes"
            return error_answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, reason)
        if self._root_path and scope["path"] == self._root_path:
            # The addresses in the page are relative to a path that ends in a slash.
            query = scope["query_string"].decode("latin-1")
            url = f"{self._root_path}/?{query}" if query else f"{self._root_path}/"
            return RedirectResponse(url, HTTPStatus.PERMANENT_REDIRECT)
        if scope["path"].startswith("//"):
            # Relative to this gateway's origin, it would be the address of another host.
            return http_error_answer(HTTPStatus.NOT_FOUND, scope["path"])
        facts = facts_of(scope)
        refused = self._access.refusal(facts)
        if refused is None:
            return None
        if refused.offers_sign_in:
            answer = self._sign_in.form(facts.path, refused.status)
        else:
            answer = error_answer(refused.status, refused.reason)
        answer.headers.update(refused.headers)
        return answer
