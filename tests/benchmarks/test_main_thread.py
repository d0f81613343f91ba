"""Publishing and missing from the main thread, where signal handlers run, beside the same from another thread.

One key, no rows, a builder that returns at once, no sources, no journal; a call every 5 ms, in turns, first with
nothing else to do and then beside one thread that computes without a pause. What the main thread changes is done
for it by a thread of the cache, so that no interrupt divides it; what it costs is told, nothing is promised.
"""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import pytest

from hermes_cache import Bus, SessionListCache, SessionListKey
from tests.benchmarks.figures import Figure, in_units
from tests.benchmarks.timing import Benchmark, busy_thread, percentile, run_once, timed_s

_KEY = SessionListKey("work")
_PERIOD_S = 0.005
_ROUNDS = 12
_CALLS = 20


@pytest.mark.main_thread
@pytest.mark.parametrize("beside", ["nothing", "a busy thread"])
def test_calls_from_the_main_thread(benchmark: Benchmark, record: Callable[[Figure], None], beside: str) -> None:
    """L6"""
    spans: dict[tuple[str, str], list[float]] = {
        (call, thread): [] for call in ("publish", "miss") for thread in ("main", "another")
    }

    def take(thread: str) -> None:
        for _ in range(_CALLS):
            time.sleep(_PERIOD_S)
            spans["publish", thread].append(timed_s(lambda: cache.invalidate("work")))
            spans["miss", thread].append(timed_s(lambda: cache.get(_KEY)))

    def measure() -> None:
        assert threading.current_thread() is threading.main_thread()
        for _ in range(_ROUNDS):
            take("main")
            other = threading.Thread(target=take, args=("another",))
            other.start()
            other.join()

    with SessionListCache(lambda _key: {"sessions": []}, bus=Bus()) as cache:
        with busy_thread() if beside == "a busy thread" else nullcontext():
            run_once(benchmark, measure)
        builds = cache.stats().builds

    assert builds >= 2 * _ROUNDS * _CALLS
    for call in ("publish", "miss"):
        _tell(record, f"{call} from the main thread beside {beside}", spans[call, "main"], spans[call, "another"])


def _tell(record: Callable[[Figure], None], what: str, main: list[float], another: list[float]) -> None:
    for name, of in (("median", median), ("p99", lambda spans: percentile(spans, 99))):
        ours_s, other_s = of(main), of(another)
        ratio = f"{ours_s / other_s:.2f} x its time"
        record(Figure(f"{what}, {name}", in_units(ours_s), f"from another thread {in_units(other_s)}", ratio))
