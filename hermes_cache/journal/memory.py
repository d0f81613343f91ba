"""A journal in memory: for tests, and for caches of one process that want one order of events.

Source: rules J1 to J6, as far as they go without a disk and other processes.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from threading import Condition
from uuid import uuid4

from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.errors import JournalDamagedError, JournalGapError, JournalUnavailableError
from hermes_cache.ports import FoldSnapshot, Level, Position, Recorded, Snapshot
from hermes_cache.threads.forks import after_fork_in_child


class MemoryStore:
    """What several `MemoryJournal` share; a forked child has a copy of its own.

    Attributes:
        moved: Guards all that follows, and tells of appends.
        name: Names the journal.
        events: What is kept, by event id, in its order.
        snapshot: What was compacted.
        end: The position of the last event.
    """

    def __init__(self) -> None:
        self.name = uuid4().hex
        self.events: dict[str, Recorded] = {}
        self.snapshot: Snapshot | None = None
        self.end = Position(self.name)
        self._start_anew()
        after_fork_in_child(self._start_anew)

    @property
    def start(self) -> Position:
        """The position before the first event that is kept."""
        return self.snapshot.position if self.snapshot else Position(self.name)

    def keep(self, event: AppliedEvent) -> int:
        """Return the sequence number of an event, which is kept if it was not known."""
        mark = str(event.id)
        if mark not in self.events:
            self.end = Position(self.name, self.end.seq + 1, mark)
            self.events[mark] = Recorded(self.end, event)
        return self.events[mark].position.seq

    def mark(self, seq: int) -> str:
        """Return the id of the event that has a number which is not compacted away; blank if it is gone."""
        if seq <= self.start.seq:
            return self.start.mark
        found = next(self.after(seq - 1), None)
        return found.position.mark if found is not None and found.position.seq == seq else ""

    def after(self, seq: int) -> Iterator[Recorded]:
        """Return the events after a number that is not compacted away."""
        if len(self.events) == self.end.seq - self.start.seq:
            return islice(self.events.values(), seq - self.start.seq, None)
        return (each for each in self.events.values() if each.position.seq > seq)

    def _start_anew(self) -> None:
        self.moved = Condition()


class MemoryJournal:
    """Keeps events for as long as its store lives. Any thread may call.

    Args:
        store: Where the events are kept; None for a store of its own.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self._store = store or MemoryStore()
        self._closed = False

    @property
    def level(self) -> Level:
        """The stamp is a look at the store."""
        return "host"

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        """Keep the events that are not known, in the order given."""
        with self._opened() as store:
            seqs = [store.keep(event) for event in events]
            store.moved.notify_all()
            return seqs

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        """Return the events after a position, oldest first."""
        with self._opened() as store:
            if after.journal != store.name:
                raise JournalGapError(after.seq, "another journal is in its place")
            if not store.start.seq <= after.seq <= store.end.seq:
                raise JournalGapError(after.seq, f"the journal holds {store.start.seq + 1} to {store.end.seq}")
            if after.mark and after.seq and store.mark(after.seq) not in {after.mark, ""}:
                raise JournalGapError(after.seq, "the journal went on differently from there")
            return _up_to_hole(after, list(islice(store.after(after.seq), limit)), store.end)

    def seq_of(self, event_id: EventId, /) -> int | None:
        """Return an event's sequence number."""
        with self._opened() as store:
            recorded = store.events.get(str(event_id))
            return recorded.position.seq if recorded else None

    def end(self) -> Position:
        """Return the position of one who has read everything."""
        with self._opened() as store:
            return store.end

    def stamp(self) -> Hashable:
        """Return the position of the last event."""
        return self.end()

    def wait(self, seen: Hashable, /, *, timeout_s: float) -> None:
        """Wait for an append."""
        with self._opened() as store:
            store.moved.wait_for(lambda: self._closed or store.end != seen, timeout_s)

    def snapshot(self) -> Snapshot | None:
        """Return what the compacted events amount to."""
        with self._opened() as store:
            return store.snapshot

    def compact(self, fold: FoldSnapshot, /, *, before_s: float, max_events: int) -> int:
        """Fold the oldest events into the snapshot and drop them."""
        with self._opened() as store:
            earlier = store.snapshot
            going = _going(list(store.events.values()), before_s, max_events)
        if not going:
            return 0
        body = fold(earlier.body if earlier else None, [recorded.event for recorded in going])
        with self._opened() as store:
            if store.snapshot is not earlier:
                return 0
            store.snapshot = Snapshot(going[-1].position, body)
            for recorded in going:
                del store.events[recorded.position.mark]
        return len(going)

    def close(self) -> None:
        """Wake those that wait; the store stays."""
        with self._store.moved:
            self._closed = True
            self._store.moved.notify_all()

    @contextmanager
    def _opened(self) -> Iterator[MemoryStore]:
        with self._store.moved:
            if self._closed:
                raise JournalUnavailableError("the journal is closed; open another")
            yield self._store


def _up_to_hole(after: Position, found: list[Recorded], end: Position) -> list[Recorded]:
    """Return the events up to the first that somebody took out of the store.

    Raises:
        JournalDamagedError: That is the first one.
    """
    sound = [each for seq, each in enumerate(found, after.seq + 1) if each.position.seq == seq]
    if sound or after.seq == end.seq:
        return sound
    last_seq, last_mark = (found[0].position.seq - 1, "") if found else (end.seq, end.mark)
    raise JournalDamagedError(
        after.seq + 1, "it is gone", last_seq=last_seq, last_mark=last_mark, behind=tuple(found)
    )


def _going(events: list[Recorded], before_s: float, max_events: int) -> list[Recorded]:
    counts, surplus = Counter[str](), 0
    for index in reversed(range(len(events))):
        bus = events[index].event.id.bus
        counts[bus] += 1
        if counts[bus] > max_events:
            surplus = index + 1
            break
    for index, recorded in enumerate(events):
        if index >= surplus and recorded.event.at_s >= before_s:
            return events[:index]
    return events
