"""Lists over HTTP: bodies with their ETags, compressed once, and headers that say how fresh they are.

A poll that finds nothing new is answered on the event loop: no thread, no body. Source: rules O6, D4, W1, W7, X8.
"""

import time
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from hermes_cache.cache.lookups import Patch, Rendered
from hermes_cache.errors import BuildError, SourceError, key_text
from hermes_cache.integrations.answers import answer_to, freshness_headers
from hermes_cache.integrations.asgi import asked_in
from hermes_cache.integrations.asgi_streams import response_of
from hermes_cache.integrations.reading import aread, awhole
from hermes_cache.logs import QuietLogger
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.session_list_cache import SessionListCache

_logger: Final = QuietLogger(__name__)

_MOST_NOTED: Final = 1_000


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
        try:
            found = await self._read(key, since, "default")
        except (BuildError, SourceError) as error:
            if self._cache.peek(key) is None:
                raise
            found = await self._read(key, since, "any")
            self._note_outdated(key, found)
            return await self._answered(found, request, freshness_headers(found, outcome="outdated", error=error))
        self._outdated.discard(key)
        return await self._answered(found, request, freshness_headers(found))

    async def _read(
        self, key: SessionListKey, since: str | None, freshness: Literal["default", "any"]
    ) -> Patch | Rendered:
        return await aread(self._cache, key, since, timeout=self._read_timeout_s, freshness=freshness)

    def _note_outdated(self, key: SessionListKey, found: Patch | Rendered) -> None:
        """Log that a list is served though an event outdated it; once, until it is served as it should be."""
        if key in self._outdated:
            return
        if len(self._outdated) >= _MOST_NOTED:
            self._outdated.clear()
        self._outdated.add(key)
        age_s = None if found.lookup is None else round(found.lookup.age_s, 1)
        extra = {"hermes_cache.key": key_text(key), "hermes_cache.age_s": age_s}
        _logger.warning("hermes_cache.served_outdated", extra=extra)

    async def _answered(self, found: Patch | Rendered, request: Request, headers: dict[str, str]) -> Response:
        headers["Server-Time"] = f"{time.time():.3f}"
        headers["Server-Timezone"] = time.strftime("%z")
        return response_of(await awhole(self._cache, answer_to(found, asked_in(request, None), headers)))
