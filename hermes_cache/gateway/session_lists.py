"""Lists over HTTP: bodies with their ETags, compressed once, and headers that say how fresh they are."""

import gzip
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from http import HTTPStatus
from typing import Final

from flask import Request, Response

from hermes_cache.cache.lookups import Lookup, Rendered
from hermes_cache.errors import BuildError, SourceError
from hermes_cache.gateway.answers import one_line
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.session_list_cache import SessionListCache

_SMALLEST_COMPRESSED_BYTES: Final = 1_024
"""A smaller body fits into one packet anyway."""

_GZIP_LEVEL: Final = 1
"""Level 6 takes three times as long for a list and saves a tenth more."""


class SessionLists:
    """Answers requests for a list from a cache.

    Args:
        read_timeout_s: How long a request waits for its list before it is answered with an error.
    """

    def __init__(self, cache: SessionListCache, *, read_timeout_s: float) -> None:
        self._cache = cache
        self._read_timeout_s = read_timeout_s
        self._compressed = CompressedBodies()

    def answer(self, key: SessionListKey, request: Request) -> Response:
        """Return the list of a key, or 304 if the client has it already.

        If no build succeeds, the answer is the last good list, marked as outdated.

        Raises:
            HermesCacheError: There is no list.

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
        _describe(response, rendered.lookup, outcome, error)
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


class CompressedBodies:
    """The last bodies in gzip form, so that a list is compressed once however many tabs poll it.

    Two threads that ask for the same new body both compress it: that is cheaper than to hold a lock meanwhile.

    Args:
        limit: The most bodies kept; the least recently used goes first.
    """

    def __init__(self, limit: int = 8) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._bodies: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, name: Hashable, body: bytes) -> bytes:
        """Return a body in gzip form.

        Args:
            name: Identifies the body; another body has another name.
            body: The body.
        """
        with self._lock:
            kept = self._bodies.get(name)
            if kept is not None:
                self._bodies.move_to_end(name)
                return kept
        packed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        with self._lock:
            self._bodies[name] = packed
            while len(self._bodies) > self._limit:
                self._bodies.popitem(last=False)
        return packed


def _describe(response: Response, found: Lookup, outcome: str, error: object) -> None:
    headers = response.headers
    headers["X-Hermes-Cache"] = outcome
    if found.reason:
        headers["X-Hermes-Cache-Reason"] = one_line(str(found.reason))
    if error:
        headers["X-Hermes-Cache-Error"] = one_line(str(error))
    headers["Age"] = str(int(found.age_s))
    headers["Server-Time"] = f"{time.time():.3f}"
    headers["Server-Timezone"] = time.strftime("%z")
