"""A fresh hit.

One key, 500 rows of 35 fields, every read a hit, one thread; the stamp is that of a real home of 250 sessions.
"""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hermes_cache import Bus, HermesHome, Policy, SessionListCache, SessionListKey
from hermes_cache.samples.home import make_sample_home
from tests.benchmarks.figures import Figure, at_most, faster
from tests.benchmarks.lock_cache import LockCache, stamp_of_home
from tests.benchmarks.rows import made_payload
from tests.benchmarks.timing import Benchmark, side_by_side

_KEY = SessionListKey()
_ROWS = 500
_NEVER_OLD = Policy(ttl=3_600.0)


def test_a_fresh_hit(benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path) -> None:
    """R2, S4"""
    make_sample_home(tmp_path / "home")
    home = HermesHome(tmp_path / "home")
    locked = LockCache(lambda _key: made_payload(_ROWS), partial(stamp_of_home, tmp_path / "home"))
    held, lock = {_KEY: made_payload(_ROWS)}, threading.Lock()

    def look() -> object:
        with lock:
            return held.get(_KEY)

    with SessionListCache(
        lambda _key: made_payload(_ROWS), sources=home.sources, policy=_NEVER_OLD, bus=Bus()
    ) as cache:
        spans = side_by_side(
            benchmark,
            lambda: cache.get(_KEY),
            lambda: locked.get(_KEY),
            look,
            calls=(2_000, 5, 2_000),
            rounds=30,
        )
        outcomes = cache.stats().outcomes
    home.close()

    assert outcomes["hit"] > 0.99 * sum(outcomes.values())
    record(faster("fresh hit, 500 rows of 35 fields", spans[0], "lock cache", spans[1], least=1_000))
    record(at_most("fresh hit, the same", spans[0], "bare lock", spans[2], most=10))
