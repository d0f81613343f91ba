"""Targets: which view, scope and reach a request's key means.

The profile is made canonical by a callable that knows the aliases of the root profile; its answers are kept until
settings change. Foreign code that may hang, so it runs on threads of the cache's own, one line for each profile,
and whoever waits for it does so no longer than his own bound. Source: rules K3, K4, R6.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Final, TypeVar

from hermes_cache.cache.inside import Inside
from hermes_cache.cache.lines import Lines
from hermes_cache.callables import refuse_coroutine, settle
from hermes_cache.core.state import Target
from hermes_cache.errors import BuildError, CacheStoppedError, NoThreadError
from hermes_cache.interrupts import belongs_to_caller
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import IsRootProfile, Sources
from hermes_cache.sessions.keys import DEFAULT_PROFILE, SessionListKey, profile_name, reach_of
from hermes_cache.threads import Call

logger = QuietLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

_MOST: Final = 4_096
"""Keys and names come from outside: past so many, the oldest is forgotten and asked for anew."""

_THREADS: Final = 16


@dataclass(slots=True)
class _Known:
    """What was found out since settings last changed."""

    settings: int
    aliases: dict[str, bool] = field(default_factory=dict)
    targets: dict[SessionListKey, Target] = field(default_factory=dict)
    asked: dict[SessionListKey, Call[Target]] = field(default_factory=dict)


class Targets:
    """Finds targets, and remembers them.

    Args:
        sources: Name the scopes; None where there are none.
        is_root_profile: Says which names are aliases; None where there are none.
        inside: Knows that foreign code runs.
        watched: Whether there is anything to check.
    """

    def __init__(
        self, sources: Sources | None, is_root_profile: IsRootProfile | None, inside: Inside, *, watched: bool
    ) -> None:
        refuse_coroutine(is_root_profile, "is_root_profile")
        refuse_coroutine(getattr(sources, "scope", None), "sources.scope")
        self._sources = sources
        self._is_root_profile = is_root_profile
        self._inside = inside
        self._asking = Inside()
        self._watched = watched
        self._known = _Known(0)
        self._lines = Lines("hermes_cache.alias", _THREADS)

    @property
    def asks(self) -> bool:
        """Whether aliases are asked for at all."""
        return self._is_root_profile is not None

    @property
    def asks_others(self) -> bool:
        """Whether foreign code is asked, which may hang."""
        return self._sources is not None or self._is_root_profile is not None

    def known(self, key: SessionListKey, settings: int) -> Target | None:
        """Return the target of a key where it is known; a look into memory, no more."""
        known = self._known
        return known.targets.get(key) if known.settings == settings else None

    def find(self, key: SessionListKey, settings: int, patience_s: float = inf) -> Target | None:
        """Return the target of a key; None if the callables did not answer in time.

        Args:
            key: As requested.
            settings: How many `SettingsChanged` were applied: answers from before another one are not used.
            patience_s: How long the caller can wait for them.
        """
        target = self.known(key, settings)
        if target is not None:
            return target
        call = self.question(key, settings)
        return call.result() if call.wait(patience_s) else None

    def question(self, key: SessionListKey, settings: int) -> Call[Target]:
        """Have the target of a key found; as `find`, without waiting."""
        if not isinstance(key, SessionListKey):
            raise TypeError(f"key is {key!r}; it must be a SessionListKey")
        known = self._as_of(settings)
        call = known.asked.get(key)
        if call is None or call.is_over:
            call = self._begin(known, key)
            if not call.is_over:
                _remember(known.asked, key, call)
        return call

    def unasked(self, key: SessionListKey) -> Target:
        """Return the target of a key as if there were no callables, for who only looks."""
        if not isinstance(key, SessionListKey):
            raise TypeError(f"key is {key!r}; it must be a SessionListKey")
        reach = reach_of(key)
        return Target(key.with_profile(key.profile_name), (reach, None), reach, self._watched)

    def canonical(self, profile: str | None, settings: int, patience_s: float = inf) -> str | None:
        """Return the profile that a name means; None if that is not known in time, or nobody can be asked."""
        name = profile_name(profile)
        if self._is_root_profile is None or name == DEFAULT_PROFILE:
            return name
        known = self._as_of(settings)
        if name in known.aliases:
            return DEFAULT_PROFILE if known.aliases.get(name) else name
        # Its own callable must not wait for itself, and nobody once more for one that hangs.
        if self._asking.is_here() or self._lines.hangs(name):
            return None
        try:
            call = self._lines.call(name, lambda: self._settled(known, name))
            return call.result() if call.wait(patience_s) else None
        except (NoThreadError, CacheStoppedError):
            return None

    def stop(self, timeout_s: float) -> bool:
        """Let go who waits, and end the threads; return whether all ended in time. It may be called twice."""
        return self._lines.stop(timeout_s)

    def _begin(self, known: _Known, key: SessionListKey) -> Call[Target]:
        """Have a target found: what may hang on another thread, code of ours here."""
        find = partial(self._find, known, key)
        if not self.asks_others:
            call = Call(find)
            call.run()
            return call
        try:
            return self._lines.call(key.profile_name, find)
        except NoThreadError as refused:
            raise BuildError(key, f"nobody can ask for its scope: {refused}") from refused

    def _find(self, known: _Known, key: SessionListKey) -> Target:
        target = known.targets.get(key)
        if target is None:
            target = self._target(key.with_profile(self._settled(known, key.profile_name)))
            _remember(known.targets, key, target)
        known.asked.pop(key, None)
        return target

    def _settled(self, known: _Known, name: str) -> str:
        if self._is_root_profile is None or name == DEFAULT_PROFILE:
            return name
        answer = known.aliases.get(name)
        if answer is None:
            answer = self._ask(self._is_root_profile, name)
            _remember(known.aliases, name, answer)
        return DEFAULT_PROFILE if answer else name

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
            name = self._sources.scope
            scope = self._inside.call(lambda: settle(name(key), "sources.scope"))
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
            ask = partial(self._asking.call, lambda: bool(settle(is_root_profile(name), "is_root_profile")))
            return self._inside.call(ask)
        except BaseException as error:
            if belongs_to_caller(error):
                raise
            extra = {"hermes_cache.callable": "is_root_profile", "hermes_cache.profile": name}
            logger.warning("hermes_cache.callable_failed", exc_info=True, extra=extra)
            return False


def _remember(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= _MOST:
        # Through a list, which is made at once: other threads change the dict meanwhile.
        known.pop(list(known)[0], None)  # noqa: RUF015
    known[key] = value
