"""The gateways of the examples as real processes, under 20 clients that read while sessions are renamed.

`python -m tests.e2e.framework_runs` prints the table of `docs/frameworks.md`.
"""

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final
from urllib.parse import urlencode

from tests.e2e.gateway_process import free_port
from tests.waiting import PROCESS_S, WAIT_S, until

_ROOT: Final = Path(__file__).parents[2]
_GATEWAYS: Final = "examples.gateways"
_CLIENTS: Final = 20
_PAUSE_S: Final = 0.03
_WORKER: Final = ("worker", "--concurrency", "2", "--loglevel", "info")
STOPS_WITHIN_S: Final = 10.0

Acks = Iterator[tuple[int, str | None]]
"""What was published, in order: a number that is a title now, and the ticket if there is one."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """An example of a gateway, and how it is run.

    Attributes:
        name: As in the table.
        source: What the user writes, below `examples/gateways`.
        needs: The packages without which it cannot run.
        command: The arguments of Python; `{port}` stands for the port.
        path: Where the list is.
        stop: The signal that ends it.
        codes: With which codes it may exit.
        has_streams: Whether it has event streams, one of which is open when it is told to stop.
        worker: The arguments of Python for a process that publishes; none if clients publish over HTTP.
        client: Likewise for what has it publish; it prints what was published.
    """

    name: str
    source: str
    needs: tuple[str, ...] = ()
    command: tuple[str, ...]
    path: str = "/api/sessions"
    stop: signal.Signals = signal.SIGTERM
    codes: tuple[int, ...] = (0,)
    has_streams: bool = True
    worker: tuple[str, ...] = ()
    client: tuple[str, ...] = ()

    @property
    def missing(self) -> str | None:
        """The first package that is not here."""
        return next((package for package in self.needs if find_spec(package) is None), None)

    @property
    def lines(self) -> int:
        """How many lines the user writes, without blank ones and comments."""
        text = (_ROOT / "examples" / "gateways" / self.source).read_text()
        tree = ast.parse(text)
        documented = ast.get_docstring(tree, clean=False)
        code = "\n".join(text.splitlines()[tree.body[0].end_lineno if documented else 0 :])
        return sum(1 for line in code.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def _uvicorn(app: str, *more: str) -> tuple[str, ...]:
    return ("-m", "uvicorn", f"{_GATEWAYS}.{app}", "--port", "{port}", "--log-level", "warning", *more)


def _gunicorn(app: str, *more: str) -> tuple[str, ...]:
    quiet = ("--log-level", "warning", "--graceful-timeout", "60", "--no-control-socket")
    return ("-m", "gunicorn", f"{_GATEWAYS}.{app}", "--bind", "127.0.0.1:{port}", *quiet, *more)


_PREFORKED: Final = _gunicorn("gunicorn_prefork.app:app", "--preload", "--workers", "2", "--threads", "8")

EXAMPLES: Final = (
    Example(
        name="http.server",
        source="http_server/app.py",
        command=("-m", f"{_GATEWAYS}.http_server.app", "{port}"),
        stop=signal.SIGINT,
    ),
    Example(
        name="Flask",
        source="flask_app/app.py",
        needs=("flask",),
        command=("-m", "flask", "--app", f"{_GATEWAYS}.flask_app.app", "run", "--port", "{port}"),
        stop=signal.SIGINT,
    ),
    Example(
        name="FastAPI, uvicorn",
        source="fastapi_app/app.py",
        needs=("fastapi", "uvicorn"),
        command=_uvicorn("fastapi_app.app:app"),
        codes=(0, -signal.SIGTERM),
    ),
    Example(
        name="Starlette, uvicorn, 2 workers",
        source="uvicorn_workers/app.py",
        needs=("uvicorn",),
        command=_uvicorn("uvicorn_workers.app:app", "--workers", "2"),
        codes=(0, -signal.SIGTERM),
    ),
    Example(
        name="Django, gunicorn with threads",
        source="django_app/app.py",
        needs=("django", "gunicorn"),
        command=_gunicorn("django_app.app:sync_app", "--threads", "8"),
    ),
    Example(
        name="Django on a loop, uvicorn",
        source="django_app/app.py",
        needs=("django", "uvicorn"),
        command=_uvicorn("django_app.app:async_app", "--lifespan", "off", "--timeout-graceful-shutdown", "2"),
        path="/api/sessions/async",
        codes=(0, -signal.SIGTERM),
    ),
    Example(
        name="WSGI, gunicorn --preload, 2 workers",
        source="gunicorn_prefork/app.py",
        needs=("gunicorn",),
        command=_gunicorn("gunicorn_prefork.app:app", "--preload", "--workers", "2"),
        has_streams=False,
    ),
    Example(
        name="WSGI, gunicorn --preload, 2 workers with threads",
        source="gunicorn_prefork/app.py",
        needs=("gunicorn",),
        command=_PREFORKED,
        has_streams=False,
    ),
    Example(
        name="Celery publishes",
        source="celery_publisher/tasks.py",
        needs=("gunicorn", "celery"),
        command=_PREFORKED,
        has_streams=False,
        worker=("-m", "celery", "--app", "tests.e2e.celery_client", *_WORKER),
        client=("-m", "tests.e2e.celery_client"),
    ),
    Example(
        name="APScheduler publishes",
        source="scheduler_publisher/jobs.py",
        needs=("gunicorn", "apscheduler"),
        command=_PREFORKED,
        has_streams=False,
        client=("-m", f"{_GATEWAYS}.scheduler_publisher.jobs"),
    ),
)


@dataclass(kw_only=True)
class Run:
    """What became of an example.

    Attributes:
        reads_s: How long each read took.
        published: How many renames were acknowledged.
        outdated: How many reads lacked a rename that was acknowledged before they began.
        refused: The answers that were neither a list nor 304.
        start_s: From the start of the process to its first answer.
        stop_s: From the signal to its end.
        code: Its exit code.
        errors: What it wrote to standard error.
    """

    reads_s: list[float] = field(default_factory=list)
    published: int = 0
    outdated: int = 0
    refused: list[str] = field(default_factory=list)
    start_s: float = 0.0
    stop_s: float = 0.0
    code: int | None = None
    errors: str = ""

    def percentile_ms(self, share: float) -> float:
        """Return a percentile of the reads, in milliseconds."""
        ordered = sorted(self.reads_s)
        return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run(example: Example, *, reads: int, renames: int) -> Run:
    """Run an example until so many reads and renames are done, and stop it."""
    found = Run()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        port = free_port()
        environment = {**os.environ, "EXAMPLE_FOLDER": folder, "PYTHONPATH": str(_ROOT)}
        began_s = time.monotonic()
        errors = stack.enter_context(Path(folder, "errors.log").open("w+"))
        command = [argument.format(port=port) for argument in example.command]
        process = stack.enter_context(_process(command, environment, errors))
        clients = Clients(port, example.path)
        clients.wait_until_there(process)
        found.start_s = time.monotonic() - began_s

        acks = clients.posted()
        if example.client:
            acks = _printed(stack, example, environment)
        clients.go_on_until(found, acks, reads, renames)

        stream = clients.stream(f"{example.path}/events") if example.has_streams else None
        began_s = time.monotonic()
        process.send_signal(example.stop)
        found.code = process.wait(PROCESS_S)
        found.stop_s = time.monotonic() - began_s
        if stream is not None:
            stream.close()
        errors.seek(0)
        found.errors = errors.read()
    return found


class Clients:
    """Twenty threads that read a list, each on a connection of its own."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._path = path
        self._acked: tuple[int, str | None] = (0, None)
        self._done = threading.Event()
        self._lock = threading.Lock()

    def wait_until_there(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait for the first answer."""
        ends_at_s = time.monotonic() + PROCESS_S
        while time.monotonic() < ends_at_s and process.poll() is None:
            with suppress(HTTPException, OSError), closing(_Connection(self._port)) as connection:
                if connection.ask("GET", self._path)[0] == 200:
                    return
            self._done.wait(0.02)
        raise RuntimeError(f"no answer: {process.args!r}, exit code {process.poll()}")

    def posted(self) -> Acks:
        """Rename a session over HTTP again and again."""
        for number in range(1, sys.maxsize):
            asked = urlencode({"session_id": "s000", "title": number})
            with closing(_Connection(self._port)) as connection:
                status, _, body = connection.ask("POST", f"/api/sessions?{asked}")
            if status not in (200, 204):
                raise RuntimeError(f"the rename was answered with {status}: {body[:200]!r}")
            yield number, json.loads(body)["ticket"] if body else None

    def go_on_until(self, found: Run, acks: Acks, reads: int, renames: int) -> None:
        """Read from the first rename on, until so many reads and renames are done.

        Reads before it would prove nothing, and hold up a publisher that is still starting.
        """
        first = next(acks)
        threads = [threading.Thread(target=self._read, args=(found, reads, renames)) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            for number, ticket in chain([first], acks):
                self._acked = number, ticket
                found.published += 1
                if self._done.wait(_PAUSE_S):
                    break
        finally:
            self._done.set()
            for thread in threads:
                thread.join(WAIT_S)

    def stream(self, path: str) -> socket.socket:
        """Open an event stream, and return once it has begun."""
        stream = socket.create_connection(("127.0.0.1", self._port), PROCESS_S)
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        text = b""
        while b"event: hello" not in text:
            part = stream.recv(65_536)
            if not part:
                raise RuntimeError(f"no event stream: {text!r}")
            text += part
        return stream

    def _read(self, found: Run, reads: int, renames: int) -> None:
        connection, tag, seen = _Connection(self._port), "", 0
        while not self._done.is_set():
            number, ticket = self._acked
            path = f"{self._path}?{urlencode({'ticket': ticket})}" if ticket else self._path
            began_s = time.perf_counter()
            try:
                status, tag, body = connection.ask("GET", path, tag)
            except (HTTPException, OSError):
                # The server closed a connection that it had kept open; the read begins anew.
                connection.close()
                continue
            took_s = time.perf_counter() - began_s
            if status == 200:
                seen = _number_in(body)
            with self._lock:
                found.reads_s.append(took_s)
                found.outdated += seen < number
                if status not in (200, 304):
                    found.refused.append(f"{status}: {body[:200]!r}")
                if len(found.reads_s) >= reads and found.published >= renames:
                    self._done.set()
        connection.close()


class _Connection:
    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PROCESS_S)

    def ask(self, method: str, path: str, tag: str = "") -> tuple[int, str, bytes]:
        """Return the status, the tag and the body."""
        headers = {"Accept-Encoding": "identity"} | ({"If-None-Match": tag} if tag else {})
        self._connection.request(method, path, headers=headers)
        answer = self._connection.getresponse()
        return answer.status, answer.getheader("ETag", ""), answer.read()

    def close(self) -> None:
        """Close it; another question opens it anew."""
        self._connection.close()


def _number_in(body: bytes) -> int:
    title = next(row["title"] for row in json.loads(body)["sessions"] if row["session_id"] == "s000")
    return int(title) if re.fullmatch("[0-9]+", title) else 0


def _printed(stack: ExitStack, example: Example, environment: dict[str, str]) -> Acks:
    log = Path(environment["EXAMPLE_FOLDER"], "publishers.log")
    errors = stack.enter_context(log.open("w"))
    if example.worker:
        worker = stack.enter_context(_process(example.worker, environment, errors))
        # If two processes make the tables of a broker at the same time, one of them fails.
        until(lambda: " ready." in log.read_text() or worker.poll() is not None, within_s=PROCESS_S)
    return _acks_of(stack.enter_context(_process(example.client, environment, errors)), log)


def _acks_of(client: "subprocess.Popen[bytes]", log: Path) -> Acks:
    assert client.stdout
    for line in client.stdout:
        number, ticket = line.split()
        yield int(number), ticket.decode()
    raise RuntimeError(f"the publisher ended with {client.wait(PROCESS_S)}: {log.read_text()[-4_000:]}")


@contextmanager
def _process(
    command: Sequence[str], environment: dict[str, str], errors: IO[str] | int
) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, *command],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    # With its workers: they are in its group.
    for number, within_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, WAIT_S)):
        try:
            os.killpg(process.pid, number)
            process.wait(within_s)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def main(say: Callable[[str], object] = print) -> None:
    """Print the table."""
    say("| framework | lines | reads | outdated | p50 | p99 | start | stop |")
    say("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for example in EXAMPLES:
        if example.missing:
            say(f"| {example.name} | {example.missing} is not here | | | | | | |")
            continue
        found = run(example, reads=5_000, renames=100)
        spans = " | ".join(f"{found.percentile_ms(share):.1f} ms" for share in (0.5, 0.99))
        counts = f"{example.lines} | {len(found.reads_s):,} | {found.outdated}"
        say(f"| {example.name} | {counts} | {spans} | {found.start_s:.2f} s | {found.stop_s:.2f} s |")


if __name__ == "__main__":
    main()
