"""Which error becomes which answer."""

import orjson
import pytest

from hermes_cache.cache.lookups import Health
from hermes_cache.errors import (
    BuildError,
    BuildTimeoutError,
    CacheBusyError,
    CacheStoppedError,
    HermesCacheError,
    LookupTimeoutError,
    PolicyError,
    ProfileNotFoundError,
    SourceError,
)
from hermes_cache.gateway.answers import failure_answer, health_answer
from hermes_cache.integrations.texts import one_line
from hermes_cache.sessions.keys import SessionListKey

KEY = SessionListKey("work")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (BuildError(KEY, "it broke", retry_in_s=2.1), 503, "3"),
        (BuildError(KEY, "it broke"), 503, "1"),
        (BuildTimeoutError(KEY, "it hung"), 503, "1"),
        (SourceError("state.db", "is missing"), 503, "1"),
        (CacheBusyError("max_queue", 256), 503, "1"),
        (CacheStoppedError(), 503, "1"),
        (LookupTimeoutError(KEY, 30), 504, None),
        (PolicyError("ttl", -1, "above 0"), 500, None),
    ],
)
def test_an_error_has_its_status_and_says_when_to_come_again(
    error: HermesCacheError, status: int, retry_after: str | None
) -> None:
    # Proves W1, X8.
    answer = failure_answer(error)

    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == retry_after
    assert orjson.loads(answer.body) == {"error": str(error)}


def test_a_profile_that_is_not_there_is_not_found_by_its_name_alone() -> None:
    # Proves W1: no path of the server stands in the answer.
    error = BuildError(KEY, "ProfileNotFoundError: /home/me/.hermes/profiles/work: there is no profile 'work'")
    error.__cause__ = ProfileNotFoundError("/home/me/.hermes/profiles/work", "work")

    answer = failure_answer(error)

    assert answer.status_code == 404
    assert orjson.loads(answer.body) == {"error": "there is no profile 'work' here", "field": "profile"}


def test_a_reason_that_is_no_text_still_makes_an_answer() -> None:
    # Proves W1: a file's name may hold any byte.
    answer = failure_answer(SourceError("caf\udce9.db", "is missing"))

    assert b"caf?.db" in answer.body


def test_a_header_is_one_line_of_latin_1() -> None:
    # Proves X8.
    line = one_line("caf\u00e9\r\nSet-Cookie: a=b\0\u4f60\udce9" + "x" * 1_000)

    assert line.startswith("caf\u00e9 Set-Cookie: a=b ")
    assert len(line.encode("latin-1")) == 300


@pytest.mark.parametrize(
    ("running", "failing", "holds_lists", "status"),
    [(True, False, False, 200), (True, True, True, 200), (True, True, False, 503), (False, False, True, 503)],
)
def test_health_is_bad_where_no_list_can_be_given(
    *, running: bool, failing: bool, holds_lists: bool, status: int
) -> None:
    # Proves L4, W1.
    failures = {KEY: "state.db: is missing"} if failing else {}
    health = Health(running, running and not failing, failures, frozenset({"live_sessions"}), abandoned=1)

    answer = health_answer(health, holds_lists=holds_lists)

    assert answer.status_code == status
    assert orjson.loads(answer.body) == {
        "running": running,
        "healthy": running and not failing,
        "failing": {str(KEY): reason for reason in failures.values()},
        "failing_checks": {},
        "failing_callables": ["live_sessions"],
        "abandoned": 1,
        "journal_lag_s": None,
        "journal_failure": None,
        "missing_threads": [],
        "notes": [],
    }


def test_health_tells_of_a_journal_that_is_away_while_lists_are_served() -> None:
    # Proves J5, L4, W1.
    health = Health(
        running=True,
        healthy=False,
        failing={},
        failing_callables=frozenset(),
        abandoned=0,
        journal_lag_s=2.5,
        journal_failure="caf\udce9.db: disk I/O error",
    )

    answer = health_answer(health, holds_lists=False)

    body = orjson.loads(answer.body)
    assert answer.status_code == 200
    assert (body["journal_lag_s"], body["journal_failure"]) == (2.5, "caf?.db: disk I/O error")
