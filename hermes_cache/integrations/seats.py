"""The seats of event streams: a stream has no end of its own, so the number of those that are open is bounded.

A framework may throw an answer away unsent, for example if a hook of the application raises. So a stream that
nobody holds any more gives its seat back, too.
Source: rules W1, W5, W6.
"""

import threading
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol, TypeAlias, TypeVar

from hermes_cache.errors import shown
from hermes_cache.integrations.answers import Answer, error_answer
from hermes_cache.threads.aside import aside
from hermes_cache.threads.loops import aside_on_loop

MAX_STREAMS: Final = 200
HEARTBEAT_S: Final = 15.0

_RETRY_IN_S: Final = 5.0


class Source(Protocol):
    """What a stream is made of: a subscription, or a followed view."""

    @property
    def closed(self) -> bool:
        """Whether it ended."""

    def close(self) -> None:
        """End it; any thread may call this, and more than once."""

    def __hash__(self) -> int: ...


S = TypeVar("S", bound=Source)


def checked_heartbeat_s(heartbeat_s: float) -> float:
    """Return after how many seconds a stream gives a sign of life.

    Raises:
        ValueError: It is no span: a stream would give nothing but signs of life, as fast as it can.
    """
    if not isinstance(heartbeat_s, int | float) or not heartbeat_s > 0:
        raise ValueError(f"heartbeat_s is {shown(heartbeat_s)}; it must be a number of seconds above 0")
    return heartbeat_s


_Finalizer: TypeAlias = "weakref.finalize[..., object]"


class Seats:
    """The event streams that are open now. Any thread may use it.

    Args:
        limit: The most streams at once.

    Raises:
        ValueError: It is no number of streams.
    """

    def __init__(self, limit: int) -> None:
        if not isinstance(limit, int) or limit < 0:
            raise ValueError(f"limit is {shown(limit)}; it must be a whole number of streams, 0 for none")
        self.limit = limit
        self._lock = threading.Lock()
        self._open: dict[Source, _Finalizer | None] = {}
        self._taken = 0
        self._closed = False

    def give(self, opened: Callable[[], S]) -> S | Answer:
        """Open a stream if there is a seat for it.

        Args:
            opened: Opens the source; called once there is a seat.

        Returns:
            The source, to be returned by `drop`; or the refusal, if there is no seat.

        Raises:
            HermesCacheError: The source cannot be opened.
        """
        if not self._take():
            return self._refusal()
        try:
            source = opened()
        except BaseException:
            self._free()
            raise
        if self._is_late(source):
            source.close()
        return source

    async def agive(self, opened: Callable[[], Awaitable[S]]) -> S | Answer:
        """Do what `give` does with a source that is opened on an event loop."""
        if not self._take():
            return self._refusal()
        try:
            source = await opened()
        except BaseException:
            self._free()
            raise
        if self._is_late(source):
            await aside_on_loop(source.close)
        return source

    def drop_with(self, stream: object, source: Source) -> None:
        """Drop a source once nobody holds its stream any more, if it is not dropped before."""
        # A finalizer may strike a thread that holds the lock, and must wait for nothing.
        finalizer = weakref.finalize(stream, aside.begin, partial(self.drop, source))
        finalizer.atexit = False
        with self._lock:
            self._open[source] = finalizer

    def drop(self, source: Source) -> None:
        """Close a source; its seat is free. Dropping it twice is no error."""
        source.close()
        with self._lock:
            if source not in self._open:
                return
            finalizer = self._open.pop(source)
        if finalizer is not None:
            finalizer.detach()
        self._free()

    def close(self) -> None:
        """End all streams, and let no new one in."""
        with self._lock:
            self._closed = True
            ending = list(self._open)
        for source in ending:
            source.close()

    def _is_late(self, source: Source) -> bool:
        """Note a source; say whether all streams were ended meanwhile."""
        with self._lock:
            self._open[source] = None
            return self._closed

    def _refusal(self) -> Answer:
        many = f"{self.limit} event streams are open, and no more are allowed; close one, or poll the list"
        reason = "the gateway ends; connect again" if self._closed else many
        return error_answer(HTTPStatus.SERVICE_UNAVAILABLE, reason, retry_in_s=_RETRY_IN_S)

    def _take(self) -> bool:
        with self._lock:
            if self._closed or self._taken >= self.limit:
                return False
            self._taken += 1
            return True

    def _free(self) -> None:
        with self._lock:
            self._taken -= 1
