"""The stamper: looks at the sources of a scope and says what it found.

I/O and foreign code, on a checker's thread or a reader's, never in the mailbox. Calls for one scope come one at a
time. Source: rules S4, S5, H1, H4, V3.
"""

import threading
from collections.abc import Awaitable, Callable, Generator, Hashable, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Final, TypeVar, cast
from weakref import WeakValueDictionary

from hermes_cache.core.stamps import Check, Parts
from hermes_cache.core.state import CHECK_TIMEOUT_S, Target
from hermes_cache.core.streams import Streams
from hermes_cache.errors import shown
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import (
    ActiveStreamIds,
    Clock,
    LastKnown,
    NotingSources,
    SettingsVersion,
    SettlingSources,
    Sources,
    StampOf,
)
from hermes_cache.threads.callables import (
    Inside,
    check_callable,
    close_awaitable,
    refuse_async_generator,
    settle,
)
from hermes_cache.threads.coroutines import Coroutines
from hermes_cache.threads.interrupts import belongs_to_caller

logger = QuietLogger(__name__)

T = TypeVar("T")

_NOBODY: Final[frozenset[str]] = frozenset()


class KeyedSources:
    """`Sources` made of one callable: each key is a scope of its own, and its stamp has one part.

    The callable is not called while a stream holds a key down.
    """

    def __init__(self, stamp_of: StampOf) -> None:
        self._stamp_of = stamp_of

    def scope(self, key: Any) -> Hashable:
        """Return the key."""
        return cast("Hashable", key)

    def stamp(self, key: Any, *, held: bool) -> Mapping[str, Hashable] | Awaitable[Mapping[str, Hashable]]:
        """Return what the callable says of the key, unless a stream holds it down."""
        if held:
            return {}
        found = self._stamp_of(key)
        return _AwaitedPart(found) if isawaitable(found) else {"source": settle(found, "sources")}


class _AwaitedPart:
    """The one part of a stamp, once it is awaited."""

    def __init__(self, found: Awaitable[Hashable]) -> None:
        self._found = found

    def __await__(self) -> Generator[Any, None, Mapping[str, Hashable]]:
        return {"source": (yield from self._found.__await__())}

    def close(self) -> None:
        """See that nothing warns if nobody awaits it."""
        close_awaitable(self._found)


def sources_of(given: Sources | StampOf | None) -> Sources | None:
    """Return the sources that a gateway gave, also if it gave one callable.

    Raises:
        TypeError: They are neither, or an asynchronous generator function.
    """
    if given is None or (hasattr(given, "scope") and hasattr(given, "stamp")):
        return cast("Sources | None", given)
    if not callable(given):
        raise TypeError(f"sources is {shown(given)}; it must have scope and stamp, or be a callable, or None")
    refuse_async_generator(given, "sources")
    return KeyedSources(given)


@dataclass(frozen=True, slots=True)
class Stamped:
    """What a stamp is made from; false if that is nothing.

    Attributes:
        sources: What to look at.
        active_stream_ids: Lists streams that the bus may not know.
        settings_version: Moves with the settings.
    """

    sources: Sources | None = None
    active_stream_ids: ActiveStreamIds | None = None
    settings_version: SettingsVersion | None = None

    def __post_init__(self) -> None:
        check_callable(self.active_stream_ids, "active_stream_ids")
        check_callable(self.settings_version, "settings_version")
        refuse_async_generator(getattr(self.sources, "stamp", None), "sources.stamp")
        check_callable(getattr(self.sources, "settle", None), "sources.settle")

    def __bool__(self) -> bool:
        return not (self.sources is None and self.active_stream_ids is None and self.settings_version is None)


class Stamper:
    """Takes checks.

    Args:
        clock: The time, for the moment and the length of a check.
        inside: Knows that foreign code runs.
        stamped: What to look at.
        coroutines: Runs those of sources.
        limit_s: After so many seconds one is cancelled.

    Attributes:
        awaits: The sources return coroutines, or the like: a thread that runs an event loop cannot look at them.
    """

    def __init__(
        self, clock: Clock, inside: Inside, stamped: Stamped, coroutines: Coroutines, limit_s: float
    ) -> None:
        self._clock = clock
        self.inside = inside
        self._stamped = stamped
        self._coroutines = coroutines
        self._limit_s = limit_s
        self.awaits = False
        self._failing: frozenset[str] = frozenset()
        # Re-entrant: a signal handler may read while this thread looks for a lock, or holds one.
        self._finding = threading.RLock()
        self._locks: WeakValueDictionary[Hashable, _Lock] = WeakValueDictionary()

    @property
    def watches(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._stamped)

    @property
    def blocks_here(self) -> bool:
        """Whether a check that this thread waits for needs the event loop that this thread runs."""
        return self.awaits and self._coroutines.is_home()

    @property
    def failing(self) -> frozenset[str]:
        """The callables that failed when they were last called."""
        return self._failing

    @property
    def notes(self) -> tuple[str, ...]:
        """What the sources found that a user should know."""
        sources = self._stamped.sources
        return sources.notes if isinstance(sources, NotingSources) else ()

    def take(
        self, target: Target, streams: Streams, settings: int, *, patience_s: float = CHECK_TIMEOUT_S
    ) -> Check | None:
        """Check the sources of a key's scope.

        Args:
            target: The key.
            streams: The streams of the bus; one that touches the key leaves what it moves unread.
            settings: The number of `SettingsChanged` so far.
            patience_s: How long to wait for another check of the scope to end.

        Returns:
            The check; None if another one took longer than that.

        Raises:
            BaseException: Whatever the sources or the settings version raised; it was logged.
        """
        with self._finding:
            lock = self._locks.setdefault(target.scope, _Lock())
        try:
            return self._take(target, streams, settings) if lock.acquire(timeout=patience_s) else None
        finally:
            # First of all, whether it is held or not: an interrupt may have come before that was known.
            try:  # noqa: SIM105 - `suppress` is a call, after which an interrupt may come
                lock.release()
            except RuntimeError:
                pass

    def settle(self, target: Target, streams: Streams) -> None:
        """Wait until the sources of a key stand still, if they can say so. A stream that is active forbids it.

        A failure is logged and raises nothing: the check that comes next says what is wrong.
        """
        sources = self._stamped.sources
        if not isinstance(sources, SettlingSources) or streams.marker(target.reach, self._listed()).held:
            return
        wait: Callable[[Any], object] = sources.settle
        try:
            self._call("sources.settle", lambda: settle(wait(target.key), "sources.settle"))
        except BaseException as error:
            if belongs_to_caller(error):
                raise

    def _take(self, target: Target, streams: Streams, settings: int) -> Check:
        began_s = self._clock.monotonic_s()
        ids = self._listed()
        held = streams.marker(target.reach, ids).held
        version = self._call("settings_version", self._tell_settings)
        parts, verified = self._call("sources", lambda: self._look(target, held=held))
        found = (*parts, ("settings_version", (settings, version)))
        took_s = self._clock.monotonic_s() - began_s
        return Check(began_s, took_s, found, ids, held, verified)

    def _listed(self) -> frozenset[str]:
        try:
            return self._call("active_stream_ids", self._list_streams)
        except BaseException as error:
            if belongs_to_caller(error):
                raise
            return _NOBODY

    def _list_streams(self) -> frozenset[str]:
        list_ids = self._stamped.active_stream_ids
        listed = settle(list_ids(), "active_stream_ids") if list_ids else ()
        ids = frozenset(listed)
        if isinstance(listed, str) or not all(isinstance(stream_id, str) for stream_id in ids):
            raise TypeError(f"active_stream_ids returned {listed!r}; it must return ids, each a str")
        return ids

    def _tell_settings(self) -> Hashable:
        version = self._stamped.settings_version
        return settle(version(), "settings_version") if version else None

    def _look(self, target: Target, *, held: bool) -> tuple[Parts, bool]:
        if self._stamped.sources is None:
            return (), True
        returned = self._stamped.sources.stamp(target.key, held=held)
        self.awaits = self.awaits or isawaitable(returned)
        found = self._coroutines.result(returned, "sources.stamp", limit_s=self._limit_s)
        known = {name: part.value if isinstance(part, LastKnown) else part for name, part in found.items()}
        if not all(isinstance(name, str) for name in known):
            raise TypeError(f"sources.stamp returned the parts {list(known)!r}; the name of each must be a str")
        parts = tuple(sorted(known.items()))
        # Here, and not where parts are compared: a value that has no hash may have no plain equality either.
        hash(parts)
        return parts, not any(isinstance(part, LastKnown) for part in found.values())

    def _call(self, name: str, function: Callable[[], T]) -> T:
        """Call foreign code; a failure is logged once, until it works again."""
        try:
            result = self.inside.call(function)
        except BaseException as error:
            if not belongs_to_caller(error) and name not in self._failing:
                self._failing |= {name}
                logger.warning(
                    "hermes_cache.callable_failed", exc_info=True, extra={"hermes_cache.callable": name}
                )
            raise
        self._failing -= {name}
        return result


class _Lock:
    """A lock that can be held weakly."""

    def __init__(self) -> None:
        lock = threading.RLock()
        self.acquire = lock.acquire
        self.release = lock.release
