"""A fresh hit beside one thread that computes without a pause, as a streaming turn does.

One key, 500 rows of 35 fields, every read a hit, one reading thread that sleeps 5 ms before each read; real stamps
of a home of 250 sessions. Timed is the read alone, not the waking up before it, which no cache can help. Reads of
the cache and of a bare lock come in turns, in 10 runs of 150 each. A run gives one ratio of their p99, and the
median of these ratios counts: a p99 is the second slowest of a run, which one busy moment of the machine decides.
Then with an SQLite journal in which nothing happens, and without the busy thread, too.

Told beside it: how many reads were taken off the processor. Of their own accord (they waited for the interpreter
lock, the mailbox or a check), or since the machine had other work.
"""

import resource
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest

from hermes_cache import Bus, HermesHome, Policy, SessionListCache, SessionListKey
from hermes_cache.samples.home import make_sample_home
from tests.benchmarks.figures import Figure, in_units
from tests.benchmarks.plain_actor import PlainActor
from tests.benchmarks.rows import made_payload
from tests.benchmarks.timing import Benchmark, busy_thread, percentile, run_once, timed_s

_KEY = SessionListKey()
_PERIOD_S = 0.005
_RUNS = 10
_READS = 150
_MOST = 2.0
_NEVER_OLD = Policy(ttl=3_600.0)


@dataclass
class _Reads:
    """What the reads of one way took, a list for each run.

    Attributes:
        runs: In seconds.
        waited: How many gave the processor away.
        preempted: From how many it was taken.
    """

    runs: list[list[float]] = field(default_factory=list)
    waited: int = 0
    preempted: int = 0

    def time(self, read: Callable[[], object]) -> None:
        """Time one read more of the last run."""
        time.sleep(_PERIOD_S)
        before = _switches()
        self.runs[-1].append(timed_s(read))
        after = _switches()
        self.waited += after[0] > before[0]
        self.preempted += after[1] > before[1]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("journal", [False, True], ids=["without a journal", "with a journal"])
@pytest.mark.parametrize("beside", ["a busy thread", pytest.param("nothing", marks=pytest.mark.long)])
def test_a_hit_beside_a_busy_thread(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path, beside: str, *, journal: bool
) -> None:
    """R2, S4, J3"""
    make_sample_home(tmp_path / "home")
    home = HermesHome(tmp_path / "home")
    payload = made_payload(500)
    held, lock = {_KEY: payload}, threading.Lock()
    url = f"sqlite:///{tmp_path}/journal.db" if journal else None
    ours, bare = _Reads(), _Reads()

    def look() -> object:
        with lock:
            return held.get(_KEY)

    with SessionListCache(
        lambda _key: payload, sources=home.sources, policy=_NEVER_OLD, bus=Bus(), journal=url
    ) as cache:
        cache.get(_KEY)
        with busy_thread() if beside == "a busy thread" else nullcontext():
            run_once(benchmark, lambda: _read_in_turns([lambda: cache.get(_KEY), look], [ours, bare]))
        outcomes = cache.stats().outcomes
    home.close()

    assert outcomes["hit"] > 0.9 * sum(outcomes.values())
    _record(record, f"hit {'with a journal ' if journal else ''}beside {beside}", ours, bare)


def test_a_plain_ask_beside_a_busy_thread(benchmark: Benchmark, record: Callable[[Figure], None]) -> None:
    """What the actor would cost if its mailbox did not run on the caller."""
    actor = PlainActor.start({_KEY: None})
    asks = _Reads()

    with busy_thread():
        run_once(benchmark, lambda: _read_in_turns([lambda: actor.ask(_KEY)], [asks], runs=1))
    actor.stop()

    assert len(asks.runs[0]) == _READS
    middle = f"its median {in_units(median(asks.runs[0]))}"
    record(Figure("plain pykka ask beside a busy thread, p99", in_units(percentile(asks.runs[0], 99)), middle, ""))


def _read_in_turns(ways: Sequence[Callable[[], object]], taken: Sequence[_Reads], runs: int = _RUNS) -> None:
    for _ in range(runs):
        for reads in taken:
            reads.runs.append([])
        for _ in range(_READS):
            for reads, read in zip(taken, ways, strict=True):
                reads.time(read)


def _record(record: Callable[[Figure], None], what: str, ours: _Reads, bare: _Reads) -> None:
    own, others = ([percentile(run, 99) for run in reads.runs] for reads in (ours, bare))
    ratios = [one / other for one, other in zip(own, others, strict=True)]
    ratio = f"{median(ratios):.2f} x its time ({min(ratios):.1f} to {max(ratios):.1f})"
    baseline = f"bare lock {in_units(median(others))}"
    kept = median(ratios) <= _MOST
    record(Figure(f"{what}, p99", in_units(median(own)), baseline, ratio, f"<= {_MOST:g} x", kept))
    own_s, others_s = (median(span for run in reads.runs for span in run) for reads in (ours, bare))
    baseline = f"bare lock {in_units(others_s)}"
    record(Figure(f"{what}, median", in_units(own_s), baseline, f"{own_s / others_s:.1f} x its time"))
    baseline = f"bare lock {bare.waited}, {bare.preempted}"
    record(
        Figure(
            f"{what}, reads that waited, and that were preempted", f"{ours.waited}, {ours.preempted}", baseline, ""
        )
    )


def _switches() -> tuple[int, int]:
    """Count how often this thread gave the processor away, and how often it was taken."""
    used = resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))
    return used.ru_nvcsw, used.ru_nivcsw
