"""A turn that streams beside a sidebar that is polled.

One thread makes tokens. Beside it 10 tabs poll one key twice a second each, a process commits 50 times a second
to a home of 5,000 sessions with 125,000 messages, and the bus knows of the stream. Compared is the rate with the
writer alone, in turns. The lock cache has a TTL of 2.5 s and builds in full.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from hermes_cache import Bus, HermesHome, SessionListCache, SessionListKey
from hermes_cache.samples.home import make_sample_home
from tests.benchmarks.figures import Figure
from tests.benchmarks.lock_cache import LockCache, stamp_of_home
from tests.benchmarks.timing import Benchmark
from tests.benchmarks.tokens import compared, record_streams

pytestmark = pytest.mark.long

_KEY = SessionListKey(show_cli=True, show_cron=True, show_previous_messaging=True)
_TABS = 10
_POLL_S = 0.5
_ROUNDS = 2
_SPAN_S = 12.0
"""Longer than the streaming TTL, so that a refresh by age falls into it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home that another process writes to."""
    path = make_sample_home(tmp_path_factory.mktemp("busy") / "home", sessions=5_000, profiles=()).path
    command = [sys.executable, "-m", "hermes_cache.samples.writer", "--home", str(path)]
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

        streams = compared(benchmark, beside, rounds=_ROUNDS, span_s=_SPAN_S)
        stats = cache.stats()
    hermes.close()

    assert stats.builds < sum(stats.outcomes.values()) / 10
    record_streams(record, what, streams, ">= 97 %" if executor == "processes" else "")


@pytest.mark.timeout(300)
def test_a_stream_beside_the_lock_cache(
    benchmark: Benchmark, record: Callable[[Figure], None], home: Path
) -> None:
    locked = LockCache(lambda _key: _read_in_full(home), partial(stamp_of_home, home), ttl_s=2.5)
    streams = compared(benchmark, lambda: _tabs(lambda: locked.get(_KEY)), rounds=_ROUNDS, span_s=_SPAN_S)

    assert [len(kind) for kind in streams] == [_ROUNDS, _ROUNDS]
    record_streams(record, "tokens beside 10 tabs, lock cache", streams, "")


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
