"""Rules L4 and W1: under gunicorn, whichever worker is asked tells of all."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import PROCESS_S, until

APP = """
import os
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from hermes_cache import SessionListCache, SessionListKey
from hermes_cache.integrations.prometheus import CacheCollector

cache = SessionListCache(lambda key: {"sessions": []})
collector = CacheCollector(cache)


def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        registry.register(collector)
        body = generate_latest(registry)
    else:
        cache.get(SessionListKey("work"))
        body = str(os.getpid()).encode()
    headers = [("Content-Length", str(len(body))), ("X-Worker", str(os.getpid()))]
    start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST), *headers])
    return [body]
"""


class Server:
    """A gunicorn with two workers.

    Attributes:
        worker: The process that answered last.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.worker = 0

    def get(self, path: str) -> str:
        """Ask whichever worker takes the request."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PROCESS_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            self.worker = int(answer.headers["X-Worker"])
            return answer.read().decode()
        finally:
            connection.close()

    def value(self, name: str, **labels: str) -> float | None:
        """Return one value of what is collected."""
        for family in text_string_to_metric_families(self.get("/metrics")):
            for sample in family.samples:
                if sample.name == f"hermes_cache_{name}" and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def reads(self) -> float:
        """Return how many reads are counted in all."""
        families = text_string_to_metric_families(self.get("/metrics"))
        return sum(
            float(each.value)
            for family in families
            if family.name == "hermes_cache_reads"
            for each in family.samples
        )


@contextmanager
def gunicorn(folder: Path, *options: str) -> Iterator[Server]:
    (folder / "gateway.py").write_text(APP)
    (folder / "metrics").mkdir()
    log = folder / "log"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics")}
    command = [
        "-m",
        "gunicorn",
        "gateway:app",
        "--bind=127.0.0.1:0",
        "--workers=2",
        "--timeout=120",
        f"--log-file={log}",
        *options,
    ]
    process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment)  # noqa: S603 - our own
    try:
        until(
            lambda: log.exists() and re.search(r"Listening at: http://127.0.0.1:(\d+)", log.read_text()),
            within_s=PROCESS_S,
        )
        found = re.search(r"Listening at: http://127.0.0.1:(\d+)", log.read_text())
        assert found is not None
        yield Server(int(found[1]))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PROCESS_S)


def read_from_both(server: Server) -> dict[int, int]:
    """Read until both workers have answered twice, and return how often each did."""
    answered: dict[int, int] = {}

    def read() -> bool:
        worker = int(server.get("/"))
        answered[worker] = answered.get(worker, 0) + 1
        return len(answered) == 2 and min(answered.values()) >= 2

    until(read, within_s=PROCESS_S)
    return answered


@pytest.mark.parametrize("options", [[], ["--preload"], ["--threads=4"]], ids=" ".join)
def test_whichever_worker_is_asked_tells_of_all_also_of_those_that_are_gone(
    tmp_path: Path, options: list[str]
) -> None:
    """L4, W1"""
    with gunicorn(tmp_path, *options) as server:
        answered = read_from_both(server)
        total = sum(answered.values())
        known: dict[int, float] = {}

        def all_know_all() -> bool:
            # Else the one that is killed may not have written its last second.
            reads = server.reads()
            known[server.worker] = reads
            return known == dict.fromkeys(answered, total)

        until(all_know_all, within_s=PROCESS_S)
        until(lambda: server.value("entries") == 2, (tmp_path / "log").read_text(), within_s=PROCESS_S)

        os.kill(next(iter(answered)), signal.SIGKILL)
        until(lambda: server.value("entries") == 1, within_s=PROCESS_S)
        left = server.reads()
        again = read_from_both(server)
        until(lambda: server.reads() == total + sum(again.values()), within_s=PROCESS_S)

    assert left == total
