"""The answers that are not lists: health, explanations, and errors with a status, a reason and what to do."""

from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus

from starlette.responses import Response

from hermes_cache.cache.lookups import Health, Stats
from hermes_cache.errors import HermesCacheError, key_text
from hermes_cache.explain.explanations import Explanation
from hermes_cache.explain.overview import Overview
from hermes_cache.explain.plain import plain_explanation, plain_overview
from hermes_cache.gateway.openapi import description
from hermes_cache.integrations import answers
from hermes_cache.integrations.asgi_streams import response_of
from hermes_cache.integrations.texts import quoted, utf8


def error_answer(status: HTTPStatus, reason: str) -> Response:
    """Return a refusal with its reason."""
    return response_of(answers.error_answer(status, reason))


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
    can_answer = health.running and (holds_lists or not health.failing)
    body = {
        "running": health.running,
        "healthy": health.healthy,
        "failing": {key_text(key): utf8(reason) for key, reason in health.failing.items()},
        "failing_checks": {key_text(key): utf8(reason) for key, reason in health.failing_checks.items()},
        "failing_callables": sorted(health.failing_callables),
        "abandoned": health.abandoned,
        "journal_lag_s": health.journal_lag_s,
        "journal_failure": None if health.journal_failure is None else utf8(health.journal_failure),
        "missing_threads": sorted(health.missing_threads),
        "notes": list(map(utf8, health.notes)),
    }
    return _json_answer(body, HTTPStatus.OK if can_answer else HTTPStatus.SERVICE_UNAVAILABLE)


def readiness_answer(*, holds_lists: bool) -> Response:
    """Return whether a list was built, with status 503 until then: balancers send no requests before.

    Source: rules W1, X14.
    """
    return _json_answer({"ready": holds_lists}, HTTPStatus.OK if holds_lists else HTTPStatus.SERVICE_UNAVAILABLE)


def explanation_answer(explanation: Explanation) -> Response:
    """Return an explanation, field by field, and in words as `story`.

    Source: rules J7, W1.
    """
    return _json_answer({**plain_explanation(explanation), "story": utf8(str(explanation))})


def overview_answer(overview: Overview, stats: Stats, demo: Mapping[str, object] | None = None) -> Response:
    """Return all that a cache holds and does, with its counts, and the state of the demo if this is one.

    Source: rules J7, W1, W2.
    """
    body = {"stats": asdict(stats), **plain_overview(overview)}
    return _json_answer(body if demo is None else {**body, "demo": demo})


def description_answer(root_path: str) -> Response:
    """Return the description of the interface.

    Source: rule W1.
    """
    return _json_answer(description(root_path))


def failure_answer(error: HermesCacheError) -> Response:
    """Return the answer to a read that raised.

    Source: rules W1, X8.
    """
    return response_of(answers.failure_answer(error))


def _json_answer(body: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> Response:
    return response_of(answers.json_answer(body, status))
