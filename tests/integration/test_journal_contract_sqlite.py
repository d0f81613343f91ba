"""The journal in an SQLite file keeps the contract (rules J1 to J6)."""

from pathlib import Path

import pytest

from hermes_cache.adapters.sqlalchemy_journal import journal_at
from hermes_cache.ports import Journal
from hermes_cache.testing.journal_contract import JournalContract


class TestSqliteJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.url = f"sqlite:///{tmp_path / 'journal.db'}"

    def open_journal(self) -> Journal:
        return journal_at(self.url)
