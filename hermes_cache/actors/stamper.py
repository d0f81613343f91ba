"""The stamper: looks at the sources of a scope and says what it found.

I/O and foreign code, on a checker's thread, a build's or a reader's, never in the mailbox. Calls for one scope
come one at a time. Source: rules S4, S5, H1, H4, V3.
"""

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar
from weakref import WeakValueDictionary

from hermes_cache.callables import settle
from hermes_cache.core.stamps import Check, Parts
from hermes_cache.core.state import Target
from hermes_cache.core.streams import Streams
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import ActiveStreamIds, Clock, LastKnown, SettingsVersion, Sources

logger = QuietLogger(__name__)

T = TypeVar("T")

_ABSENT: Hashable = "absent"


class Stamper:
    """Takes checks.

    Args:
        clock: For the moment and the length of a check.
        sources: What to look at; None for nothing.
        active_stream_ids: Lists streams that the bus may not know.
        settings_version: Moves with the settings.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        sources: Sources | None = None,
        active_stream_ids: ActiveStreamIds | None = None,
        settings_version: SettingsVersion | None = None,
    ) -> None:
        self._clock = clock
        self._sources = sources
        self._active_stream_ids = active_stream_ids
        self._settings_version = settings_version
        self._failing: frozenset[str] = frozenset()
        self._finding = threading.Lock()
        self._locks: WeakValueDictionary[Hashable, _Lock] = WeakValueDictionary()

    @property
    def watches(self) -> bool:
        """Whether there is anything to look at."""
        return not (self._sources is None and self._active_stream_ids is None and self._settings_version is None)

    @property
    def failing(self) -> frozenset[str]:
        """The callables that failed when they were last called."""
        return self._failing

    def take(self, target: Target, streams: Streams, settings: int, *, patience_s: float = -1.0) -> Check | None:
        """Check the sources of a key's scope.

        Args:
            target: The key.
            streams: The streams of the bus; one that touches the key leaves what it moves unread.
            settings: The number of `SettingsChanged` so far.
            patience_s: How long to wait for another check of the scope to end; negative for as long as it takes.

        Returns:
            The check; None where another one took longer than that.
        """
        with self._finding:
            lock = self._locks.setdefault(target.scope, _Lock())
        if not lock.acquire(patience_s):
            return None
        try:
            return self._take(target, streams, settings)
        finally:
            lock.release()

    def _take(self, target: Target, streams: Streams, settings: int) -> Check:
        began_s = self._clock.monotonic_s()
        nobody: frozenset[str] = frozenset()
        ids = self._call("active_stream_ids", self._list_streams, nobody)
        held = streams.marker(target.reach, ids).held
        version = self._call("settings_version", self._tell_settings, _ABSENT)
        parts, verified = self._call("sources", lambda: self._look(target, held=held), (_absent_parts(), False))
        told = (*parts, ("settings_version", (settings, version)))
        took_s = self._clock.monotonic_s() - began_s
        return Check(began_s, took_s, told, ids, held, verified)

    def _list_streams(self) -> frozenset[str]:
        listed = settle(self._active_stream_ids(), "active_stream_ids") if self._active_stream_ids else ()
        ids = frozenset(listed)
        if isinstance(listed, str) or not all(isinstance(stream_id, str) for stream_id in ids):
            raise TypeError(f"active_stream_ids gave {listed!r}; it must give ids, each a str")
        return ids

    def _tell_settings(self) -> Hashable:
        return settle(self._settings_version(), "settings_version") if self._settings_version else None

    def _look(self, target: Target, *, held: bool) -> tuple[Parts, bool]:
        if self._sources is None:
            return (), True
        found = settle(self._sources.stamp(target.key, held=held), "sources.stamp")
        known = {name: part.value if isinstance(part, LastKnown) else part for name, part in found.items()}
        return tuple(sorted(known.items())), not any(isinstance(part, LastKnown) for part in found.values())

    def _call(self, name: str, function: Callable[[], T], otherwise: T) -> T:
        """Call foreign code; a failure is logged once, until it works again."""
        try:
            result = function()
        except (Exception, SystemExit, GeneratorExit):
            # What would end a thread elsewhere would leave a checker's readers waiting for ever here.
            if name not in self._failing:
                self._failing |= {name}
                logger.warning(
                    "hermes_cache.callable_failed", exc_info=True, extra={"hermes_cache.callable": name}
                )
            return otherwise
        self._failing -= {name}
        return result


class _Lock:
    """A lock that can be held weakly."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self.release = lock.release
        self._acquire = lock.acquire

    def acquire(self, patience_s: float) -> bool:
        return self._acquire(timeout=patience_s)


def _absent_parts() -> Parts:
    return (("sources", _ABSENT),)
