"""What is wrong with an environment: this machine, its user, and this Python with its packages.

Reading the facts opens nothing but tables of the system. The judgement of them is pure.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import hermes_cache
from hermes_cache.distribution import Extra, install_command
from hermes_cache.doctor.findings import Finding
from hermes_cache.journal.wal_reset import wal_is_safe
from hermes_cache.stores.hermes.kept_counts import cache_folder
from hermes_cache.stores.hermes.notifications import LIBRARIES
from hermes_cache.stores.hermes.other_sqlite import other_library

_PROC: Final = Path("/proc")
_DESCRIPTORS: Final = 8_192
"""What `serve` takes: 4,096 connections, and files."""

_FEW_DESCRIPTORS: Final = 1_024
_DAY_S: Final = 86_400.0

_PACKAGES: Final[Mapping[str, tuple[Extra, str]]] = {
    LIBRARIES[0]: ("watch", "changes of a home are noticed by looking at it twice a second"),
    "loky": ("processes", "builds run in the serving process, and slow its streams down"),
    "cloudpickle": ("processes", "builds run in the serving process, and slow its streams down"),
    "starlette": ("serve", "'hermes-cache serve' cannot run"),
    "uvicorn": ("serve", "'hermes-cache serve' cannot run"),
    "h11": ("serve", "'hermes-cache serve' cannot run"),
}
"""Packages of the extras that a gateway over a home needs, and what is without them."""

_wrong: Final = partial(Finding, "environment", "wrong")
_hint: Final = partial(Finding, "environment", "hint")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentFacts:
    """What is known of an environment.

    Attributes:
        sqlite: The release of SQLite that this Python has.
        other_sqlite: Another SQLite library that is loaded; None if there is none.
        descriptors: How many open files the process may have; None if there is no bound, or it is not known.
        notifications: How the user's file notifications are used; None if that is not known.
        missing: The packages of extras that are not installed.
        now_s: The time, in epoch seconds.
        installed_at_s: When this package was installed, in epoch seconds.
        cache_folder: Where counts would be kept; None if there is no such folder.
        may_keep: Whether they can be.
    """

    sqlite: tuple[int, int, int]
    other_sqlite: str | None
    descriptors: int | None
    notifications: "Notifications | None"
    missing: frozenset[str]
    now_s: float
    installed_at_s: float
    cache_folder: Path | None
    may_keep: bool


@dataclass(frozen=True, slots=True)
class Notifications:
    """How many file notifications (inotify) a user has, and may have: instances, and watches in all."""

    instances: int
    max_instances: int
    watches: int
    max_watches: int


def environment_findings(facts: EnvironmentFacts) -> Iterator[Finding]:
    """Find what is wrong with an environment."""
    version = ".".join(map(str, facts.sqlite))
    if not wal_is_safe(facts.sqlite):
        what = f"SQLite {version} of this Python has the WAL-reset bug, so journals are kept in rollback mode"
        todo = "use SQLite 3.51.3, 3.50.7 or 3.44.6, also for Hermes, whose databases it can corrupt"
        yield _hint("sqlite-wal-reset", what, todo)
    if facts.other_sqlite is not None:
        what = f"{facts.other_sqlite} is loaded beside Python's SQLite, and of two each drops the other's locks"
        yield _wrong("second-sqlite", what, "load only one of them, or use worker processes")
    if facts.descriptors is not None and facts.descriptors < _DESCRIPTORS:
        found = _wrong if facts.descriptors < _FEW_DESCRIPTORS else _hint
        what = (
            f"a process may open {facts.descriptors} files, so a gateway runs out of them at about as many clients"
        )
        todo = f"raise the hard limit (ulimit -Hn, LimitNOFILE=) to {_DESCRIPTORS}"
        yield found("few-descriptors", what, todo)
    yield from _of_notifications(facts.notifications)
    yield from _of_packages(facts.missing)
    if facts.now_s < facts.installed_at_s - _DAY_S:
        days = (facts.installed_at_s - facts.now_s) / _DAY_S
        what = f"the clock is {days:.0f} days behind the time at which this package was installed"
        yield _wrong("clock-behind", what, "set the clock, as by NTP")
    if facts.cache_folder is not None and not facts.may_keep:
        what = f"the cache folder {facts.cache_folder} cannot be written, so every start counts all messages anew"
        yield _hint("cache-folder-closed", what, "make it this user's, or set XDG_CACHE_HOME")


def _of_notifications(used: Notifications | None) -> Iterator[Finding]:
    if used is None:
        return
    late = "so changes of a home are noticed by looking at it twice a second"
    for name, count, most in (
        ("instances", used.instances, used.max_instances),
        ("watches", used.watches, used.max_watches),
    ):
        if count >= most:
            what = f"this user has {count} of {most} file notification {name}, {late}"
            todo = f"raise fs.inotify.max_user_{name}, or end what takes them"
            yield _wrong(f"no-inotify-{name}", what, todo)


def _of_packages(missing: frozenset[str]) -> Iterator[Finding]:
    for extra in dict.fromkeys(extra for extra, _ in _PACKAGES.values()):
        names = [name for name, (of, _) in _PACKAGES.items() if of == extra and name in missing]
        if names:
            all_names = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
            without = f"{all_names} {'is' if len(names) == 1 else 'are'} not installed"
            what = f"{without}, so {_PACKAGES[names[0]][1]}"
            yield _hint(f"no-extra-{extra}", what, f"run: {install_command(extra)}")


def read_environment(environment: Mapping[str, str]) -> EnvironmentFacts:
    """Read the facts of the environment that this process runs in.

    Args:
        environment: The environment variables.
    """
    folder = cache_folder(environment)
    return EnvironmentFacts(
        sqlite=sqlite3.sqlite_version_info,
        other_sqlite=other_library(),
        descriptors=_descriptors(),
        notifications=read_notifications(),
        missing=frozenset(name for name in _PACKAGES if not _is_installed(name)),
        now_s=time.time(),
        installed_at_s=Path(hermes_cache.__file__).stat().st_mtime,
        cache_folder=folder,
        may_keep=folder is not None and _may_make(folder),
    )


def read_notifications(proc: Path = _PROC) -> Notifications | None:
    """Count the file notifications of this user's processes, as far as they can be seen.

    Args:
        proc: The system's table of processes.
    """
    try:
        limits = [
            int((proc / "sys" / "fs" / "inotify" / f"max_user_{name}").read_text())
            for name in ("instances", "watches")
        ]
    except (OSError, ValueError):
        return None
    instances = watches = 0
    user = os.geteuid()
    for process in proc.glob("[0-9]*"):
        # Processes end meanwhile, and those of others cannot be seen.
        with suppress(OSError):
            if process.stat().st_uid == user:
                for number in _inotify_descriptors(process):
                    instances += 1
                    watches += (process / "fdinfo" / number).read_text().count("inotify wd:")
    return Notifications(instances, limits[0], watches, limits[1])


def _inotify_descriptors(process: Path) -> Iterator[str]:
    for entry in os.scandir(process / "fd"):
        with suppress(OSError):
            if "inotify" in os.readlink(entry.path):  # noqa: PTH115 - half the cost
                yield entry.name


def _descriptors() -> int | None:
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return None
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def _is_installed(name: str) -> bool:
    """Say whether a package is installed, or another one that does as well."""
    try:
        return any(find_spec(each) is not None for each in (LIBRARIES if name in LIBRARIES else (name,)))
    except (ImportError, ValueError):
        return False


def _may_make(folder: Path) -> bool:
    """Say whether a folder can be written, or made."""
    nearest = next((each for each in (folder, *folder.parents) if os.access(each, os.F_OK)), folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
