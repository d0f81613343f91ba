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
from hermes_cache.ports import Journal, Place, Recorded, Snapshot

_PART: Final = 1_000
"""Events read at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the events after a place.

    Attributes:
        recorded: The events, oldest first.
        place: Up to where they go, a damaged row included.
        damaged: What was told of that row; None where there is none.
    """

    recorded: Sequence[Recorded]
    place: Place
    damaged: JournalDamagedError | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal amounts to.

    Attributes:
        place: Up to where it was read.
        agreed: What agrees in all processes that applied what is up to there.
        damaged: The rows that could not be read.
    """

    place: Place
    agreed: AgreedState
    damaged: tuple[int, ...] = ()


def parts_after(journal: Journal, place: Place) -> Iterator[Part]:
    """Give all events after a place; a damaged row ends its part, and is passed over.

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
    snapshot = journal.snapshot()
    if snapshot is not None and until < snapshot.place.seq:
        raise JournalGapError(int(until), f"it is compacted up to {snapshot.place.seq}; replay from there on")
    try:
        return _replay(journal, snapshot, until)
    except JournalGapError:
        if journal.snapshot() == snapshot:
            raise
        # Compacted between the two reads: the newer snapshot covers what was missed.
        return replay(journal, until=until)


def _replay(journal: Journal, snapshot: Snapshot | None, until: float) -> Replay:
    agreed = from_bytes(snapshot.body) if snapshot else AgreedState()
    place = snapshot.place if snapshot else Place(journal.end().journal)
    damaged: list[int] = []
    for part in parts_after(journal, place):
        wanted = [each for each in part.recorded if each.place.seq <= until]
        agreed = agreed.after(each.event for each in wanted)
        if len(wanted) < len(part.recorded) or part.place.seq > until:
            return Replay(wanted[-1].place if wanted else place, agreed, tuple(damaged))
        place = part.place
        if part.damaged is not None and part.damaged.seq is not None:
            damaged.append(part.damaged.seq)
    return Replay(place, agreed, tuple(damaged))


def _part_after(journal: Journal, place: Place) -> Part:
    try:
        recorded = journal.read(place, limit=_PART)
    except JournalDamagedError as damaged:
        if damaged.seq is None:
            raise
        return Part((), Place(place.journal, damaged.seq), damaged)
    return Part(recorded, recorded[-1].place if recorded else place)
