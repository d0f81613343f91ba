"""Implementations of the ports for tests, so that tests need no mocks and no sleeps."""

from hermes_cache.testing.gated_builder import GatedBuilder
from hermes_cache.testing.journal_contract import JournalContract
from hermes_cache.testing.listener import Listener
from hermes_cache.testing.manual_clock import ManualClock
from hermes_cache.testing.session_store_contract import SessionStoreContract
from hermes_cache.testing.unpluggable_journal import UnpluggableJournal
from hermes_cache.testing.versioned_sources import VersionedSources

__all__ = [
    "GatedBuilder",
    "JournalContract",
    "Listener",
    "ManualClock",
    "SessionStoreContract",
    "UnpluggableJournal",
    "VersionedSources",
]
