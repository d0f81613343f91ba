"""A fresh hit beside one thread that computes without a pause, as a streaming turn does.

One key, 500 rows of 35 fields, every read a hit, one reading thread that sleeps 5 ms between two reads; real
stamps of a home of 250 sessions. Timed is the read alone, not the waking up before it, which no cache can help.
Then with an SQLite journal in which nothing happens, and without the busy thread, too.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

import pytest

from hermes_cache import Bus, HermesHome, Policy, SessionListCache, SessionListKey
from hermes_cache.hermes.sample import make_sample_home
from tests.benchmarks.figures import Figure, at_most, in_units
from tests.benchmarks.plain_actor import PlainActor
from tests.benchmarks.rows import made_payload
from tests.benchmarks.timing import Benchmark, percentile, run_once, timed_s

_KEY = SessionListKey()
_PERIOD_S = 0.005
_BLOCKS = 12
_READS_PER_BLOCK = 50
_NEVER_OLD = Policy(ttl=3_600.0)


def test_a_hit_beside_a_busy_thread(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path
) -> None:
    """R2, S4"""
    make_sample_home(tmp_path / "home")
    home = HermesHome(tmp_path / "home")
    payload = made_payload(500)
    held, lock = {_KEY: payload}, threading.Lock()
    actor = PlainActor.start({_KEY: payload})
    spans: dict[str, list[float]] = {}

    def look() -> object:
        with lock:
            return held.get(_KEY)

    with SessionListCache(lambda _key: payload, sources=home.sources, policy=_NEVER_OLD, bus=Bus()) as cache:
        ways: dict[str, Callable[[], object]] = {
            "ours": lambda: cache.get(_KEY),
            "bare": look,
            "actor": lambda: actor.ask(_KEY),
        }
        with _busy_thread():
            run_once(benchmark, lambda: spans.update(_read_in_turns(ways)))
        outcomes = cache.stats().outcomes
    actor.stop()
    home.close()

    assert outcomes["hit"] > 0.9 * sum(outcomes.values())
    p99 = {name: percentile(taken, 99) for name, taken in spans.items()}
    record(at_most("hit beside a busy thread, p99", p99["ours"], "bare lock", p99["bare"], most=2))
    middle = {name: median(taken) for name, taken in spans.items()}
    ratio = f"{middle['ours'] / middle['bare']:.1f} x its time"
    told = f"bare lock {in_units(middle['bare'])}"
    record(Figure("hit beside a busy thread, median", in_units(middle["ours"]), told, ratio))
    ratio = f"{p99['actor'] / p99['ours']:,.0f} x faster"
    record(
        Figure(
            "hit beside a busy thread, p99",
            in_units(p99["ours"]),
            f"plain pykka ask {in_units(p99['actor'])}",
            ratio,
        )
    )


@pytest.mark.parametrize("beside", ["a busy thread", "nothing"])
def test_a_hit_with_a_journal(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path, beside: str
) -> None:
    """J3, S4"""
    make_sample_home(tmp_path / "home")
    home = HermesHome(tmp_path / "home")
    payload = made_payload(500)
    held, lock = {_KEY: payload}, threading.Lock()
    journal = f"sqlite:///{tmp_path}/journal.db"
    spans: dict[str, list[float]] = {}

    def look() -> object:
        with lock:
            return held.get(_KEY)

    with SessionListCache(
        lambda _key: payload, sources=home.sources, policy=_NEVER_OLD, bus=Bus(), journal=journal
    ) as cache:
        ways: dict[str, Callable[[], object]] = {"ours": lambda: cache.get(_KEY), "bare": look}
        with nullcontext() if beside == "nothing" else _busy_thread():
            run_once(benchmark, lambda: spans.update(_read_in_turns(ways)))
    home.close()

    p99 = {name: percentile(taken, 99) for name, taken in spans.items()}
    what = f"hit with a journal beside {beside}"
    record(at_most(f"{what}, p99", p99["ours"], "bare lock", p99["bare"], most=2))
    middle = {name: median(taken) for name, taken in spans.items()}
    ratio = f"{middle['ours'] / middle['bare']:.1f} x its time"
    record(Figure(f"{what}, median", in_units(middle["ours"]), f"bare lock {in_units(middle['bare'])}", ratio))


def _read_in_turns(ways: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    spans: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_BLOCKS):
        for name, read in ways.items():
            read()
            for _ in range(_READS_PER_BLOCK):
                time.sleep(_PERIOD_S)
                spans[name].append(timed_s(read))
    return spans


@contextmanager
def _busy_thread() -> Iterator[None]:
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1_000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
