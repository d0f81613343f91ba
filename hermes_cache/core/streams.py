"""Streams: which chat turns produce tokens now, and which keys they hold down.

A stream id names one turn: a stop is final whatever order it comes in, and a stream without a sign of life is
forgotten when its lease ends. Source: rules H1, H2, H4, H5.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeAlias

from hermes_cache.core.tables import Table, Timers
from hermes_cache.core.versions import ALL_PROFILES, Versions

_MAX_STREAMS: Final = 4_096
"""Streams, and stops, remembered; past them the one that would be forgotten first goes."""

_MOST_MARKERS: Final = 1_024
"""Markers remembered between two moves of streams."""


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


class Said(NamedTuple):
    """What the events of a stream say of its turn.

    Attributes:
        session_id: The turn's session; None if no event named one.
        at_s: When the first of them was published, in epoch seconds.
    """

    session_id: str | None = None
    at_s: float = 0.0


_NOTHING: Final = Said()


class LiveTurn(NamedTuple):
    """A turn whose session is known.

    Attributes:
        profile: As in `Stream`.
        stream_id: The turn's stream.
    """

    profile: str | None
    stream_id: str


Turns: TypeAlias = Mapping[str, Sequence[LiveTurn]]
"""The active turns of each session, by its id; the one that started last comes first."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One active stream.

    Attributes:
        profile: Its profile; None if it is not known: it then touches all keys.
        until_s: When its lease ends.
        said: What its events say of its turn.
    """

    profile: str | None
    until_s: float
    said: Said = _NOTHING


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams that are active, and the stops that are remembered.

    Attributes:
        active: The active ones, by id.
        stopped: When each stop is forgotten, by the stream's id.
        moves: The last start or stop that touched each reach.
        active_ends: When the lease of each active one ends.
        stopped_ends: When each stop is forgotten.
        active_by_profile: The ids of the active ones, by profile.
    """

    active: Table[str, Stream] = field(default_factory=Table)
    stopped: Table[str, float] = field(default_factory=Table)
    moves: Versions = field(default_factory=Versions)
    active_ends: Timers = field(default_factory=Timers)
    stopped_ends: Timers = field(default_factory=Timers)
    active_by_profile: Table[str | None, frozenset[str]] = field(default_factory=Table)
    _markers: dict[tuple[str, frozenset[str]], Marker] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What was asked for already: it is asked at every read, and changes only with the next start or stop."""
    _turns: list[Turns] = field(default_factory=list, init=False, repr=False, compare=False)
    """The turns, once they were asked for."""

    def start(
        self, stream_id: str, profile: str | None, *, position: int, until_s: float, said: Said = _NOTHING
    ) -> "Streams":
        """Return the streams after a start; one after the stop is ignored, a repeated one is a sign of life."""
        if stream_id in self.stopped:
            return self
        known = self.active.get(stream_id)
        if known is None:
            started = _with(self, stream_id, Stream(profile, until_s, said))
            return replace(started, moves=self.moves.touched(profile, position))
        session_id = settled(known.said.session_id, said.session_id)
        both = Said(session_id, min(known.said.at_s, said.at_s))
        stream = Stream(settled(known.profile, profile), max(known.until_s, until_s), both)
        moves = self.moves if stream.profile == known.profile else self.moves.touched(None, position)
        return replace(_with(_without(self, stream_id), stream_id, stream), moves=moves)

    def stop(self, stream_id: str, *, position: int, until_s: float) -> "Streams":
        """Return the streams after a stop; one of an unknown stream touches all."""
        if stream_id in self.stopped:
            return self
        known = self.active.get(stream_id)
        left = _without(self, stream_id)
        stopped, ends = left.stopped.with_one(stream_id, until_s), left.stopped_ends.with_one(until_s, stream_id)
        if len(stopped) > _MAX_STREAMS:
            first_s, first = ends.first()
            stopped, ends = stopped.without([first]), ends.without(first_s, first)
        moves = self.moves.touched(known.profile if known else None, position)
        return replace(left, stopped=stopped, stopped_ends=ends, moves=moves)

    def without_expired(self, now_s: float) -> "Streams":
        """Return the streams whose lease has not ended."""
        left, ends = self, self.stopped_ends
        for name in self.active_ends.due(now_s):
            left = _without(left, name)
        over = ends.due(now_s)
        for name in over:
            ends = ends.without(self.stopped[name], name)
        return replace(left, stopped=left.stopped.without(over), stopped_ends=ends)

    def next_expiry_s(self) -> float:
        """Return the moment when the first lease ends; infinity if there is none."""
        return min(self.active_ends.first_s(), self.stopped_ends.first_s())

    def marker(self, reach: str, listed: Iterable[str] = ()) -> Marker:
        """Return the marker of a reach.

        Args:
            reach: The reach.
            listed: Ids that the gateway's callable listed; one that the bus knows keeps the bus's profile.
        """
        wanted = reach, frozenset(listed)
        marker = self._markers.get(wanted)
        if marker is None:
            if len(self._markers) >= _MOST_MARKERS:
                self._markers.clear()
            marker = self._markers[wanted] = self._marker(*wanted)
        return marker

    def _marker(self, reach: str, listed: frozenset[str]) -> Marker:
        ids = set(self.active) if reach == ALL_PROFILES else {*_ids_of(self, None), *_ids_of(self, reach)}
        ids.update(name for name in listed if name not in self.active and name not in self.stopped)
        return Marker(tuple(sorted(ids)), self.moves.of(reach))

    def all_ids(self, listed: Iterable[str] = ()) -> frozenset[str]:
        """Return the ids of all active streams, of the bus and listed."""
        return frozenset(self.active).union(name for name in listed if name not in self.stopped)

    def turns(self) -> Turns:
        """Return the active turns whose sessions are known (O3)."""
        if not self._turns:
            found: dict[str, list[LiveTurn]] = {}
            latest_first = sorted(self.active.items(), key=lambda item: (item[1].said.at_s, item[0]), reverse=True)
            for name, stream in latest_first:
                if stream.said.session_id is not None:
                    found.setdefault(stream.said.session_id, []).append(LiveTurn(stream.profile, name))
            self._turns.append(found)
        return self._turns[0]


def settled(known: str | None, said: str | None) -> str | None:
    """Return one profile for a stream that was published with two: the lesser name, in any order (rule J1)."""
    return min((name for name in (known, said) if name and name.strip()), default=None)


def _ids_of(streams: Streams, profile: str | None) -> frozenset[str]:
    return streams.active_by_profile.get(profile, frozenset())


def _with(streams: Streams, name: str, stream: Stream) -> Streams:
    ids = _ids_of(streams, stream.profile) | {name}
    joined = replace(
        streams,
        active=streams.active.with_one(name, stream),
        active_ends=streams.active_ends.with_one(stream.until_s, name),
        active_by_profile=streams.active_by_profile.with_one(stream.profile, ids),
    )
    return _without(joined, joined.active_ends.first()[1]) if len(joined.active) > _MAX_STREAMS else joined


def _without(streams: Streams, name: str) -> Streams:
    known = streams.active.get(name)
    if known is None:
        return streams
    by_profile, ids = streams.active_by_profile, _ids_of(streams, known.profile) - {name}
    return replace(
        streams,
        active=streams.active.without([name]),
        active_ends=streams.active_ends.without(known.until_s, name),
        active_by_profile=by_profile.with_one(known.profile, ids) if ids else by_profile.without([known.profile]),
    )
