"""Times ways of doing one thing beside one another."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Protocol


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that is used here."""

    def pedantic(
        self, target: Callable[[], object], *, setup: Callable[[], None] | None = None, rounds: int = 1
    ) -> object:
        """Time so many calls of a target, each after a call of `setup`."""


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def timed_s(call: Callable[[], object], calls: int = 1) -> float:
    """Time calls in a row, and give the time of one."""
    began_s = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began_s) / calls


def side_by_side(
    benchmark: Benchmark,
    ours: Callable[[], object],
    *baselines: Callable[[], object],
    calls: Sequence[int],
    rounds: int,
) -> tuple[float, ...]:
    """Time one way and its baselines in turns, so that a busy moment of the machine falls on all alike.

    Args:
        benchmark: Times `ours`.
        ours: What is benchmarked.
        baselines: What it is held against; each runs once before each round of `ours`.
        calls: How often each is called in a round, `ours` first.
        rounds: How many.

    Returns:
        The medians in seconds a call, `ours` first.
    """
    spans: list[list[float]] = [[] for _ in baselines]

    def run_baselines() -> None:
        for taken, baseline, count in zip(spans, baselines, calls[1:], strict=True):
            taken.append(timed_s(baseline, count))

    own: list[float] = []
    benchmark.pedantic(lambda: own.append(timed_s(ours, calls[0])), setup=run_baselines, rounds=rounds)
    return (median(own), *map(median, spans))


def run_once(benchmark: Benchmark, run: Callable[[], object]) -> None:
    """Run what takes its own measures."""
    benchmark.pedantic(run, rounds=1)


@contextmanager
def busy_thread() -> Iterator[None]:
    """Have one thread compute without a pause meanwhile, as one that streams a turn may."""
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
