"""The agreed state: what a set of events amounts to, whatever order they came in.

Versions are positions in one process's order, and mean nothing to another. What all processes agree on is which
events were applied, which streams are active, and by which event each profile was last outdated. Of two events
about one thing, the one that stands is chosen by what they say of themselves, never by which came first; so it is
the same for every order of arrival, and an event that comes twice changes nothing. (A join-semilattice; Shapiro,
Preguiça, Baquero and Zawirski: Conflict-free Replicated Data Types, SSS 2011.) Past its bounds the oldest is
forgotten. Source: rules J1, J2, E1, H4, V1.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final, TypeAlias, assert_never

from hermes_cache.arguments import profile_name
from hermes_cache.core.events import (
    AppliedEvent,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.core.streams import settled

Outdating: TypeAlias = SessionListChanged | SettingsChanged
"""An event that outdates lists."""

EVERYTHING: Final = ""
"""Stands for all profiles beside those that are named; no profile has a blank name (rule K3)."""

_MAX_INCARNATIONS: Final = 4_096
_MAX_STREAMS: Final = 4_096
_MAX_PROFILES: Final = 1_000

_MAX_RANGES: Final = 64
"""Ranges kept apart; past them the oldest hole counts as filled: what was missing there will not come any more."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A set of whole numbers: which of one incarnation's events were applied.

    Events may come out of order, and some numbers never come, so the highest says nothing (E1).

    Attributes:
        ranges: First and last of each run, ascending, with a hole between any two.
    """

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self.ranges, (number, number))
        return any(first <= number <= last for first, last in self.ranges[max(0, at - 1) : at + 1])

    def with_number(self, number: int) -> "Numbers":
        """Return the set with one more."""
        if self.ranges and self.ranges[-1][1] == number - 1:
            return Numbers((*self.ranges[:-1], (self.ranges[-1][0], number)))
        if number in self:
            return self
        at = bisect_right(self.ranges, (number, number))
        before, after = self.ranges[:at], self.ranges[at:]
        first = last = number
        if before and before[-1][1] == number - 1:
            first, before = before[-1][0], before[:-1]
        if after and after[0][0] == number + 1:
            last, after = after[0][1], after[1:]
        return Numbers(_bounded_ranges((*before, (first, last), *after)))


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What was said of one stream.

    Attributes:
        started: Its last sign of life, with what any of them said of its profile and session; None for none.
        stopped: Its first stop; None for none.
    """

    started: StreamStarted | None = None
    stopped: StreamStopped | None = None

    @property
    def at_s(self) -> float:
        """The moment of the last of them, in epoch seconds."""
        return max(event.at_s for event in self.said())

    def said(self) -> Iterator[StreamStarted | StreamStopped]:
        """Return what another process must apply to know the same."""
        if self.started is not None:
            yield self.started
        if self.stopped is not None:
            yield self.stopped

    def after(self, event: StreamStarted | StreamStopped) -> "StreamFacts":
        """Return the facts with one more."""
        match event:
            case StreamStopped():
                return replace(self, stopped=min(self.stopped or event, event, key=_moment))
            case StreamStarted():
                known = self.started or event
                last = max(known, event, key=_moment)
                profile = settled(known.profile, event.profile)
                session_id = settled(known.session_id, event.session_id)
                return replace(self, started=replace(last, profile=profile, session_id=session_id))
            case _:
                assert_never(event)


@dataclass(frozen=True, slots=True)
class AgreedState:
    """What agrees in all processes that applied the same events.

    Attributes:
        applied: The numbers of the events applied, by incarnation.
        streams: What was said of each stream, by its id.
        outdated: The newest event that outdated each profile, as published; under `EVERYTHING`, all profiles.
    """

    applied: Mapping[str, Numbers] = field(default_factory=dict)
    streams: Mapping[str, StreamFacts] = field(default_factory=dict)
    outdated: Mapping[str, Outdating] = field(default_factory=dict)

    def has(self, event_id: EventId) -> bool:
        """Say whether an event was applied."""
        return event_id.number in self.applied.get(event_id.incarnation, _NONE)

    def outdated_by(self, profile: str | None) -> Outdating | None:
        """Return the newest event that outdated a profile; None for the views of all profiles."""
        if profile is None:
            return max(self.outdated.values(), key=_moment, default=None)
        found = [self.outdated[name] for name in (EVERYTHING, profile_name(profile)) if name in self.outdated]
        return max(found, key=_moment, default=None)

    def active_streams(self, now_s: float, lease_s: float) -> dict[str, StreamStarted]:
        """Return the streams that are active.

        Args:
            now_s: The moment, in epoch seconds.
            lease_s: How long a stream lives without a sign of life.
        """
        alive = ((name, facts.started) for name, facts in self.streams.items() if facts.stopped is None)
        return {name: start for name, start in alive if start is not None and start.at_s + lease_s > now_s}

    def stream_events(self, since_s: float = -inf) -> list[StreamStarted | StreamStopped]:
        """Return what a cache must apply to know the streams that were not silent since, oldest first."""
        lately = (facts for facts in self.streams.values() if facts.at_s > since_s)
        return sorted((event for facts in lately for event in facts.said()), key=_moment)

    def after(self, events: Iterable[AppliedEvent]) -> "AgreedState":
        """Return the state with these events applied too."""
        applied, streams, outdated = dict(self.applied), dict(self.streams), dict(self.outdated)
        for event in events:
            incarnation = event.id.incarnation
            # Taken out first: the process that published last stands last, and goes last.
            numbers = applied.pop(incarnation, _NONE)
            applied[incarnation] = numbers.with_number(event.id.number)
            match event:
                case SessionListChanged(profile=profile):
                    _outdate(outdated, profile_name(profile) if profile and profile.strip() else EVERYTHING, event)
                case SettingsChanged():
                    _outdate(outdated, EVERYTHING, event)
                case StreamStarted(stream_id=stream_id) | StreamStopped(stream_id=stream_id):
                    streams[stream_id] = streams.get(stream_id, _NOTHING_SAID).after(event)
                case _:
                    assert_never(event)
        return AgreedState(_newest(applied), _bounded_streams(streams), _bounded_profiles(outdated))


_NONE: Final = Numbers()
_NOTHING_SAID: Final = StreamFacts()


def _outdate(outdated: dict[str, Outdating], name: str, event: Outdating) -> None:
    outdated[name] = max(outdated.get(name, event), event, key=_moment)


def _moment(event: AppliedEvent) -> tuple[float, EventId]:
    return event.at_s, event.id


def _newest(applied: dict[str, Numbers]) -> dict[str, Numbers]:
    while len(applied) > _MAX_INCARNATIONS:
        del applied[next(iter(applied))]
    return applied


def _bounded_streams(streams: dict[str, StreamFacts]) -> dict[str, StreamFacts]:
    surplus = len(streams) - _MAX_STREAMS
    if surplus <= 0:
        return streams
    oldest = set(sorted(streams, key=lambda name: (streams[name].at_s, name))[:surplus])
    return {name: facts for name, facts in streams.items() if name not in oldest}


def _bounded_profiles(outdated: dict[str, Outdating]) -> dict[str, Outdating]:
    """Let the profiles that were outdated longest ago count as outdated with all others."""
    named = sorted((name for name in outdated if name != EVERYTHING), key=lambda name: _moment(outdated[name]))
    for name in named[: max(0, len(named) - _MAX_PROFILES)]:
        _outdate(outdated, EVERYTHING, outdated.pop(name))
    return outdated


def _bounded_ranges(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    if len(ranges) <= _MAX_RANGES:
        return ranges
    return ((ranges[0][0], ranges[1][1]), *ranges[2:])
