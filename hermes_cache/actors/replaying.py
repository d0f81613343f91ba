"""Replaying: what a journal's events amount to, up to its end or any number before.

It reads through the port alone, and waits for the journal. Source: rules J2, J5.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from hermes_cache.core.agreed import AgreedState
from hermes_cache.core.snapshots import from_bytes
from hermes_cache.errors import JournalDamagedError, JournalGapError
from hermes_cache.ports import Journal, Place, Recorded

_PART: Final = 1_000
"""Events read at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the events after a place.

    Attributes:
        recorded: The events, oldest first.
        place: Up to where they go, the run of rows that are gone or damaged included.
        damaged: What was told of that run; None if there is none.
    """

    recorded: Sequence[Recorded]
    place: Place
    damaged: JournalDamagedError | None = None

    @property
    def lost(self) -> range:
        """The numbers of the rows that are gone or damaged."""
        if self.damaged is None or self.damaged.seq is None:
            return range(0)
        return range(self.damaged.seq, self.place.seq + 1)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal amounts to.

    Attributes:
        place: Up to where it was read.
        agreed: What agrees in all processes that applied what is up to there.
        damaged: The rows that are gone or could not be read; the snapshot counts as the last one that it covers.
    """

    place: Place
    agreed: AgreedState
    damaged: tuple[int, ...] = ()


def parts_after(journal: Journal, place: Place) -> Iterator[Part]:
    """Give all events after a place; a run of rows that are gone or damaged ends its part, and is passed over.

    Raises:
        JournalError: The journal cannot be read, or not from there.
    """
    while True:
        part = _part_after(journal, place)
        if part.place == place:
            return
        yield part
        place = part.place


def replay(journal: Journal, *, until: float = inf) -> Replay:
    """Fold a journal's snapshot and the events after it.

    Args:
        until: The last sequence number to be folded; infinity for all there are.

    Raises:
        JournalGapError: `until` lies before the snapshot.
        JournalError: The journal cannot be read.
    """
    start = _start_of(journal)
    if until < start.place.seq:
        raise JournalGapError(int(until), f"it is compacted up to {start.place.seq}; replay from there on")
    try:
        return _continued(journal, start, until)
    except JournalGapError:
        if _start_of(journal).place == start.place:
            raise
        # Compacted between the two reads: the newer snapshot covers what was missed.
        return replay(journal, until=until)


def _start_of(journal: Journal) -> Replay:
    """Give what the snapshot amounts to: nothing, where it is damaged or there is none."""
    try:
        snapshot = journal.snapshot()
    except JournalDamagedError as damaged:
        if damaged.seq is None:
            raise
        return Replay(_passed(journal, journal.end().journal, damaged.seq), AgreedState(), (damaged.seq,))
    if snapshot is None:
        return Replay(Place(journal.end().journal), AgreedState())
    try:
        return Replay(snapshot.place, from_bytes(snapshot.body))
    except JournalDamagedError:
        return Replay(snapshot.place, AgreedState(), (snapshot.place.seq,))


def _continued(journal: Journal, start: Replay, until: float) -> Replay:
    place, agreed, damaged = start.place, start.agreed, list(start.damaged)
    for part in parts_after(journal, place):
        wanted = [each for each in part.recorded if each.place.seq <= until]
        agreed = agreed.after(each.event for each in wanted)
        lost = [seq for seq in part.lost if seq <= until]
        damaged += lost
        if part.place.seq > until:
            reached = wanted[-1].place if wanted else place
            return Replay(Place(place.journal, lost[-1]) if lost else reached, agreed, tuple(damaged))
        place = part.place
    return Replay(place, agreed, tuple(damaged))


def _part_after(journal: Journal, place: Place) -> Part:
    try:
        recorded = journal.read(place, limit=_PART)
    except JournalDamagedError as damaged:
        if damaged.seq is None:
            raise
        last_seq = damaged.last_seq or damaged.seq
        if damaged.last_mark is None:
            return Part((), _passed(journal, place.journal, last_seq), damaged)
        return Part((), Place(place.journal, last_seq, damaged.last_mark), damaged)
    return Part(recorded, recorded[-1].place if recorded else place)


def _passed(journal: Journal, name: str, seq: int) -> Place:
    """Give the place behind what is damaged; at the end with its mark, or a restored journal would not be told."""
    end = journal.end()
    return end if (end.journal, end.seq) == (name, seq) else Place(name, seq)
