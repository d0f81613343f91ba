"""The view that a request without parameters means: that of the settings of a home."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes.side_files import ViewSettings

USUAL_AGENT_LIMIT: Final = 20
"""As many terminals' sessions as the front end lists."""

PAGE_QUERY: Final = (
    "all_profiles=1&show_cli=1&show_previous_messaging=1&show_cron=1&show_webhook=1&show_kanban=1"
    "&include_archived=1&agent_limit=all"
)
"""The view that the page follows. It has every session, so that all tabs share it whatever they filter."""

_SETTINGS_INTERVAL_S: Final = 1.0
"""A changed setting may take effect this late, so that a request almost never waits for the file system."""


class ViewDefaults:
    """The view that a request without parameters means: that of the home's settings file.

    The file is read at most once a second, by one thread at a time. The others get what was read before, so that a
    file that hangs holds up one thread. Any thread may call this: what was read is one value, replaced whole.

    Args:
        read: Reads the settings.
        agent_limit: How many terminals' sessions are listed at most, which no setting says; None for all.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        read: Callable[[], ViewSettings],
        *,
        agent_limit: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._agent_limit = agent_limit
        self._clock = clock
        self._reading = threading.Lock()
        self._kept = self._now()

    def view(self) -> SessionListKey:
        """Return the view by the settings, as of at most a second ago, or as before if they are being read.

        Source: rule W1.
        """
        _, before = self._kept
        kept = self.kept()
        if kept is not None:
            return kept
        if not self._reading.acquire(blocking=False):
            return before
        try:
            read_at_s, view = self._now()
            # The same object as long as nothing changed: keys that polls compare are the same objects then, too.
            view = before if view == before else view
            self._kept = read_at_s, view
        finally:
            self._reading.release()
        return view

    def kept(self) -> SessionListKey | None:
        """Return the view from memory alone; None if it was read over a second ago and nobody reads it now."""
        read_at_s, view = self._kept
        is_fresh = self._clock() - read_at_s < _SETTINGS_INTERVAL_S
        return view if is_fresh or self._reading.locked() else None

    def _now(self) -> tuple[float, SessionListKey]:
        return self._clock(), SessionListKey(
            visible_only=True, agent_limit=self._agent_limit, **asdict(self._read())
        )
