"""A read's request: one value from the public methods to the core (rules R6, R8, J8)."""

from typing import get_args, get_type_hints

import pytest

from hermes_cache.cache.reads import ReadOptions, request_of
from hermes_cache.core.events import EventId
from hermes_cache.core.requests import Freshness, Request


def test_the_public_methods_take_a_word_for_every_freshness() -> None:
    """R8"""
    words = get_args(get_type_hints(ReadOptions)["freshness"])

    assert list(words) == [freshness.value for freshness in Freshness]
    assert [request_of({"freshness": word}, 1.0).freshness for word in words] == list(Freshness)


def test_only_a_fresh_read_insists_and_only_one_that_takes_anything_takes_what_is_outdated() -> None:
    """R8"""
    meanings = {each: (each.insists, each.takes_outdated, each.waits) for each in Freshness}

    assert meanings == {
        Freshness.DEFAULT: (False, False, True),
        Freshness.FRESH: (True, False, True),
        Freshness.ANY: (False, True, False),
    }


@pytest.mark.parametrize(
    ("request_", "takes"),
    [
        (Request(0.0), True),
        (Request(0.0, Freshness.ANY), True),
        (Request(0.0, Freshness.FRESH), False),
        (Request(0.0, at_least=EventId("another", 1)), False),
    ],
)
def test_a_fresh_read_and_one_with_a_ticket_take_no_stale_payload(request_: Request, *, takes: bool) -> None:
    """R8, J8"""
    assert request_.takes_stale is takes


def test_a_read_ends_at_its_own_bound_or_at_the_build_timeout() -> None:
    """R5, R6"""
    assert Request(2.0, timeout_s=0.5).until_s(60.0) == 2.5
    assert Request(2.0).until_s(60.0) == 62.0
