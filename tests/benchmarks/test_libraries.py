"""The caches that a user would take instead, where they do the same work.

One key, 500 rows of 35 fields. A hit: one thread, every read a hit. A cold key: 200 threads (cashews: 200 tasks)
that begin together, nothing held, a build of 0.2 s. An invalidation: one that comes while the key is being built,
and then a read. None of them looks at sources.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from tests.benchmarks.figures import Figure, in_units
from tests.benchmarks.libraries import THREADED, Cashews
from tests.benchmarks.rows import made_payload
from tests.benchmarks.timing import Benchmark, run_once, side_by_side

pytestmark = pytest.mark.long

_KEY = SessionListKey()
_READERS = 200
_BUILD_S = 0.2
_CALLS = 500


class _Builder:
    """Builds, and counts how often."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.count = 0
        self._takes_s = takes_s
        self._lock = threading.Lock()

    def __call__(self) -> Mapping[str, object]:
        with self._lock:
            self.count += 1
        time.sleep(self._takes_s)
        return made_payload(500)


@pytest.mark.parametrize("name", [*THREADED, "cashews"])
def test_a_hit(benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path, name: str) -> None:
    """R2"""
    calls = 20 if name in {"diskcache", "Flask-Caching"} else _CALLS
    with SessionListCache(lambda _key: made_payload(500), policy=Policy(ttl=3_600.0), bus=Bus()) as cache:
        cache.get(_KEY)
        if name == "cashews":
            peer = Cashews(_Builder())
            peer.reads(1)
            spans = side_by_side(
                benchmark,
                lambda: cache.get(_KEY),
                lambda: peer.reads_in_a_row(_CALLS),
                calls=(_CALLS, 1),
                rounds=10,
            )
            spans = (spans[0], spans[1] / _CALLS)
            peer.runner.close()
        else:
            read = THREADED[name](_Builder(), tmp_path).read
            read()
            spans = side_by_side(benchmark, lambda: cache.get(_KEY), read, calls=(_CALLS, calls), rounds=10)
        builds = cache.stats().builds

    assert builds == 1
    ratio = f"{spans[0] / spans[1]:.2g} x its time"
    record(Figure("a hit, without sources", in_units(spans[0]), f"{name} {in_units(spans[1])}", ratio))


@pytest.mark.parametrize("name", [*THREADED, "cashews"])
def test_builds_of_a_cold_key(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path, name: str
) -> None:
    """B1, R5"""
    ours, theirs = _Builder(_BUILD_S), _Builder(_BUILD_S)

    def measure() -> None:
        with SessionListCache(lambda _key: ours(), bus=Bus()) as cache:
            _all_read(lambda: cache.get(_KEY))
        if name == "cashews":
            peer = Cashews(theirs)
            peer.reads(_READERS)
            peer.runner.close()
        else:
            _all_read(THREADED[name](theirs, tmp_path).read)

    run_once(benchmark, measure)

    assert ours.count == 1
    ratio = f"{theirs.count / ours.count:.0f} x as many"
    record(Figure("builds for 200 readers of a cold key", "1", f"{name} {theirs.count}", ratio))


@pytest.mark.parametrize("name", [*THREADED, "cashews"])
def test_an_invalidation_during_a_build(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path, name: str
) -> None:
    """R1"""
    ours, theirs = _HeldBuilder(), _HeldBuilder()

    def measure() -> None:
        with SessionListCache(lambda _key: ours(), bus=Bus()) as cache:
            ours.read_while_invalidated(lambda: cache.get(_KEY), cache.invalidate)
        if name == "cashews":
            peer = Cashews(theirs)
            peer.reads_while_invalidated(theirs.begun, theirs.go_on)
            peer.runner.close()
        else:
            library = THREADED[name](theirs, tmp_path)
            theirs.read_while_invalidated(library.read, library.invalidate)

    run_once(benchmark, measure)

    assert ours.count == 2
    other = "the new" if theirs.count > 1 else "the outdated"
    record(Figure("a read after an invalidation during a build gets", "the new", f"{name}: {other}", ""))


class _HeldBuilder(_Builder):
    """Waits in its build until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> Mapping[str, object]:
        self.begun.set()
        assert self.go_on.wait(10.0)
        return super().__call__()

    def read_while_invalidated(self, read: Callable[[], object], invalidate: Callable[[], object]) -> None:
        reader = threading.Thread(target=read)
        reader.start()
        assert self.begun.wait(10.0)
        invalidate()
        self.go_on.set()
        reader.join()
        read()


def _all_read(read: Callable[[], object]) -> None:
    start = threading.Barrier(_READERS)

    def read_once() -> None:
        start.wait()
        read()

    threads = [threading.Thread(target=read_once) for _ in range(_READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
