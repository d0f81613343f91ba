"""What is wrong with a journal, and with where it lies. A journal that is not there is not made."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from hermes_cache.core.policy import Policy
from hermes_cache.distribution import install_command
from hermes_cache.doctor.findings import Finding
from hermes_cache.errors import JournalDamagedError, JournalError, JournalSetupError, JournalUnavailableError
from hermes_cache.file_systems import MOUNTS, is_of_a_network
from hermes_cache.journal.files import journal_file, missing_journal_file
from hermes_cache.journal.replaying import replay
from hermes_cache.journal.sqlalchemy_journal import journal_at
from hermes_cache.ports import Journal, Position

_LITTLE_BYTES: Final = 64 * 2**20
"""100,000 events take about 30 MB, and a write-ahead log as much again."""

_AHEAD_S: Final = 60.0
_LAST_EVENTS: Final = 100
_TIMES_TOO_MANY: Final = 2

_wrong: Final = partial(Finding, "journal", "wrong")
_hint: Final = partial(Finding, "journal", "hint")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What is known of a journal's SQLite file from outside.

    Attributes:
        path: The file.
        home: The Hermes home that is served; None if none is.
        has_folder: Whether its folder is there.
        is_remote: Whether it is on a network file system.
        is_open: Whether every user of the machine may write to its folder, and the URL does not say `shared`.
        may_write: Whether this user may write to it and to its folder.
        free_bytes: How much of the disk is free for this user; None if that is not known.
    """

    path: Path
    home: Path | None
    has_folder: bool
    is_remote: bool
    is_open: bool
    may_write: bool
    free_bytes: int | None


@dataclass(frozen=True, slots=True)
class ContentFacts:
    """What is known of what a journal holds.

    Attributes:
        events: How many events it keeps.
        newest_s: The time of the newest of its last events, in epoch seconds; None without events.
        damaged: How many of its rows are gone or damaged.
    """

    events: int
    newest_s: float | None
    damaged: int


def file_findings(facts: FileFacts) -> Iterator[Finding]:
    """Find what is wrong with where a journal lies."""
    path = facts.path
    if not facts.has_folder:
        yield _wrong("journal-folder-missing", f"there is no folder {path.parent} for the journal", "make it")
        return
    if facts.is_remote:
        what = f"{path} is on a network file system, where SQLite's locks cannot be trusted"
        yield _wrong("journal-on-network", what, "keep it on a disk of this machine, or use PostgreSQL")
    if facts.is_open:
        what = f"every user of this machine may write to the journal's folder {path.parent}"
        yield _wrong("journal-folder-open", what, "keep it in another folder, or add ?shared=true to its URL")
    if not facts.may_write:
        todo = "give this user or its group the right to write both"
        yield _wrong("journal-not-writable", f"this user may not write {path}, or not its folder", todo)
    if facts.home is not None and facts.home in path.parents:
        what = f"{path} is inside the Hermes home {facts.home}, where nothing of this package may be written"
        yield _wrong("journal-in-home", what, "keep it elsewhere")
    if facts.free_bytes is not None and facts.free_bytes < _LITTLE_BYTES:
        what = f"the disk of {path} has only {facts.free_bytes // 2**20} MiB left, so events may not be kept"
        yield _wrong("journal-disk-full", what, "free some of it")


def content_findings(facts: ContentFacts, policy: Policy, now_s: float) -> Iterator[Finding]:
    """Find what is wrong with what a journal holds."""
    if facts.damaged:
        what = f"{facts.damaged} rows of the journal are gone or damaged, so every list was built again once"
        yield _wrong("journal-damaged", what, "see whether its disk is sound, and whether somebody edits it")
    if facts.newest_s is not None and facts.newest_s > now_s + _AHEAD_S:
        what = f"the journal has events from {facts.newest_s - now_s:.0f} s in the future"
        yield _wrong(
            "journal-from-future", what, "set the clocks of this machine and of those that publish, as by NTP"
        )
    if facts.events > policy.journal_max_events * _TIMES_TOO_MANY:
        what = f"the journal keeps {facts.events:,} events, so no gateway compacts it"
        yield _hint("journal-not-compacted", what, "run: hermes-cache compact --journal URL")


def journal_findings(
    url: str, *, home: Path | None, policy: Policy, now_s: float, thoroughly: bool
) -> Iterator[Finding]:
    """Find what is wrong with a journal.

    Args:
        url: Names it.
        home: The Hermes home that is served; None if none is.
        policy: The one by which it is compacted.
        now_s: The time in epoch seconds.
        thoroughly: Read all of its events, too.
    """
    try:
        file = journal_file(url)
    except Exception as error:  # noqa: BLE001 - whatever a text that is no URL makes of SQLAlchemy
        yield _unusable(error)
        return
    found = [] if file is None else [*file_findings(read_file_facts(file, url, home))]
    yield from found
    if file is not None and (found or missing_journal_file(url)):
        return  # It is made by those who use it; or what is wrong with it is said already.
    yield from _of_content(url, policy, now_s, thoroughly=thoroughly)


def read_file_facts(path: Path, url: str, home: Path | None, mounts: Path = MOUNTS) -> FileFacts:
    """Read the facts of a journal's file.

    Args:
        path: The file.
        url: The journal's URL.
        home: The Hermes home that is served; None if none is.
        mounts: The table of what is mounted where.
    """
    folder, mode, free = path.resolve().parent, 0, None
    with suppress(OSError):
        mode = folder.stat().st_mode
        free = shutil.disk_usage(folder).free
    return FileFacts(
        path=path,
        home=home.resolve() if home else None,
        has_folder=folder.is_dir(),
        is_remote=is_of_a_network(path, mounts),
        is_open=os.name == "posix" and bool(mode & stat.S_IWOTH) and "shared=true" not in url,
        may_write=os.access(folder, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.W_OK)),
        free_bytes=free,
    )


def _of_content(url: str, policy: Policy, now_s: float, *, thoroughly: bool) -> Iterator[Finding]:
    try:
        with closing(journal_at(url)) as journal:
            yield from content_findings(_content(journal, thoroughly=thoroughly), policy, now_s)
            if journal.level == "cluster":
                yield from pooler_findings(is_pooled=_is_pooled(url))
    except JournalError as error:
        yield _unusable(error)


def _content(journal: Journal, *, thoroughly: bool) -> ContentFacts:
    end, snapshot = journal.end(), journal.snapshot()
    first = snapshot.position.seq if snapshot else 0
    try:
        last = journal.read(Position(end.journal, max(first, end.seq - _LAST_EVENTS)), limit=_LAST_EVENTS)
    except JournalDamagedError:
        last = []
    return ContentFacts(
        events=end.seq - first,
        newest_s=max((each.event.at_s for each in last), default=None),
        damaged=len(replay(journal).damaged) if thoroughly else 0,
    )


def pooler_findings(*, is_pooled: bool) -> Iterator[Finding]:
    """Find what is wrong with the way to a server."""
    if is_pooled:
        what = (
            "a pooler is between here and the journal's PostgreSQL; in transaction mode it passes no notifications"
        )
        yield _hint("journal-behind-pooler", what, "connect to the server itself, or by a pool in session mode")


def _is_pooled(url: str) -> bool:
    from hermes_cache.journal.postgres import goes_through_pooler  # noqa: PLC0415 - an extra

    return goes_through_pooler(url)


def _unusable(error: Exception) -> Finding:
    reason = " ".join(str(error).split())
    match error:
        case JournalDamagedError():
            return _wrong("journal-damaged", reason, "put a copy in its place, or remove it")
        case JournalUnavailableError():
            return _wrong(
                "journal-unreachable", reason, "until it is back, events of other processes do not arrive"
            )
        case JournalSetupError(__cause__=ImportError()):
            return _wrong("journal-driver-missing", "psycopg is not installed, so the journal cannot be opened",
                          f"run: {install_command('postgres')}")  # fmt: skip
        case JournalSetupError():
            what, _, todo = reason.rpartition("; ")
            return _wrong("journal-unusable", what or reason, todo if what else "name another journal")
        case _:
            return _wrong(
                "journal-unusable", "the journal's URL cannot be read", "give sqlite:///path or postgresql://..."
            )
