"""Who resumes, wherever and whenever, has heard of every event (rules E7, E8, J3).

Processes publish, commit, relay, compact, restart and are killed, one small step at a time, and a subscriber goes
from one to another with the last version that it saw.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Final, TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.bus.changes import Change
from hermes_cache.bus.feed import Feed
from hermes_cache.bus.feed_versions import FeedVersion
from hermes_cache.core.events import (
    AppliedEvent,
    EventId,
    SessionListChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.errors import JournalGapError
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.ports import Position

_AMPLE: Final = 64
"""A size that nothing here fills: no change merges with another while it waits."""


@dataclass(frozen=True)
class _Published:
    event: AppliedEvent
    profile: str | None
    heard_before: int

    def is_covered_by(self, change: Change) -> bool:
        session_id = getattr(self.event, "session_id", None)
        same_session = change.session_id is None or change.session_id == session_id
        return change.everything or (change.profile == self.profile and same_session)


class _Process:
    """A feed and a journal's writer and relay, of which every step is asked for."""

    def __init__(self, store: MemoryStore, name: str, *, size: int, remembered: int) -> None:
        self.journal = MemoryJournal(store)
        self.name = name
        self.feed = Feed(name, size=size, remembered=remembered, missed_since=self._missed_since)
        self.untold: list[AppliedEvent] = []
        self.uncommitted: list[AppliedEvent] = []
        self.told: dict[EventId, int] = {}
        self._position = self.journal.end()
        self.feed.note_position(self._position)

    def hand_over(self, event: AppliedEvent) -> None:
        self.uncommitted.append(event)
        self.untold.append(event)

    def tell(self) -> None:
        for event in self.untold:
            self._tell(event)
        self.untold = []

    def commit(self) -> None:
        self.journal.append(self.uncommitted[:1])
        self.uncommitted = self.uncommitted[1:]

    def relay(self) -> None:
        try:
            for recorded in self.journal.read(self._position, limit=2):
                self._tell(recorded.event)
                self._position = recorded.position
        except JournalGapError:
            self._position = self.journal.end()
            self._tell(
                SessionListChanged(id=EventId(self.name, self._position.seq), at_s=0.0, reason="journal_gap")
            )
        self.feed.note_position(self._position)

    def flush(self) -> None:
        self.tell()
        self.journal.append(self.uncommitted)
        self.uncommitted = []
        while self._position != self.journal.end():
            self.relay()

    def _tell(self, event: AppliedEvent) -> None:
        self.feed.tell(event, getattr(event, "profile", None))
        self.told.setdefault(event.id, FeedVersion.parse(self.feed.version).number)

    def _missed_since(self, position: Position) -> Iterable[AppliedEvent]:
        waiting = tuple(self.uncommitted)
        return [*(recorded.event for recorded in self.journal.read(position)), *waiting]


class _World:
    """Two processes on one journal, and a subscriber."""

    def __init__(self, *, size: int, remembered: int, profile: str | None) -> None:
        self._store = MemoryStore()
        self._bounds = (size, remembered)
        self._profile = profile
        self._names = (f"life{number}" for number in count())
        self._numbers = count(1)
        self._begun: dict[str, _Process] = {}
        self._seqs: dict[str, int] = {}
        self._processes = [self._begin(), self._begin()]
        self._published: list[_Published] = []
        self._heard: list[Change] = []
        self._subscription = self._processes[0].feed.subscribe(profile)
        self.versions = [self._subscription.version]

    def publish(self, at: int, profile: str | None) -> None:
        number = next(self._numbers)
        self._hand_over(
            at,
            SessionListChanged(
                id=EventId("world", number), at_s=0.0, profile=profile, session_id=profile and f"s{number}"
            ),
            profile,
        )

    def start_stream(self, at: int, profile: str | None) -> None:
        event_id = EventId("world", next(self._numbers))
        self._hand_over(
            at, StreamStarted(id=event_id, at_s=0.0, stream_id=f"of {profile}", profile=profile), profile
        )

    def stop_stream(self, at: int, profile: str | None) -> None:
        event_id = EventId("world", next(self._numbers))
        self._hand_over(at, StreamStopped(id=event_id, at_s=0.0, stream_id=f"of {profile}"), profile)

    def tell(self, at: int, _profile: str | None) -> None:
        self._processes[at].tell()

    def commit(self, at: int, _profile: str | None) -> None:
        self._processes[at].commit()

    def relay(self, at: int, _profile: str | None) -> None:
        self._processes[at].relay()

    def compact(self, at: int, _profile: str | None) -> None:
        self._processes[at].journal.compact(lambda _body, _events: b"", before_s=-1.0, max_events=2)

    def restart(self, at: int, _profile: str | None) -> None:
        self._processes[at].flush()
        self.kill(at, _profile)

    def kill(self, at: int, _profile: str | None) -> None:
        lost = self._processes[at].uncommitted
        self._published = [each for each in self._published if each.event not in lost]
        self._processes[at].feed.close()
        self._processes[at] = self._begin()

    def take(self, _at: int, _profile: str | None) -> None:
        self._handle(self._subscription.get(timeout=0))

    def resume(self, at: int, _profile: str | None) -> None:
        self._subscription.close()
        self._subscription = self._processes[at].feed.subscribe(self._profile, since=self.versions[-1])

    def heard_all(self, *, of_moved_rows: bool) -> bool:
        """Let all that is on its way arrive, and say whether every event that concerns the subscriber did."""
        for process in (*self._processes, *self._processes):
            process.flush()
        if self._subscription.closed:
            self.resume(0, None)
        while change := self._subscription.get(timeout=0):
            self._handle(change)
        return self._heard_of(self._published, of_moved_rows=of_moved_rows)

    def holds_to_its_version(self) -> bool:
        """Say whether the subscriber heard of all that its version says it has."""
        version = FeedVersion.parse(self.versions[-1])
        self._seqs |= {mark: recorded.position.seq for mark, recorded in self._store.events.items()}
        process = self._begun.get(version.feed)
        told = process.told if process else {}
        claimed = [
            each
            for each in self._published
            if self._seqs.get(str(each.event.id), version.seq + 1) <= version.seq
            or told.get(each.event.id, version.number + 1) <= version.number
        ]
        return self._heard_of(claimed, of_moved_rows=False)

    def _heard_of(self, published: Iterable[_Published], *, of_moved_rows: bool) -> bool:
        wanted = [each for each in published if Change(0, "", each.profile).concerns(self._profile)]
        heard = [each if of_moved_rows or each.reason != "source_changed" else None for each in self._heard]
        return all(
            any(told and each.is_covered_by(told) for told in heard[each.heard_before :]) for each in wanted
        )

    def _handle(self, change: Change | None) -> None:
        if change:
            self._heard.append(change)
            self.versions.append(change.version)

    def _hand_over(self, at: int, event: AppliedEvent, profile: str | None) -> None:
        process = self._processes[at]
        self._published.append(_Published(event, profile, len(self._heard)))
        process.hand_over(event)

    def _begin(self) -> _Process:
        size, remembered = self._bounds
        process = _Process(self._store, next(self._names), size=size, remembered=remembered)
        return self._begun.setdefault(process.name, process)


_Step: TypeAlias = tuple[Callable[[_World, int, str | None], None], int, str | None]

_STEPS: Final = (
    *(_World.publish, _World.tell, _World.commit, _World.relay, _World.take, _World.resume) * 4,
    *(_World.start_stream, _World.stop_stream, _World.compact, _World.restart, _World.kill),
)
"""Those that end in 'refresh everything', which covers all that came before, are rare."""

_SCRIPTS = st.lists(
    st.tuples(st.sampled_from(_STEPS), st.integers(0, 1), st.sampled_from(["p"] * 6 + ["q"] * 3 + [None])),
    min_size=15,
    max_size=60,
)
_PROFILES = st.sampled_from([None, "p"])


@given(_SCRIPTS, _PROFILES, st.sampled_from([3, 1024]))
def test_what_was_missed_is_found_from_the_events_themselves(
    script: list[_Step],
    profile: str | None,
    remembered: int,
) -> None:
    """E8: that rows moved (rule E9) is not counted, it would cover every gap."""
    world = _World(size=_AMPLE, remembered=remembered, profile=profile)

    for step, at, of_profile in script:
        step(world, at, of_profile)
        assert world.holds_to_its_version()

    assert world.heard_all(of_moved_rows=False)


@given(_SCRIPTS, _PROFILES, st.integers(1, 4), st.sampled_from([3, 1024]))
def test_what_was_missed_is_covered_however_much_is_merged(
    script: list[_Step],
    profile: str | None,
    size: int,
    remembered: int,
) -> None:
    """E7, E8, E9"""
    world = _World(size=size, remembered=remembered, profile=profile)

    for step, at, of_profile in script:
        step(world, at, of_profile)

    assert world.heard_all(of_moved_rows=True)
