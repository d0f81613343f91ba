"""Which requests are let in: by the host name that a request uses, and by its token."""

from hmac import compare_digest
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from hermes_cache.gateway.answers import error_answer
from hermes_cache.gateway.settings import GatewaySettings

PARAMETER: Final = "token"
"""The query parameter that may show the token."""

_COOKIE: Final = "hermes_cache_token"
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_READING_METHODS: Final = frozenset({"GET", "HEAD"})


class Access:
    """Decides on each request before anything else sees it.

    A foreign page can make a browser send requests here under a foreign host name that points at this host (DNS
    rebinding). The list of allowed names stops that. Source: rule W5.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._names = _LOOPBACK_NAMES | {name.lower() for name in (settings.host, *settings.allowed_hosts)}
        self._token = settings.token

    def refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that is refused; None if it is let in."""
        name = _host_name(request.headers.get("Host", ""))
        if name not in self._names:
            reason = f"this gateway does not answer to the host name {name!r}; start it with --allow-host {name}"
            return error_answer(HTTPStatus.MISDIRECTED_REQUEST, reason)
        if request.method not in _READING_METHODS:
            reason = f"{request.method} is not allowed; this gateway only reads: use GET"
            refused = error_answer(HTTPStatus.METHOD_NOT_ALLOWED, reason)
            refused.headers["Allow"] = "GET, HEAD"
            return refused
        if not self._has_token(request):
            refused = error_answer(
                HTTPStatus.UNAUTHORIZED, "the token is missing or wrong; send 'Authorization: Bearer <token>'"
            )
            refused.headers["WWW-Authenticate"] = "Bearer"
            return refused
        return None

    def cookie(self, request: Request) -> str | None:
        """Return a cookie with the token for a browser whose address had it, so that later requests have it."""
        # Refusals pass here too. The cookie contains the token, so a wrong token must not get it.
        if not self._token or not self._is_token(request.query_params.get(PARAMETER)):
            return None
        carrier = Response()
        carrier.set_cookie(_COOKIE, self._token, httponly=True, samesite="strict")
        return carrier.headers["Set-Cookie"]

    def _has_token(self, request: Request) -> bool:
        if not self._token:
            return True
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        shown = (
            bearer.strip() if scheme.lower() == "bearer" else None,
            request.query_params.get(PARAMETER),
            request.cookies.get(_COOKIE),
        )
        return any(map(self._is_token, shown))

    def _is_token(self, shown: str | None) -> bool:
        return compare_digest((shown or "").encode(), self._token.encode()) if self._token else False


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
