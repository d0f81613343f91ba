# The public names, for type checkers; `__init__.py` loads each when it is used.

from hermes_cache.bus.changes import Change as Change
from hermes_cache.bus.subscription import Subscription as Subscription
from hermes_cache.bus.tickets import Ticket as Ticket
from hermes_cache.cache.following import Following as Following
from hermes_cache.cache.following import Interrupted as Interrupted
from hermes_cache.cache.list_cache import ListCache as ListCache
from hermes_cache.cache.lookups import Health as Health
from hermes_cache.cache.lookups import Lookup as Lookup
from hermes_cache.cache.lookups import Patch as Patch
from hermes_cache.cache.lookups import Rendered as Rendered
from hermes_cache.cache.lookups import Stats as Stats
from hermes_cache.core.events import EventId as EventId
from hermes_cache.core.events import SessionListChanged as SessionListChanged
from hermes_cache.core.events import SettingsChanged as SettingsChanged
from hermes_cache.core.events import SourceChanged as SourceChanged
from hermes_cache.core.events import StreamStarted as StreamStarted
from hermes_cache.core.events import StreamStopped as StreamStopped
from hermes_cache.core.messages import Mark as Mark
from hermes_cache.core.policy import Policy as Policy
from hermes_cache.errors import BuildError as BuildError
from hermes_cache.errors import BuildTimeoutError as BuildTimeoutError
from hermes_cache.errors import CacheBusyError as CacheBusyError
from hermes_cache.errors import CacheStoppedError as CacheStoppedError
from hermes_cache.errors import EventError as EventError
from hermes_cache.errors import HermesCacheError as HermesCacheError
from hermes_cache.errors import JournalError as JournalError
from hermes_cache.errors import JournalUnavailableError as JournalUnavailableError
from hermes_cache.errors import LookupTimeoutError as LookupTimeoutError
from hermes_cache.errors import PolicyError as PolicyError
from hermes_cache.errors import ProfileNotFoundError as ProfileNotFoundError
from hermes_cache.errors import SourceError as SourceError
from hermes_cache.errors import UnsupportedError as UnsupportedError
from hermes_cache.explain.explanations import Explanation as Explanation
from hermes_cache.journal.agreed import AgreedState as AgreedState
from hermes_cache.journal.bus import Bus as Bus
from hermes_cache.journal.bus import default_bus as default_bus
from hermes_cache.journal.replaying import Replay as Replay
from hermes_cache.journal.replaying import replay as replay
from hermes_cache.journal.sqlalchemy_journal import journal_at as journal_at
from hermes_cache.payload.frozen import Payload as Payload
from hermes_cache.payload.frozen import thaw as thaw
from hermes_cache.sessions.keys import SessionListKey as SessionListKey
from hermes_cache.sessions.overlay import LiveSession as LiveSession
from hermes_cache.sessions.rows import freeze as freeze
from hermes_cache.sessions.session_list_cache import SessionListCache as SessionListCache
from hermes_cache.stores.hermes.home import HermesHome as HermesHome

__version__: str

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
    "Following",
    "Health",
    "HermesCacheError",
    "HermesHome",
    "Interrupted",
    "JournalError",
    "JournalUnavailableError",
    "ListCache",
    "LiveSession",
    "Lookup",
    "LookupTimeoutError",
    "Mark",
    "Patch",
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
    "UnsupportedError",
    "default_bus",
    "freeze",
    "journal_at",
    "replay",
    "thaw",
]
