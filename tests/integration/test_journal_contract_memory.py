"""The journal in memory keeps the contract (rules J1 to J6)."""

import pytest

from hermes_cache.adapters.memory_journal import MemoryJournal, MemoryStore
from hermes_cache.ports import Journal
from hermes_cache.testing import JournalContract


class TestMemoryJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.store = MemoryStore()

    def open_journal(self) -> Journal:
        return MemoryJournal(self.store)
