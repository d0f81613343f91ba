"""Replaying: what a journal's events amount to, up to its end or any number before.

It reads through the port alone, and waits for the journal. Source: rules J2, J5.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from hermes_cache.core.events import SESSIONS
from hermes_cache.errors import JournalDamagedError, JournalGapError, shown
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.snapshots import from_bytes
from hermes_cache.ports import Journal, Position, Recorded

PART: Final = 1_000
"""Events in one read."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the events after a position.

    Attributes:
        recorded: The events, oldest first.
        position: Up to where they go, the run of rows that are gone or damaged included.
        damaged: What is known of that run; None if there is none.
    """

    recorded: Sequence[Recorded]
    position: Position
    damaged: JournalDamagedError | None = None

    @property
    def lost(self) -> range:
        """The numbers of the rows that are gone or damaged."""
        if self.damaged is None or self.damaged.seq is None:
            return range(0)
        return range(self.damaged.seq, self.position.seq + 1)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal amounts to for one bus.

    Attributes:
        position: Up to where it was read.
        agreed: What agrees in all processes that applied what is up to there on that bus.
        damaged: The rows that are gone or could not be read; the snapshot counts as the last one that it covers.
    """

    position: Position
    agreed: AgreedState
    damaged: tuple[int, ...] = ()


def parts_after(journal: Journal, position: Position, part: int = PART) -> Iterator[Part]:
    """Return all events after a position; rows that are gone or damaged end a part and are skipped.

    Args:
        journal: The journal to read.
        position: The position behind which to begin.
        part: Events in one read.

    Raises:
        JournalError: The journal cannot be read, or not from there.
    """
    while parts := read_parts(journal, position, part):
        yield from parts
        last = parts[-1]
        if last.recorded and last.recorded[-1].is_last:
            return
        position = last.position


def replay(
    journal: Journal,
    *,
    until: float = inf,
    part: int = PART,
    bus: str = SESSIONS,
    noted: Callable[[int], None] | None = None,
) -> Replay:
    """Fold a journal's snapshot and the events after it, as far as they are of one bus.

    Args:
        journal: The journal to read.
        until: The last sequence number to be folded; infinity for all there are.
        part: Events in one read.
        bus: The name of the bus.
        noted: Called with the number of the last event of each part, to show how far it is.

    Raises:
        JournalGapError: `until` lies before the snapshot.
        JournalError: The journal cannot be read.
        TypeError: It is no journal.
    """
    if not callable(getattr(journal, "snapshot", None)):
        raise TypeError(f"journal is {shown(journal)}; it must be a journal, as journal_at returns")
    start = _start_of(journal, bus)
    if until < start.position.seq:
        raise JournalGapError(int(until), f"it is compacted up to {start.position.seq}; replay from there on")
    try:
        return _continued(journal, start, until, part, bus, noted)
    except JournalGapError:
        if _start_of(journal, bus).position == start.position:
            raise
        # Compacted between the two reads: the newer snapshot covers what was missed.
        return replay(journal, until=until, part=part, bus=bus, noted=noted)


def _start_of(journal: Journal, bus: str) -> Replay:
    """Return what the snapshot amounts to: nothing, if it is damaged or there is none."""
    try:
        snapshot = journal.snapshot()
    except JournalDamagedError as damaged:
        if damaged.seq is None:
            raise
        return Replay(_passed(journal, journal.end().journal, damaged.seq), AgreedState(), (damaged.seq,))
    if snapshot is None:
        return Replay(Position(journal.end().journal), AgreedState())
    try:
        return Replay(snapshot.position, from_bytes(snapshot.body).get(bus, AgreedState()))
    except JournalDamagedError:
        return Replay(snapshot.position, AgreedState(), (snapshot.position.seq,))


def _continued(
    journal: Journal, start: Replay, until: float, most: int, bus: str, noted: Callable[[int], None] | None
) -> Replay:
    position, agreed, damaged = start.position, start.agreed, list(start.damaged)
    for part in parts_after(journal, position, most):
        wanted = [each for each in part.recorded if each.position.seq <= until]
        agreed = agreed.after(each.event for each in wanted if each.event.id.bus == bus)
        lost = [seq for seq in part.lost if seq <= until]
        damaged += lost
        if part.position.seq > until:
            reached = wanted[-1].position if wanted else position
            return Replay(Position(position.journal, lost[-1]) if lost else reached, agreed, tuple(damaged))
        position = part.position
        if noted is not None:
            noted(position.seq)
    return Replay(position, agreed, tuple(damaged))


def read_parts(journal: Journal, position: Position, part: int = PART) -> list[Part]:
    """Read once what comes after a position: nothing if that is the end; raises as `parts_after`."""
    try:
        return _parts_of(position, journal.read(position, limit=part))
    except JournalDamagedError as damaged:
        if damaged.seq is None:
            raise
        last_seq, last_mark = damaged.last_seq or damaged.seq, damaged.last_mark
        known = last_mark is not None
        passed = (
            Position(position.journal, last_seq, last_mark or "")
            if known
            else _passed(journal, position.journal, last_seq)
        )
        behind = [each for each in damaged.behind if isinstance(each, Recorded)]
        return [Part((), passed, damaged), *_parts_of(passed, behind)]


def _parts_of(position: Position, recorded: Sequence[Recorded]) -> list[Part]:
    """Split events where numbers between them are missing."""
    parts: list[Part] = []
    sound: list[Recorded] = []
    last_seq = position.seq
    for each in recorded:
        seq = each.position.seq
        if seq != last_seq + 1:
            lost = JournalDamagedError(last_seq + 1, "it is gone or damaged", last_seq=seq - 1, last_mark="")
            parts.append(Part(sound, Position(position.journal, seq - 1), lost))
            sound = []
        sound.append(each)
        last_seq = seq
    return [*parts, Part(sound, sound[-1].position)] if sound else parts


def _passed(journal: Journal, name: str, seq: int) -> Position:
    """Return the position behind damaged rows, with the mark of the end, so that a restored journal is seen."""
    end = journal.end()
    return end if (end.journal, end.seq) == (name, seq) else Position(name, seq)
