"""A clock that stands still until a test moves it. No time is read here."""

from threading import Lock


class ManualClock:
    """A `hermes_cache.ports.Clock` that moves only by `advance` and `jump_wall`. Any thread may call."""

    def __init__(self, *, monotonic_s: float = 1_000.0, wall_s: float = 1_700_000_000.0) -> None:
        self._lock = Lock()
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s

    def monotonic_s(self) -> float:
        """Return the seconds to which a test has set it."""
        with self._lock:
            return self._monotonic_s

    def wall_s(self) -> float:
        """Return the epoch seconds to which a test has set it."""
        with self._lock:
            return self._wall_s

    def advance(self, span_s: float) -> None:
        """Move both clocks forward.

        Raises:
            ValueError: `span_s` is negative; monotonic time never goes back.
        """
        if span_s < 0:
            raise ValueError(
                f"span_s is {span_s!r}; it must be at least 0, use jump_wall to set the wall clock back"
            )
        with self._lock:
            self._monotonic_s += span_s
            self._wall_s += span_s

    def jump_wall(self, span_s: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does; the monotonic clock stays."""
        with self._lock:
            self._wall_s += span_s
