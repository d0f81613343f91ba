"""Followed views over HTTP: the view as it is, then a patch whenever it changed, as server-sent events.

The id of an event is the edition to which it leads, so that a client that comes back gets what changed meanwhile.
A client that reads slowly gets one patch for all that it missed. Source: rules D4, R13.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, assert_never

import orjson
from starlette.responses import Response

from hermes_cache.cache.following import Following, Interrupted
from hermes_cache.cache.lookups import Patch, Rendered
from hermes_cache.errors import CacheStoppedError
from hermes_cache.gateway.event_streams import EventStream, EventStreams
from hermes_cache.gateway.negotiation import edition_of
from hermes_cache.gateway.texts import utf8
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.session_list_cache import SessionListCache

_PART_BYTES: Final = 256 * 1024
"""So much of a body is handed to the connection at once: what a client does not read is not copied for it."""


class FollowedViews:
    """Answers requests that follow a view.

    Args:
        cache: Has the views.
        streams: Has the seats.
    """

    def __init__(self, cache: SessionListCache, streams: EventStreams) -> None:
        self._cache = cache
        self._streams = streams

    async def answer(self, key: SessionListKey, since: str | None) -> Response:
        """Follow a view.

        Args:
            key: The view.
            since: The edition that the client has: the id of the last event that it saw, or a tag.

        Raises:
            CacheBusyError: As many views are followed as may be.
        """
        edition = None if since is None else edition_of(since)
        return await self._streams.seat(partial(self._follow, key, edition), _News)

    async def _follow(self, key: SessionListKey, edition: str | None) -> Following:
        return self._cache.follow(key, since=edition)


class _News(EventStream[Following]):
    """What is new of a followed view."""

    async def next(self, timeout_s: float) -> Sequence[bytes | memoryview] | None:
        try:
            news = await self.source.aget(timeout_s)
        except CacheStoppedError:
            self.source.close()
            return None
        match news:
            case None:
                return None
            case Rendered():
                return _event(b"view", news.edition, news.body)
            case Patch():
                return _event(b"patch", news.edition, news.body)
            case Interrupted():
                fields = {"error": utf8(str(news.error)), "since_s": news.since_s, "retry_in_s": news.retry_in_s}
                return (b"event: interrupted\ndata: %b\n\n" % orjson.dumps(fields),)
            case _:
                assert_never(news)


def _event(kind: bytes, edition: str, body: bytes) -> list[bytes | memoryview]:
    head = b"id: %b\nevent: %b\ndata: " % (edition.encode(), kind)
    if len(body) <= _PART_BYTES:
        return [b"%b%b\n\n" % (head, body)]
    whole = memoryview(body)
    return [head, *[whole[at : at + _PART_BYTES] for at in range(0, len(whole), _PART_BYTES)], b"\n\n"]
