"""Makes a home of the small texts that stand in `tests/parity/homes`: SQL for databases, JSON for the rest.

Each `.sql` file becomes a database of its name; every other file is copied. `sidecars.json` maps names to the
contents of files in the session folder, so that a home is read in one sitting.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

HOMES: Final = Path(__file__).with_name("homes")


def names() -> list[str]:
    """Name the homes that there are."""
    return sorted(path.name for path in HOMES.iterdir() if path.is_dir())


def make_home(name: str, target: Path) -> Path:
    """Make a home in an empty or missing folder, and return it."""
    source = HOMES / name
    for path in sorted(each for each in source.rglob("*") if each.is_file()):
        made = target / path.relative_to(source)
        made.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "sidecars.json":
            _make_sidecars(path, made.with_name("sessions"))
        elif path.suffix == ".sql":
            _make_database(path, made.with_suffix(".db"))
        elif path.name not in {"theirs.json", "differences.json"}:
            shutil.copyfile(path, made)
    return target


def _make_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(source.read_text(encoding="utf-8"))


def _make_sidecars(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name, content in json.loads(source.read_text(encoding="utf-8")).items():
        (target / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
