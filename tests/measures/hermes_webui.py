"""Measures hermes-webui with the adapter of the examples and without it, in turns, over a sample home.

`python -m tests.measures.hermes_webui CHECKOUT --python PYTHON`. PYTHON has what the program and this package
need. Ten clients ask for the list one request after the other, with gzip. A commit of another process and the
program itself change a title, each once a second. With `--commits`, a writer commits beside them. It needs Linux.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hermes_cache.samples.home import make_sample_home

_ROOT: Final = Path(__file__).parents[2]
_LIST: Final = "/api/sessions?exclude_hidden=1"
_CLIENTS: Final = 10
_READY_S: Final = 60.0
_PROBE: Final = "20990101_000000_abcdef"
"""A session of the agent that is newer than all others, and so always listed."""


@dataclass
class Titles:
    """One title that grows by a number: the last one that was changed, and how long until it showed."""

    name: str
    number: int = 0
    visible_s: list[float] = field(default_factory=list)

    def shown(self, body: bytes) -> int:
        """Return the number that a body shows; -1 if it shows none."""
        found = re.search(rb'"title":"%b-(\d+)-"' % self.name.encode(), body)
        return int(found[1]) if found else -1


@dataclass
class Figures:
    """What the clients got: how long each answer took, and how many were older than a change before them."""

    took_s: list[float] = field(default_factory=list)
    outdated: int = 0


class Client:
    """A connection to the program."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def list(self) -> bytes:
        """Return the body of the list."""
        return self._answer("GET", _LIST, None)

    def rename(self, session_id: str, title: str) -> None:
        """Let the program change a title."""
        body = json.dumps({"session_id": session_id, "title": title})
        self._answer("POST", "/api/session/rename", body)

    def _answer(self, method: str, path: str, body: str | None) -> bytes:
        headers = {"Accept-Encoding": "gzip", "Content-Type": "application/json"}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{method} {path} was answered with {answer.status}: {text[:200]!r}")
        return zlib.decompress(text, 31) if answer.headers["Content-Encoding"] == "gzip" else text


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--sessions", type=int, default=5_500)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--commits", type=float, default=0.0, help="a second, of a writer beside")
    parser.add_argument("--no-changes", action="store_true", help="leave all titles alone")
    options = parser.parse_args(arguments)
    sys.stdout.write("| program | answers/s | p50 | p99 | CPU an answer | visible, p50 | outdated |\n")
    for adapted in (True, False):
        with TemporaryDirectory() as folder, _running(Path(folder), options, adapted=adapted) as (process, port):
            cells = _measured(process, port, Path(folder, "home"), options)
        name = "with the adapter" if adapted else "without it"
        sys.stdout.write(f"| {' | '.join([name, *cells])} |\n")
        sys.stdout.flush()


@contextmanager
def _running(
    folder: Path, options: argparse.Namespace, *, adapted: bool
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run the program over a sample home; yields its process and its port."""
    checkout, home = folder / "checkout", folder / "home"
    shutil.copytree(options.checkout, checkout, ignore=shutil.ignore_patterns(".git", "tests"))
    if adapted:
        wire_in = _ROOT / "examples/gateways/hermes_webui/wire_in.py"
        subprocess.run([sys.executable, str(wire_in), str(checkout)], check=True)  # noqa: S603 - ours
    make_sample_home(home, sessions=options.sessions)
    _add_probe(home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    names = {"HOME": folder, "HERMES_HOME": home, "HERMES_WEBUI_STATE_DIR": home / "webui"}
    addresses = {"HERMES_WEBUI_HOST": "127.0.0.1", "HERMES_WEBUI_PORT": port, "PYTHONPATH": _ROOT}
    environment = {**os.environ, **{name: str(value) for name, value in {**names, **addresses}.items()}}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - the checkout that the caller named
            [options.python, "server.py"], cwd=checkout, env=environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            _wait_until_ready(port)
            yield process, port
        finally:
            process.terminate()


def _add_probe(home: Path) -> None:
    at_s = time.time() + 86_400
    with closing(sqlite3.connect(home / "state.db")) as connection, connection:
        connection.execute(
            "INSERT INTO sessions (id, source, started_at, title, message_count) VALUES (?, 'cli', ?, ?, 1)",
            (_PROBE, at_s, "other-0-"),
        )
        connection.execute(
            "INSERT INTO messages (session_id, role, content, timestamp) VALUES (?, 'user', 'hello', ?)",
            (_PROBE, at_s),
        )


def _wait_until_ready(port: int) -> None:
    ends_at_s = time.monotonic() + _READY_S
    while time.monotonic() < ends_at_s:
        with suppress(OSError):
            Client(port).list()
            return
        time.sleep(0.1)
    raise TimeoutError(f"the program did not answer within {_READY_S:.0f} s")


def _measured(process: "subprocess.Popen[bytes]", port: int, home: Path, options: argparse.Namespace) -> list[str]:
    """Return the cells of a row."""
    own, other, figures, stop = Titles("own"), Titles("other"), Figures(), threading.Event()
    own_id = _session_of_the_program(home, Client(port).list())
    Client(port).rename(own_id, "own-0-")
    threads = [threading.Thread(target=_poll, args=(port, (own, other), figures, stop)) for _ in range(_CLIENTS)]
    if not options.no_changes:
        client = Client(port)
        changes: dict[str, Callable[[str], None]] = {
            "own": lambda title: client.rename(own_id, title),
            "other": lambda title: _commit_title(home, title),
        }
        pairs = [(titles, changes[titles.name]) for titles in (own, other)]
        threads += [threading.Thread(target=_change, args=(port, *pair, stop)) for pair in pairs]
    writer = [sys.executable, "-m", "hermes_cache.samples.writer", "--home", str(home)]
    rate = ["--commits-per-second", str(options.commits)]
    beside = subprocess.Popen([*writer, *rate], stdout=subprocess.DEVNULL) if options.commits else None  # noqa: S603 - ours
    began_s, cpu_s = time.monotonic(), _cpu_s(process.pid)
    for thread in threads:
        thread.start()
    time.sleep(options.seconds)
    stop.set()
    for thread in threads:
        thread.join()
    span_s, used_s = time.monotonic() - began_s, _cpu_s(process.pid) - cpu_s
    if beside is not None:
        beside.terminate()
        beside.wait()
    return _cells(figures, other.visible_s, span_s, used_s)


def _session_of_the_program(home: Path, body: bytes) -> str:
    rows: list[dict[str, Any]] = json.loads(body)["sessions"]
    files = {file.stem for file in (home / "webui/sessions").glob("*.json")}
    return str(next(row["session_id"] for row in rows if row["session_id"] in files and not row.get("read_only")))


def _commit_title(home: Path, title: str) -> None:
    with closing(sqlite3.connect(home / "state.db", timeout=20)) as connection, connection:
        connection.execute("UPDATE sessions SET title = ? WHERE id = ?", (title, _PROBE))


def _poll(port: int, watched: tuple[Titles, ...], figures: Figures, stop: threading.Event) -> None:
    client = Client(port)
    while not stop.is_set():
        least = [titles.number for titles in watched]
        began_s = time.monotonic()
        body = client.list()
        figures.took_s.append(time.monotonic() - began_s)
        shown = [titles.shown(body) for titles in watched]
        figures.outdated += any(now < then for now, then in zip(shown, least, strict=True))


def _change(port: int, titles: Titles, change: Callable[[str], None], stop: threading.Event) -> None:
    client = Client(port)
    while not stop.wait(1.0):
        change(f"{titles.name}-{titles.number + 1}-")
        titles.number += 1
        began_s = time.monotonic()
        while titles.shown(client.list()) < titles.number and not stop.is_set():
            pass
        titles.visible_s.append(time.monotonic() - began_s)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cells(figures: Figures, visible_s: list[float], span_s: float, used_s: float) -> list[str]:
    took_s, count = sorted(figures.took_s), len(figures.took_s)
    visible = f"{sorted(visible_s)[len(visible_s) // 2]:.2f} s" if visible_s else ""
    return [
        f"{count / span_s:.1f}",
        f"{took_s[count // 2]:.3f} s",
        f"{took_s[min(count - 1, count * 99 // 100)]:.3f} s",
        f"{used_s / count * 1e3:.1f} ms",
        visible,
        f"{figures.outdated} of {count}",
    ]


if __name__ == "__main__":
    main()
