"""A thread that makes tokens, as one that streams a turn does.

For each token it waits 1 ms, as for the model, then computes for 0.1 ms and writes, as to the browser; so it gives
the interpreter lock away twice a token and must get it back.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks.figures import Figure, in_units
from tests.benchmarks.timing import Benchmark, run_once

_MODEL_S: Final = 0.001
_LEAST: Final = 0.97


@dataclass(frozen=True, slots=True)
class Stream:
    """How tokens came: so many a second, and the longest pause between two."""

    rate_per_s: float
    longest_gap_s: float


def compared(
    benchmark: Benchmark, beside: Callable[[], AbstractContextManager[None]], *, rounds: int, span_s: float
) -> tuple[list[Stream], list[Stream]]:
    """Stream beside the cache and without it, in turns of a span each."""
    burdened: list[Stream] = []
    free: list[Stream] = []

    def measure() -> None:
        for _ in range(rounds):
            free.append(_stream(span_s))
            with beside():
                burdened.append(_stream(span_s))

    run_once(benchmark, measure)
    return burdened, free


def record_streams(
    record: Callable[[Figure], None], what: str, streams: tuple[list[Stream], list[Stream]], budget: str
) -> None:
    """Take rate and longest gap of what `compared` gave into the table."""
    rates = [median(each.rate_per_s for each in kind) for kind in streams]
    gaps = [max(each.longest_gap_s for each in kind) for kind in streams]
    share = rates[0] / rates[1]
    met = share >= _LEAST if budget else None
    ours, without = (f"{rate:,.0f}/s" for rate in rates)
    record(Figure(what, ours, f"without {without}", f"{share:.1%}", budget, met))
    ratio = f"{gaps[0] / gaps[1]:.1f} x"
    record(Figure(f"{what}: longest gap", in_units(gaps[0]), f"without {in_units(gaps[1])}", ratio))


def _stream(span_s: float) -> Stream:
    """Make tokens for a while on a thread of their own."""
    streams: list[Stream] = []
    thread = threading.Thread(target=lambda: streams.append(_made_tokens(span_s)))
    thread.start()
    thread.join()
    return streams[0]


def _made_tokens(span_s: float) -> Stream:
    tokens, longest_gap_s = 0, 0.0
    with Path(os.devnull).open("wb", buffering=0) as browser:
        began_s = last_s = time.perf_counter()
        while last_s < began_s + span_s:
            time.sleep(_MODEL_S)
            browser.write(b"%d" % sum(range(5_000)))
            tokens += 1
            now_s = time.perf_counter()
            longest_gap_s = max(longest_gap_s, now_s - last_s)
            last_s = now_s
    return Stream(tokens / (last_s - began_s), longest_gap_s)
