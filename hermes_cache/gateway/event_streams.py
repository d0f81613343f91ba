"""Server-sent events: each open stream is a subscription of the cache, sent as text.

The ids of its events are the versions of the subscription, so that a client that comes back gets what it missed.
Each stream occupies the thread that serves it, so their number is bounded. Source: rules E7 to E9, W1, W5.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import orjson
from flask import Response

from hermes_cache.bus.changes import Change
from hermes_cache.bus.subscription import Subscription
from hermes_cache.gateway.answers import error_answer
from hermes_cache.gateway.view_query import ParameterError, Query
from hermes_cache.sessions.session_list_cache import SessionListCache

_RETRY_MS: Final = 2_000
"""How long a browser waits before it connects again."""

_HEARTBEAT: Final = b": alive\n\n"
_MAX_VERSION_LENGTH: Final = 200


class EventStreams:
    """The event streams that are open now.

    Args:
        limit: The most streams at once; further requests are refused.
        heartbeat_s: After so long without an event a stream sends a comment, which also finds clients that are
            gone.
    """

    def __init__(self, cache: SessionListCache, *, limit: int, heartbeat_s: float) -> None:
        self.limit = limit
        self._cache = cache
        self._heartbeat_s = heartbeat_s
        self._lock = threading.Lock()
        self._open: set[Subscription] = set()
        self._open_count = 0
        self._closed = False

    def answer(self, parameters: Mapping[str, Sequence[str]], last_seen: str | None) -> Response:
        """Open a stream.

        Args:
            parameters: `profile`: the profile whose changes are sent; all if absent. `since`: a version.
            last_seen: The last version that the client saw, as its browser says; it counts before `since`.

        Raises:
            ParameterError: A parameter is wrong.
        """
        query = Query(parameters, ("profile", "since"))
        since = last_seen or query.text("since")
        if since and len(since) > _MAX_VERSION_LENGTH:
            raise ParameterError("since", since[:20], f"a version, at most {_MAX_VERSION_LENGTH} characters")
        subscription = self._subscribe(query.profile(), since)
        if subscription is None:
            return _refusal(self.limit)
        response = Response(self._events(subscription), content_type="text/event-stream; charset=utf-8")
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"
        # Not in the generator, because the `finally` of a generator that never started does not run.
        response.call_on_close(lambda: self._drop(subscription))
        return response

    def close(self) -> None:
        """End all streams, and let no new one in."""
        with self._lock:
            self._closed = True
            ending = list(self._open)
        for subscription in ending:
            subscription.close()

    def _subscribe(self, profile: str | None, since: str | None) -> Subscription | None:
        with self._lock:
            if self._closed or self._open_count >= self.limit:
                return None
            self._open_count += 1
        try:
            # Without the lock, because missed events may have to be read from a slow journal.
            subscription = self._cache.subscribe(profile, since=since)
        except BaseException:
            self._count_down()
            raise
        with self._lock:
            self._open.add(subscription)
            is_late = self._closed
        if is_late:
            subscription.close()
        return subscription

    def _drop(self, subscription: Subscription) -> None:
        subscription.close()
        with self._lock:
            self._open.discard(subscription)
        self._count_down()

    def _count_down(self) -> None:
        with self._lock:
            self._open_count -= 1

    def _events(self, subscription: Subscription) -> Iterator[bytes]:
        hello = orjson.dumps({"version": subscription.version})
        yield b"retry: %d\nid: %b\nevent: hello\ndata: %b\n\n" % (_RETRY_MS, _id(subscription.version), hello)
        while not subscription.closed:
            change = subscription.get(self._heartbeat_s)
            yield _HEARTBEAT if change is None else _message(change)


def _message(change: Change) -> bytes:
    fields: dict[str, str] = {"type": "sessions_changed", "version": change.version, "reason": change.reason}
    if change.profile is not None:
        fields["profile"] = change.profile
    if change.session_id is not None:
        fields["session_id"] = change.session_id
    return b"id: %b\nevent: sessions_changed\ndata: %b\n\n" % (_id(change.version), orjson.dumps(fields))


def _id(version: str) -> bytes:
    # A line break would end the field and begin another one.
    return "".join(version.split()).encode()


def _refusal(limit: int) -> Response:
    response = error_answer(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"{limit} event streams are open, and no more are allowed; close one, or poll the list",
    )
    response.headers["Retry-After"] = "5"
    return response
