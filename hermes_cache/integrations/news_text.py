"""How a followed view is sent: as the text of its events, or compressed for a client that reads gzip.

A body is compressed once for all that follow its view. One object belongs to one stream. No I/O.
Source: rules D4, W4.
"""

from collections.abc import Mapping, Sequence

from hermes_cache.cache.following import Interrupted, News
from hermes_cache.integrations.negotiation import accepted_encodings
from hermes_cache.integrations.server_sent_events import (
    EVENT_END,
    HEADERS,
    HEARTBEAT,
    PART_BYTES,
    RETRY,
    interrupted_event,
    news_event,
    news_head,
    parts_of,
)
from hermes_cache.rendering.bodies import Body, GzipStream


class NewsText:
    """The text of a stream, from its first lines to its end."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer."""
        return HEADERS

    def head(self) -> bytes:
        """Return the first lines."""
        return RETRY

    def heartbeat(self) -> bytes:
        """Return what is sent if nothing came in time."""
        return HEARTBEAT

    def is_quick(self, _news: News) -> bool:
        """Return whether `event` takes less than a millisecond."""
        return True

    def event(self, news: News) -> Sequence[bytes | memoryview]:
        """Return an event in parts that are sent one after the other."""
        return news_event(news)

    def end(self) -> bytes:
        """Return the last bytes."""
        return b""


class GzipNewsText(NewsText):
    """The same, compressed."""

    def __init__(self) -> None:
        self._stream = GzipStream()

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer."""
        return {**super().headers, "Content-Encoding": "gzip"}

    def head(self) -> bytes:
        """Return the first lines."""
        return self._stream.begin() + self._stream.text(super().head())

    def heartbeat(self) -> bytes:
        """Return what is sent if nothing came in time."""
        return self._stream.text(super().heartbeat())

    def is_quick(self, news: News) -> bool:
        """Return whether the body was compressed already, and is so small that its checksum is quick, too."""
        if isinstance(news, Interrupted):
            return True
        return news.source is not None and news.source.is_opened() and len(news.body) <= PART_BYTES

    def event(self, news: News) -> Sequence[bytes | memoryview]:
        """Return an event in parts that are sent one after the other."""
        if isinstance(news, Interrupted):
            return [self._stream.text(interrupted_event(news))]
        head = self._stream.text(news_head(news))
        blocks = self._stream.body(news.source or Body(news.body, news.edition))
        return parts_of(memoryview(b"".join([head, *blocks, self._stream.text(EVENT_END)])))

    def end(self) -> bytes:
        """Return the last bytes."""
        return self._stream.end()


def news_text(accept_encoding: str | None) -> NewsText:
    """Return the text for a client with this header `Accept-Encoding`; compressed if it likes that best."""
    liked = [each for each in accepted_encodings(accept_encoding) if each in ("gzip", "identity")]
    return GzipNewsText() if liked[:1] == ["gzip"] else NewsText()
