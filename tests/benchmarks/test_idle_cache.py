"""A cache that nobody reads.

One key held, read once with real stamps, then nothing for 5 s; counted are the wake-ups of all threads of this
process but the one that counts. Linux alone tells them by thread. Then with an SQLite journal in which nothing
happens, for 30 s: wake-ups, and the processor time of the process, without and with a subscriber.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_cache import Bus, HermesHome, SessionListCache, SessionListKey
from hermes_cache.samples.home import make_sample_home
from tests.benchmarks.figures import Figure
from tests.benchmarks.timing import Benchmark, run_once

_SPAN_S = 5.0
_MOST_UNTIL_IDLE_S = 20.0
_JOURNAL_SPAN_S = 30.0
_SETTLED_S = 2.0
"""Past it a journal is not looked at for a read any more."""

_WATCHED_SPAN_S = 60.0
_MOST_SHARE = 0.001

_TASKS = Path("/proc/self/task")


@pytest.mark.skipif(not _TASKS.is_dir(), reason="only Linux counts wake-ups by thread")
def test_an_idle_cache(benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path) -> None:
    """S4"""
    make_sample_home(tmp_path / "home")
    home = HermesHome(tmp_path / "home")
    counted: list[int] = []

    with SessionListCache(home.builder, sources=home.sources, bus=Bus()) as cache:
        cache.get(SessionListKey())
        read_at_s = time.monotonic()
        _await_idleness(read_at_s + _MOST_UNTIL_IDLE_S)
        idle_after_s = time.monotonic() - read_at_s
        run_once(benchmark, lambda: counted.append(_wake_ups_in(_SPAN_S)))
        builds = cache.stats().builds
    home.close()

    assert builds == 1
    after = f"idle {idle_after_s:.0f} s after the last read"
    record(Figure("idle cache, wake-ups in 5 s", str(counted[0]), after, "", "0", counted[0] == 0))


@pytest.mark.skipif(not _TASKS.is_dir(), reason="only Linux counts wake-ups by thread")
@pytest.mark.long
@pytest.mark.parametrize("listens", [False, True])
def test_an_idle_cache_with_a_journal(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path, *, listens: bool
) -> None:
    """J3"""
    bus = Bus()
    journal = f"sqlite:///{tmp_path}/journal.db"
    spent: list[tuple[int, float]] = []

    with SessionListCache(lambda _key: {"sessions": []}, bus=bus, journal=journal) as cache:
        subscription = cache.subscribe() if listens else None
        cache.get(SessionListKey())
        _wake_ups_in(_SETTLED_S)
        run_once(benchmark, lambda: spent.append(_spent_in(_JOURNAL_SPAN_S)))
        builds = cache.stats().builds
        if subscription:
            subscription.close()

    assert builds == 1
    wake_ups, busy_s = spent[0]
    what = f"idle cache with a journal, {'one subscriber' if listens else 'no subscriber'}"
    rate = f"{wake_ups / _JOURNAL_SPAN_S:.0f} wake-ups a second"
    record(Figure(f"{what}: of a core", f"{busy_s / _JOURNAL_SPAN_S:.2%}", rate, ""))


@pytest.mark.skipif(not _TASKS.is_dir(), reason="only Linux counts wake-ups by thread")
@pytest.mark.long
def test_an_idle_watch(benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path) -> None:
    """X10"""
    make_sample_home(tmp_path / "home", sessions=5_500)
    home, key = HermesHome(tmp_path / "home"), SessionListKey(show_cli=True)
    spent: list[tuple[int, float]] = []

    cache = SessionListCache(home.builder, sources=home.sources, watch=home.watch, bus=Bus())
    with cache, cache.follow(key) as following:
        following.get()
        _wake_ups_in(_SETTLED_S)
        run_once(benchmark, lambda: spent.append(_spent_in(_WATCHED_SPAN_S)))
        builds = cache.stats().builds

    assert builds == 1
    wake_ups, busy_s = spent[0]
    share = busy_s / _WATCHED_SPAN_S
    rate = f"{wake_ups / _WATCHED_SPAN_S:.0f} wake-ups a second"
    record(
        Figure("idle watch of 5,500 sessions: of a core", f"{share:.3%}", rate, "", "0.1 %", share <= _MOST_SHARE)
    )


def _spent_in(span_s: float) -> tuple[int, float]:
    began_s = time.process_time()
    wake_ups = _wake_ups_in(span_s)
    return wake_ups, time.process_time() - began_s


def _await_idleness(until_s: float) -> None:
    while _wake_ups_in(1.0) and time.monotonic() < until_s:
        pass


def _wake_ups_in(span_s: float) -> int:
    before = _wake_ups()
    threading.Event().wait(span_s)
    after = _wake_ups()
    return sum(count - before.get(thread, 0) for thread, count in after.items())


def _wake_ups() -> dict[str, int]:
    threads = [each for each in os.listdir(_TASKS) if each != str(threading.get_native_id())]  # noqa: PTH208 - names
    return {thread: _switches_of(_TASKS / thread / "status") for thread in threads}


def _switches_of(status: Path) -> int:
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
    return int(lines["voluntary_ctxt_switches"])
