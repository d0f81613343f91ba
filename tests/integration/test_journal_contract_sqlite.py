"""The journal in an SQLite file keeps the contract, with and without write-ahead logging (rules J1 to J6)."""

import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import make_url

from hermes_cache.journal.sqlalchemy_journal import SqlAlchemyJournal
from hermes_cache.journal.sqlite import SqliteDatabase
from hermes_cache.journal.wal_reset import wal_is_safe
from hermes_cache.ports import Journal
from hermes_cache.testing.journal_contract import JournalContract, numbered
from tests.integration.journal_runs import transactions_of_a_truncated_journal


class _InFile(JournalContract):
    driver: ModuleType = sqlite3
    file: Path

    def open_journal(self) -> Journal:
        return SqlAlchemyJournal(SqliteDatabase(make_url(f"sqlite:///{self.file}"), driver=self.driver))

    def lose_rows(self, first: int, last: int) -> None:
        self._change("DELETE FROM hermes_cache_events", first, last)

    def damage_rows(self, first: int, last: int) -> None:
        self._change("UPDATE hermes_cache_events SET checksum = 7", first, last)

    def _change(self, statement: str, first: int, last: int) -> None:
        with closing(self.driver.connect(str(self.file))) as connection, connection:
            connection.execute(f"{statement} WHERE seq BETWEEN ? AND ?", (first, last))

    def test_a_long_run_of_rows_that_are_gone_costs_one_transaction(self) -> None:
        """J9"""
        assert transactions_of_a_truncated_journal(self.open_journal(), self.lose_rows) <= 3


class TestSqliteJournal(_InFile):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.file = tmp_path / "journal.db"


class TestSqliteJournalWithRepairedLibrary(_InFile):
    """Another SQLite than Python's own, one without the WAL-reset bug."""

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.driver = pytest.importorskip("pysqlite3.dbapi2", reason="not here: pip install pysqlite3")
        self.file = tmp_path / "journal.db"

    def test_it_is_written_ahead(self) -> None:
        """J1"""
        with self._two() as (journal, other):
            journal.append(numbered([1]))

            assert wal_is_safe(self.driver.sqlite_version_info)
            assert self.file.with_name("journal.db-wal").exists()
            assert other.end().seq == 1

    def test_a_reader_holds_no_writer_up(self) -> None:
        """J3: a transaction that reads goes on seeing its moment while others append."""
        with self._two() as (journal, other):
            start = journal.end()
            assert isinstance(journal, SqlAlchemyJournal)
            with journal._database.reading() as connection:
                connection.exec_driver_sql("SELECT 1 FROM hermes_cache_events").all()

                assert other.append(numbered([1])) == [1]
            assert len(journal.read(start)) == 1
