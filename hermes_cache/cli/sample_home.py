"""`hermes-cache sample-home`: a realistic home on disk."""

import time
from pathlib import Path

import click
import orjson

from hermes_cache.hermes.sample import make_sample_home


@click.command()
@click.argument("path", type=click.Path(file_okay=False, path_type=Path))
@click.option("--sessions", type=click.IntRange(0, 1_000_000), default=250, show_default=True, help="How many.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed makes the same home.")
@click.option("--json", "as_json", is_flag=True, help="Tell the result as JSON.")
def sample_home(path: Path, *, sessions: int, seed: int, as_json: bool) -> None:
    """Make a Hermes home of any size in PATH, a new or an empty folder.

    \b
    Example:
      hermes-cache sample-home /tmp/home --sessions 5500
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
    if path.exists() and any(path.iterdir()):
        raise click.UsageError(f"{path} is not empty; name a new or an empty folder")
    click.echo(f"Making a home of {sessions} sessions in {path} ...", err=True)
    began_s = time.monotonic()
    try:
        make_sample_home(path, sessions=sessions, seed=seed)
    except OSError as error:
        raise click.ClickException(f"the home could not be made: {error}") from error
    took_s = round(time.monotonic() - began_s, 2)
    click.echo(f"Done in {took_s} s.", err=True)
    told = {"path": str(path.resolve()), "sessions": sessions, "seed": seed, "took_s": took_s}
    click.echo(orjson.dumps(told).decode() if as_json else str(path.resolve()))
