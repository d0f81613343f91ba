"""What is peculiar to a journal in an SQLite file: processes, forks, damage, replacement (rules J1 to J6, L2)."""

import gc
import multiprocessing
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Event, Thread
from types import ModuleType

import pytest
from sqlalchemy import make_url

from hermes_cache.core.events import EventId
from hermes_cache.errors import (
    JournalDamagedError,
    JournalError,
    JournalGapError,
    JournalSetupError,
    JournalUnavailableError,
)
from hermes_cache.journal import files
from hermes_cache.journal.snapshots import fold_snapshot
from hermes_cache.journal.sqlalchemy_journal import SqlAlchemyJournal, journal_at
from hermes_cache.journal.sqlite import SqliteDatabase
from hermes_cache.journal.tables import OLDEST
from hermes_cache.journal.wal_reset import wal_is_safe
from hermes_cache.ports import Position, Snapshot
from hermes_cache.testing.journal_contract import append_patiently, fold_ids, follow, numbered
from tests.waiting import WAIT_S


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a journal#1?.db"


@pytest.fixture
def journal(file: Path) -> Iterator[SqlAlchemyJournal]:
    with closing(_at(file)) as opened:
        yield opened


def _at(file: Path) -> SqlAlchemyJournal:
    return journal_at(f"sqlite:///{str(file).replace('?', '%3F')}")


def _change(file: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement, values)


def _files_open() -> set[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


def _schema(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return sorted(str(row[0]) for row in connection.execute("SELECT sql FROM sqlite_master"))


def _append_in_process(path: str, life: str, last: int) -> None:
    with closing(_at(Path(path))) as journal:
        for event in numbered(range(1, last + 1), life=life):
            append_patiently(journal, [event])


def test_two_processes_share_one_order(file: Path, journal: SqlAlchemyJournal) -> None:
    """J3, J4"""
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append_in_process, args=(str(file), life, 40)) for life in ("a", "b")]
    for writer in writers:
        writer.start()

    seen = follow(journal, 80)
    for writer in writers:
        writer.join(WAIT_S)

    assert [recorded.position.seq for recorded in seen] == list(range(1, 81))
    for life in ("a", "b"):
        numbers = [recorded.event.id.number for recorded in seen if recorded.event.id.incarnation == life]
        assert numbers == list(range(1, 41))


def test_a_stamp_tells_of_each_commit_however_soon_after_a_look(file: Path, journal: SqlAlchemyJournal) -> None:
    """J3: also where the file was still for long enough that its times alone are looked at."""
    seen = journal.stamp()
    pauses = random.Random(3)
    missed = []

    with closing(_at(file)) as other:
        for number in range(1, 101):
            ends_at_s = time.monotonic() + pauses.choice((0.0, 0.004, 0.045, 0.055, 0.07))
            while time.monotonic() < ends_at_s:
                journal.stamp()
            other.append(numbered([number]))
            before, seen = seen, journal.stamp()
            missed += [number] if seen == before else []

    assert missed == []


def test_a_transaction_held_open_lets_no_later_one_pass(file: Path, journal: SqlAlchemyJournal) -> None:
    """J4"""
    first, second = numbered([1, 2])
    start, done = journal.end(), Event()

    def append() -> None:
        with closing(_at(file)) as other:
            other.append([second])
        done.set()

    writer = Thread(target=append)
    with journal._database.writing() as connection:
        OLDEST.append_events(connection, [first])
        writer.start()
        overtook = done.wait(0.3)
    writer.join(WAIT_S)

    assert not overtook
    assert [recorded.event for recorded in journal.read(start)] == [first, second]


def test_a_row_under_a_wrong_id_is_reported(file: Path, journal: SqlAlchemyJournal) -> None:
    """J5"""
    journal.append(numbered([1]))
    _change(file, "UPDATE hermes_cache_events SET event_id = 'life:9'")

    with pytest.raises(JournalDamagedError, match=r"row 1.*'life:9'"):
        journal.read(Position(journal.end().journal))


def test_a_changed_row_is_named_and_can_be_passed_over(file: Path, journal: SqlAlchemyJournal) -> None:
    """J5"""
    journal.append(numbered([1, 2, 3]))
    _change(file, "UPDATE hermes_cache_events SET body = replace(body, 'life', 'lifE') WHERE seq = 2")
    start = Position(journal.end().journal)

    before = journal.read(start)
    with pytest.raises(JournalDamagedError, match="row 2") as raised:
        journal.read(before[-1].position)
    after = journal.read(Position(start.journal, 2))

    assert raised.value.seq == 2
    assert [recorded.position.seq for recorded in (*before, *after)] == [1, 3]


@pytest.mark.parametrize("value", [None, 7, "text", b"", b"\xff" * 100])
def test_a_hostile_row_is_a_typed_error(file: Path, journal: SqlAlchemyJournal, value: object) -> None:
    """J5"""
    journal.append(numbered([1]))
    _change(file, "PRAGMA writable_schema = ON")
    _change(file, "DROP TABLE hermes_cache_events")
    _change(file, "CREATE TABLE hermes_cache_events (seq, event_id, at_s, body, checksum)")
    _change(file, "INSERT INTO hermes_cache_events VALUES (1, 'life:1', 1.0, ?, 12)", value)

    with pytest.raises(JournalDamagedError, match="row 1"):
        journal.read(Position(journal.end().journal))


@pytest.mark.parametrize(
    ("column", "value"),
    [("body", "'text'"), ("body", "7e18"), ("event_id", "CAST(x'ff41' AS TEXT)"), ("checksum", "'x'")],
)
def test_a_row_of_strange_values_is_damaged_alone(
    file: Path, journal: SqlAlchemyJournal, column: str, value: str
) -> None:
    """J9: the rows around it are read."""
    journal.append(numbered([1, 2, 3]))
    _change(file, f"UPDATE hermes_cache_events SET {column} = {value} WHERE seq = 2")  # noqa: S608  # of this test
    start = Position(journal.end().journal)

    before, after = journal.read(start), journal.read(Position(start.journal, 2))

    with pytest.raises(JournalDamagedError, match="row 2"):
        journal.read(before[-1].position)
    assert [recorded.position.seq for recorded in (*before, *after)] == [1, 3]


@pytest.mark.parametrize("value", ["'text'", "7e18", "CAST(x'ff41' AS TEXT)"])
def test_a_snapshot_of_strange_values_is_damaged(file: Path, journal: SqlAlchemyJournal, value: str) -> None:
    """J9"""
    journal.append(numbered([1, 2]))
    journal.compact(fold_ids, before_s=0.0, max_events=1)
    _change(file, f"UPDATE hermes_cache_snapshot SET body = {value}")  # noqa: S608  # of this test

    with pytest.raises(JournalDamagedError, match="row 1"):
        journal.snapshot()


def test_text_that_cannot_be_kept_is_refused_by_itself(journal: SqlAlchemyJournal) -> None:
    """J9: a plain `JournalError`, so that the writer goes on with the events behind it."""
    with pytest.raises(JournalError) as refused:
        journal.append(numbered([1], life="half\ud800"))

    assert type(refused.value) is JournalError
    assert journal.append(numbered([1])) == [1]


def test_whatever_the_driver_raises_is_a_journal_error(file: Path) -> None:
    """J9"""
    driver = ModuleType("strange")
    driver.__dict__.update(sqlite3.__dict__)
    driver.connect = _raise_type_error  # type: ignore[attr-defined]  # a module of this test
    calls: tuple[Callable[[SqlAlchemyJournal], object], ...] = (
        lambda strange: strange.append(numbered([1])),
        lambda strange: strange.read(Position("name")),
        lambda strange: strange.seq_of(EventId("life", 1)),
        lambda strange: strange.end(),
        lambda strange: strange.stamp(),
        lambda strange: strange.wait(None, timeout_s=0.0),
        lambda strange: strange.snapshot(),
        lambda strange: strange.compact(fold_ids, before_s=0.0, max_events=0),
    )
    url = make_url(f"sqlite:///{file}")
    with closing(SqlAlchemyJournal(SqliteDatabase(url, driver=driver))) as strange:
        for call in calls:
            with pytest.raises(JournalUnavailableError, match="bytes, not str"):
                call(strange)


def _raise_type_error(*_: object, **__: object) -> None:
    raise TypeError("bytes, not str")


def test_a_row_that_is_gone_is_reported(file: Path, journal: SqlAlchemyJournal) -> None:
    """J4"""
    journal.append(numbered([1, 2]))
    _change(file, "DELETE FROM hermes_cache_events WHERE seq = 1")

    with pytest.raises(JournalDamagedError, match="row 1"):
        journal.read(Position(journal.end().journal))


def test_a_damaged_row_does_not_hinder_compaction(file: Path, journal: SqlAlchemyJournal) -> None:
    """J6"""
    journal.append(numbered([1, 2, 3]))
    _change(file, "UPDATE hermes_cache_events SET checksum = 0 WHERE seq = 2")

    dropped = journal.compact(fold_ids, before_s=0.0, max_events=0)
    snapshot = journal.snapshot()

    assert dropped == 3
    assert snapshot is not None
    assert snapshot.body == b"life:1 life:3"


def test_a_damaged_snapshot_is_reported(file: Path, journal: SqlAlchemyJournal) -> None:
    """J2, J5"""
    journal.append(numbered([1]))
    journal.compact(fold_ids, before_s=0.0, max_events=0)
    _change(file, "UPDATE hermes_cache_snapshot SET body = X'00'")

    with pytest.raises(JournalDamagedError, match="row 1"):
        journal.snapshot()


@pytest.mark.parametrize(
    ("column", "value"), [("body", b"\0"), ("checksum", 0), ("seq", 0), ("seq", 2), ("seq", 99)]
)
def test_a_damaged_snapshot_does_not_hinder_compaction(
    file: Path, journal: SqlAlchemyJournal, column: str, value: object
) -> None:
    """J6: it counts as empty, and the next one takes its place."""
    journal.append(numbered([1, 2, 3]))
    journal.compact(fold_ids, before_s=0.0, max_events=2)
    _change(file, f"UPDATE hermes_cache_snapshot SET {column} = ?", value)  # noqa: S608  # the columns above

    untouched = journal.compact(fold_ids, before_s=0.0, max_events=2)
    dropped = journal.compact(fold_ids, before_s=0.0, max_events=1)
    snapshot = journal.snapshot()

    assert (untouched, dropped) == (0, 1)
    assert snapshot == Snapshot(Position(journal.end().journal, 2, "life:2"), b"life:2")
    assert [recorded.event for recorded in journal.read(snapshot.position)] == numbered([3])


def test_a_snapshot_that_nobody_can_read_does_not_hinder_compaction(journal: SqlAlchemyJournal) -> None:
    """J6: it is what was written, but not what a snapshot looks like here."""
    journal.append(numbered([1, 2, 3]))
    journal.compact(lambda _body, _events: b"of another form", before_s=0.0, max_events=2)

    dropped = journal.compact(fold_snapshot, before_s=0.0, max_events=1)
    snapshot = journal.snapshot()

    assert dropped == 1
    assert snapshot is not None
    assert (snapshot.position.seq, snapshot.body) == (2, fold_snapshot(None, numbered([2])))


@pytest.mark.parametrize("make", ["delete", "replace", "empty"])
def test_a_journal_that_replaced_another_is_not_read_on(file: Path, journal: SqlAlchemyJournal, make: str) -> None:
    """J5"""
    journal.append(numbered([1]))
    position, stamp = journal.end(), journal.stamp()
    if make == "empty":
        os.truncate(file, 0)
    else:
        file.unlink()
    if make == "replace":
        with closing(_at(file)) as other:
            other.append(numbered([1]))

    moved = journal.stamp() != stamp
    with pytest.raises((JournalGapError, JournalUnavailableError, JournalDamagedError)):
        journal.read(position)
    seqs = journal.append(numbered([5]))

    assert moved
    assert seqs[0] in {1, 2}
    assert journal.end().journal != position.journal


def test_a_journal_restored_from_an_older_copy_is_a_gap(file: Path, journal: SqlAlchemyJournal) -> None:
    """J5: also where it has gone on since, past the position of the reader."""
    journal.append(numbered([1]))
    copy = file.with_name("copy.db")
    shutil.copy(file, copy)
    journal.append(numbered([2]))
    position = journal.end()
    copy.replace(file)

    with pytest.raises(JournalGapError, match="holds 1 to 1"):
        journal.read(position)
    journal.append(numbered([3, 4]))

    with pytest.raises(JournalGapError, match="differently"):
        journal.read(position)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not list open files")
def test_a_journal_closed_beside_a_transaction_leaves_no_file_open(file: Path, journal: SqlAlchemyJournal) -> None:
    """L1: another thread closes it; nothing waits for the garbage collector."""
    journal.append(numbered([1]))
    gc.disable()
    try:
        with journal._database.reading() as connection:
            connection.exec_driver_sql("SELECT 1 FROM hermes_cache_events").all()
            closer = Thread(target=journal.close)
            closer.start()
            closer.join(WAIT_S)
            open_meanwhile = _files_open()

        assert str(file) in open_meanwhile
        assert str(file) not in _files_open()
    finally:
        gc.enable()


def test_what_is_no_database_is_reported(file: Path, journal: SqlAlchemyJournal) -> None:
    """J5"""
    file.write_bytes(b"this is no database, and long enough to be looked at" * 40)

    with pytest.raises(JournalDamagedError, match="replace it"):
        journal.append(numbered([1]))


def test_a_missing_folder_is_unavailable_until_it_is_there(tmp_path: Path) -> None:
    """J5"""
    with closing(_at(tmp_path / "later" / "journal.db")) as journal:
        with pytest.raises(JournalUnavailableError, match="try again"):
            journal.end()
        (tmp_path / "later").mkdir()

        assert journal.append(numbered([1])) == [1]


def test_tables_of_a_later_version_are_left_alone(file: Path, journal: SqlAlchemyJournal) -> None:
    """J1"""
    journal.append(numbered([1]))
    _change(file, "UPDATE hermes_cache_journal SET schema_version = 99")

    with closing(_at(file)) as later, pytest.raises(JournalSetupError, match="version 99"):
        later.end()


def test_tables_of_an_earlier_version_are_brought_up(tmp_path: Path, journal: SqlAlchemyJournal) -> None:
    """J1: version 0 has its name and no events; afterwards it is as one made anew."""
    journal.end()
    earlier = tmp_path / "earlier.db"
    shutil.copy(tmp_path / "a journal#1?.db", earlier)
    _change(earlier, "DROP TABLE hermes_cache_events")
    _change(earlier, "DROP TABLE hermes_cache_snapshot")
    _change(earlier, "UPDATE hermes_cache_journal SET schema_version = 0")

    with closing(_at(earlier)) as later:
        seqs = later.append(numbered([1]))
        name = later.end().journal

    assert seqs == [1]
    assert name == journal.end().journal
    assert _schema(earlier) == _schema(tmp_path / "a journal#1?.db")


@pytest.mark.parametrize("column", ["name", "last_seq", "last_mark", "checksum", "schema_version"])
def test_a_changed_end_of_the_journal_is_reported(file: Path, journal: SqlAlchemyJournal, column: str) -> None:
    """J5: one byte of the row that says where the journal ends; nothing is appended after a wrong end."""
    journal.append(numbered([1, 2]))
    end = journal.end()
    _change(file, f"UPDATE hermes_cache_journal SET {column} = substr({column}, 1, length({column}) - 1) || '~'")  # noqa: S608  # names of this test

    with closing(_at(file)) as later:
        with pytest.raises(JournalDamagedError, match="replace it") as raised:
            later.read(end)
        with pytest.raises(JournalDamagedError, match="replace it"):
            later.append(numbered([3]))

    assert raised.value.seq is None


def test_an_end_of_the_journal_that_is_gone_is_reported(file: Path, journal: SqlAlchemyJournal) -> None:
    """J5"""
    journal.append(numbered([1]))
    _change(file, "DELETE FROM hermes_cache_journal")

    with pytest.raises(JournalDamagedError, match="0 rows"):
        journal.append(numbered([2]))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name", "no url"])
def test_a_url_that_can_hold_no_journal_is_refused_at_once(url: str) -> None:
    """J1"""
    with pytest.raises(JournalSetupError, match="cannot be the journal"):
        journal_at(url)


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 6, 23), True),
        ((3, 7, 0), False),
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((4, 0, 0), True),
    ],
)
def test_a_library_with_the_wal_reset_bug_is_known(version: tuple[int, int, int], *, safe: bool) -> None:
    """J1"""
    assert wal_is_safe(version) is safe


def test_the_file_is_written_as_the_library_can_be_trusted_to(file: Path, journal: SqlAlchemyJournal) -> None:
    """J1"""
    journal.append(numbered([1]))

    with journal._database.reading() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()

    assert mode == ("wal" if wal_is_safe(sqlite3.sqlite_version_info) else "persist")
    assert synchronous == 2
    assert file.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_connections_of_its_own(journal: SqlAlchemyJournal) -> None:
    """L2: the child appends, the parent goes on, and the inherited connection stays referenced."""
    journal.append(numbered([1]))
    stamp = journal.stamp()
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=journal.append, args=(numbered([1, 2]),))
    child.start()
    child.join(WAIT_S)

    moved = journal.stamp() != stamp
    seqs = journal.append(numbered([3]))

    assert child.exitcode == 0
    assert moved
    assert seqs == [3]


def test_a_file_that_somebody_locks_is_unavailable_and_then_works(file: Path, journal: SqlAlchemyJournal) -> None:
    """J5"""
    journal.append(numbered([1]))
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalUnavailableError, match="locked"):
            journal.append(numbered([2]))

    assert journal.append(numbered([2])) == [2]


@pytest.mark.skipif(wal_is_safe(sqlite3.sqlite_version_info), reason="in WAL mode the file itself tells nothing")
def test_a_waiter_hears_of_a_commit_that_left_the_file_looking_as_it_was(
    file: Path, journal: SqlAlchemyJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """J3: two commits within a tick of the kernel's clock may leave the same times."""
    journal.append(numbered([1]))
    looks_so = files.found(file)
    monkeypatch.setattr("hermes_cache.journal.sqlite.found", lambda _path: looks_so)
    seen = journal.stamp()
    with closing(_at(file)) as other:
        other.append(numbered([2]))
    began_s = time.monotonic()

    journal.wait(seen, timeout_s=WAIT_S)

    assert time.monotonic() - began_s < WAIT_S / 2
    assert journal.stamp() != seen


@pytest.mark.skipif(wal_is_safe(sqlite3.sqlite_version_info), reason="in WAL mode the file itself tells nothing")
def test_a_waiter_seldom_asks_sqlite_about_a_file_that_nobody_writes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """J3: each time costs the other threads of the interpreter."""
    database = SqliteDatabase(make_url(f"sqlite:///{file}"))
    with closing(SqlAlchemyJournal(database)) as journal:
        journal.append(numbered([1]))
        asked: list[float] = []
        stamp = database._stamp

        def ask(timeout_s: float) -> tuple[int, object]:
            asked.append(timeout_s)
            return stamp(timeout_s)

        monkeypatch.setattr(database, "_stamp", ask)

        journal.wait(journal.stamp(), timeout_s=0.3)

    assert len(asked) <= 4
