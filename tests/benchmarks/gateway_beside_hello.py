"""A gateway, and beside it a bare application on the same server: a process of its own, for the benchmarks.

`python -m tests.benchmarks.gateway_beside_hello HOME` prints both addresses, and ends with its input.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from hermes_cache import Bus, HermesHome, Policy, SessionListCache
from hermes_cache.gateway.app import create_app
from hermes_cache.gateway.server import GatewayServer
from hermes_cache.integrations.asgi_streams import EventStreams

_ROOT = Path(__file__).parents[2]


async def _hello(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


class _Bare(Starlette):
    """An application that says hello, without a framework between."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _hello(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both, as they run.

    Attributes:
        process: The process of both.
        gateway: The gateway's port.
        hello: The bare application's.
    """

    process: "subprocess.Popen[str]"
    gateway: int
    hello: int

    def cpu_s(self) -> float:
        """Return the CPU time that the process has used."""
        # What `clock_getcpuclockid` returns on Linux; Python has no name for it.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def memory_bytes(self) -> int:
        """Return what the process holds in memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096

    def threads(self) -> int:
        """Return how many threads it has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))  # noqa: PTH208 - shorter

    def tell(self) -> None:
        """Have the cache told that a list changed."""
        assert self.process.stdin
        self.process.stdin.write("changed\n")
        self.process.stdin.flush()


@contextmanager
def running(home: Path) -> Iterator[Pair]:
    """Run both over a home."""
    command = [sys.executable, "-m", "tests.benchmarks.gateway_beside_hello", str(home)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(  # noqa: S603 - ours
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=_ROOT
    ) as process:
        try:
            assert process.stdout
            gateway, hello = map(int, re.findall(r":(\d+)/", process.stdout.readline()))
            yield Pair(process, gateway, hello)
            process.communicate(timeout=20)
        finally:
            process.kill()


class Poller:
    """A client on one connection that sends what a browser sends."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._input = self._socket.makefile("rb")
        self.tag = ""

    def ask(self, path: str, *, packed: bool = False, tag: str = "") -> tuple[int, bytes]:
        """Ask, and return the status and the body; the answer's tag is kept."""
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)"]
        lines += ["Accept: */*", "Accept-Language: en", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"]
        lines += ["Accept-Encoding: gzip, deflate, br"] if packed else []
        lines += [f"If-None-Match: {tag}"] if tag else []
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        status, size = int(self._input.readline().split()[1]), 0
        while (line := self._input.readline()) != b"\r\n":
            name, _, value = line.decode().partition(":")
            if name.lower() == "content-length":
                size = int(value)
            if name.lower() == "etag":
                self.tag = value.strip()
        return status, self._input.read(size if status == 200 else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        self._socket.close()


def _serve(home: Path) -> None:
    source = HermesHome(home)
    policy = Policy(poll_interval=5.0, stop_timeout=2.0)
    # Builds in a worker process, as `serve` has them: what they cost is not what a request costs.
    with SessionListCache(
        source.builder, sources=source.sources, bus=Bus(), policy=policy, executor="processes"
    ) as cache:
        bare = _Bare()
        bare.state.streams = EventStreams(cache, limit=0, heartbeat_s=1.0)
        with GatewayServer(create_app(cache, source)) as gateway, GatewayServer(bare) as hello:
            print(gateway.url, hello.url, flush=True)  # noqa: T201 - its parent reads it
            for _ in sys.stdin:
                cache.invalidate()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
