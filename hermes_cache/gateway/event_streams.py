"""Server-sent events: each open stream is a subscription of the cache, handed on as text.

A stream has the versions of its subscription as ids, so that a client that comes back is told what it missed.
It holds the thread that serves it, hence the bound. Source: rules E7 to E9, W1, W5.
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
        limit: Streams at once; past it a request is refused.
        heartbeat_s: Silence after which a stream sends a comment. A client that is gone is found so, too.
    """

    def __init__(self, cache: SessionListCache, *, limit: int, heartbeat_s: float) -> None:
        self.limit = limit
        self._cache = cache
        self._heartbeat_s = heartbeat_s
        self._lock = threading.Lock()
        self._open: set[Subscription] = set()
        self._places_taken = 0
        self._closed = False

    def answer(self, parameters: Mapping[str, Sequence[str]], last_seen: str | None) -> Response:
        """Open a stream.

        Args:
            parameters: `profile`: whose changes; absent for everybody's. `since`: a version.
            last_seen: The version that the client saw last, as its browser tells; it goes before `since`.

        Raises:
            ParameterError: A parameter is wrong.
        """
        query = Query(parameters, ("profile", "since"))
        since = last_seen or query.text("since")
        if since and len(since) > _MAX_VERSION_LENGTH:
            raise ParameterError("since", since[:20], f"a version, at most {_MAX_VERSION_LENGTH} signs")
        subscription = self._subscribe(query.profile(), since)
        if subscription is None:
            return _refusal(self.limit)
        response = Response(self._events(subscription), content_type="text/event-stream; charset=utf-8")
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"
        # Not in the generator: one that was never started has no `finally`.
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
            if self._closed or self._places_taken >= self.limit:
                return None
            self._places_taken += 1
        try:
            # Without the lock: what was missed may stand in a journal that is slow.
            subscription = self._cache.subscribe(profile, since=since)
        except BaseException:
            self._leave_place()
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
        self._leave_place()

    def _leave_place(self) -> None:
        with self._lock:
            self._places_taken -= 1

    def _events(self, subscription: Subscription) -> Iterator[bytes]:
        yield _hello(subscription.version)
        while not subscription.closed:
            change = subscription.get(self._heartbeat_s)
            yield _HEARTBEAT if change is None else _message(change)


def _hello(version: str) -> bytes:
    told = orjson.dumps({"version": version})
    return b"retry: %d\nid: %b\nevent: hello\ndata: %b\n\n" % (_RETRY_MS, _id(version), told)


def _message(change: Change) -> bytes:
    told: dict[str, str] = {"type": "sessions_changed", "version": change.version, "reason": change.reason}
    if change.profile is not None:
        told["profile"] = change.profile
    if change.session_id is not None:
        told["session_id"] = change.session_id
    return b"id: %b\nevent: sessions_changed\ndata: %b\n\n" % (_id(change.version), orjson.dumps(told))


def _id(version: str) -> bytes:
    # A line break would end the field, and what follows it would be another.
    return "".join(version.split()).encode()


def _refusal(limit: int) -> Response:
    response = error_answer(
        HTTPStatus.SERVICE_UNAVAILABLE, f"{limit} event streams are open, the bound; close one, or poll the list"
    )
    response.headers["Retry-After"] = "5"
    return response
