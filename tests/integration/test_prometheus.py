"""Rules L4 and W1: what Prometheus collects is what a cache counts, and costs readers nothing."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hermes_cache import BuildError, Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.integrations.measures import MEASURES
from hermes_cache.integrations.prometheus import CacheCollector
from hermes_cache.testing import GatedBuilder, ManualClock, VersionedSources
from tests.waiting import LASTING, WAIT_S, until

WORK = SessionListKey("work")


class Scraped:
    """What one request of Prometheus finds."""

    def __init__(self, *caches: SessionListCache, collector: CacheCollector | None = None) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(collector or CacheCollector(caches[0]))

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"hermes_cache_{name}", {"cache": "sessions", **labels})

    def reads(self, outcome: str, reason: str) -> float | None:
        return self("reads_total", outcome=outcome, reason=reason)


def test_reads_are_counted_by_outcome_and_by_the_reason_why_they_were_no_hit() -> None:
    """L4"""
    clock, builder, sources = ManualClock(), GatedBuilder(is_open=True), VersionedSources()
    with SessionListCache(builder, sources=sources, clock=clock, policy=Policy(max_build_duty=1)) as cache:
        scraped = Scraped(cache)
        cache.get(WORK)
        for _ in range(3):
            cache.get(WORK)
        cache.invalidate("work")
        cache.get(WORK)
        clock.advance(10.0)
        cache.get(WORK)

        found = {
            reason: scraped.reads(*reason) for reason in [("hit", "none"), ("stale", "age"), ("built", "event")]
        }

    assert found == {("hit", "none"): 3, ("stale", "age"): 1, ("built", "event"): 1}
    assert scraped.reads("built", "miss") == 1
    assert scraped.reads("stale", "source") == 0


def test_reads_that_raise_are_counted_by_error_and_builds_by_what_became_of_them() -> None:
    """L4"""
    builder = GatedBuilder(is_open=True)
    builder.fail_with(OSError("gone"))
    with SessionListCache(builder) as cache:
        scraped = Scraped(cache)
        with pytest.raises(BuildError):
            cache.get(WORK)
        failing, healthy = scraped("failing", what="views"), scraped("healthy")
        builder.fail_with(None)
        cache.get(WORK)

        assert (failing, healthy) == (1, 0)
        assert (scraped("failing", what="views"), scraped("healthy")) == (0, 1)
        assert scraped("read_errors_total", error="BuildError") == 1
        assert scraped("builds_total", outcome="failed") == 1
        assert scraped("builds_total", outcome="stored") == 1
        assert scraped("builds_total", outcome="abandoned") == 0


def test_a_build_that_an_event_overtook_is_counted() -> None:
    """L4, B4"""
    builder = GatedBuilder()
    with SessionListCache(builder) as cache, ThreadPoolExecutor(1) as readers:
        scraped, read = Scraped(cache), readers.submit(cache.get, WORK)
        until(lambda: builder.waiting == 1)
        running, waiting = scraped("builds_running"), scraped("readers_waiting")
        cache.invalidate("work")
        builder.open()
        read.result(WAIT_S)

        assert (running, waiting) == (1, 1)
        assert scraped("builds_overtaken_total") == 1
        assert scraped("builds_total", outcome="discarded") == 1


def test_durations_are_a_histogram_whose_last_bucket_holds_all() -> None:
    """L4"""
    with SessionListCache(GatedBuilder(is_open=True)) as cache:
        for name in "abc":
            cache.get(SessionListKey(name))
        scraped = Scraped(cache)

        assert scraped("build_duration_seconds_bucket", le="+Inf") == 3
        assert scraped("build_duration_seconds_count") == 3
        total = scraped("build_duration_seconds_sum")
        assert total is not None
        assert total == pytest.approx(cache.stats().durations.sum_s)
        assert total > 0


def test_entries_and_evictions_are_counted() -> None:
    """L4, P4"""
    with SessionListCache(GatedBuilder(is_open=True), policy=Policy(max_entries=2)) as cache:
        for name in "abc":
            cache.get(SessionListKey(name))
        scraped = Scraped(cache)

        assert scraped("entries") == 2
        assert scraped("held_bytes") == cache.stats().held_bytes
        assert scraped("evictions_total", bound="entries") == 1
        assert scraped("evictions_total", bound="bytes") == 0


def test_the_lag_of_a_journal_is_there_only_if_there_is_a_journal(tmp_path: Path) -> None:
    """L4, J5"""
    with SessionListCache(GatedBuilder(is_open=True)) as cache:
        without = Scraped(cache)("journal_lag_seconds")
    with SessionListCache(
        GatedBuilder(is_open=True), bus=Bus(), journal=f"sqlite:///{tmp_path / 'journal.db'}"
    ) as cache:
        cache.get(WORK)
        found = Scraped(cache)("journal_lag_seconds"), Scraped(cache)("journal_pending_events")

    assert without is None
    assert found == (0, 0)


def test_counts_stand_after_a_stop() -> None:
    """L4: what a worker counted in its last second is not lost."""
    with SessionListCache(GatedBuilder(is_open=True), policy=LASTING) as cache:
        cache.get(WORK)
        cache.get(WORK)
    scraped = Scraped(cache)

    assert (scraped.reads("hit", "none"), scraped.reads("built", "miss")) == (1, 1)
    assert scraped("entries") == 0
    assert scraped("healthy") is None


def test_the_label_cache_distinguishes_several_caches() -> None:
    """L4, K5"""
    with SessionListCache(GatedBuilder(is_open=True)) as one, SessionListCache(GatedBuilder(is_open=True)) as two:
        one.get(WORK)
        scraped = Scraped(collector=CacheCollector({"sessions": one, "mail": two}))

        assert scraped("entries") == 1
        assert scraped.registry.get_sample_value("hermes_cache_entries", {"cache": "mail"}) == 0


def test_the_text_is_as_both_formats_want_it() -> None:
    """W1"""
    with SessionListCache(GatedBuilder(is_open=True)) as cache:
        cache.get(WORK)
        registry = Scraped(cache).registry

        plain = generate_latest(registry).decode()
        strict = generate_open_metrics(registry).decode()  # type: ignore[no-untyped-call]

    parsed = text_string_to_metric_families(strict)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in parsed}
    assert set(families) == {measure.name for measure in MEASURES}
    assert {name: family.type for name, family in families.items()} == {each.name: each.kind for each in MEASURES}
    assert all(f"# HELP {measure.name}" in plain for measure in MEASURES)


def test_a_collector_listens_to_nothing_and_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """L4: readers and builds pay nothing."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    with SessionListCache(GatedBuilder(is_open=True), bus=Bus()) as cache:
        CollectorRegistry(auto_describe=True).register(CacheCollector(cache))

        assert not cache.bus.build_started.has_receivers
