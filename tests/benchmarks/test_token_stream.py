"""A turn that streams beside a sidebar that is polled.

One thread makes tokens: for each it waits 1 ms, as for the model, then computes for 0.1 ms and writes, as to the
browser; so it gives the interpreter lock away twice a token and must get it back. Beside it 10 tabs poll one key
twice a second each, a process commits 50 times a second to a home of 5,000 sessions with 125,000 messages, and the
bus knows of the stream. Compared is the rate with the writer alone, in turns. The lock cache has a TTL of 2.5 s
and builds in full.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Literal

import pytest

from hermes_cache import Bus, HermesHome, SessionListCache, SessionListKey
from hermes_cache.hermes.sample import make_sample_home
from tests.benchmarks.figures import Figure, in_units
from tests.benchmarks.lock_cache import LockCache, stamp_of_home
from tests.benchmarks.timing import Benchmark, run_once

_KEY = SessionListKey(show_cli=True, show_cron=True, show_previous_messaging=True)
_TABS = 10
_POLL_S = 0.5
_MODEL_S = 0.001
_SPAN_S = 12.0
"""Longer than the streaming TTL, so that a refresh by age falls into it."""

_ROUNDS = 2
_LEAST = 0.97


@dataclass(frozen=True, slots=True)
class _Stream:
    """How tokens came: so many a second, and the longest pause between two."""

    rate_per_s: float
    longest_gap_s: float


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home that another process writes to."""
    path = make_sample_home(tmp_path_factory.mktemp("busy") / "home", sessions=5_000, profiles=()).path
    command = [sys.executable, "-m", "hermes_cache.hermes.writer", "--home", str(path)]
    with subprocess.Popen([*command, "--commits-per-second", "50"]) as writer:  # noqa: S603 - a fixed command
        yield path
        writer.terminate()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_stream_beside_the_cache(
    benchmark: Benchmark,
    record: Callable[[Figure], None],
    home: Path,
    executor: Literal["threads", "processes"],
) -> None:
    """H1, B8, B9"""
    what = f"tokens beside 10 tabs, builders in {executor}"
    hermes, bus = HermesHome(home), Bus()

    with SessionListCache(hermes.builder, sources=hermes.sources, executor=executor, bus=bus) as cache:
        cache.get(_KEY, timeout=60.0)

        @contextmanager
        def beside() -> Iterator[None]:
            bus.stream_started.send(None, stream_id="turn")
            with _tabs(lambda: cache.render(_KEY)):
                yield
            bus.stream_stopped.send(None, stream_id="turn")

        streams = _measured(benchmark, beside)
    hermes.close()

    _record(record, what, streams, ">= 97 %" if executor == "processes" else "")


@pytest.mark.timeout(300)
def test_a_stream_beside_the_lock_cache(
    benchmark: Benchmark, record: Callable[[Figure], None], home: Path
) -> None:
    locked = LockCache(lambda _key: _read_in_full(home), partial(stamp_of_home, home), ttl_s=2.5)
    streams = _measured(benchmark, lambda: _tabs(lambda: locked.get(_KEY)))

    _record(record, "tokens beside 10 tabs, lock cache", streams, "")


def _measured(
    benchmark: Benchmark, beside: Callable[[], AbstractContextManager[None]]
) -> tuple[list[_Stream], list[_Stream]]:
    """Stream beside the cache and without it, in turns."""
    burdened: list[_Stream] = []
    free: list[_Stream] = []

    def measure() -> None:
        for _ in range(_ROUNDS):
            free.append(_stream())
            with beside():
                burdened.append(_stream())

    run_once(benchmark, measure)
    return burdened, free


def _record(
    record: Callable[[Figure], None], what: str, streams: tuple[list[_Stream], list[_Stream]], budget: str
) -> None:
    rates = [median(each.rate_per_s for each in kind) for kind in streams]
    gaps = [max(each.longest_gap_s for each in kind) for kind in streams]
    share = rates[0] / rates[1]
    met = share >= _LEAST if budget else None
    told = [f"{rate:,.0f}/s" for rate in rates]
    record(Figure(what, told[0], f"without {told[1]}", f"{share:.1%}", budget, met))
    ratio = f"{gaps[0] / gaps[1]:.1f} x"
    record(Figure(f"{what}: longest gap", in_units(gaps[0]), f"without {in_units(gaps[1])}", ratio))


def _stream() -> _Stream:
    """Make tokens for a while on a thread of their own."""
    streams: list[_Stream] = []
    thread = threading.Thread(target=lambda: streams.append(_made_tokens()))
    thread.start()
    thread.join()
    return streams[0]


def _made_tokens() -> _Stream:
    tokens, longest_gap_s = 0, 0.0
    with Path(os.devnull).open("wb", buffering=0) as browser:
        began_s = last_s = time.perf_counter()
        while last_s < began_s + _SPAN_S:
            time.sleep(_MODEL_S)
            browser.write(b"%d" % sum(range(5_000)))
            tokens += 1
            now_s = time.perf_counter()
            longest_gap_s = max(longest_gap_s, now_s - last_s)
            last_s = now_s
    return _Stream(tokens / (last_s - began_s), longest_gap_s)


@contextmanager
def _tabs(read: Callable[[], object]) -> Iterator[None]:
    """Poll on as many threads as there are tabs."""
    stop = threading.Event()

    def poll(first_s: float) -> None:
        pause_s = first_s
        while not stop.wait(pause_s):
            read()
            pause_s = _POLL_S

    threads = [threading.Thread(target=poll, args=(_POLL_S * tab / _TABS,)) for tab in range(_TABS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _read_in_full(home: Path) -> Mapping[str, object]:
    hermes = HermesHome(home)
    try:
        return hermes.builder(_KEY)
    finally:
        hermes.close()
