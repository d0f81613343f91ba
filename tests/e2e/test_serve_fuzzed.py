"""Rule W6: no request makes the gateway fail, whatever its bytes are."""

from pathlib import Path

import pytest

from tests.e2e.gateway_process import served
from tests.e2e.http_fuzzer import fuzz
from tests.e2e.process_log import AS_JSON, log_of
from tests.e2e.test_serve_log import asked
from tests.waiting import PROCESS_S, until


@pytest.fixture
def failures(home: Path, count: int) -> list[object]:
    """What failed while so many requests were sent: answers with a server error, and errors in the log."""
    with served("--home", str(home), *AS_JSON) as (process, url):
        until(lambda: asked(url, "/api/ready") == 200, within_s=PROCESS_S)
        statuses = fuzz(url, count, seed=count)
        still_answers = asked(url, "/api/sessions") == 200
        process.terminate()
        logged = [line for line in log_of(process) if line.level == "error"]

    assert sum(statuses.values()) > count / 4
    assert {200, 400, 404, 405} <= set(statuses)
    # 501 is for a transfer encoding that is not known, 503 for more event streams than are allowed.
    failed = {status: count for status, count in statuses.items() if status >= 500 and status not in {501, 503}}
    return [*failed.items(), *logged, *([] if still_answers else ["it does not answer any more"])]


@pytest.mark.parametrize("count", [1_000])
def test_no_request_makes_it_fail(failures: list[object]) -> None:
    """W6"""
    assert not failures


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("count", [20_000])
def test_none_of_20_000_requests_makes_it_fail(failures: list[object]) -> None:
    """W6"""
    assert not failures
