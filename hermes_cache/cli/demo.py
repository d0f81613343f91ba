"""A home that lives for as long as it is shown: made in a temporary folder, with another process writing to it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hermes_cache.samples.home import make_sample_home

_COMMITS_PER_S: Final = 5
_WRITER_WAIT_S: Final = 1.0


@contextmanager
def demo_home(sessions: int) -> Iterator[Path]:
    """Make a home and have it written to; both are gone at the end."""
    with TemporaryDirectory(prefix="hermes-cache-demo-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "home"
        make_sample_home(path, sessions=sessions)
        with _writer(path):
            yield path


@contextmanager
def _writer(path: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "hermes_cache.cli.demo_writer", str(path), str(_COMMITS_PER_S)]
    # A session of its own: Ctrl-C at the terminal is for the server, which then ends the writer.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as writer:  # noqa: S603 -- ours
        try:
            yield
        finally:
            _end(writer)


def _end(writer: "subprocess.Popen[bytes]") -> None:
    if writer.stdin:
        writer.stdin.close()
    try:
        writer.wait(_WRITER_WAIT_S)
    except subprocess.TimeoutExpired:
        writer.kill()
