"""Which test files belong to a room of the package: `python -m tests.rooms journal` prints them.

The rooms are the packages and modules at the top of `hermes_cache`. A test file belongs to the rooms that its name
names: `test_cache_journal.py` to `cache` and to `journal`. A file whose name names none belongs to the rooms from
    which
it, or else the helpers in `tests` that it uses, import something. Tests in `e2e` belong to `cli` and `gateway`
only.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_ROOMS: Final = {
    path.stem for path in (_ROOT / "hermes_cache").iterdir() if not path.name.startswith(("_", "py."))
}
_THROUGH_THE_DOOR: Final = {"cli", "gateway"}


def files_of(room: str) -> list[str]:
    """Return the test files of a room, as paths from the root of the repository."""
    found = (path for path in sorted((_ROOT / "tests").rglob("test_*.py")) if "benchmarks" not in path.parts)
    return [str(path.relative_to(_ROOT)) for path in found if room in _rooms_of(path)]


@cache  # Each room asks for all files.
def _rooms_of(path: Path) -> set[str]:
    if path.parent.name == "e2e":
        return _THROUGH_THE_DOOR
    named = _ROOMS.intersection(path.stem.split("_"))
    return named or _imported(path) or {room for helper in _helpers(path) for room in _imported(helper)}


def _imported(path: Path) -> set[str]:
    return {parts[1] for parts in _imports(path) if parts[0] == "hermes_cache" and len(parts) > 1}


def _helpers(path: Path) -> Iterator[Path]:
    for parts in _imports(path):
        helper = _ROOT.joinpath(*parts).with_suffix(".py")
        if parts[0] == "tests" and helper.is_file():
            yield helper


def _imports(path: Path) -> Iterator[list[str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")


def main(arguments: list[str]) -> None:
    """Print the files of the room that is named."""
    if len(arguments) != 1 or arguments[0] not in _ROOMS:
        raise SystemExit(f"name one room: {', '.join(sorted(_ROOMS))}")
    sys.stdout.write("\n".join(files_of(arguments[0])) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
