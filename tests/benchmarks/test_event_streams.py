"""Event streams of the gateway: 200 and 1,000 clients of one process.

Each client has opened `/api/sessions/events` and read its hello. Then the cache is told 20 times that a list
changed, and the time is taken until the last client has the event. The clients are one thread with a selector.
"""

import re
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from hermes_cache.samples.home import make_sample_home
from tests.benchmarks.figures import Figure, in_units
from tests.benchmarks.gateway_beside_hello import Pair, running
from tests.benchmarks.timing import Benchmark, run_once

_REQUEST = b"GET /api/sessions/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
_EVENT = re.compile(rb"event: (hello|sessions_changed)")
_ROUNDS = 20
_MOST_THREADS = 20


@pytest.mark.timeout(120)
@pytest.mark.parametrize("clients", [200, 1_000])
def test_streams(benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path, clients: int) -> None:
    """W1, W6"""
    home = make_sample_home(tmp_path / "home", sessions=100, profiles=()).path
    spans: list[float] = []
    threads: list[int] = []
    memory: list[int] = []

    def measure() -> None:
        with running(home) as pair, selectors.DefaultSelector() as selector:
            before_threads, before_bytes = pair.threads(), pair.memory_bytes()
            for _ in range(clients):
                stream = socket.create_connection(("127.0.0.1", pair.gateway), 20)
                stream.sendall(_REQUEST)
                stream.settimeout(0)
                selector.register(stream, selectors.EVENT_READ)
            _wait_for_all(selector, clients)
            spans.extend([_told(pair, selector, clients) for _ in range(_ROUNDS)])
            threads.append(pair.threads() - before_threads)
            memory.append(pair.memory_bytes() - before_bytes)
            for key in list(selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()

    run_once(benchmark, measure)

    met = threads[0] <= _MOST_THREADS
    what = f"{clients:,} event streams"
    record(Figure(f"{what}: threads that they take", str(threads[0]), "", "", f"<= {_MOST_THREADS}", met))
    each_kib = memory[0] / clients / 1024
    record(Figure(f"{what}: memory", f"{memory[0] / 2**20:.1f} MiB", "", f"{each_kib:.0f} KiB each"))
    record(Figure(f"{what}: from an event to the last of them", in_units(median(spans)), "", ""))


def _told(pair: Pair, selector: selectors.BaseSelector, clients: int) -> float:
    began_s = time.perf_counter()
    pair.tell()
    _wait_for_all(selector, clients)
    return time.perf_counter() - began_s


def _wait_for_all(selector: selectors.BaseSelector, clients: int) -> None:
    """Read until each client has one event more."""
    left = {key.fd for key in selector.get_map().values()}
    assert len(left) == clients
    ends_at_s = time.monotonic() + 30
    while left and time.monotonic() < ends_at_s:
        for key, _ in selector.select(1):
            assert isinstance(key.fileobj, socket.socket)
            if _EVENT.search(key.fileobj.recv(65_536)):
                left.discard(key.fd)
    assert not left
