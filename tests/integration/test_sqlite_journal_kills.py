"""What an SQLite journal acknowledged outlives the death of its writers at any moment (rules J1, J4)."""

import multiprocessing
import random
from collections import deque
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import sleep

import pytest
from sqlalchemy import make_url

from hermes_cache.core.events import AppliedEvent
from hermes_cache.errors import JournalUnavailableError
from hermes_cache.journal.sqlalchemy_journal import SqlAlchemyJournal
from hermes_cache.journal.sqlite import SqliteDatabase
from hermes_cache.ports import Journal, Position
from hermes_cache.testing.journal_contract import numbered
from tests.waiting import WAIT_S

_GROUP = 3
_WRITERS = 2

_Writer = tuple[str, BaseProcess, Connection]


def _at(file: Path, driver: str) -> SqlAlchemyJournal:
    return SqlAlchemyJournal(SqliteDatabase(make_url(f"sqlite:///{file}"), driver=import_module(driver)))


def _append_for_ever(file: Path, driver: str, life: str, acked: Connection) -> None:
    with closing(_at(file, driver)) as journal:
        for first in count(1, _GROUP):
            last = first + _GROUP - 1
            while not _is_appended(journal, numbered(range(first, last + 1), life=life)):
                pass
            acked.send(last)


def _is_appended(journal: SqlAlchemyJournal, events: list[AppliedEvent]) -> bool:
    try:
        journal.append(events)
    except JournalUnavailableError:  # as on a busy machine, when others held the lock for too long: again
        return False
    return True


def _started(file: Path, driver: str, life: str) -> _Writer:
    spawn = multiprocessing.get_context("spawn")
    receiving, sending = spawn.Pipe(duplex=False)
    writer = spawn.Process(target=_append_for_ever, args=(file, driver, life, sending))
    writer.start()
    sending.close()
    return life, writer, receiving


def _killed(process: BaseProcess, acks: Connection, moment_s: float) -> int:
    assert acks.poll(WAIT_S), "the writer never got through"
    sleep(moment_s)
    process.kill()
    process.join(WAIT_S)
    last = 0
    try:
        while True:
            last = int(acks.recv())
    except EOFError:
        acks.close()
        return last


def _kill_writers(file: Path, driver: str, kills: int) -> dict[str, int]:
    moments = random.Random(kills)
    writers = deque(_started(file, driver, f"life{number}") for number in range(_WRITERS))
    acked = {}
    for kill in range(kills):
        life, process, acks = writers.popleft()
        if kill + _WRITERS < kills:
            writers.append(_started(file, driver, f"life{kill + _WRITERS}"))
        acked[life] = _killed(process, acks, moments.uniform(0.0, 0.5))
    return acked


def _kept(journal: Journal) -> dict[str, list[int]]:
    kept: dict[str, list[int]] = {}
    position = Position(journal.end().journal)
    while part := journal.read(position):
        for recorded in part:
            kept.setdefault(recorded.event.id.incarnation, []).append(recorded.event.id.number)
        position = part[-1].position
    return kept


@pytest.mark.parametrize(
    ("driver", "kills"),
    [
        ("sqlite3", 5),
        pytest.param("sqlite3", 50, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
        pytest.param("pysqlite3.dbapi2", 50, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
def test_what_was_acknowledged_outlives_kills(
    tmp_path: Path, driver: str, kills: int, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """J1, J4: every group is there whole or not at all, and all that the writers were told of is there."""
    module = pytest.importorskip(driver)
    file = tmp_path / "journal.db"

    acked = _kill_writers(file, driver, kills)

    with closing(_at(file, driver)) as journal:
        kept = _kept(journal)
    with closing(module.connect(file)) as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
    record_testsuite_property(f"{driver}, {kills} kills: acknowledged", sum(acked.values()))
    record_testsuite_property(
        f"{driver}, {kills} kills: lost",
        sum(max(0, last - len(kept.get(life, []))) for life, last in acked.items()),
    )
    assert len(acked) == kills
    assert sound == "ok"
    for life, last in acked.items():
        assert kept[life] == list(range(1, len(kept[life]) + 1))
        assert len(kept[life]) >= last
        assert len(kept[life]) % _GROUP == 0
