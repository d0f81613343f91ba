"""Streams: which chat turns produce tokens now, and whom they hold down.

A stream id names one turn: a stop is final whatever order it comes in, and a stream without a sign of life is
forgotten when its lease ends. Source: rules H1, H2, H4, H5.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final, NamedTuple, TypeVar

from hermes_cache.core.versions import ALL_PROFILES, Versions

V = TypeVar("V")

_MAX_STREAMS: Final = 4_096
"""Streams, and stops, remembered; past them the one that would be forgotten first goes."""


class Marker(NamedTuple):
    """What stands in a stamp for the parts that a stream itself moves (rule H1).

    Attributes:
        stream_ids: The active streams that touch the reach, sorted.
        moves: The position of the last start or stop that touched it.
    """

    stream_ids: tuple[str, ...] = ()
    moves: int = 0

    @property
    def held(self) -> bool:
        """Whether a stream holds the reach down."""
        return bool(self.stream_ids)


@dataclass(frozen=True, slots=True)
class Stream:
    """One active stream.

    Attributes:
        profile: Whose; None where it is not known: it then touches all.
        until_s: When its lease ends.
    """

    profile: str | None
    until_s: float


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams that are active, and the stops that are remembered."""

    active: Mapping[str, Stream] = field(default_factory=dict)
    stopped: Mapping[str, float] = field(default_factory=dict)
    moves: Versions = field(default_factory=Versions)

    def start(self, stream_id: str, profile: str | None, *, position: int, until_s: float) -> "Streams":
        """Give the streams after a start; one after the stop is ignored, a repeated one is a sign of life."""
        if stream_id in self.stopped:
            return self
        known = self.active.get(stream_id)
        if known is None:
            active = _bounded({**self.active, stream_id: Stream(profile, until_s)}, by=lambda s: s.until_s)
            return replace(self, active=active, moves=self.moves.touched(profile, position))
        stream = Stream(settled(known.profile, profile), max(known.until_s, until_s))
        moves = self.moves if stream.profile == known.profile else self.moves.touched(None, position)
        return replace(self, active={**self.active, stream_id: stream}, moves=moves)

    def stop(self, stream_id: str, *, position: int, until_s: float) -> "Streams":
        """Give the streams after a stop; one of an unknown stream touches all."""
        if stream_id in self.stopped:
            return self
        known = self.active.get(stream_id)
        return Streams(
            {name: stream for name, stream in self.active.items() if name != stream_id},
            _bounded({**self.stopped, stream_id: until_s}, by=lambda until: until),
            self.moves.touched(known.profile if known else None, position),
        )

    def without_expired(self, now_s: float) -> "Streams":
        """Give the streams whose lease has not ended."""
        return Streams(
            {name: stream for name, stream in self.active.items() if stream.until_s > now_s},
            {name: until_s for name, until_s in self.stopped.items() if until_s > now_s},
            self.moves,
        )

    def next_expiry_s(self) -> float:
        """Give the moment when the first lease ends; infinity where there is none."""
        leases = [stream.until_s for stream in self.active.values()]
        return min((*leases, *self.stopped.values()), default=inf)

    def marker(self, reach: str, listed: Iterable[str] = ()) -> Marker:
        """Give the marker of a reach.

        Args:
            reach: Whose.
            listed: Ids that the gateway's callable listed; one that the bus knows keeps the bus's profile.
        """
        ids = {name for name, stream in self.active.items() if _touches(stream.profile, reach)}
        ids.update(name for name in listed if name not in self.active and name not in self.stopped)
        return Marker(tuple(sorted(ids)), self.moves.of(reach))

    def all_ids(self, listed: Iterable[str] = ()) -> frozenset[str]:
        """Give the ids of all active streams, of the bus and listed."""
        return frozenset(self.active).union(name for name in listed if name not in self.stopped)


def settled(known: str | None, said: str | None) -> str | None:
    """Give the one name where two were said of one stream: the lesser, whichever came first (rule J1)."""
    return min((name for name in (known, said) if name and name.strip()), default=None)


def _touches(profile: str | None, reach: str) -> bool:
    return profile is None or reach in (ALL_PROFILES, profile)


def _bounded(streams: dict[str, V], by: Callable[[V], float]) -> dict[str, V]:
    if len(streams) > _MAX_STREAMS:
        del streams[min(streams, key=lambda name: by(streams[name]))]
    return streams
