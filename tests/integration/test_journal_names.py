"""A journal before and after the first event of a bus with a name of its own: who shares it, and who cannot."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from hermes_cache import Bus, JournalError, ListCache, Policy, journal_at, replay
from hermes_cache.bus.codec import checksum, encode
from hermes_cache.core.events import AppliedEvent, EventId, SessionListChanged
from hermes_cache.errors import JournalSetupError
from hermes_cache.journal.snapshots import fold_snapshot
from hermes_cache.ports import Journal, Position
from hermes_cache.testing.journal_contract import numbered

_BEFORE_NAMES = Path(__file__).with_name("journal_before_names.sql")
_LIFE = "0123456789abcdef0123456789abcdef"
_STRICT = Policy(ttl=3_600.0, journal_interval=0.0, journal_wait=10.0)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'journal.db'}"
    found: str = request.getfixturevalue("postgres_url").render_as_string(hide_password=False)
    return found


class _OldProgram:
    """The statements of a program from before names, on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def version(self) -> object:
        return self._connection.scalar(text("SELECT schema_version FROM hermes_cache_journal"))

    def read(self) -> list[str]:
        rows = self._connection.execute(
            text(
                "SELECT hermes_cache_journal.last_seq, (SELECT max(hermes_cache_snapshot.seq) FROM"
                " hermes_cache_snapshot), (SELECT hermes_cache_events.event_id FROM hermes_cache_events WHERE"
                " hermes_cache_events.seq = 1) FROM hermes_cache_journal"
            )
        )
        rows.all()
        found = self._connection.execute(text("SELECT event_id FROM hermes_cache_events ORDER BY seq"))
        return [str(row.event_id) for row in found]

    def append(self, event: AppliedEvent) -> None:
        seq = self._connection.scalar(text("SELECT last_seq FROM hermes_cache_journal")) + 1
        name = self._connection.scalar(text("SELECT name FROM hermes_cache_journal"))
        mark, body = str(event.id), encode(event)
        row = {"seq": seq, "mark": mark, "at_s": event.at_s, "body": body, "sum": checksum(seq, body)}
        columns = "(seq, event_id, at_s, body, checksum)"
        self._connection.execute(
            text(f"INSERT INTO hermes_cache_events {columns} VALUES (:seq, :mark, :at_s, :body, :sum)"),  # noqa: S608
            row,
        )
        self._connection.execute(
            text("UPDATE hermes_cache_journal SET last_seq = :seq, last_mark = :mark, checksum = :sum"),
            {"seq": seq, "mark": mark, "sum": checksum(seq, f"{name} {mark}".encode())},
        )


@contextmanager
def _old_program(url: str) -> Iterator[_OldProgram]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield _OldProgram(connection)
    finally:
        engine.dispose()


def _events(journal: Journal) -> list[str]:
    return [str(each.event.id) for each in journal.read(Position(journal.end().journal))]


@pytest.fixture
def old_file(tmp_path: Path) -> str:
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(_BEFORE_NAMES.read_text())
    return f"sqlite:///{file}"


def test_a_journal_from_before_names_opens_and_goes_on(old_file: str) -> None:
    """K5, J2: its events are of the bus `sessions`, and programs from before can still read it."""
    with closing(journal_at(old_file)) as journal:
        before = replay(journal)
        seqs = journal.append(numbered([1], life="new"))
        events = [each.event for each in journal.read(Position(before.position.journal, 1))]

    assert before.position.seq == 4
    assert set(before.agreed.outdated) == {"", "work", "home"}
    assert set(before.agreed.active_streams(1e9, 900.0)) == {"turn"}
    assert seqs == [5]
    assert {event.id.bus for event in events} == {"sessions"}
    with _old_program(old_file) as old:
        assert old.version() == 1
        assert old.read() == [*(f"{_LIFE}:{number}" for number in (2, 3, 4)), "new:1"]


def test_a_journal_from_before_names_takes_names(old_file: str) -> None:
    """K5, J6: nothing that it had is lost, in a compaction neither."""
    with closing(journal_at(old_file)) as journal:
        before = replay(journal).agreed
        journal.append(numbered([1], life="shop", bus="orders"))
        journal.compact(fold_snapshot, before_s=2e9, max_events=0)

        assert replay(journal).agreed == before
        assert replay(journal, bus="orders").agreed.has(EventId("shop", 1, "orders"))
        assert replay(journal).position.seq == 5


def test_old_and_new_programs_share_a_journal_until_it_has_names(url: str) -> None:
    """K5: both read what the other writes."""
    with closing(journal_at(url)) as journal:
        journal.append(numbered([1], life="new"))
        with _old_program(url) as old:
            old.append(SessionListChanged(id=EventId("old", 1), at_s=2.0, profile="work"))
        journal.append(numbered([2], life="new"))

        assert _events(journal) == ["new:1", "old:1", "new:2"]
    with _old_program(url) as old:
        assert old.version() == 1
        assert old.read() == ["new:1", "old:1", "new:2"]


def test_a_program_that_knows_no_names_is_stopped_at_its_next_statement(url: str) -> None:
    """K5: then it opens the journal anew, and finds a version that it refuses."""
    with closing(journal_at(url)) as journal:
        journal.append(numbered([1]))
        journal.append(numbered([1], life="shop", bus="orders"))
        event = SessionListChanged(id=EventId("old", 1), at_s=2.0)

        with pytest.raises(DBAPIError, match="hermes_cache_events"), _old_program(url) as old:
            old.read()
        with pytest.raises(DBAPIError, match="hermes_cache_events"), _old_program(url) as old:
            old.append(event)

        assert _events(journal) == ["life:1", "orders/shop:1"]
    with _old_program(url) as old:
        assert old.version() == 2


def test_a_journal_of_a_later_program_is_refused_with_what_to_do(url: str) -> None:
    """K5"""
    with closing(journal_at(url)) as journal:
        journal.append(numbered([1]))
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE hermes_cache_journal SET schema_version = 3"))
    engine.dispose()

    refused = "its tables have version 3; upgrade hermes-session-cache or name another"
    with closing(journal_at(url)) as journal, pytest.raises(JournalSetupError, match=refused):
        journal.end()


def test_members_that_have_the_journal_open_hear_nothing_of_its_first_name(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """K5, J3: no read fails, no event waits, nothing is outdated."""
    builds: list[str] = []

    def build(key: str) -> dict[str, object]:
        builds.append(key)
        return {"build": len(builds)}

    with (
        ListCache(build, bus=Bus(), journal=url, policy=_STRICT) as here,
        Bus(journal=url, policy=_STRICT) as elsewhere,
        Bus("orders", journal=url, policy=_STRICT) as orders,
    ):
        here.get("list")
        orders.list_changed.send(reason="paid")
        here.get("list")
        elsewhere.session_list_changed.send()
        ticket = elsewhere.session_list_changed.ticket()
        here.get("list", at_least=ticket)

        assert ticket is not None
        assert ticket.committed is True
        assert here.stats().journal_seq == 2
        told = [record.message for record in caplog.records if record.levelname != "INFO"]
    assert told == []
    assert builds == ["list", "list"]


def test_a_role_that_does_not_own_the_tables_is_told_what_the_first_name_needs(
    postgres_url: object, request: pytest.FixtureRequest
) -> None:
    """K5, J9"""
    url = request.getfixturevalue("postgres_url")
    with closing(journal_at(url)) as journal:
        journal.append(numbered([1]))
    schema = url.query["options"].rpartition("=")[2]
    with request.getfixturevalue("postgres").connect() as connection:
        connection.execute("DO $$ BEGIN CREATE ROLE guest LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
        connection.execute(f"GRANT ALL ON SCHEMA {schema} TO guest".encode())
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO guest".encode())

    with closing(journal_at(url.set(username="guest"))) as journal:
        journal.append(numbered([2]))
        with pytest.raises(JournalError, match=r"must be owner of table hermes_cache_events; .* owns the tables"):
            journal.append(numbered([1], life="shop", bus="orders"))
        assert _events(journal) == ["life:1", "life:2"]
    assert postgres_url is url
