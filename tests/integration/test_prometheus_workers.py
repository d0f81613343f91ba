"""Rules L4 and W1: several processes that serve one address count as one, whichever of them is asked."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from hermes_cache import SessionListCache, SessionListKey
from hermes_cache.integrations import worker_files
from hermes_cache.integrations.prometheus import CacheCollector
from hermes_cache.testing import GatedBuilder
from tests.waiting import PROCESS_S, until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

WORKER = """
import os, sys
from hermes_cache import Policy, SessionListCache, SessionListKey
from hermes_cache.integrations.prometheus import CacheCollector
from hermes_cache.testing import GatedBuilder

cache = SessionListCache(GatedBuilder(is_open=True), policy=Policy(ttl=600.0))
collector = CacheCollector(cache)
if "forked" in sys.argv and os.fork():
    os.wait()
    os._exit(0)
for reads in sys.stdin:
    for number in range(int(reads)):
        cache.get(SessionListKey("work"))
    print(os.getpid(), flush=True)
"""


class Worker:
    """Another process that reads from a cache of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, times: int) -> int:
        """Have it read so often, and return the number of the process that did."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self) -> None:
        """Let it end in order."""
        self.process.communicate(timeout=PROCESS_S)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the environment variable."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def worker(folder: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers, and ends them after the test."""
    assert folder.is_dir()
    workers: list[Worker] = []

    def start(*arguments: str) -> Worker:
        workers.append(Worker(*arguments))
        return workers[-1]

    yield start
    for each in workers:
        if each.process.poll() is None:
            each.kill()


@pytest.fixture
def scrape(folder: Path) -> Iterator[Callable[..., float | None]]:
    """Asks this process for a value."""
    assert folder.is_dir()
    with SessionListCache(GatedBuilder(is_open=True)) as cache:
        collector = CacheCollector(cache)
        registry = CollectorRegistry()
        registry.register(collector)

        def ask(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(f"hermes_cache_{name}", {"cache": "sessions", **labels})

        yield ask
        collector.close()


HIT = {"outcome": "hit", "reason": "none"}
BUILT = {"outcome": "built", "reason": "miss"}


@pytest.mark.parametrize("arguments", [[], ["forked"]], ids=["started", "forked from one that made the cache"])
def test_what_another_process_counts_is_added(
    worker: Callable[..., Worker], scrape: Callable[..., float | None], arguments: list[str]
) -> None:
    """L4, L2"""
    one, two = worker(*arguments), worker(*arguments)
    one.read(3)
    two.read(5)

    until(lambda: scrape("reads_total", **HIT) == 6)
    assert scrape("reads_total", **BUILT) == 2
    assert scrape("build_duration_seconds_count") == 2
    assert scrape("entries") == 2
    assert scrape("healthy") == 1


@pytest.mark.parametrize("end", [Worker.end, Worker.kill])
def test_the_counts_of_a_process_that_ended_stay_and_what_it_held_goes(
    worker: Callable[..., Worker], scrape: Callable[..., float | None], end: Callable[[Worker], None]
) -> None:
    """L4: a count that fell would look as if the process had started anew."""
    one = worker()
    one.read(4)
    until(lambda: scrape("reads_total", **HIT) == 3)

    end(one)

    assert scrape("reads_total", **HIT) == 3
    assert scrape("entries") == 0


def test_what_was_counted_in_the_last_second_of_a_process_is_kept(
    worker: Callable[..., Worker], scrape: Callable[..., float | None]
) -> None:
    """L4"""
    one = worker()
    one.read(1)
    one.read(9)

    one.end()

    assert scrape("reads_total", **HIT) == 9


def test_the_files_of_processes_that_ended_become_one(
    worker: Callable[..., Worker], scrape: Callable[..., float | None], folder: Path
) -> None:
    """L4: a server that replaces its workers again and again fills no folder."""
    for _ in range(3):
        one = worker()
        one.read(2)
        one.end()
    last = worker()
    last.read(2)

    until(lambda: scrape("reads_total", **HIT) == 4)
    names = sorted(path.name.split("_")[2].partition(".")[0] for path in folder.glob("*.json"))
    assert len(names) == 2
    assert names[1] == "ended"


def test_a_process_that_was_interrupted_while_it_gathered_files_leaves_none_that_counts_twice(
    worker: Callable[..., Worker], scrape: Callable[..., float | None], folder: Path
) -> None:
    """L4"""
    one = worker()
    one.read(4)
    one.end()
    [path] = folder.glob("hermes_cache_*.json")
    content = json.loads(path.read_bytes())
    # As it is between the writing of the file for all and the removal of this one.
    (folder / f"{worker_files._ENDED}.json").write_text(json.dumps({**content, "names": [path.stem]}))

    before = scrape("reads_total", **HIT)
    two = worker()
    two.read(1)
    until(lambda: not path.exists())
    two.end()

    assert before == 3
    assert scrape("reads_total", **HIT) == 3
    assert scrape("reads_total", **BUILT) == 2


def test_a_file_that_is_damaged_counts_as_none(scrape: Callable[..., float | None], folder: Path) -> None:
    """L4"""
    (folder / "hermes_cache_1_abc.json").write_bytes(b"{")

    assert scrape("entries") == 0


def test_a_folder_that_is_not_there_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """L4"""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "none"))

    with pytest.raises(PermissionError, match=r"PROMETHEUS_MULTIPROC_DIR names .*none: make that folder"):
        CacheCollector(SessionListCache(GatedBuilder()))


def test_a_full_disk_is_logged_once_and_harms_no_reader(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, folder: Path
) -> None:
    """L4"""
    tried: list[Path] = []

    def full(path: Path, _content: bytes) -> None:
        tried.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker_files, "replace_file", full)
    monkeypatch.setattr(worker_files, "_INTERVAL_S", 0.01)
    with SessionListCache(GatedBuilder(is_open=True)) as cache:
        collector = CacheCollector(cache)
        cache.get(SessionListKey("work"))
        until(lambda: len(tried) >= 3)
        cache.get(SessionListKey("work"))
        collector.close()

    logged = [record.msg for record in caplog.records if record.msg == "hermes_cache.metrics_not_written"]
    assert len(logged) == 1
    assert list(folder.glob("*.json")) == []
