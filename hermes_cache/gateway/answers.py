"""The answers that are not lists: health, metrics, explanations, files of the page, and errors with a reason."""

from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from re import compile as pattern
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from hermes_cache.cache.lookups import Health, Stats
from hermes_cache.errors import HermesCacheError, key_text
from hermes_cache.explain.explanations import Explanation
from hermes_cache.explain.overview import Overview
from hermes_cache.explain.plain import plain_explanation, plain_overview
from hermes_cache.gateway.openapi import description
from hermes_cache.integrations import answers
from hermes_cache.integrations.asgi_streams import response_of
from hermes_cache.integrations.measures import Measured
from hermes_cache.integrations.prometheus import CacheCollector
from hermes_cache.integrations.texts import quoted, utf8

_RANGES: Final = pattern(rb"bytes *= *(?:[0-9]+-[0-9]*|-[0-9]+)(?: *, *(?:[0-9]+-[0-9]*|-[0-9]+))*")


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


class Metrics:
    """Answers `/metrics` with what Prometheus collects of the gateway: its cache and its process (W1).

    Args:
        cache: What is measured.
    """

    def __init__(self, cache: Measured) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(CacheCollector(cache))

    def answer(self, accepted: str) -> Response:
        """Return all metrics, in the form of OpenMetrics if the client accepts it.

        Args:
            accepted: The header `Accept`.
        """
        encode, content_type = choose_encoder(accepted)
        return Response(
            encode(self._registry), headers={"Cache-Control": "no-store", "Content-Type": content_type}
        )


class Assets(StaticFiles):
    """Files of a folder, for browsers that ask each time whether a file changed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. A range in a form that is not known is ignored, as RFC 9110, section 14.2, demands."""
        headers = [each for each in scope["headers"] if each[0] != b"range" or _RANGES.fullmatch(each[1].strip())]
        await super().__call__({**scope, "headers": headers}, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the answer for one file."""
        response = await super().get_response(path, scope)
        # Without this a browser would guess for how long it need not ask, and show an old page after an upgrade.
        response.headers["Cache-Control"] = "no-cache"
        return response


def _json_answer(body: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> Response:
    return response_of(answers.json_answer(body, status))
