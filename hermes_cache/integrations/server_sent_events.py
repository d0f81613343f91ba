"""What event streams say, as bytes: the changes of a subscription, and the news of a followed view. No I/O.

The id of an event is a version, or the edition to which it leads, so that a client that comes back gets what it
missed. Source: rules E7 to E9, R13, D4, W1, W4; the HTML standard, section 9.2.
"""

from typing import Final

import orjson

from hermes_cache.bus.changes import Change
from hermes_cache.cache.following import Interrupted, News
from hermes_cache.cache.lookups import Patch, Rendered
from hermes_cache.errors import SourceError
from hermes_cache.integrations.texts import utf8
from hermes_cache.integrations.view_query import ParameterError

HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "Vary": "Accept-Encoding",
    "X-Accel-Buffering": "no",
}
"""Of the answer; the last one is for a proxy (nginx) that would keep events back."""

HEARTBEAT: Final = b": alive\n\n"
"""Sent after a time without an event: proxies keep the connection open, and a client that is gone is noticed."""

_RETRY_MS: Final = 2_000
"""How long a browser waits before it connects again."""

RETRY: Final = b"retry: %d\n\n" % _RETRY_MS
"""The first lines of a followed view."""

EVENT_END: Final = b"\n\n"

PART_BYTES: Final = 256 * 1024
"""So much of a body is handed to the connection at once: what a client does not read is not copied for it."""

_MAX_VERSION_LENGTH: Final = 200


def checked_version(since: str | None) -> str | None:
    """Return the version with which a client comes back; None if it has none.

    Raises:
        ParameterError: It is too long.
    """
    if since and len(since) > _MAX_VERSION_LENGTH:
        raise ParameterError("since", since[:20], f"a version, at most {_MAX_VERSION_LENGTH} characters")
    return since or None


def hello(version: str) -> bytes:
    """Return the first event of a stream of changes: the version that the client has from now on."""
    data = orjson.dumps({"version": version})
    return b"retry: %d\nid: %b\nevent: hello\ndata: %b\n\n" % (_RETRY_MS, _id(version), data)


def change_event(change: Change) -> bytes:
    """Return a change as an event."""
    fields: dict[str, str] = {"type": "sessions_changed", "version": change.version, "reason": change.reason}
    if change.profile is not None:
        fields["profile"] = change.profile
    if change.session_id is not None:
        fields["session_id"] = change.session_id
    return b"id: %b\nevent: sessions_changed\ndata: %b\n\n" % (_id(change.version), orjson.dumps(fields))


def news_event(news: News) -> list[bytes | memoryview]:
    """Return what is new of a followed view as an event, in parts that are sent one after the other."""
    if isinstance(news, Interrupted):
        return [interrupted_event(news)]
    head, body = news_head(news), news.body
    if len(body) <= PART_BYTES:
        return [b"%b%b%b" % (head, body, EVENT_END)]
    return [head, *parts_of(memoryview(body)), EVENT_END]


def news_head(news: Rendered | Patch) -> bytes:
    """Return the lines of an event up to its body; behind the body comes `EVENT_END`."""
    kind = b"view" if isinstance(news, Rendered) else b"patch"
    return b"id: %b\nevent: %b\ndata: " % (news.edition.encode(), kind)


def interrupted_event(news: Interrupted) -> bytes:
    """Return the event that says why a followed view is not kept current."""
    cause = news.error.__cause__
    fields = {
        "error": utf8(str(news.error)),
        # What a source says is meant for people; the error around it names the whole view.
        "reason": utf8(str(cause if isinstance(cause, SourceError) else news.error)),
        "since_s": news.since_s,
        "retry_in_s": news.retry_in_s,
    }
    return b"event: interrupted\ndata: %b\n\n" % orjson.dumps(fields)


def parts_of(whole: memoryview) -> list[memoryview]:
    """Split what is sent into parts that are handed to the connection one after the other."""
    return [whole[at : at + PART_BYTES] for at in range(0, len(whole), PART_BYTES)]


def _id(version: str) -> bytes:
    # A line break would end the field and begin another one.
    return "".join(version.split()).encode()
