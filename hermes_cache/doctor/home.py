"""What is wrong with a Hermes home.

Files are looked at from outside, and read as a build reads them: nothing in the home is made or changed (X2).
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from hermes_cache.doctor.findings import Finding
from hermes_cache.errors import SourceError
from hermes_cache.file_systems import is_of_a_network
from hermes_cache.stores.hermes.file_stamps import ABSENT, FileStamp
from hermes_cache.stores.hermes.json_files import SMALL_BYTES, read_json
from hermes_cache.stores.hermes.left_logs import left_log, was_just_written
from hermes_cache.stores.hermes.locations import INDEX, Locations, ProfileFiles, is_named_profile
from hermes_cache.stores.hermes.looks import DatabaseLook, Looks
from hermes_cache.stores.hermes.read_only import other_owner, read_database
from hermes_cache.stores.hermes.session_folder import heads_of_sidecars

_AHEAD_S: Final = 60.0
"""Clocks of machines differ by seconds; a file of another machine may be so much ahead."""

_SECOND_NS: Final = 1_000_000_000
_MOST_NAMED: Final = 3

_wrong: Final = partial(Finding, "home", "wrong")
_hint: Final = partial(Finding, "home", "hint")


def home_findings(locations: Locations, *, thoroughly: bool, now_s: float | None = None) -> Iterator[Finding]:
    """Find what is wrong with a home.

    Args:
        locations: Where its files are.
        thoroughly: Read its databases, index and sidecars, too; a gateway that serves it finds that by itself.
        now_s: The time in epoch seconds; None for now.
    """
    root = locations.home("default")
    if not os.path.isdir(root):  # noqa: PTH112 - that of a Path raises where this user may not look
        todo = "name the home with --home or HERMES_HOME, or start Hermes once"
        yield _wrong("home-missing", f"there is no Hermes home at {root} that this user may look into", todo)
        return
    looks = Looks()
    try:
        profiles = [locations.files(profile) for profile in locations.profiles()]
    except SourceError as error:
        yield unreadable("profiles-unreadable", error)
        return
    yield from _of_folders(root, profiles)
    yield from _of_times(profiles, time.time() if now_s is None else now_s)
    for files in profiles:
        yield from _of_database(files, looks, thoroughly=thoroughly)
    yield from _of_json_files(profiles, thoroughly=thoroughly)
    if thoroughly:
        yield from _of_sidecars(profiles[0].session_dir)


def _of_folders(root: Path, profiles: list[ProfileFiles]) -> Iterator[Finding]:
    if is_of_a_network(root):
        what = (
            f"{root} is on a network file system, so commits are noticed late, and only by looking twice a second"
        )
        todo = "serve it on the machine that has its disk"
        yield _hint("home-on-network", what, todo)
    for path in (root, *(files.state_db for files in profiles)):
        with suppress(OSError):
            if os.name == "posix" and path.stat().st_mode & stat.S_IWOTH:
                what = f"every user of this machine may write {path}"
                yield _wrong("home-open", what, f"take that right away: chmod o-w '{path}'")
    with suppress(OSError):
        odd = [
            each.name
            for each in os.scandir(root / "profiles")
            if each.is_dir() and not is_named_profile(each.name)
        ]
        if odd:
            what = f"{root / 'profiles'} has {_some(sorted(odd))}, which no profile can be named"
            todo = "rename it to small letters, digits, - and _, or move it away"
            yield _hint("odd-profile-name", what, todo)


def _of_times(profiles: list[ProfileFiles], now_s: float) -> Iterator[Finding]:
    ahead: list[str] = []
    for files in profiles:
        for path in (files.state_db, files.settings, *files.others.values()):
            with suppress(OSError):
                if path.stat().st_mtime > now_s + _AHEAD_S:
                    ahead.append(str(path))
    if ahead:
        what = f"times in the future: {_some(list(dict.fromkeys(ahead)))}, so a change of them may be noticed late"
        todo = "set the clocks of the machines that write there, then touch those files"
        yield _hint("times-in-future", what, todo)
    for files in profiles[:1]:
        with suppress(OSError):
            found = files.state_db.stat()
            if not (found.st_mtime_ns % _SECOND_NS or found.st_ctime_ns % _SECOND_NS):
                what = (
                    f"the file system of {files.home} keeps whole seconds, so commits are noticed up to 2.5 s late"
                )
                yield _hint("coarse-times", what, "keep the home on another disk")


def _of_database(files: ProfileFiles, looks: Looks, *, thoroughly: bool) -> Iterator[Finding]:
    path = files.state_db
    look, _ = looks.database(path)
    if not isinstance(look.database, FileStamp):
        yield from _of_missing_database(files, look)
        return
    try:
        other = other_owner(path)
    except SourceError as error:
        yield unreadable("database-unreadable", error)
        return
    if other is not None:
        what = f"{path} belongs to {other}, so it is not read while Hermes has it open"
        yield _wrong("other-user", what, f"run this as {other}")
    if isinstance(look.wal, FileStamp) and not was_just_written(look.wal):
        left = left_log(path)
        if left is not None:
            what, _, todo = left.text.partition("; ")
            yield (_wrong if left.is_certain else _hint)("log-left-behind", what, todo)
    if thoroughly and other is None:
        try:
            read_database(path, _count_sessions, looks)
        except SourceError as error:
            yield unreadable("database-unreadable", error)


def _count_sessions(connection: Connection) -> None:
    connection.execute("SELECT count(*) FROM sessions").fetchone()


def _of_missing_database(files: ProfileFiles, look: DatabaseLook) -> Iterator[Finding]:
    path = files.state_db
    if look.database != ABSENT or os.path.lexists(path):
        what = f"{path} leads to no database that this user may look at"
        todo = "see where it points, and who may enter its folder"
        yield _wrong("database-unreadable", what, todo)
    elif isinstance(look.wal, FileStamp) or isinstance(look.journal, FileStamp):
        what = f"{path} is gone, and its log is still there"
        todo = "put the database back, or move the log away"
        yield _wrong("database-gone", what, todo)
    else:
        what = (
            f"the profile {files.profile} has no {path.name} in {files.home}, so it lists no sessions of the agent"
        )
        todo = "start Hermes once with that profile, or remove its folder"
        yield _hint("no-database", what, todo)


def _of_json_files(profiles: list[ProfileFiles], *, thoroughly: bool) -> Iterator[Finding]:
    seen: set[Path] = set()
    left_out = {"session_folder"} if thoroughly else {"session_folder", "session_index"}
    for files in profiles:
        named = {"settings": files.settings, **files.others}
        for part, path in named.items():
            if path in seen or part in left_out or not os.path.lexists(path):
                continue
            seen.add(path)
            try:
                content = read_json(path, most_bytes=inf if part == "session_index" else SMALL_BYTES)
            except SourceError as error:
                yield _broken(part, path, error.reason)
            else:
                if part == "session_index" and not isinstance(content, list):
                    yield _broken(part, path, "is no list of sessions")


def _broken(part: str, path: Path, reason: str) -> Finding:
    if part == "settings":
        what = f"{path} {reason}, so every view has the settings of a fresh install"
        return _wrong("settings-unreadable", what, "mend it, or remove it")
    if part == "session_index":
        todo = "remove it; the web front end makes it again"
        return _wrong("index-broken", f"{path} {reason}, so no list can be built", todo)
    what = f"{path} {reason}, so lists lack what it says"
    return _hint("file-broken", what, "mend it, or remove it")


def _of_sidecars(folder: Path) -> Iterator[Finding]:
    try:
        broken = [str(folder / f"{sid}.json") for sid, fields in heads_of_sidecars(folder) if not fields]
    except SourceError as error:
        yield unreadable("session-folder-unreadable", error)
        return
    if broken:
        what = f"{len(broken)} of its sidecars cannot be read: {_some(broken)}, so lists lack what they say"
        yield _hint("sidecar-broken", what, f"restore them from {INDEX} or their .bak files")


def unreadable(name: str, error: SourceError) -> Finding:
    """Return the finding of what cannot be read."""
    what, _, todo = error.reason.partition("; ")
    return _wrong(name, f"{error.path}: {what}", todo or "no list can be built until that is repaired")


def _some(names: list[str]) -> str:
    """Name the first of some things, and say how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
