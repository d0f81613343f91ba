"""The journal in a PostgreSQL database keeps the contract, and skips nothing (rules J1 to J6)."""

import multiprocessing
from contextlib import closing
from threading import Event, Thread

import pytest
from sqlalchemy import URL, Connection

from hermes_cache.core.events import AppliedEvent
from hermes_cache.errors import JournalUnavailableError
from hermes_cache.journal.sqlalchemy_journal import journal_at
from hermes_cache.journal.tables import OLDEST
from hermes_cache.ports import Journal
from hermes_cache.testing.journal_contract import JournalContract, numbered
from tests.integration.journal_runs import transactions_of_a_truncated_journal
from tests.integration.postgres_server import PostgresServer
from tests.waiting import WAIT_S


class TestPostgresJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def _database(self, postgres: PostgresServer, postgres_url: URL) -> None:
        self.server = postgres
        self.url = postgres_url

    def open_journal(self) -> Journal:
        return journal_at(self.url)

    def lose_rows(self, first: int, last: int) -> None:
        self._change("DELETE FROM {}.hermes_cache_events WHERE seq BETWEEN %s AND %s", first, last)

    def damage_rows(self, first: int, last: int) -> None:
        self._change("UPDATE {}.hermes_cache_events SET checksum = 7 WHERE seq BETWEEN %s AND %s", first, last)

    def _change(self, statement: str, first: int, last: int) -> None:
        schema = str(self.url.query["options"]).removeprefix("-csearch_path=")
        with self.server.connect() as connection:
            connection.execute(statement.format(schema).encode(), (first, last))

    def test_a_long_run_of_rows_that_are_gone_costs_one_transaction(self) -> None:
        """J9"""
        assert transactions_of_a_truncated_journal(self.open_journal(), self.lose_rows) <= 3


def test_a_transaction_held_open_lets_no_later_one_pass(postgres_url: URL) -> None:
    """J4: the second writer's event has the greater number, and is visible only after the first's."""
    first, second = numbered([1, 2])
    done = Event()
    with (
        closing(journal_at(postgres_url)) as slow,
        closing(journal_at(postgres_url)) as quick,
        closing(journal_at(postgres_url)) as reader,
    ):
        start = reader.end()
        quick.end()

        def append() -> None:
            quick.append([second])
            done.set()

        writer = Thread(target=append)
        with slow._database.writing() as connection:
            OLDEST.append_events(connection, [first])
            writer.start()
            overtook = done.wait(0.5)
            seen_meanwhile = reader.read(start)
        writer.join(WAIT_S)

        assert not overtook
        assert seen_meanwhile == []
        assert [recorded.event for recorded in reader.read(start)] == [first, second]


def _append_and_fail(connection: Connection, event: AppliedEvent) -> None:
    raise ZeroDivisionError(OLDEST.append_events(connection, [event]))


def test_a_transaction_rolled_back_leaves_no_hole(postgres_url: URL) -> None:
    """J4"""
    first, second = numbered([1, 2])
    with closing(journal_at(postgres_url)) as journal:
        with pytest.raises(JournalUnavailableError), journal._database.writing() as connection:
            _append_and_fail(connection, first)

        assert journal.append([second]) == [1]


def test_a_server_that_went_away_is_reported_and_found_again(postgres: PostgresServer, postgres_url: URL) -> None:
    """J5"""
    with closing(journal_at(postgres_url)) as journal:
        journal.append(numbered([1]))
        postgres.stop()
        with pytest.raises(JournalUnavailableError):
            journal.append(numbered([2]))
        postgres.start()

        assert journal.append(numbered([1, 2])) == [1, 2]


def test_a_forked_child_has_connections_of_its_own(postgres_url: URL) -> None:
    """L2: the child appends, and the parent's connections still work."""
    with closing(journal_at(postgres_url)) as journal:
        journal.append(numbered([1]))
        journal.wait(None, timeout_s=0.0)
        child = multiprocessing.get_context("fork").Process(target=journal.append, args=(numbered([1, 2]),))
        child.start()
        child.join(WAIT_S)

        assert child.exitcode == 0
        assert journal.append(numbered([3, 2])) == [3, 2]
