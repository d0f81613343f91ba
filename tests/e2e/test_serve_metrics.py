"""Rule W1: Prometheus collects at `/metrics` what the gateway's cache does."""

from collections.abc import Callable

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from hermes_cache.gateway.settings import GatewaySettings
from tests.e2e.gateway_site import Site

TOKEN = "0123456789abcdef"  # noqa: S105 - a token of the tests
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


def test_the_metrics_tell_of_the_lists_that_were_read(site: Site) -> None:
    """W1, L4"""
    for _ in range(3):
        site.get("/api/sessions")

    answer = site.get("/metrics")

    assert (answer.status, answer.headers["Content-Type"]) == (200, PLAIN)
    assert answer.headers["Cache-Control"] == "no-store"
    found = {family.name: family for family in plain_text(answer.body.decode())}
    reads = {
        (each.labels["outcome"], each.labels["reason"]): each.value for each in found["hermes_cache_reads"].samples
    }
    assert reads["built", "miss"] == 1
    assert reads["hit", "none"] == 2
    assert found["hermes_cache_entries"].samples[0].value == 1
    assert "process_resident_memory_bytes" in found


def test_a_client_that_accepts_open_metrics_gets_them(site: Site) -> None:
    """W1"""
    answer = site.get("/metrics", Accept="application/openmetrics-text; version=1.0.0, text/plain;q=0.5")

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families = open_metrics(answer.body.decode())  # type: ignore[no-untyped-call]
    assert "hermes_cache_reads" in {family.name for family in families}


def test_the_metrics_are_for_those_who_may_read(serve: Callable[[GatewaySettings], Site]) -> None:
    """W1, W5"""
    guarded = serve(GatewaySettings(token=TOKEN))

    assert guarded.get("/metrics").status == 401
    assert guarded.get("/metrics", Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST"])
def test_the_metrics_take_the_methods_of_all_that_is_read(site: Site, method: str) -> None:
    """W1"""
    assert site.get("/metrics", method=method).status == site.get("/api/health", method=method).status
