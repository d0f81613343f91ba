"""Reads while invalidations arrive faster than builds end.

One key, no rows, an event every 50 ms, builds of 50 ms, one thread that reads 30 times in a row, each time as soon
as another event came, so that no read is a hit; no sources. The lock cache repeats a build that an event overtook,
three times at most.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from hermes_cache import Bus, SessionListCache, SessionListKey
from tests.benchmarks.figures import Figure
from tests.benchmarks.lock_cache import LockCache
from tests.benchmarks.timing import Benchmark, run_once

_KEY = SessionListKey("work")
_READS = 30
_PERIOD_S = 0.05
_BUILD_S = 0.05


class _Truth:
    """Counts changes and those whose event was applied, and builds what is true when a build begins."""

    def __init__(self) -> None:
        self.changes = 0
        self.announced = 0
        self.news = threading.Event()
        self.builds = 0

    def build(self, _key: object) -> Mapping[str, object]:
        self.builds += 1
        built_from = self.changes
        time.sleep(_BUILD_S)
        return {"sessions": [], "built_from": built_from}


def test_reads_in_a_storm_of_events(benchmark: Benchmark, record: Callable[[Figure], None]) -> None:
    """R1, B4"""
    ours, theirs = _Truth(), _Truth()
    locked = LockCache(theirs.build)
    broken: dict[str, int] = {}

    def measure() -> None:
        bus = Bus()
        with SessionListCache(ours.build, bus=bus) as cache:

            def invalidate() -> None:
                cache.invalidate("work")

            broken["ours"] = _broken_reads(ours, lambda: cache.get(_KEY), invalidate)
        broken["theirs"] = _broken_reads(theirs, lambda: locked.get(_KEY), locked.invalidate)

    run_once(benchmark, measure)

    assert broken["ours"] == 0
    mine, other = ours.builds / _READS, theirs.builds / _READS
    what = "20 events a second, builds of 50 ms: builds a read"
    record(Figure(what, f"{mine:.2f}", f"lock cache {other:.2f}", f"{mine / other:.2f}", "<= 1.5", mine <= 1.5))
    baseline = f"lock cache {broken['theirs']}"
    record(Figure("the same, reads of 30 that broke R1", "0", baseline, "", "0", met=True))


def _broken_reads(truth: _Truth, read: Callable[[], Mapping[str, object]], invalidate: Callable[[], None]) -> int:
    """Read in a row, and count the answers that were built before an event that the read came after."""
    broken = 0
    with _events(truth, invalidate):
        for _ in range(_READS):
            truth.news.clear()
            assert truth.news.wait(10.0)
            known = truth.announced
            built_from = read()["built_from"]
            assert isinstance(built_from, int)
            broken += built_from < known
    return broken


@contextmanager
def _events(truth: _Truth, invalidate: Callable[[], None]) -> Iterator[None]:
    stop = threading.Event()

    def publish() -> None:
        next_s = time.monotonic() + _PERIOD_S
        while not stop.wait(max(0.0, next_s - time.monotonic())):
            next_s += _PERIOD_S
            truth.changes += 1
            invalidate()
            truth.announced = truth.changes
            truth.news.set()

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
