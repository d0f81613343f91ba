"""Sixteen threads that read without a pause.

One key, 500 rows of 35 fields, every read a hit, 16 threads; no sources. The actor answers from a dict, as does
the bare lock, which shows what of the spread is the interpreter's own.
"""

import threading
import time
from collections.abc import Callable
from statistics import median

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from tests.benchmarks.figures import Figure, in_units
from tests.benchmarks.plain_actor import PlainActor
from tests.benchmarks.rows import made_payload
from tests.benchmarks.timing import Benchmark, percentile, run_once

_KEY = SessionListKey()
_THREADS = 16
_ROUNDS = 5
_ROUND_S = 0.6


def test_sixteen_reading_threads(benchmark: Benchmark, record: Callable[[Figure], None]) -> None:
    """R2"""
    payload = made_payload(500)
    actor = PlainActor.start({_KEY: payload})
    ours: list[float] = []
    actors: list[float] = []
    spans: list[float] = []
    bare_spans: list[float] = []
    held, lock = {_KEY: payload}, threading.Lock()

    def look() -> object:
        with lock:
            return held.get(_KEY)

    def measure() -> None:
        for _ in range(_ROUNDS):
            _reads_per_s(look, bare_spans)
            ours.append(_reads_per_s(lambda: cache.get(_KEY), spans))
            actors.append(_reads_per_s(lambda: actor.ask(_KEY), []))

    with SessionListCache(lambda _key: payload, policy=Policy(ttl=3_600.0), bus=Bus()) as cache:
        cache.get(_KEY)
        run_once(benchmark, measure)
        outcomes = cache.stats().outcomes
    actor.stop()

    assert outcomes["hit"] == sum(outcomes.values()) - 1
    ratio = median(ours) / median(actors)
    baseline = f"plain pykka ask {median(actors):,.0f}/s"
    what = "16 reading threads, hits a second in all"
    record(Figure(what, f"{median(ours):,.0f}/s", baseline, f"{ratio:.1f} x as many", ">= 10 x", ratio >= 10))
    p99_s, spread = _p99_and_spread(spans)
    baseline = f"its median {in_units(p99_s / spread)}"
    record(
        Figure("16 reading threads, p99", in_units(p99_s), baseline, f"{spread:.1f} x", "<= 50 x", spread <= 50)
    )
    bare_p99_s, bare_spread = _p99_and_spread(bare_spans)
    baseline = f"bare lock {in_units(bare_p99_s)}, {bare_spread:.1f} x its median"
    record(Figure("16 reading threads, p99", in_units(p99_s), baseline, f"{p99_s / bare_p99_s:.2g} x its time"))


def _p99_and_spread(spans: list[float]) -> tuple[float, float]:
    p99_s = percentile(spans, 99)
    return p99_s, p99_s / median(spans)


def _reads_per_s(read: Callable[[], object], spans: list[float]) -> float:
    """Read on all threads for a while; `spans` takes how long each read took."""
    stop, start = threading.Event(), threading.Barrier(_THREADS + 1)
    taken: list[list[float]] = [[] for _ in range(_THREADS)]

    def read_on(own: list[float]) -> None:
        start.wait()
        while not stop.is_set():
            began_s = time.perf_counter()
            read()
            own.append(time.perf_counter() - began_s)

    threads = [threading.Thread(target=read_on, args=(own,)) for own in taken]
    for thread in threads:
        thread.start()
    start.wait()
    began_s = time.perf_counter()
    stop.wait(_ROUND_S)
    stop.set()
    took_s = time.perf_counter() - began_s
    for thread in threads:
        thread.join()
    spans.extend(span for own in taken for span in own)
    return sum(map(len, taken)) / took_s
