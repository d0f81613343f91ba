"""A cache of the session list that is never slower than it must be and never older than it may be.

The public names. Each is loaded when it is first used, so that a process pays for a journal or for a Hermes home
only if it asks for one. Their types stand in `__init__.pyi`.
"""

import logging
from importlib import import_module
from typing import Final

_DEFINED_IN: Final = {
    "bus.changes": ("Change",),
    "bus.subscription": ("Subscription",),
    "bus.tickets": ("Ticket",),
    "cache.following": ("Following", "Interrupted"),
    "cache.list_cache": ("ListCache",),
    "cache.lookups": ("Health", "Lookup", "Patch", "Rendered", "Stats"),
    "core.events": (
        "EventId",
        "SessionListChanged",
        "SettingsChanged",
        "SourceChanged",
        "StreamStarted",
        "StreamStopped",
    ),
    "core.policy": ("Policy",),
    "core.messages": ("Mark",),
    "errors": (
        "BuildError",
        "BuildTimeoutError",
        "CacheBusyError",
        "CacheStoppedError",
        "EventError",
        "HermesCacheError",
        "JournalError",
        "JournalUnavailableError",
        "LookupTimeoutError",
        "PolicyError",
        "ProfileNotFoundError",
        "SourceError",
        "UnsupportedError",
    ),
    "explain.explanations": ("Explanation",),
    "journal.agreed": ("AgreedState",),
    "journal.bus": ("Bus", "default_bus"),
    "journal.replaying": ("Replay", "replay"),
    "journal.sqlalchemy_journal": ("journal_at",),
    "payload.frozen": ("Payload", "thaw"),
    "sessions.keys": ("SessionListKey",),
    "sessions.overlay": ("LiveSession",),
    "sessions.rows": ("freeze",),
    "sessions.session_list_cache": ("SessionListCache",),
    "stores.hermes.home": ("HermesHome",),
}
"""The public names by the module that defines them."""

_MODULES: Final = {name: module for module, names in _DEFINED_IN.items() for name in names}

__all__ = sorted(_MODULES)  # noqa: PLE0605 - type checkers read the stub

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module(f"{__name__}.distribution").installed_version()
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(f"{__name__}.surroundings").refuse_subinterpreter()
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
