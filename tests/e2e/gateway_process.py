"""`hermes-cache serve` as a process, for the tests that ask it something."""

import os
import re
import secrets
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.waiting import PROCESS_S

COMMAND = [sys.executable, "-m", "hermes_cache.cli", "serve"]


@contextmanager
def served(
    *arguments: str, claude_code: Path = Path("/nowhere"), ulimit: str | None = None
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run the command; gives the process and its address, once it is ready.

    Args:
        claude_code: The projects of Claude Code, instead of the user's own.
        ulimit: Options of the shell's command of that name, such as `-n 64`; None for the limits of this process.
    """
    environment = {**os.environ, "HERMES_WEBUI_CLAUDE_PROJECTS_DIR": str(claude_code)}
    command = [*COMMAND, "--port", "0", "--no-keep-counts", *arguments]
    if ulimit is not None:
        command = ["sh", "-c", f'ulimit {ulimit}; exec "$@"', "sh", *command]
    with subprocess.Popen(  # noqa: S603 -- ours
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process, _address(process)
        finally:
            process.kill()


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], PROCESS_S)
    line = process.stdout.readline() if ready else ""
    found = re.search(r"http://\S+", line)
    assert found, f"no address in {line!r}"
    return found[0]


def free_port() -> int:
    """Return a port that nobody has, for a server that listens a while later.

    It lies below those that the system gives to whoever asks for any.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def connect(url: str) -> HTTPConnection:
    where = urlsplit(url)
    return HTTPConnection(where.hostname or "", where.port, timeout=PROCESS_S)
