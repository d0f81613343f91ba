"""What the figures were measured on: they mean nothing without it."""

import os
import platform
import sqlite3
import subprocess
from importlib import metadata
from pathlib import Path

_LIBRARIES = (
    "pykka", "blinker", "orjson", "SQLAlchemy", "dogpile.cache", "cachetools", "cashews", "theine", "diskcache",
    "Flask-Caching",
)  # fmt: skip


def described(root: Path) -> list[str]:
    """Tell of the machine, of Python and the libraries, and of the commit that was measured."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    cores = f"{_processor()}, {os.cpu_count()} cores, {memory_bytes / 2**30:.0f} GiB"
    return [
        f"Machine: {cores}, {platform.system()} {platform.release()}; load at the end {load}",
        f"Python: {platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        f"Libraries: {', '.join(f'{name} {metadata.version(name)}' for name in _LIBRARIES)}",
        f"Commit: {_commit(root)}",
    ]


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit(root: Path) -> str:
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    return run.stdout.strip() or "unknown"
