"""Rule W1: the gateway does what its description says, and never fails; schemathesis makes the requests."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import FlakyStrategyDefinition, Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.e2e.gateway_site import Site

ENDLESS = ["/api/sessions/events", "/api/sessions/follow"]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def ask(site: Site, mode: GenerationMode, examples: int) -> int:
    """Send requests that fit the description, or do not; return how many."""
    described = schemathesis.openapi.from_url(f"{site.server.url}api/openapi.json").exclude(path=ENDLESS)
    sent = 0
    for found in described.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: schemathesis.Case[Any]) -> None:
            nonlocal sent
            sent += 1
            case.call_and_validate(checks=CHECKS)

        # No request breaks the description of a path without parameters. And at times schemathesis makes another
        # request than before from the same random numbers.
        with suppress(Unsatisfiable, FlakyStrategyDefinition):
            send()
    return sent


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_each_answer_is_as_the_description_says(site: Site, mode: GenerationMode) -> None:
    """W1, W6"""
    assert ask(site, mode, 8) >= 15


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_each_of_many_answers_is_as_the_description_says(serve: Callable[[], Site], mode: GenerationMode) -> None:
    """W1, W6"""
    assert ask(serve(), mode, 1_000) >= 2_000
