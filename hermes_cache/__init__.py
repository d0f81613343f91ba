"""A cache of the session list that is never slower than it must be and never older than it may be."""

import logging

from hermes_cache.bus.blinker_bus import Bus, default_bus
from hermes_cache.bus.changes import Change
from hermes_cache.bus.subscription import Subscription
from hermes_cache.bus.tickets import Ticket
from hermes_cache.cache.lookups import Health, Lookup, Rendered, Stats
from hermes_cache.core.events import (
    EventId,
    SessionListChanged,
    SettingsChanged,
    SourceChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.core.policy import Policy
from hermes_cache.errors import (
    BuildError,
    BuildTimeoutError,
    CacheBusyError,
    CacheStoppedError,
    EventError,
    HermesCacheError,
    JournalError,
    JournalUnavailableError,
    LookupTimeoutError,
    PolicyError,
    ProfileNotFoundError,
    SourceError,
)
from hermes_cache.explain.explanations import Explanation
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.replaying import Replay, replay
from hermes_cache.journal.sqlalchemy_journal import journal_at
from hermes_cache.payload.freezing import Payload, freeze, thaw
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.overlay import LiveSession
from hermes_cache.sessions.session_list_cache import SessionListCache
from hermes_cache.stores.hermes.home import HermesHome

__all__ = [
    "AgreedState",
    "BuildError",
    "BuildTimeoutError",
    "Bus",
    "CacheBusyError",
    "CacheStoppedError",
    "Change",
    "EventError",
    "EventId",
    "Explanation",
    "Health",
    "HermesCacheError",
    "HermesHome",
    "JournalError",
    "JournalUnavailableError",
    "LiveSession",
    "Lookup",
    "LookupTimeoutError",
    "Payload",
    "Policy",
    "PolicyError",
    "ProfileNotFoundError",
    "Rendered",
    "Replay",
    "SessionListCache",
    "SessionListChanged",
    "SessionListKey",
    "SettingsChanged",
    "SourceChanged",
    "SourceError",
    "Stats",
    "StreamStarted",
    "StreamStopped",
    "Subscription",
    "Ticket",
    "default_bus",
    "freeze",
    "journal_at",
    "replay",
    "thaw",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())
