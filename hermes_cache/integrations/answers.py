"""Answers over HTTP, whatever the framework: lists, patches, 304, and errors with a status and what to do. No I/O.

`answer_to` decides quickly; compressing the body is left to `reading`, as it may take milliseconds.
Source: rules D4, O6, O7, W1, W4, X8.
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Final

import orjson

from hermes_cache.cache.lookups import Patch, Rendered
from hermes_cache.errors import (
    BuildError,
    CacheBusyError,
    CacheStoppedError,
    HermesCacheError,
    JournalUnavailableError,
    LookupTimeoutError,
    ProfileNotFoundError,
    SourceError,
)
from hermes_cache.integrations.negotiation import PATCH_TYPE, accepted_encodings, has_tag, tag_of
from hermes_cache.integrations.texts import one_line, quoted, utf8
from hermes_cache.integrations.view_query import ParameterError
from hermes_cache.rendering.bodies import Coding, codings

_SMALLEST_COMPRESSED_BYTES: Final = 1_024
"""A smaller body fits into one packet anyway."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of the answer that it wants.

    Attributes:
        since: The edition that the client has, if it wants a patch from it.
        if_none_match: The header; None if there is none. Likewise the next.
        accept_encoding: The header.
    """

    since: str | None = None
    if_none_match: str | None = None
    accept_encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer over HTTP.

    Attributes:
        status: The status.
        headers: The headers, but for `Content-Length`.
        body: The body; empty if there is none, or if it is to be compressed yet.
        to_compress: What is to be compressed for the body, and how; None if the body is whole.
    """

    status: HTTPStatus
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    to_compress: tuple[Patch | Rendered, Coding] | None = None


def answer_to(found: Patch | Rendered, asked: Asked, headers: dict[str, str], *, is_weak: bool = False) -> Answer:
    """Return the answer to a request for a list: all of it, what changed in it, or 304.

    Args:
        found: What the cache found.
        asked: What the client has and can read.
        headers: Further headers of the answer.
        is_weak: Whether the body has fields that its tag does not name.
    """
    encodings = accepted_encodings(asked.accept_encoding)
    if not encodings:
        reason = f"a list comes as {', '.join(codings())} or identity; accept one of them"
        return error_answer(HTTPStatus.NOT_ACCEPTABLE, reason)
    is_small = len(found.body) < _SMALLEST_COMPRESSED_BYTES
    encoding = "identity" if is_small and "identity" in encodings else encodings[0]
    headers = {**headers, "X-Hermes-Cache-Edition": found.edition}
    if isinstance(found, Patch):
        kind, is_known = PATCH_TYPE, found.since == found.edition
    else:
        headers["ETag"] = tag = tag_of(found.etag, encoding, is_weak=is_weak)
        kind, is_known = "application/json", has_tag(asked.if_none_match, tag)
    if is_known:
        return Answer(HTTPStatus.NOT_MODIFIED, headers)
    headers["Content-Type"] = kind
    if encoding == "identity" or found.source is None:
        return Answer(HTTPStatus.OK, headers, found.body)
    headers["Content-Encoding"] = encoding
    made = found.source.made(encoding)
    if made is None:
        return Answer(HTTPStatus.OK, headers, to_compress=(found, encoding))
    return Answer(HTTPStatus.OK, headers, made)


def freshness_headers(
    found: Patch | Rendered, *, outcome: str | None = None, error: object = None
) -> dict[str, str]:
    """Return the headers that say how fresh an answer is, and that caches between must ask again.

    Args:
        found: What the cache found.
        outcome: Replaces the outcome of the read behind it.
        error: Likewise.
    """
    headers = {"Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
    looked = found.lookup
    if looked is None:
        return headers
    headers["X-Hermes-Cache"] = outcome or looked.outcome
    headers["Age"] = str(int(looked.age_s))
    if looked.reason:
        headers["X-Hermes-Cache-Reason"] = one_line(str(looked.reason))
    if error := error or looked.error:
        headers["X-Hermes-Cache-Error"] = one_line(str(error))
    return headers


def json_answer(body: object, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """Return an answer that no cache between keeps."""
    return Answer(status, {"Content-Type": "application/json", "Cache-Control": "no-store"}, orjson.dumps(body))


def error_answer(
    status: HTTPStatus, reason: str, *, parameter: str | None = None, retry_in_s: float | None = None
) -> Answer:
    """Return a refusal.

    Args:
        status: Its status.
        reason: Why, and what to do.
        parameter: The name of the parameter that was wrong.
        retry_in_s: After how many seconds the client may try again; None if that does not help.
    """
    body = {"error": utf8(reason)}
    answer = json_answer(body if parameter is None else {**body, "field": quoted(parameter, marks="")}, status)
    if retry_in_s is not None:
        answer.headers["Retry-After"] = str(max(1, ceil(retry_in_s)))
    return answer


def failure_answer(error: HermesCacheError) -> Answer:
    """Return the answer to a read that raised.

    Source: rules W1, X8.
    """
    reason = str(error)
    match error:
        case ParameterError():
            return error_answer(HTTPStatus.BAD_REQUEST, reason, parameter=error.field)
        case LookupTimeoutError():
            return error_answer(HTTPStatus.GATEWAY_TIMEOUT, reason)
        case BuildError(__cause__=ProfileNotFoundError(profile=profile)) | ProfileNotFoundError(profile=profile):
            reason = f"there is no profile {quoted(profile)} here"
            return error_answer(HTTPStatus.NOT_FOUND, reason, parameter="profile")
        case BuildError():
            return error_answer(HTTPStatus.SERVICE_UNAVAILABLE, reason, retry_in_s=error.retry_in_s or 1)
        case SourceError() | CacheBusyError() | CacheStoppedError() | JournalUnavailableError():
            return error_answer(HTTPStatus.SERVICE_UNAVAILABLE, reason, retry_in_s=1)
        case _:
            return error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, reason)
