"""Lists over HTTP: rendered bodies with their tags, and headers that say how fresh they are."""

import time
from http import HTTPStatus
from typing import Final

from flask import Request, Response

from hermes_cache.cache.lookups import Lookup, Rendered
from hermes_cache.errors import BuildError, SourceError
from hermes_cache.gateway.answers import one_line
from hermes_cache.gateway.compressed_bodies import CompressedBodies
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.session_list_cache import SessionListCache

_SMALLEST_COMPRESSED_BYTES: Final = 1_024
"""Below one packet nothing is won."""


class SessionLists:
    """Answers requests for a list from a cache.

    Args:
        read_timeout_s: How long a request waits before it is told that the list takes longer.
    """

    def __init__(self, cache: SessionListCache, *, read_timeout_s: float) -> None:
        self._cache = cache
        self._read_timeout_s = read_timeout_s
        self._compressed = CompressedBodies()

    def answer(self, key: SessionListKey, request: Request) -> Response:
        """Return the list of a key, or 304 where the request has it.

        Where no build succeeds, the last good list is given, marked as outdated.

        Raises:
            HermesCacheError: There is no list to give.

        Source: rules O6, W1, X8.
        """
        try:
            rendered = self._cache.render(key, timeout=self._read_timeout_s)
        except (BuildError, SourceError) as error:
            if self._cache.peek(key) is None:
                raise
            rendered = self._cache.render(key, timeout=self._read_timeout_s, freshness="any")
            return self._list(key, rendered, request, outcome="outdated", error=error)
        found = rendered.lookup
        return self._list(key, rendered, request, outcome=found.outcome, error=found.error)

    def _list(
        self, key: SessionListKey, rendered: Rendered, request: Request, *, outcome: str, error: object
    ) -> Response:
        tag = rendered.etag
        response = Response(content_type="application/json")
        response.set_etag(tag)
        response.vary.add("Accept-Encoding")
        response.headers["Cache-Control"] = "no-cache"
        _tell(response, rendered.lookup, outcome, error)
        if request.if_none_match.contains_weak(tag):
            response.status_code = HTTPStatus.NOT_MODIFIED
            return response
        if len(rendered.body) < _SMALLEST_COMPRESSED_BYTES or not request.accept_encodings.quality("gzip"):
            response.set_data(rendered.body)
            return response
        response.set_data(self._compressed.get((key, tag), rendered.body))
        response.set_etag(tag, weak=True)
        response.headers["Content-Encoding"] = "gzip"
        return response


def _tell(response: Response, found: Lookup, outcome: str, error: object) -> None:
    headers = response.headers
    headers["X-Hermes-Cache"] = outcome
    if found.reason:
        headers["X-Hermes-Cache-Reason"] = one_line(str(found.reason))
    if error:
        headers["X-Hermes-Cache-Error"] = one_line(str(error))
    headers["Age"] = str(int(found.age_s))
    headers["Server-Time"] = f"{time.time():.3f}"
    headers["Server-Timezone"] = time.strftime("%z")
