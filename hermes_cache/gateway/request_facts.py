"""From a request as ASGI describes it to the facts that decide whether it is let in. No I/O."""

from re import IGNORECASE
from re import compile as pattern
from typing import Final

from starlette.types import Scope

from hermes_cache.gateway.access import Facts, cookie_name
from hermes_cache.gateway.origins import is_loopback

_FIELDS: Final = {
    b"origin": "origin",
    b"sec-fetch-site": "fetch_site",
    b"sec-fetch-mode": "fetch_mode",
    b"sec-fetch-dest": "fetch_dest",
    b"accept": "accept",
    b"authorization": "authorization",
}
_OF_PROXIES: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})
_ADDRESS: Final = pattern("https?://([^/]*)", IGNORECASE)
_NOWHERE: Final = ("", 0)


def as_routed(scope: Scope, root_path: str) -> Scope:
    """Return a request as the application behind sees it: with a path of its own.

    A target may be a whole address; then its host counts instead of the `Host` header. A proxy may leave the
    prefix by which it knows this gateway before the path, or take it away.

    Args:
        scope: The scope of a request, of the type `http`.
        root_path: The prefix; empty if there is none.

    Source: RFC 9112, section 3.2.2; rule W5.
    """
    path: str = scope["path"]
    if not path.startswith("/") and (found := _ADDRESS.match(path)):
        path = path[found.end() :] or "/"
        others = [header for header in scope["headers"] if header[0] != b"host"]
        scope = {**scope, "path": path, "headers": [(b"host", found[1].encode("latin-1", "replace")), *others]}
    if root_path and path.startswith(f"{root_path}/"):
        scope = {**scope, "path": path.removeprefix(root_path)}
    return scope


def facts_of(scope: Scope) -> Facts:
    """Return the facts of a request.

    Args:
        scope: The scope of a request, of the type `http`; its path is that below the prefix of a proxy.
    """
    address, port = scope.get("server") or _NOWHERE
    hosts: list[str] = []
    cookies: list[str] = []
    texts: dict[str, str] = {}
    is_forwarded = False
    for name, value in scope["headers"]:
        if name == b"host":
            hosts.append(value.decode("latin-1").strip())
        elif name == b"cookie":
            cookies += _values(value.decode("latin-1"), cookie_name(port))
        elif name in _OF_PROXIES:
            is_forwarded = True
        elif field := _FIELDS.get(name):
            text = value.decode("latin-1")
            texts[field] = f"{texts[field]}, {text}" if field in texts else text
    return Facts(
        method=scope["method"],
        path=scope["path"],
        scheme=scope["scheme"],
        address=address,
        port=port or 0,
        peer_is_local=not is_forwarded and is_loopback((scope.get("client") or _NOWHERE)[0]),
        hosts=tuple(hosts),
        cookies=tuple(cookies),
        **texts,
    )


def _values(header: str, wanted: str) -> list[str]:
    # A foreign page on another port can set a cookie of the same name, so all of them are looked at.
    pairs = (pair.partition("=") for pair in header.split(";"))
    return [value.strip() for name, _, value in pairs if name.strip() == wanted]
