"""The journal in memory keeps the contract (rules J1 to J6)."""

import pytest

from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.ports import Journal
from hermes_cache.testing import JournalContract


class TestMemoryJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.store = MemoryStore()

    def open_journal(self) -> Journal:
        return MemoryJournal(self.store)

    def lose_rows(self, first: int, last: int) -> None:
        for mark, recorded in [*self.store.events.items()]:
            if first <= recorded.position.seq <= last:
                del self.store.events[mark]

    def damage_rows(self, first: int, last: int) -> None:
        # What is in memory cannot be damaged.
        self.lose_rows(first, last)
