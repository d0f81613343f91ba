"""What a request costs the gateway, beside the bare application of the same server in the same process.

A home of 5,500 sessions, the policy of `serve`, builds in a worker. Counted is the CPU time of the whole process,
the cache's checks of its sources included. Each kind is asked on one connection that stays open, in turns; hits
alone. Then 10 clients poll as fast as they can for 5 s, each with the tag of its last answer, without a writer and
beside one that commits 50 times a second.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from hermes_cache.samples.home import make_sample_home
from hermes_cache.samples.writer import write_turns
from tests.benchmarks.figures import Figure, at_most, in_units
from tests.benchmarks.gateway_beside_hello import Pair, Poller, running
from tests.benchmarks.timing import Benchmark, percentile, run_once

_ALL = "/api/sessions?visible_only=0&show_cli=1&show_cron=1&show_previous_messaging=1&agent_limit=all"
_SMALL = "/api/sessions?sidebar_source=cli&show_cli=1&agent_limit=20"
_ROUNDS = 7
_POLLERS = 10
_SPAN_S = 5.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of 5,500 sessions."""
    return make_sample_home(tmp_path_factory.mktemp("polled") / "home", sessions=5_500, profiles=()).path


@pytest.mark.timeout(300)
def test_a_request(benchmark: Benchmark, record: Callable[[Figure], None], home: Path) -> None:
    """W7"""
    spans: dict[str, list[float]] = {"hello": [], "304": [], "small": [], "plain": [], "gzip": []}

    def measure() -> None:
        with running(home) as pair, Poller(pair.gateway) as client, Poller(pair.hello) as greeter:
            small = len(client.ask(_SMALL)[1])
            rows = client.ask(_ALL)[1].count(b'"session_id"')
            _, packed = client.ask(_ALL, packed=True)
            tag = client.tag
            kinds: dict[str, tuple[Callable[[], object], int]] = {
                "hello": (lambda: greeter.ask("/", packed=True), 300),
                "304": (lambda: client.ask(_ALL, packed=True, tag=tag), 300),
                "small": (lambda: client.ask(_SMALL), 100),
                "plain": (lambda: client.ask(_ALL), 30),
                "gzip": (lambda: client.ask(_ALL, packed=True), 30),
            }
            assert client.ask(_ALL, packed=True, tag=tag)[0] == 304
            assert rows > 4_500
            assert len(packed) < 1_000_000
            assert small < 300_000
            for _ in range(_ROUNDS):
                for name, (ask, count) in kinds.items():
                    spans[name].append(_cpu_of(pair, ask, count))

    run_once(benchmark, measure)

    cpu = {name: median(each) for name, each in spans.items()}
    record(at_most("CPU of a poll that is answered 304", cpu["304"], "hello", cpu["hello"], most=2))
    record(at_most("CPU of a view of few rows", cpu["small"], "hello", cpu["hello"]))
    record(at_most("CPU of 5,500 rows, plain", cpu["plain"], "hello", cpu["hello"]))
    record(at_most("CPU of 5,500 rows, gzip", cpu["gzip"], "hello", cpu["hello"]))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("commits_per_s", [0, 50])
def test_ten_pollers(
    benchmark: Benchmark, record: Callable[[Figure], None], home: Path, commits_per_s: int
) -> None:
    """W7"""
    figures: list[Figure] = []

    def measure() -> None:
        stop = threading.Event()
        writing = threading.Thread(
            target=lambda: write_turns(home, commits_per_s=commits_per_s, stop=stop), name="writing"
        )
        with running(home) as pair:
            if commits_per_s:
                writing.start()
            waits, cpu_s = _polled(pair)
            stop.set()
        if commits_per_s:
            writing.join()
        beside = f"beside {commits_per_s} commits/s" if commits_per_s else "without a writer"
        what = f"{_POLLERS} pollers as fast as they can, {beside}"
        figures.append(
            Figure(what, f"{len(waits) / _SPAN_S:,.0f}/s", f"p99 {in_units(percentile(waits, 99))}", "")
        )
        figures.append(Figure("the same, CPU a poll, all included", in_units(cpu_s / len(waits)), "", ""))

    run_once(benchmark, measure)

    for figure in figures:
        record(figure)


def _cpu_of(pair: Pair, ask: Callable[[], object], count: int) -> float:
    before_s = pair.cpu_s()
    for _ in range(count):
        ask()
    return (pair.cpu_s() - before_s) / count


def _polled(pair: Pair) -> tuple[list[float], float]:
    """Poll for a while; return how long each poll took, and the CPU time of the gateway."""
    waits: list[float] = []
    together = threading.Barrier(_POLLERS + 1)

    def poll() -> None:
        with Poller(pair.gateway) as client:
            client.ask(_ALL, packed=True)
            together.wait()
            ends_at_s = time.monotonic() + _SPAN_S
            while (began_s := time.monotonic()) < ends_at_s:
                status, _ = client.ask(_ALL, packed=True, tag=client.tag)
                assert status in {200, 304}
                waits.append(time.monotonic() - began_s)

    threads = [threading.Thread(target=poll) for _ in range(_POLLERS)]
    for thread in threads:
        thread.start()
    together.wait()
    before_s = pair.cpu_s()
    for thread in threads:
        thread.join()
    return waits, pair.cpu_s() - before_s
