"""Sample homes: the command `hermes-cache sample-home`, and the home of `serve --demo`.

A demo's home lies in a temporary folder while it is shown. Another process writes to it:
`python -m hermes_cache.cli.sample_home HOME COMMITS_PER_S`.
"""

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from hermes_cache.cli.output import progress
from hermes_cache.samples.home import make_sample_home
from hermes_cache.samples.writer import write_turns

_COMMITS_PER_S: Final = 5
_DEMO_PREFIX: Final = "hermes-cache-demo-"
_WRITER_WAIT_S: Final = 1.0


@click.command()
@click.argument("path", type=click.Path(file_okay=False, path_type=Path))
@click.option("--sessions", type=click.IntRange(0, 1_000_000), default=250, show_default=True, help="How many.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed makes the same home.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def sample_home(path: Path, *, sessions: int, seed: int, as_json: bool) -> None:
    """Make a Hermes home of any size in PATH, a new or an empty folder.

    \b
    Example:
      hermes-cache sample-home /tmp/home --sessions 5500
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    name = click.format_filename(path)
    if path.exists() and any(path.iterdir()):
        raise click.UsageError(f"{name} is not empty; name a new or an empty folder")
    click.echo(f"Making a home of {sessions} sessions in {name} ...", err=True)
    began_s = time.monotonic()
    try:
        with progress("Making the home") as noted:
            make_sample_home(path, sessions=sessions, seed=seed, noted=noted)
    except (OSError, sqlite3.Error) as error:
        raise click.ClickException(f"the home could not be made: {error}") from error
    took_s = round(time.monotonic() - began_s, 2)
    click.echo(f"Done in {took_s} s.", err=True)
    result = {"path": str(path.resolve()), "sessions": sessions, "seed": seed, "took_s": took_s}
    # json and not orjson, because a path may be no valid UTF-8.
    click.echo(json.dumps(result) if as_json else str(path.resolve()))


@contextmanager
def demo_home(sessions: int) -> Iterator[Path]:
    """Make a home that another process writes to; home and process are gone at the end."""
    with TemporaryDirectory(prefix=_DEMO_PREFIX, ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "home"
        make_sample_home(path, sessions=sessions)
        with _writer(path):
            yield path


@contextmanager
def _writer(path: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "hermes_cache.cli.sample_home", str(path), str(_COMMITS_PER_S)]
    # In a session of its own, because Ctrl-C at the terminal is for the server, which then ends the writer.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as writer:  # noqa: S603 -- ours
        try:
            yield
        finally:
            if writer.stdin:
                writer.stdin.close()
            try:
                writer.wait(_WRITER_WAIT_S)
            except subprocess.TimeoutExpired:
                writer.kill()


def _write_until_parent_ends(home_path: Path, commits_per_s: float) -> None:
    """Write turns into a home until standard input ends: the parent closed it, or the parent is gone."""
    stop = threading.Event()

    def watch_parent() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=watch_parent, daemon=True).start()
    write_turns(home_path, commits_per_s=commits_per_s, stop=stop)
    if home_path.parent.name.startswith(_DEMO_PREFIX):
        # The parent removes the folder, unless it was killed.
        shutil.rmtree(home_path.parent, ignore_errors=True)


if __name__ == "__main__":
    _write_until_parent_ends(Path(sys.argv[1]), float(sys.argv[2]))
