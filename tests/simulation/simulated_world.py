"""The world around a simulated cache: what its sources hold, which events were said, which streams run.

It knows by plain counting what the core finds out by versions, stamps and markers, and shares no code with it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.payload.content import Content

PROFILES: Final = ("default", "work", "home")
LISTED: Final = frozenset({"turn 1", "turn 2", "a turn that the bus never hears of"})
"""Streams that the gateway itself may list; a list is known as of the last check (H2)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What there was for a reach at one moment; counts, so that a later moment never has less.

    Attributes:
        invalidations: Events that had touched it.
        commits: Commits to its sources.
        settings: Writes of the settings file.
        moves: Starts and stops of streams that had touched it.
        streams: The streams that touched it, of the bus or listed by the gateway.
        listings: How often the gateway's own list of streams had changed.
    """

    invalidations: int
    commits: int
    settings: int
    moves: int
    streams: frozenset[str]
    listings: int


class World:
    """What moves outside of the cache."""

    def __init__(self) -> None:
        self.listed: frozenset[str] = frozenset()
        self._listings = 0
        self._settings = 0
        self._invalidations: Counter[str] = Counter()
        self._moves: Counter[str] = Counter()
        self._commits_at_s: dict[str, list[float]] = {reach: [] for reach in (*PROFILES, ALL_PROFILES)}
        self._active: dict[str, tuple[str | None, float]] = {}
        self._stopped: dict[str, float] = {}

    def seen(self, reach: str) -> Seen:
        """Tell what there is for a reach now."""
        streams = {name for name, (profile, _) in self._active.items() if reach in _reaches(profile)}
        streams.update(self.listed - self._active.keys() - self._stopped.keys())
        return Seen(
            self._invalidations[reach],
            len(self._commits_at_s[reach]),
            self._settings,
            self._moves[reach],
            frozenset(streams),
            self._listings,
        )

    def commit(self, profile: str, now_s: float) -> None:
        """Let a writer commit to a profile's source."""
        for reach in _reaches(profile):
            self._commits_at_s[reach].append(now_s)

    def write_settings(self) -> None:
        """Let somebody write the settings file without saying so."""
        self._settings += 1

    def list_streams(self, listed: Iterable[str]) -> None:
        """Let the gateway's own list hold these."""
        self.listed = frozenset(listed)
        self._listings += 1

    def invalidate(self, profile: str | None) -> None:
        """Count an event that outdates a profile's lists, or all."""
        self._invalidations.update(_reaches(profile))

    def start_stream(self, stream_id: str, profile: str | None, *, until_s: float) -> None:
        """Count a start, unless the turn was stopped or runs already."""
        if stream_id in self._stopped:
            return
        known = self._active.get(stream_id)
        if known is None:
            self._moves.update(_reaches(profile))
            self._active[stream_id] = (profile, until_s)
            return
        known_profile, known_until_s = known
        # Of two names that were said of one turn, the lesser stands, whichever came first.
        settled = min((name for name in (known_profile, profile) if name is not None), default=None)
        if settled != known_profile:
            self._moves.update(_reaches(None))
        self._active[stream_id] = (settled, max(known_until_s, until_s))

    def stop_stream(self, stream_id: str, *, until_s: float) -> None:
        """Count a stop, unless the turn was stopped before."""
        if stream_id in self._stopped:
            return
        profile, _ = self._active.pop(stream_id, (None, 0.0))
        self._moves.update(_reaches(profile))
        self._stopped[stream_id] = until_s

    def expire(self, now_s: float) -> None:
        """Forget streams and stops whose lease has ended."""
        self._active = {name: stream for name, stream in self._active.items() if stream[1] > now_s}
        self._stopped = {name: until_s for name, until_s in self._stopped.items() if until_s > now_s}


def weigh(contents: Iterable[Content]) -> int:
    """Return the encoded size of contents, rows that they share counted once (P4)."""
    held = list(contents)
    pieces = {id(piece): len(piece.encoded) for content in held for piece in content.pieces or ()}
    return sum(len(content.envelope) for content in held) + sum(pieces.values())


def _reaches(profile: str | None) -> tuple[str, ...]:
    return (*PROFILES, ALL_PROFILES) if profile is None else (profile, ALL_PROFILES)
