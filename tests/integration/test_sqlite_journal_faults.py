"""An SQLite journal beside locks that stay, full disks, and file systems that it must not use (rules J3, J5)."""

import gc
import multiprocessing
import os
import resource
import sqlite3
from collections.abc import Callable, Hashable, Iterator
from contextlib import closing, suppress
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path, PosixPath, PurePosixPath
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic
from typing import ClassVar

import pytest
from sqlalchemy import make_url

from hermes_cache.core.events import AppliedEvent
from hermes_cache.errors import JournalSetupError, JournalUnavailableError
from hermes_cache.file_systems import network_file_system
from hermes_cache.journal.sqlalchemy_journal import SqlAlchemyJournal, journal_at
from hermes_cache.journal.sqlite import SqliteDatabase
from hermes_cache.ports import Position
from hermes_cache.testing.journal_contract import numbered

_WAIT_S = 20.0
_NOBODY = 65534
_GROUP = 30

_MOUNTS = r"""
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
nas:/export /mnt/nas nfs4 rw 0 0
/dev/vdb /mnt/nas/here xfs rw 0 0
me@host:/ /home/me/far\040away fuse.sshfs rw 0 0
share /srv virtiofs rw 0 0
/dev/vdc /srv ext4 rw 0 0
nonsense
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(file: Path) -> Iterator[SqlAlchemyJournal]:
    with closing(journal_at(f"sqlite:///{file}")) as opened:
        yield opened


def _hold(path: str, told: Connection) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        told.send("held")
        told.recv()


@pytest.mark.parametrize("opened", [True, False])
def test_a_reader_is_not_held_up_by_a_lock_that_stays(
    file: Path, journal: SqlAlchemyJournal, *, opened: bool
) -> None:
    """J3: the stamp waits half a second, whether or not the journal was opened before."""
    journal.append(numbered([1]))
    before = journal.stamp()
    if not opened:
        journal.close()
        journal = journal_at(f"sqlite:///{file}")
    here, there = multiprocessing.Pipe()
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(str(file), there))
    holder.start()
    here.recv()

    took_s = [_refused_after_s(journal) for _ in range(3)]
    here.send("let go")
    holder.join(_WAIT_S)
    after = journal.stamp()
    journal.close()

    # A busy machine makes some take longer.
    assert min(took_s) < 1.0
    assert (after == before) is opened


def _refused_after_s(journal: SqlAlchemyJournal) -> float:
    began_s = monotonic()
    with pytest.raises(JournalUnavailableError, match="locked"):
        journal.stamp()
    return monotonic() - began_s


def test_a_reader_is_not_held_up_by_a_thread_that_waits_for_the_lock(
    file: Path, journal: SqlAlchemyJournal
) -> None:
    """J3: nor where that thread is only opening the journal, which waits for seconds."""
    journal.append(numbered([1]))
    asked, failed = Event(), Event()
    with (
        closing(sqlite3.connect(file, isolation_level=None)) as holder,
        closing(journal_at(f"sqlite:///{file}")) as other,
    ):
        holder.execute("BEGIN EXCLUSIVE")

        def append() -> None:
            asked.set()
            with pytest.raises(JournalUnavailableError):
                other.append(numbered([2]))
            failed.set()

        writer = Thread(target=append)
        writer.start()
        asked.wait(_WAIT_S)
        with pytest.raises(JournalUnavailableError):
            other.stamp()
        overtook = not failed.is_set()
        writer.join(_WAIT_S)

    assert overtook
    assert failed.is_set()


def test_a_waiter_sits_out_a_lock_that_is_let_go(file: Path, journal: SqlAlchemyJournal) -> None:
    """J3: a backup, or a large compaction, does not make the journal unreachable."""
    journal.append(numbered([1]))
    seen, ended = journal.stamp(), Event()

    def wait() -> None:
        journal.wait(seen, timeout_s=_WAIT_S)
        ended.set()

    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        waiter = Thread(target=wait)
        waiter.start()
        gave_up = ended.wait(0.3) or not waiter.is_alive()
        holder.execute("CREATE TABLE other (id)")
        holder.execute("COMMIT")
        heard = ended.wait(_WAIT_S / 2)
    waiter.join(_WAIT_S)

    assert not gave_up
    assert heard


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/journal.db", None),
        ("/mnt/nas/journal.db", "nfs4"),
        ("/mnt/nas/here/journal.db", None),
        ("/mnt/nasty/journal.db", None),
        ("/home/me/far away/deep/journal.db", "fuse.sshfs"),
        ("/srv/journal.db", None),
    ],
)
def test_a_network_file_system_is_known(path: str, kind: str | None) -> None:
    """J5: the innermost mount counts, and of two at one path the later."""
    assert network_file_system(PurePosixPath(path), _MOUNTS) == kind


def test_a_file_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """J5: also by way of a symbolic link, and left alone."""
    far = tmp_path / "far"
    far.mkdir()
    (tmp_path / "link").symlink_to(far)
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\n//nas/share {far} cifs rw 0 0\n")
    database = SqliteDatabase(make_url(f"sqlite:///{tmp_path / 'link' / 'journal.db'}"), mounts=mounts)

    with closing(SqlAlchemyJournal(database)) as journal, pytest.raises(JournalSetupError, match=r"cifs.*a disk"):
        journal.end()

    assert list(far.iterdir()) == []


def test_without_a_table_of_mounts_every_file_system_is_trusted(tmp_path: Path) -> None:
    """J5: other systems have none."""
    database = SqliteDatabase(make_url(f"sqlite:///{tmp_path / 'journal.db'}"), mounts=tmp_path / "none")

    with closing(SqlAlchemyJournal(database)) as journal:
        assert journal.append(numbered([1])) == [1]


def _fill(folder: str, driver: str, limits: range, told: Connection) -> None:
    module = import_module(driver)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in limits:
        file = Path(folder) / f"{limit}.db"
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        database = SqliteDatabase(make_url(f"sqlite:///{file}"), driver=module)
        with closing(SqlAlchemyJournal(database)) as journal:
            acked = _append_until_refused(journal)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            healed = journal.append(_group(99))
            kept = [each.event.id.number for each in journal.read(Position(journal.end().journal))]
        with closing(module.connect(file)) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
        told.send((limit, acked, healed, kept, sound))


def _append_until_refused(journal: SqlAlchemyJournal) -> list[int]:
    acked: list[int] = []
    with suppress(JournalUnavailableError):
        for group in range(50):
            journal.append(_group(group))
            acked += [event.id.number for event in _group(group)]
    return acked


def _group(number: int) -> list[AppliedEvent]:
    return numbered(range(1 + _GROUP * number, 1 + _GROUP * (number + 1)))


@pytest.mark.parametrize(
    ("driver", "limits"), [("sqlite3", range(0, 64_000, 1_300)), ("pysqlite3.dbapi2", range(0, 256_000, 5_100))]
)
def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path, driver: str, limits: range) -> None:
    """J1, J5: whichever write finds no room, whole or in part, and it goes on once there is room."""
    pytest.importorskip(driver)
    here, there = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_fill, args=(str(tmp_path), driver, limits, there))
    child.start()
    there.close()

    results = [here.recv() for _ in limits]
    child.join(_WAIT_S)

    last = [event.id.number for event in _group(99)]
    assert len({len(acked) // _GROUP for _, acked, *_ in results}) > 8
    for limit, acked, healed, kept, sound in results:
        refused = [event.id.number for event in _group(len(acked) // _GROUP)]
        assert kept in (acked + last, acked + refused + last), f"limit {limit}"
        assert healed == list(range(len(kept) - _GROUP + 1, len(kept) + 1))
        assert sound == "ok"


def _append_as_nobody(folder: str, told: Connection) -> None:
    if os.geteuid() == 0:
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    with closing(journal_at(f"sqlite:///{folder}/journal.db")) as journal:
        try:
            told.send(journal.append(numbered([2])))
        except JournalUnavailableError as error:
            told.send(str(error))


def test_a_folder_that_cannot_be_written_to_is_unavailable() -> None:
    """J5: and what is in the file is left as it is. The folder is one that anybody may enter."""
    here, there = multiprocessing.Pipe(duplex=False)
    with TemporaryDirectory(prefix="hermes_cache_") as name:
        with closing(journal_at(f"sqlite:///{name}/journal.db")) as journal:
            journal.append(numbered([1]))
            Path(name).chmod(0o555)
            child = multiprocessing.get_context("fork").Process(target=_append_as_nobody, args=(name, there))
            child.start()
            child.join(_WAIT_S)
            Path(name).chmod(0o700)
            last = journal.end().seq

        told = here.recv()

    assert "try again" in told
    assert last == 1


class _StruckMounts(PosixPath):
    """A table of mounts; a finalizer strikes its reader, who holds the lock of the journal."""

    finalizers: ClassVar[list[Callable[[], object]]] = []

    def read_text(self, *_args: object, **_options: object) -> str:
        if self.finalizers:
            self.finalizers.pop()()
        return ""


@pytest.mark.parametrize("closes", [False, True], ids=["follows", "closes"])
def test_a_finalizer_may_follow_or_close_the_journal_that_its_thread_opens(file: Path, *, closes: bool) -> None:
    """L6: its thread does not wait for itself, and nothing stays open"""
    database = SqliteDatabase(make_url(f"sqlite:///{file}"), mounts=_StruckMounts("/proc/self/mounts"))
    found: list[Hashable] = []
    errors: list[JournalUnavailableError] = []

    def follow() -> None:
        try:
            found.append(database.stamp())
        except JournalUnavailableError as error:
            errors.append(error)

    _StruckMounts.finalizers[:] = [database.close if closes else follow]
    thread = Thread(target=follow, daemon=True)
    thread.start()
    thread.join(_WAIT_S)

    assert not thread.is_alive()
    assert (len(found), len(errors)) == ((0, 1) if closes else (2, 0))
    database.close()
    gc.collect()
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(file) in os.path.realpath(link)]
