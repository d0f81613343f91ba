"""Compares two commits: runs each benchmark on both, in turns, in one session, and prints one table.

`make bench-compare BASE=<commit>`. The base is checked out into a temporary worktree. Both trees are measured by
the benchmarks of the present one, with the same Python and libraries, one file of benchmarks at a time, and each
round begins with the other tree: so a busy minute of the machine falls on both.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks.comparison import Comparison, Row, compared, named, text_table

_ROOT = Path(__file__).parents[2]
_BENCHMARKS = Path("tests") / "benchmarks"
_ROUNDS = 2
_MOST = 1.1
"""What is slower by more than this is marked."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and print."""
    options = _options(arguments)
    found: tuple[list[Row], list[Row]] = ([], [])
    with _checked_out(options.base) as base:
        for file in _selected_files(options):
            _run_in_turns((base, _ROOT), file, options, found)
    comparisons = compared(*found)
    sys.stdout.write("\n".join(text_table(comparisons, options.base, _MOST)) + "\n")
    _tell_of_the_whole(comparisons)


def _run_in_turns(
    trees: tuple[Path, Path], file: str, options: argparse.Namespace, found: tuple[list[Row], list[Row]]
) -> None:
    for number in range(options.rounds):
        for turn in ((0, 1), (1, 0))[number % 2]:
            found[turn].extend(_measured(trees[turn], file, options))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-compare", description=__doc__)
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how often each benchmark runs on each tree")
    parser.add_argument("-k", dest="words", default="", help="only the benchmarks that pytest selects by this")
    parser.add_argument("--all", action="store_true", help="also those that are marked long")
    return parser.parse_args(arguments)


@contextmanager
def _checked_out(commit: str) -> Iterator[Path]:
    """Return a tree of a commit that has the benchmarks of the present one."""
    with TemporaryDirectory(prefix="bench-compare-") as folder:
        tree = Path(folder) / "base"
        _git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            shutil.rmtree(tree / _BENCHMARKS, ignore_errors=True)
            shutil.copytree(_ROOT / _BENCHMARKS, tree / _BENCHMARKS)
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(_ROOT), *arguments], check=True)  # noqa: S603, S607 - a fixed command


def _selected_files(options: argparse.Namespace) -> list[str]:
    lines = _pytest(_ROOT, options, "--collect-only", str(_BENCHMARKS)).stdout.splitlines()
    return list(dict.fromkeys(line.partition("::")[0] for line in lines if "::" in line))


def _measured(tree: Path, file: str, options: argparse.Namespace) -> list[Row]:
    """Run the benchmarks of a file on a tree."""
    run_name = f"{file} on {'this tree' if tree == _ROOT else 'the base'}"
    sys.stderr.write(f"{run_name}\n")
    with TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        run = _pytest(tree, options, "--figures", str(figures), file)
        if run.returncode:
            sys.stderr.write(f"{run.stdout}\n{run_name} failed; what it found before is counted\n")
        if not figures.exists():
            return []
        found = json.loads(figures.read_text(encoding="utf-8"))
    if not Path(found["package"]).is_relative_to(tree):
        raise SystemExit(f"{run_name} measured {found['package']}, another tree")
    return named(found["figures"])


def _pytest(tree: Path, options: argparse.Namespace, *arguments: str) -> "subprocess.CompletedProcess[str]":
    own = ("--quiet", "--benchmark-enable", "--benchmark-quiet", "-p", "no:randomly", "-p", "no:cacheprovider")
    chosen = ("-m", "" if options.all else "not long", "-k", options.words)
    return subprocess.run(  # noqa: S603 - our own benchmarks
        [sys.executable, "-m", "pytest", *own, *chosen, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _tell_of_the_whole(comparisons: Sequence[Comparison]) -> None:
    ratios = [each.ratio for each in comparisons if each.ratio is not None]
    if ratios:
        slower = sum(ratio > _MOST for ratio in ratios)
        sys.stdout.write(
            f"\n{len(ratios)} rows, median ratio {median(ratios):.2f}, slower than {_MOST}: {slower}\n"
        )


if __name__ == "__main__":
    main()
