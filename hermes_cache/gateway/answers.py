"""The answers that are no list: errors as JSON, each with a status, a reason and what to do."""

from http import HTTPStatus
from math import ceil

import orjson
from flask import Response

from hermes_cache.errors import (
    BuildError,
    CacheBusyError,
    CacheStoppedError,
    HermesCacheError,
    JournalUnavailableError,
    LookupTimeoutError,
    SourceError,
)
from hermes_cache.gateway.view_query import ParameterError


def json_answer(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Give a value as JSON; what JSON lacks becomes text."""
    body = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    response = Response(body, status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def error_answer(status: HTTPStatus, reason: str, *, field: str | None = None) -> Response:
    """Give a refusal: why, and of which parameter where it is one."""
    return json_answer({"error": reason} if field is None else {"error": reason, "field": field}, status)


def failure_answer(error: HermesCacheError) -> Response:
    """Give the answer to a read that raised.

    Source: rules W1, X8.
    """
    match error:
        case ParameterError():
            return error_answer(HTTPStatus.BAD_REQUEST, str(error), field=error.field)
        case LookupTimeoutError():
            return error_answer(HTTPStatus.GATEWAY_TIMEOUT, str(error))
        case BuildError():
            return _later(error, error.retry_in_s)
        case SourceError() | CacheBusyError() | CacheStoppedError() | JournalUnavailableError():
            return _later(error, None)
        case _:
            return error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


def one_line(text: str) -> str:
    """Give a text as a header can carry it: one line of Latin-1, at most 300 signs."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(line.split()).encode("latin-1", "replace").decode("latin-1")[:300]


def _later(error: HermesCacheError, retry_in_s: float | None) -> Response:
    response = error_answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    response.headers["Retry-After"] = str(max(1, ceil(retry_in_s or 1)))
    return response
