"""Targets: which view, scope and reach a request's key means.

The profile is made canonical by a callable that knows the aliases of the root profile; its answers are kept until
settings change. Foreign code that may hang, so it runs on threads of the cache's own, one line for each profile,
and whoever waits for it does so no longer than his own bound. Source: rules K3, K4, R6.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, Final, TypeAlias, TypeVar

from hermes_cache.arguments import DEFAULT_PROFILE, profile_name
from hermes_cache.cache.lines import Lines
from hermes_cache.core.state import Target
from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.errors import BuildError, CacheStoppedError, NoThreadError, key_text
from hermes_cache.logs import QuietLogger
from hermes_cache.payload.rows import ListShape
from hermes_cache.ports import IsRootProfile, Sources
from hermes_cache.threads.callables import Inside, check_callable, settle
from hermes_cache.threads.calls import Call
from hermes_cache.threads.interrupts import belongs_to_caller

logger = QuietLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

ProfileOf: TypeAlias = Callable[[Any], str | None]
"""Returns the profile whose events touch a key; None if everybody's do (K5)."""

_MOST: Final = 4_096
"""Keys and names come from outside: past so many, the oldest is forgotten and asked for anew."""

_THREADS: Final = 16


class ListKind:
    """What a cache must know about its keys and its lists; the law is the same for any kind (K5).

    Args:
        profile_of: Returns the profile whose events touch a key; None if all events touch every key.
        shape: Where a payload has its list.
    """

    def __init__(self, profile_of: ProfileOf | None = None, shape: ListShape | None = None) -> None:
        check_callable(profile_of, "profile_of")
        self._profile_of = profile_of
        self.shape = shape or ListShape()

    def check(self, key: object) -> None:
        """Raise `TypeError` if it is no key of this kind."""
        hash(key)

    def profile_of(self, key: Any) -> str | None:
        """Return the name of the profile whose events touch a key; None if everybody's do.

        Raises:
            Exception: What the callable raises.
            TypeError: It returns no text.
            ValueError: It returns a name that cannot be.
        """
        profile = self._profile_of(key) if self._profile_of is not None else None
        return None if profile is None else profile_name(settle(profile, "profile_of"))

    def canonical(self, key: Hashable, _profile: str | None) -> Hashable:
        """Return the key under which a payload is held, for which builders are asked."""
        return key

    def reach(self, _key: Any, profile: str | None) -> str:
        """Return which events touch a key, whose profile is canonical."""
        return ALL_PROFILES if profile is None else profile


@dataclass(slots=True)
class _Known:
    """What was found out since settings last changed."""

    settings: int
    aliases: dict[str, bool] = field(default_factory=dict)
    targets: dict[Hashable, Target] = field(default_factory=dict)
    asked: dict[Hashable, Call[Target]] = field(default_factory=dict)


class Targets:
    """Finds targets, and remembers them.

    Args:
        kind: What the cache must know about its keys.
        sources: Name the scopes; None if there are none.
        is_root_profile: Says which names are aliases; None if there are none.
        inside: Knows that foreign code runs.
        watched: Whether there is anything to check.
    """

    def __init__(
        self,
        kind: ListKind,
        sources: Sources | None,
        is_root_profile: IsRootProfile | None,
        inside: Inside,
        *,
        watched: bool,
    ) -> None:
        self._kind = kind
        check_callable(is_root_profile, "is_root_profile")
        check_callable(getattr(sources, "scope", None), "sources.scope")
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

    def known(self, key: Hashable, settings: int) -> Target | None:
        """Return the target of a key if it is known, from memory alone."""
        known = self._known
        return known.targets.get(key) if known.settings == settings else None

    def find(self, key: Hashable, settings: int, patience_s: float = inf) -> Target | None:
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

    def question(self, key: Hashable, settings: int) -> Call[Target]:
        """Have the target of a key found; as `find`, without waiting."""
        self._kind.check(key)
        known = self._as_of(settings)
        call = known.asked.get(key)
        if call is None or call.is_over:
            call = self._begin(known, key)
            if not call.is_over:
                _remember(known.asked, key, call)
        return call

    def unasked(self, key: Hashable) -> Target:
        """Return the target of a key as if there were no callables, for callers that only look."""
        self._kind.check(key)
        return self._target(key, self._kind.profile_of(key), None)

    def held_key(self, key: Hashable, settings: int) -> Hashable | None:
        """Return the key under which a key's payload is held, from memory alone; None if an alias is not known."""
        self._kind.check(key)
        target = self.known(key, settings)
        if target is not None:
            return target.key
        return None if self.asks else self.unasked(key).key

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
        """Let waiting calls go, and end the threads; return whether all ended in time. It may be called twice."""
        return self._lines.stop(timeout_s)

    def _begin(self, known: _Known, key: Hashable) -> Call[Target]:
        """Have a target found: what may hang on another thread, code of ours here."""
        # Not as foreign code: it depends on the key alone, and a signal handler that strikes here may read.
        profile = self._kind.profile_of(key)
        find = partial(self._find, known, key, profile)
        if not self.asks_others:
            call = Call(find)
            call.run()
            return call
        try:
            return self._lines.call(profile, find)
        except NoThreadError as refused:
            raise BuildError(key, f"nobody can ask for its scope: {refused}") from refused

    def _find(self, known: _Known, key: Hashable, profile: str | None) -> Target:
        target = known.targets.get(key)
        if target is None:
            settled = None if profile is None else self._settled(known, profile)
            canonical = self._kind.canonical(key, settled)
            target = self._target(canonical, settled, self._scope(canonical))
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

    def _target(self, key: Hashable, profile: str | None, scope: Hashable) -> Target:
        reach = self._kind.reach(key, profile)
        return Target(key, (reach, scope), reach, self._watched)

    def _scope(self, key: Hashable) -> Hashable:
        """Name a key's scope; if the sources cannot, keys of one reach share it."""
        if self._sources is None:
            return None
        try:
            name = self._sources.scope
            scope = self._inside.call(lambda: settle(name(key), "sources.scope"))
            hash(scope)
        except BaseException as error:
            if belongs_to_caller(error):
                raise
            extra = {"hermes_cache.callable": "sources.scope", "hermes_cache.key": key_text(key)}
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
