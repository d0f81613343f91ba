"""Sample homes: the command `hermes-cache sample-home`."""

import json
import os
import sqlite3
import time
from pathlib import Path

import click

from hermes_cache.cli.output import progress
from hermes_cache.samples.home import make_sample_home


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
    try:
        is_taken = os.path.lexists(path) and any(path.iterdir())
    except OSError as error:
        raise click.ClickException(f"the home could not be made: {error}") from error
    if is_taken:
        raise click.UsageError(f"{name} is not empty; name a new or an empty folder")
    click.echo(f"Making a home of {sessions} sessions in {name} ...", err=True)
    began_s = time.monotonic()
    try:
        with progress("Making the home") as report:
            make_sample_home(path, sessions=sessions, seed=seed, noted=report)
    except (OSError, sqlite3.Error) as error:
        raise click.ClickException(f"the home could not be made: {error}") from error
    took_s = round(time.monotonic() - began_s, 2)
    click.echo(f"Done in {took_s} s.", err=True)
    result = {"path": str(path.resolve()), "sessions": sessions, "seed": seed, "took_s": took_s}
    # json and not orjson, because a path may be no valid UTF-8.
    click.echo(json.dumps(result) if as_json else str(path.resolve()))
