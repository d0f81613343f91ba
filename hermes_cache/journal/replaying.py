"""Replaying: what a journal's events amount to, up to its end or any number before.

It reads through the port alone, and waits for the journal. Source: rules J2, J5.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from hermes_cache.errors import JournalDamagedError, JournalGapError
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.snapshots import from_bytes
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
        before = place
        for part in _next_parts(journal, place):
            yield part
            place = part.place
        if place == before:
            return


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


def _next_parts(journal: Journal, place: Place) -> list[Part]:
    """Read once."""
    try:
        return _parts_of(place, journal.read(place, limit=_PART))
    except JournalDamagedError as damaged:
        if damaged.seq is None:
            raise
        last_seq, last_mark = damaged.last_seq or damaged.seq, damaged.last_mark
        known = last_mark is not None
        passed = (
            Place(place.journal, last_seq, last_mark or "") if known else _passed(journal, place.journal, last_seq)
        )
        behind = [each for each in damaged.behind if isinstance(each, Recorded)]
        return [Part((), passed, damaged), *_parts_of(passed, behind)]


def _parts_of(place: Place, recorded: Sequence[Recorded]) -> list[Part]:
    """Split events where numbers between them are missing."""
    parts: list[Part] = []
    sound: list[Recorded] = []
    last_seq = place.seq
    for each in recorded:
        seq = each.place.seq
        if seq != last_seq + 1:
            lost = JournalDamagedError(last_seq + 1, "it is gone or damaged", last_seq=seq - 1, last_mark="")
            parts.append(Part(sound, Place(place.journal, seq - 1), lost))
            sound = []
        sound.append(each)
        last_seq = seq
    return [*parts, Part(sound, sound[-1].place)] if sound else parts


def _passed(journal: Journal, name: str, seq: int) -> Place:
    """Give the place behind what is damaged; at the end with its mark, or a restored journal would not be told."""
    end = journal.end()
    return end if (end.journal, end.seq) == (name, seq) else Place(name, seq)
