"""Decides by the facts of one request whether it is let in. No I/O.

Three kinds of strangers are kept out:

- A page of another site makes the browser send requests here. The headers `Sec-Fetch-Site` and `Origin` say so.
- A page of another site has its own name point at this machine (DNS rebinding). The `Host` header has that name.
- A person or a program reaches this machine over the network. It does not have the token.

Source: rule W5; the Fetch Metadata draft of the W3C; RFC 6454 and RFC 9110.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from hermes_cache.gateway.origins import Origin, host_name, plain_name
from hermes_cache.gateway.settings import GatewaySettings
from hermes_cache.gateway.tokens import COOKIE_LIFE_S, cookie_for, is_cookie_for, is_same_token
from hermes_cache.integrations.texts import quoted

SIGN_IN_PATH: Final = "/sign-in"
"""Where a page trades the token for a cookie."""

ASSETS_PATH: Final = "/page/"
"""The parts of the page and of the form for the token. They are the same for everybody, so they need no token."""

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
READING_METHODS: Final = ("GET", "HEAD", "OPTIONS")
"""The methods that change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a request before it is let in.

    Attributes:
        path: The path below the prefix of a proxy.
        scheme: `http` or `https`, as the connection is.
        address: The address of this machine at which the connection arrived.
        port: The port at which it arrived.
        peer_is_local: Whether the other end is on this machine, and no proxy says that it speaks for another.
        hosts: All `Host` headers.
        origin: The `Origin` headers, joined by commas; None if there is none. Likewise the next five.
        cookies: The values of all cookies with the name that `cookie_name` returns.
    """

    method: str
    path: str
    scheme: str
    address: str
    port: int
    peer_is_local: bool
    hosts: tuple[str, ...]
    origin: str | None = None
    fetch_site: str | None = None
    fetch_mode: str | None = None
    fetch_dest: str | None = None
    accept: str | None = None
    authorization: str | None = None
    cookies: tuple[str, ...] = ()

    @property
    def is_reading(self) -> bool:
        """Whether the method changes nothing."""
        return self.method in READING_METHODS

    @property
    def wants_page(self) -> bool:
        """Whether a person will see the answer: a browser goes to an address."""
        if not self.is_reading:
            return False
        return self.is_navigation if self.fetch_mode is not None else "text/html" in (self.accept or "")

    @property
    def is_navigation(self) -> bool:
        """Whether the browser says that it goes to an address, in a window of its own."""
        return self.is_reading and self.fetch_mode == "navigate" and self.fetch_dest == "document"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that is not let in.

    Attributes:
        reason: A sentence that says what to do.
        offers_sign_in: Whether the answer is the form for the token. At `/` the form is no error, since Chromium
            writes each error into its console.
    """

    status: HTTPStatus
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)
    offers_sign_in: bool = False


def cookie_name(port: int) -> str:
    """Return the name of a gateway's cookie. All ports of a host share their cookies, so the name has the port."""
    return f"hermes_cache_{port}"


class Access:
    """Decides on each request before anything else sees it.

    Args:
        settings: The names and the token of the gateway.
        clock: Returns seconds since 1970.
        writes: The paths that take requests which write.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        clock: Callable[[], float] = time.time,
        *,
        writes: Collection[str] = (SIGN_IN_PATH,),
    ) -> None:
        self._token = settings.token
        self._root_path = settings.root_path
        self._clock = clock
        self._origins = frozenset(filter(None, map(Origin.parse, settings.origins)))
        given = map(plain_name, (settings.host, *settings.allowed_hosts))
        self._names = _LOOPBACK_NAMES | {*given, *(origin.host for origin in self._origins)}
        self._writes = writes

    @property
    def needs_token(self) -> bool:
        """Whether requests must show a token."""
        return self._token is not None

    def refusal(self, facts: Facts) -> Refusal | None:
        """Return why a request is refused; None if it is let in."""
        return (
            self._strange_host(facts)
            or _foreign_page(facts)
            or self._foreign_origin(facts)
            or self._unproved_write(facts)
            or self._missing_token(facts)
        )

    def knows(self, origin: Origin, facts: Facts) -> bool:
        """Return whether an origin is that of this gateway: scheme, host and port."""
        if origin in self._origins:
            return True
        here = (facts.scheme, facts.port)
        return (origin.scheme, origin.port) == here and self._is_name(origin.host, facts)

    def is_signed_in(self, facts: Facts) -> bool:
        """Return whether a request has the token or its cookie, or needs none."""
        if self._token is None:
            return True
        cookies = (is_cookie_for(self._token, each, self._clock()) for each in facts.cookies)
        return self._shows_token(facts) or any(cookies)

    def cookie(self, shown: str, facts: Facts) -> str | None:
        """Return the `Set-Cookie` header for a browser that showed the token; None if it showed another text."""
        if self._token is None or not is_same_token(self._token, shown):
            return None
        value = cookie_for(self._token, self._clock())
        return (
            f"{cookie_name(facts.port)}={value}; Max-Age={COOKIE_LIFE_S}; Path={self._root_path}/; HttpOnly; "
            "SameSite=Strict" + ("; Secure" if self.is_secure(facts) else "")
        )

    def is_secure(self, facts: Facts) -> bool:
        """Return whether the browser reaches this gateway by TLS, here or at a proxy."""
        origin = Origin.parse(facts.origin or "")
        if origin is not None:
            return origin.scheme == "https"
        name = host_name(facts.hosts[0])
        return facts.scheme == "https" or any(
            each.host == name and each.scheme == "https" for each in self._origins
        )

    def _is_name(self, name: str, facts: Facts) -> bool:
        # No foreign page can have a name that is the address of this machine.
        return name in self._names or name == plain_name(facts.address)

    def _strange_host(self, facts: Facts) -> Refusal | None:
        hosts = [host for host in facts.hosts if host]
        if len(hosts) != 1:
            return Refusal(HTTPStatus.BAD_REQUEST, f"a request has one Host header; this one has {len(hosts)}")
        name = host_name(hosts[0])
        if name is None:
            return Refusal(HTTPStatus.BAD_REQUEST, f"the Host header {quoted(hosts[0])} is not a name and a port")
        if self._is_name(name, facts):
            return None
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            "this gateway does not answer to the host name of this request; if it is yours, start the gateway "
            f"with --allow-host {quoted(name, marks='')}",
        )

    def _foreign_origin(self, facts: Facts) -> Refusal | None:
        if facts.origin is None or _is_file_of_own_page(facts):
            return None
        origin = Origin.parse(facts.origin)
        if origin is None:
            return Refusal(HTTPStatus.FORBIDDEN, f"no page of the origin {quoted(facts.origin)} is let in")
        if self.knows(origin, facts):
            return None
        return Refusal(
            HTTPStatus.FORBIDDEN,
            "this gateway is not known by the origin of this request; if a proxy or a tunnel of yours serves it "
            f"there, start it with --origin {quoted(str(origin), marks='')}",
        )

    def _unproved_write(self, facts: Facts) -> Refusal | None:
        if facts.is_reading:
            return None
        if facts.path not in self._writes:
            reason = f"{quoted(facts.method, marks='')} is not allowed here; use GET"
            return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, reason, {"Allow": ", ".join(READING_METHODS)})
        # A request that trades the token shows the token itself.
        if facts.origin is not None or facts.path == SIGN_IN_PATH or self._shows_token(facts):
            return None
        return Refusal(
            HTTPStatus.FORBIDDEN,
            "a request that writes needs the Origin header of this gateway, or 'Authorization: Bearer <token>'",
        )

    def _missing_token(self, facts: Facts) -> Refusal | None:
        if _is_open(facts):
            return None
        if self._token is None:
            if facts.peer_is_local:
                return None
            return Refusal(
                HTTPStatus.FORBIDDEN,
                "this gateway has no token, so it answers this machine alone; behind a proxy, start it with "
                "--origin and the address that browsers use",
            )
        if self.is_signed_in(facts):
            return None
        is_page = facts.path == "/" and facts.wants_page
        return Refusal(
            HTTPStatus.OK if is_page else HTTPStatus.UNAUTHORIZED,
            "the token is missing or wrong; send 'Authorization: Bearer <token>'",
            {} if is_page else {"WWW-Authenticate": "Bearer"},
            offers_sign_in=facts.wants_page,
        )

    def _shows_token(self, facts: Facts) -> bool:
        scheme, _, shown = (facts.authorization or "").partition(" ")
        return self._token is not None and scheme.lower() == "bearer" and is_same_token(self._token, shown.strip())


def _foreign_page(facts: Facts) -> Refusal | None:
    if facts.fetch_site in {None, "same-origin", "none"}:
        return None
    if facts.path == "/" and facts.is_navigation:
        return None
    return Refusal(HTTPStatus.FORBIDDEN, "a page of another site sent this request; open this gateway's own page")


def _is_file_of_own_page(facts: Facts) -> bool:
    # Browsers send `Origin` with modules. Behind a tunnel it has the port of the tunnel, and `Sec-Fetch-Site` says
    # that page and file come from the same origin.
    return _is_file(facts) and facts.fetch_site == "same-origin"


def _is_open(facts: Facts) -> bool:
    return facts.path == SIGN_IN_PATH or _is_file(facts)


def _is_file(facts: Facts) -> bool:
    return facts.is_reading and facts.path.startswith(ASSETS_PATH)
