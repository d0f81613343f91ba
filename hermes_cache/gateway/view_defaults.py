"""What a view shows where a request does not say: the switches of the home's settings file."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes.side_files import ViewSettings

_INTERVAL_S: Final = 1.0
"""A switch may take effect this late, so that a request almost never waits for the file system."""


class ViewDefaults:
    """Follows the settings of a home, read once a second at most.

    Safe from any thread: what was read is one value, replaced whole.

    Args:
        read: Reads them.
        clock: Monotonic seconds.
    """

    def __init__(self, read: Callable[[], ViewSettings], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._kept = self._now()

    def view(self) -> SessionListKey:
        """Return the view as the settings tell it, at most a second ago.

        Source: rule W1.
        """
        read_at_s, view = self._kept
        if self._clock() - read_at_s >= _INTERVAL_S:
            self._kept = read_at_s, view = self._now()
        return view

    def _now(self) -> tuple[float, SessionListKey]:
        return self._clock(), SessionListKey(visible_only=True, **asdict(self._read()))
