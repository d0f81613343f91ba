"""Measures the house: what its source amounts to, how far three trips go, what ten changes touch; one table.

`make measures`, or `make measures TREES="7a766a1 ."`: each tree is a commit of this repository or a folder.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.measures.changes import touched
from tests.measures.code import code_figures, modules_of

_ROOT = Path(__file__).parents[2]
_TRIPS = Path(__file__).with_name("trips.py")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the trees that are named, and print."""
    parser = argparse.ArgumentParser(prog="make measures", description=__doc__)
    parser.add_argument("trees", nargs="*", default=["."], help="commits or folders; this tree if none is named")
    parser.add_argument("--names", action="store_true", help="name the modules that each change touches")
    options = parser.parse_args(arguments)
    tables: list[dict[str, str]] = []
    for tree in options.trees:
        with _opened(tree) as folder:
            tables.append(_measured(folder, names=options.names))
    rows = [("", *options.trees)] + [(what, *(table[what] for table in tables)) for what in tables[0]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


@contextmanager
def _opened(tree: str) -> Iterator[Path]:
    if Path(tree).is_dir():
        yield Path(tree).resolve()
        return
    packed = subprocess.run(  # noqa: S603 - a fixed command
        ["git", "-C", str(_ROOT), "archive", tree, "hermes_cache"],  # noqa: S607
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    with TemporaryDirectory(prefix="measures-") as folder, tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
        yield Path(folder)


def _measured(tree: Path, *, names: bool) -> dict[str, str]:
    modules = modules_of(tree)
    trips = {
        f"{what}: calls, functions, modules": ", ".join(map(str, hops)) for what, hops in _trips_of(tree).items()
    }
    changes = {
        f"modules for {change}": f"{len(found)}" + (f": {' '.join(found)}" if names else "")
        for change, found in touched(modules).items()
    }
    return {**code_figures(modules), **trips, **changes}


def _trips_of(tree: Path) -> dict[str, tuple[int, int, int]]:
    run = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(_TRIPS)],
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(run.stdout)
    if not Path(found["package"]).is_relative_to(tree):
        raise SystemExit(f"{found['package']} was measured instead of {tree}")
    figures: dict[str, tuple[int, int, int]] = found["figures"]
    return figures


if __name__ == "__main__":
    main()
