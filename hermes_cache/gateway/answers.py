"""The answers that are not lists: health, explanations, and errors with a status, a reason and what to do."""

from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from math import ceil

import orjson
from starlette.responses import Response

from hermes_cache.cache.lookups import Health, Stats
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
from hermes_cache.explain.explanations import Explanation
from hermes_cache.explain.overview import Overview
from hermes_cache.explain.plain import plain_explanation, plain_overview
from hermes_cache.gateway.openapi import description
from hermes_cache.gateway.texts import quoted, utf8
from hermes_cache.gateway.view_query import ParameterError


def error_answer(status: HTTPStatus, reason: str, *, field: str | None = None) -> Response:
    """Return a refusal with its reason, and with the name of the parameter if one was wrong."""
    body = {"error": utf8(reason)}
    return _json_answer(body if field is None else {**body, "field": quoted(field, marks="")}, status)


def http_error_answer(status_code: int, path: str) -> Response:
    """Return what the framework refused: an unknown path, or a method that it does not have."""
    status = HTTPStatus(status_code)
    return error_answer(status, f"{status.phrase}: {quoted(path, marks='')}")


def options_answer(allow: str) -> Response:
    """Return which methods a path takes."""
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": allow})


def health_answer(health: Health, *, holds_lists: bool) -> Response:
    """Return the health of a cache, with status 503 if it cannot answer any read.

    Source: rules L4, W1.
    """
    answers = health.running and (holds_lists or not health.failing)
    body = {
        "running": health.running,
        "healthy": health.healthy,
        "failing": {str(key): utf8(reason) for key, reason in health.failing.items()},
        "failing_checks": {str(key): utf8(reason) for key, reason in health.failing_checks.items()},
        "failing_callables": sorted(health.failing_callables),
        "abandoned": health.abandoned,
        "journal_lag_s": health.journal_lag_s,
        "journal_failure": None if health.journal_failure is None else utf8(health.journal_failure),
        "missing_threads": sorted(health.missing_threads),
        "notes": list(map(utf8, health.notes)),
    }
    return _json_answer(body, HTTPStatus.OK if answers else HTTPStatus.SERVICE_UNAVAILABLE)


def readiness_answer(*, holds_lists: bool) -> Response:
    """Return whether a list was built, with status 503 until then: balancers send no requests before.

    Source: rules W1, X14.
    """
    return _json_answer({"ready": holds_lists}, HTTPStatus.OK if holds_lists else HTTPStatus.SERVICE_UNAVAILABLE)


def explanation_answer(explanation: Explanation) -> Response:
    """Return an explanation, field by field, and in words as `story`.

    Source: rules J7, W1.
    """
    return _json_answer({**plain_explanation(explanation), "story": utf8(str(explanation))}, HTTPStatus.OK)


def overview_answer(overview: Overview, stats: Stats) -> Response:
    """Return all that a cache holds and does, with its counts.

    Source: rules J7, W1.
    """
    return _json_answer({"stats": asdict(stats), **plain_overview(overview)}, HTTPStatus.OK)


def description_answer(root_path: str) -> Response:
    """Return the description of the interface.

    Source: rule W1.
    """
    return _json_answer(description(root_path), HTTPStatus.OK)


def failure_answer(error: HermesCacheError) -> Response:
    """Return the answer to a read that raised.

    Source: rules W1, X8.
    """
    match error:
        case ParameterError():
            return error_answer(HTTPStatus.BAD_REQUEST, str(error), field=error.field)
        case LookupTimeoutError():
            return error_answer(HTTPStatus.GATEWAY_TIMEOUT, str(error))
        case BuildError(__cause__=ProfileNotFoundError(profile=profile)) | ProfileNotFoundError(profile=profile):
            return error_answer(
                HTTPStatus.NOT_FOUND, f"there is no profile {quoted(profile)} here", field="profile"
            )
        case BuildError():
            return _later(error, error.retry_in_s)
        case SourceError() | CacheBusyError() | CacheStoppedError() | JournalUnavailableError():
            return _later(error, None)
        case _:
            return error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


def _json_answer(body: Mapping[str, object], status: HTTPStatus) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def _later(error: HermesCacheError, retry_in_s: float | None) -> Response:
    response = error_answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    response.headers["Retry-After"] = str(max(1, ceil(retry_in_s or 1)))
    return response
