"""A PostgreSQL journal under the settings that a server, a database or a role brings (rules J3, J9)."""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier, Thread
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL, text

from hermes_cache.core.events import EventId, SessionListChanged
from hermes_cache.errors import (
    JournalError,
    JournalSetupError,
    JournalUnavailableError,
)
from hermes_cache.journal.sqlalchemy_journal import SqlAlchemyJournal, journal_at
from hermes_cache.ports import Position
from hermes_cache.testing.journal_contract import numbered
from tests.integration.postgres_server import MISSING, PostgresServer, find_binaries
from tests.waiting import PROCESS_S, WAIT_S, until

_WRITERS = 4
_EACH = 30

_HOSTILE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "statement_timeout": "1",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
}


class _Database:
    """A database and a role of the test's own."""

    def __init__(self, server: PostgresServer) -> None:
        self.name = f"d{uuid4().hex}"
        self.role = f"r{uuid4().hex}"
        self._server = server

    def make(self, encoding: str = "UTF8") -> None:
        self.run("CREATE ROLE {role} LOGIN")
        made = "CREATE DATABASE {name} OWNER {role} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING "
        self.run(made + f"'{encoding}'")

    def run(self, statement: str) -> None:
        names = {"name": sql.Identifier(self.name), "role": sql.Identifier(self.role)}
        with self._server.connect() as connection:
            connection.execute(sql.SQL(statement).format(**names))

    def run_inside(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(
            host=str(self._server.folder), user="hermes", dbname=self.name, autocommit=True, client_encoding="UTF8"
        ) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def url(self, driver: str = "postgresql+psycopg", **query: str) -> URL:
        where = {"host": str(self._server.folder), **query}
        return URL.create(driver, username=self.role, database=self.name, query=where)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[_Database]:
    made = _Database(postgres)
    yield made
    made.run("DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    made.run("DROP ROLE IF EXISTS {role}")


def _append_all(journal: SqlAlchemyJournal, life: str, together: Barrier, failures: list[JournalError]) -> None:
    together.wait(WAIT_S)
    number = 1
    while number <= _EACH:
        try:
            journal.append(numbered([number], life=life))
        except JournalError as failure:
            # Others held the lock for too long, as on a busy machine: again.
            if "timeout" in str(failure):
                continue
            failures.append(failure)
        number += 1


def _append_side_by_side(url: URL) -> list[JournalError]:
    failures: list[JournalError] = []
    together = Barrier(_WRITERS)
    journals = [journal_at(url) for _ in range(_WRITERS)]
    threads = [
        Thread(target=_append_all, args=(journal, f"w{at}", together, failures))
        for at, journal in enumerate(journals)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    for journal in journals:
        journal.close()
    return failures


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
@pytest.mark.parametrize("whose", ["DATABASE {name}", "ROLE {role}"])
def test_every_append_commits_whatever_the_default_isolation(
    database: _Database, isolation: str, whose: str
) -> None:
    """J3: writers side by side do not fail each other."""
    database.make()
    database.run(f"ALTER {whose} SET default_transaction_isolation = '{isolation}'")

    failures = _append_side_by_side(database.url())

    assert failures == []
    with closing(journal_at(database.url())) as journal:
        assert journal.end().seq == _WRITERS * _EACH


def test_a_journal_works_under_every_setting_that_a_role_brings(database: _Database) -> None:
    """J3: what is written is what is read, by who waits too."""
    database.make()
    for name, value in _HOSTILE.items():
        database.run(f"ALTER ROLE {{role}} SET {name} = '{value}'")
    event = SessionListChanged(id=EventId("life", 2), at_s=1.7e9 + 1 / 3, profile="Zoë \\'\u20ac", reason="new")
    with closing(journal_at(database.url())) as writer, closing(journal_at(database.url())) as reader:
        start, seen = reader.end(), reader.stamp()
        reader.wait(None, timeout_s=0.0)

        writer.append([*numbered([1]), event])
        reader.wait(seen, timeout_s=WAIT_S)

        assert [recorded.event for recorded in reader.read(start)] == [*numbered([1]), event]
        assert reader.seq_of(event.id) == 2


@pytest.mark.parametrize(("brought", "kept"), [("off", "local"), ("remote_write", "remote_write"), ("on", "on")])
def test_no_setting_makes_a_commit_less_than_on_disk(database: _Database, brought: str, kept: str) -> None:
    """J3: what `append` returned for survives a kill of the server; where more is asked for, that is kept."""
    database.make()
    database.run(f"ALTER ROLE {{role}} SET synchronous_commit = '{brought}'")

    with closing(journal_at(database.url())) as journal, journal._database.writing() as connection:
        found = connection.scalar(text("SHOW synchronous_commit"))

    assert found == kept


def test_each_transaction_says_what_it_is(database: _Database) -> None:
    """J3: also where the defaults of the connection are lost, as behind a pooler."""
    database.make()
    asked = text("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')")
    with closing(journal_at(database.url())) as journal:
        journal.end()
        with journal._database.reading() as connection:
            connection.execute(text("SET default_transaction_isolation = 'serializable'"))
            connection.execute(text("SET default_transaction_read_only = 'on'"))
            reading = tuple(connection.execute(asked).one())
        with journal._database.writing() as connection:
            writing = tuple(connection.execute(asked).one())

    assert (reading, writing) == (("repeatable read", "on"), ("read committed", "off"))


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_another_encoding_keeps_a_journal(database: _Database, encoding: str) -> None:
    """J3, J9"""
    database.make(encoding)
    event = SessionListChanged(id=EventId("life", 1), at_s=1.0, profile="Zoë \u20ac")

    with closing(journal_at(database.url())) as journal:
        journal.append([event])
        recorded = journal.read(Position(journal.end().journal))

    assert [each.event for each in recorded] == [event]


def test_text_that_is_not_utf8_is_a_typed_error(database: _Database) -> None:
    """J9: a database without an encoding lets it in."""
    database.make("SQL_ASCII")
    with closing(journal_at(database.url())) as journal:
        journal.append(numbered([1]))
        database.run_inside("UPDATE hermes_cache_events SET event_id = E'\\xff'")

        with pytest.raises(JournalError, match="0xff"):
            journal.read(Position(journal.end().journal))


@pytest.mark.parametrize("driver", ["postgres", "postgresql", "postgresql+psycopg2", "postgres+asyncpg"])
def test_the_driver_is_psycopg_whatever_the_url_says(database: _Database, driver: str) -> None:
    """J9"""
    database.make()

    with closing(journal_at(database.url(driver).render_as_string(hide_password=False))) as journal:
        assert journal.append(numbered([1])) == [1]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db:port/gateway",
        "postgresql://db/gateway?nonsense=1",
        "postgresql:///gateway?host=a:x&host=b:y",
        "postgresql://db/gateway?connect_timeout=soon",
    ],
)
def test_a_url_that_cannot_be_is_reported(url: str) -> None:
    """J9"""
    with pytest.raises(JournalError, match=r"give|correct its URL|try again"), closing(journal_at(url)) as journal:
        journal.end()


def test_text_that_no_database_can_keep_is_refused_by_itself(database: _Database) -> None:
    """J9: a plain `JournalError`, so that the writer goes on with the events behind it."""
    database.make()
    with closing(journal_at(database.url())) as journal:
        for life in ("nul\0", "half\ud800"):
            with pytest.raises(JournalError) as refused:
                journal.append(numbered([1], life=life))
            assert type(refused.value) is JournalError
        assert journal.append(numbered([1])) == [1]


def test_a_deadlock_is_tried_again(database: _Database) -> None:
    """J9: the server ends one of the two; an append may be done again."""
    database.make()
    failures: list[str] = []
    with closing(journal_at(database.url())) as journal:
        journal.append(numbered([1]))

        def append() -> None:
            try:
                journal.append(numbered([2]))
            except JournalError as failure:
                failures.append(str(failure))

        def has_met_a_deadlock() -> bool:
            failures.clear()
            appending = Thread(target=append)
            with psycopg.connect(
                host=str(database.url().query["host"]), user="hermes", dbname=database.name
            ) as other:
                other.execute("SET deadlock_timeout = '60s'")
                other.execute("LOCK TABLE hermes_cache_events IN ACCESS EXCLUSIVE MODE")
                appending.start()
                until(lambda: _is_blocked(database) or not appending.is_alive())
                other.execute("UPDATE hermes_cache_journal SET name = name")
            appending.join(WAIT_S)
            # On a busy machine the append may have waited for too long before the server saw the deadlock.
            return not any("lock timeout" in failure for failure in failures)

        until(has_met_a_deadlock, within_s=PROCESS_S)

        assert failures == []
        assert journal.end().seq == 2


def _is_blocked(database: _Database) -> bool:
    blocked = "SELECT usename FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return (database.role,) in database.run_inside(blocked)


def test_a_role_that_may_make_no_tables_uses_those_that_are_there(database: _Database) -> None:
    """J9"""
    database.make()
    with closing(journal_at(database.url())) as journal:
        journal.append(numbered([1]))
    database.run_inside("REVOKE ALL ON SCHEMA public FROM PUBLIC, pg_database_owner")
    database.run_inside(f"GRANT USAGE ON SCHEMA public TO {database.role}")

    with closing(journal_at(database.url())) as journal:
        assert journal.append(numbered([2])) == [2]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            "REVOKE ALL ON SCHEMA public FROM PUBLIC, pg_database_owner; GRANT USAGE ON SCHEMA public TO {}",
            "grant the",
        ),
        ("ALTER ROLE {} SET search_path = ''", "csearch_path"),
        ("ALTER ROLE {} SET search_path = pg_temp, public", "csearch_path"),
    ],
)
def test_a_role_that_cannot_make_the_tables_is_told_what_to_do(database: _Database, spoil: str, told: str) -> None:
    """J9"""
    database.make()
    database.run_inside(spoil.format(database.role))

    with (
        pytest.raises(JournalSetupError, match=told),
        closing(journal_at(database.url())) as journal,
    ):
        journal.append(numbered([1]))


def test_a_role_that_may_only_read_is_told_what_to_do(database: _Database) -> None:
    """J9: and it can read."""
    database.make()
    with closing(journal_at(database.url())) as journal:
        journal.append(numbered([1]))
    database.run_inside("ALTER TABLE hermes_cache_journal OWNER TO hermes")
    database.run_inside("ALTER TABLE hermes_cache_events OWNER TO hermes")
    database.run_inside("ALTER TABLE hermes_cache_snapshot OWNER TO hermes")
    database.run_inside(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {database.role}")

    with closing(journal_at(database.url())) as journal:
        assert journal.end().seq == 1
        with pytest.raises(JournalSetupError, match="grant the role"):
            journal.append(numbered([2]))


def test_a_server_that_restarts_between_two_calls_is_reported_and_found_again(
    postgres: PostgresServer, postgres_url: URL
) -> None:
    """J9: whichever call comes first, it raises a `JournalError` or works, and the next one works."""
    calls: tuple[Callable[[SqlAlchemyJournal], object], ...] = (
        lambda journal: journal.end(),
        lambda journal: journal.stamp(),
        lambda journal: journal.wait(None, timeout_s=0.0),
        lambda journal: journal.append(numbered([1])),
        lambda journal: journal.snapshot(),
    )
    for call in calls:
        with closing(journal_at(postgres_url)) as journal:
            journal.append(numbered([1]))
            journal.wait(None, timeout_s=0.0)
            postgres.stop()
            postgres.start()
            with suppress(JournalUnavailableError):
                call(journal)
            call(journal)
            assert journal.end().seq == 1


def test_a_standby_is_read_and_tells_who_writes_to_take_the_primary() -> None:
    """J9"""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(MISSING)
    with TemporaryDirectory(prefix="hermes_pg_", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(binaries, Path(folder))
        server.start()
        with closing(journal_at(server.url())) as journal:
            journal.append(numbered([1]))
        server.stop()
        (Path(folder) / "data" / "standby.signal").touch()
        server.start()
        try:
            with closing(journal_at(server.url())) as journal:
                kept = journal.read(Position(journal.end().journal))
                with pytest.raises(JournalSetupError, match="connect to the primary"):
                    journal.append(numbered([2]))
                with pytest.raises(JournalSetupError, match="connect to the primary"):
                    journal.wait(None, timeout_s=0.0)
        finally:
            server.stop()

    assert [recorded.event for recorded in kept] == numbered([1])
