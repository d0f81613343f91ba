"""Lists over HTTP: bodies with their ETags, compressed once, and headers that say how fresh they are.

A poll that finds nothing new is answered on the event loop: no thread, no body. Source: rules O6, D4, W1, W7, X8.
"""

import time
from http import HTTPStatus
from typing import Final, Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hermes_cache.cache.lookups import Lookup, Patch, Rendered
from hermes_cache.errors import BuildError, SourceError
from hermes_cache.gateway.answers import error_answer
from hermes_cache.gateway.negotiation import PATCH_TYPE, accepted_encodings, edition_of, has_tag, tag_of
from hermes_cache.gateway.texts import one_line
from hermes_cache.logs import QuietLogger
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.session_list_cache import SessionListCache

_logger: Final = QuietLogger(__name__)

_MOST_NOTED: Final = 1_000
_SMALLEST_COMPRESSED_BYTES: Final = 1_024
"""A smaller body fits into one packet anyway."""

LIST_PARAMETERS: Final = ("since",)
"""What a list is asked by, beside the fields of a view."""

_PART_BYTES: Final = 256 * 1024
"""So much of a body is handed to the connection at once: what a client does not read is not copied for it."""


class SessionLists:
    """Answers requests for a list from a cache.

    Args:
        read_timeout_s: How long a request waits for its list before it is answered with an error.
    """

    def __init__(self, cache: SessionListCache, *, read_timeout_s: float) -> None:
        self._cache = cache
        self._read_timeout_s = read_timeout_s
        self._outdated: set[SessionListKey] = set()

    async def answer(self, key: SessionListKey, request: Request, since: str | None = None) -> Response:
        """Return the list of a key, or what changed in it, or 304 if the client has it already.

        If no build succeeds, the answer is the last good list, marked as outdated. A request that waits for a
        build takes no thread.

        Args:
            key: The list.
            request: Says what the client has and can read.
            since: The edition that the client has, if it wants a patch from it; it may be a tag.

        Raises:
            HermesCacheError: There is no list.
        """
        edition = None if since is None else edition_of(since)
        try:
            found, looked = await self._read(key, edition, "default")
        except (BuildError, SourceError) as error:
            if self._cache.peek(key) is None:
                raise
            found, looked = await self._read(key, edition, "any")
            self._note_outdated(key, looked)
            return await _answer(found, request, _headers(looked, "outdated", error))
        self._outdated.discard(key)
        return await _answer(found, request, _headers(looked, looked.outcome, looked.error))

    async def _read(
        self, key: SessionListKey, edition: str | None, freshness: Literal["default", "any"]
    ) -> tuple[Patch | Rendered, Lookup]:
        timeout_s = self._read_timeout_s
        if edition is None:
            rendered = await self._cache.arender(key, timeout=timeout_s, freshness=freshness)
            return rendered, rendered.lookup
        found = await self._cache.apatch(key, since=edition, timeout=timeout_s, freshness=freshness)
        if found.lookup is None:
            raise RuntimeError("a cache returned a patch without the read behind it")
        return found, found.lookup

    def _note_outdated(self, key: SessionListKey, found: Lookup) -> None:
        """Log that a list is served though an event outdated it; once, until it is served as it should be."""
        if key in self._outdated:
            return
        if len(self._outdated) >= _MOST_NOTED:
            self._outdated.clear()
        self._outdated.add(key)
        extra = {"hermes_cache.key": str(key), "hermes_cache.age_s": round(found.age_s, 1)}
        _logger.warning("hermes_cache.served_outdated", extra=extra)


class BodyResponse(Response):
    """An answer whose body is sent in parts, each once the client has taken most of those before."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        if len(self.body) <= _PART_BYTES:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        whole = memoryview(self.body)
        for start in range(0, len(whole), _PART_BYTES):
            end = start + _PART_BYTES
            part = {"type": "http.response.body", "body": whole[start:end], "more_body": end < len(whole)}
            await send(part)


async def _answer(found: Patch | Rendered, request: Request, headers: dict[str, str]) -> Response:
    encodings = accepted_encodings(_listed(request, "Accept-Encoding"))
    if not encodings:
        return error_answer(HTTPStatus.NOT_ACCEPTABLE, "a list comes as gzip or identity; accept one of them")
    is_small = len(found.body) < _SMALLEST_COMPRESSED_BYTES
    encoding = "identity" if is_small and "identity" in encodings else encodings[0]
    headers["X-Hermes-Cache-Edition"] = found.edition
    if isinstance(found, Patch):
        kind, is_known = PATCH_TYPE, found.since == found.edition
    else:
        headers["ETag"] = tag = tag_of(found.etag, encoding)
        kind, is_known = "application/json", has_tag(_listed(request, "If-None-Match"), tag)
    if is_known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if encoding == "identity" or found.source is None:
        return BodyResponse(found.body, headers=headers, media_type=kind)
    packed = found.source.made(encoding)
    if packed is None:
        packed = await run_in_threadpool(found.source.encoded, encoding)
    headers["Content-Encoding"] = encoding
    return BodyResponse(packed, headers=headers, media_type=kind)


def _listed(request: Request, name: str) -> str | None:
    # A list may come in several lines.
    return ", ".join(request.headers.getlist(name)) if name in request.headers else None


def _headers(found: Lookup, outcome: str, error: object) -> dict[str, str]:
    headers = {
        "Vary": "Accept-Encoding",
        "Cache-Control": "no-cache",
        "X-Hermes-Cache": outcome,
        "Age": str(int(found.age_s)),
        "Server-Time": f"{time.time():.3f}",
        "Server-Timezone": time.strftime("%z"),
    }
    if found.reason:
        headers["X-Hermes-Cache-Reason"] = one_line(str(found.reason))
    if error:
        headers["X-Hermes-Cache-Error"] = one_line(str(error))
    return headers
