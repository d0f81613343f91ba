"""Targets: which view, scope and reach a request's key means.

The profile is made canonical by a callable that knows the aliases of the root profile; its answers are kept until
settings change. Foreign code, so it runs on the reader's or publisher's thread, never in a mailbox.
Source: rules K3, K4.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from hermes_cache.callables import settle
from hermes_cache.core.keys import DEFAULT_PROFILE, SessionListKey, profile_name
from hermes_cache.core.state import Target
from hermes_cache.core.versions import reach_of
from hermes_cache.interrupts import belongs_to_caller
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import IsRootProfile, Sources

logger = QuietLogger(__name__)

_MOST: Final = 4_096
"""Keys and names come from outside: past so many, what is known of them is asked anew."""


@dataclass(slots=True)
class _Known:
    """What was found out since settings last changed."""

    settings: int
    aliases: dict[str, bool] = field(default_factory=dict)
    targets: dict[SessionListKey, Target] = field(default_factory=dict)


class Targets:
    """Finds targets, and remembers them.

    Args:
        sources: Name the scopes; None where there are none.
        is_root_profile: Says which names are aliases; None where there are none.
        watched: Whether there is anything to check.
    """

    def __init__(self, sources: Sources | None, is_root_profile: IsRootProfile | None, *, watched: bool) -> None:
        self._sources = sources
        self._is_root_profile = is_root_profile
        self._watched = watched
        self._known = _Known(0)

    @property
    def asks(self) -> bool:
        """Whether aliases are asked for at all."""
        return self._is_root_profile is not None

    def known(self, key: SessionListKey, settings: int) -> Target | None:
        """Give the target of a key where it is known; a look into memory, no more."""
        known = self._known
        return known.targets.get(key) if known.settings == settings else None

    def find(self, key: SessionListKey, settings: int) -> Target:
        """Give the target of a key.

        Args:
            key: As requested.
            settings: How many `SettingsChanged` were applied: answers from before another one are not used.
        """
        known = self._as_of(settings)
        target = known.targets.get(key)
        if target is None:
            if not isinstance(key, SessionListKey):
                raise TypeError(f"key is {key!r}; it must be a SessionListKey")
            target = self._target(key.with_profile(self.canonical(key.profile, settings)))
            if len(known.targets) >= _MOST:
                known.targets.clear()
            known.targets[key] = target
        return target

    def canonical(self, profile: str | None, settings: int) -> str:
        """Give the profile that a name means."""
        name = profile_name(profile)
        if self._is_root_profile is None or name == DEFAULT_PROFILE:
            return name
        known = self._as_of(settings)
        if name not in known.aliases:
            if len(known.aliases) >= _MOST:
                known.aliases.clear()
            known.aliases[name] = self._ask(self._is_root_profile, name)
        return DEFAULT_PROFILE if known.aliases.get(name) else name

    def _as_of(self, settings: int) -> _Known:
        known = self._known
        if known.settings == settings:
            return known
        fresh = _Known(settings)
        if settings > known.settings:
            self._known = fresh
        return fresh

    def _target(self, key: SessionListKey) -> Target:
        reach = reach_of(key)
        return Target(key, (reach, self._scope(key)), reach, self._watched)

    def _scope(self, key: SessionListKey) -> Hashable:
        """Name a key's scope; where the sources cannot, keys of one reach share it."""
        if self._sources is None:
            return None
        try:
            scope = settle(self._sources.scope(key), "sources.scope")
            hash(scope)
        except BaseException as error:
            if belongs_to_caller(error):
                raise
            extra = {"hermes_cache.callable": "sources.scope", "hermes_cache.key": str(key)}
            logger.warning("hermes_cache.callable_failed", exc_info=True, extra=extra)
            return None
        return scope

    def _ask(self, is_root_profile: IsRootProfile, name: str) -> bool:
        try:
            return bool(settle(is_root_profile(name), "is_root_profile"))
        except BaseException as error:
            if belongs_to_caller(error):
                raise
            extra = {"hermes_cache.callable": "is_root_profile", "hermes_cache.profile": name}
            logger.warning("hermes_cache.callable_failed", exc_info=True, extra=extra)
            return False
