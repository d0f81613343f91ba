"""What 64 entries that share their rows hold.

64 keys over one home of 5,200 sessions, each with some 5,000 rows; no overlay, nobody keeps a payload. Python's
own count of allocated bytes, in a process of its own.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from hermes_cache.samples.home import make_sample_home
from tests.benchmarks.figures import Figure
from tests.benchmarks.timing import Benchmark, run_once

pytestmark = pytest.mark.long

_MEASURE = """
import gc, sys, tracemalloc
from hermes_cache import Bus, HermesHome, Policy, SessionListCache, SessionListKey

flags = dict.fromkeys(("show_cli", "show_cron", "show_webhook", "show_kanban", "show_previous_messaging"), True)
keys = [SessionListKey(include_archived=True, extra=(("view", number),), **flags) for number in range(64)]
home = HermesHome(sys.argv[1])
policy = Policy(ttl=3_600.0, build_timeout=600.0)

def held():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]

tracemalloc.start()
bare = held()
home.builder(keys[0])
# With all its rows, which it makes when they are first asked for.
projection = held() - bare
with SessionListCache(home.builder, sources=home.sources, policy=policy, bus=Bus()) as cache:
    rows = len(cache.get(keys[0])["sessions"])
    one = held() - bare
    for key in keys:
        cache.get(key)
    read = held() - bare
    entries = cache.stats().entries
    for key in keys:
        cache.render(key)
    rendered = held() - bare
print([entries, rows, projection, one, read, rendered])
"""


@pytest.mark.timeout(300)
def test_entries_that_share_rows(benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path) -> None:
    """P4, X4"""
    make_sample_home(tmp_path / "home", sessions=5_200, profiles=())
    command = [sys.executable, "-c", _MEASURE, str(tmp_path / "home")]
    figures: list[int] = []

    def measure() -> None:
        done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603 - a fixed command
        figures.extend(orjson.loads(done.stdout))

    run_once(benchmark, measure)
    entries, rows, projection, one, read, rendered = figures

    assert entries == 64
    assert rows > 4_500
    baseline = f"one projection {_mib(projection)}"
    ratio = read / projection
    what = "64 entries of 5,000 shared rows, memory"
    record(Figure(what, _mib(read), baseline, f"{ratio:.2f} x", "< 2 x", ratio < 2))
    record(Figure("the same, one entry", _mib(one), baseline, f"{one / projection:.2f} x"))
    record(Figure("the same, 64 rendered", _mib(rendered), baseline, f"{rendered / projection:.2f} x"))


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"
