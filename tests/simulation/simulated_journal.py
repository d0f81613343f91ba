"""A process's handle on a simulated journal: real semantics, and every way of an answer to be late or lost."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from random import Random

from hermes_cache.core.events import AppliedEvent, EventId, SessionListChanged
from hermes_cache.errors import (
    JournalDamagedError,
    JournalError,
    JournalSetupError,
    JournalUnavailableError,
)
from hermes_cache.ports import FoldSnapshot, Level, Position, Recorded, Snapshot
from tests.simulation.journal_world import World

TOO_LARGE = "too large"
"""The reason of events that the journal refuses for good."""


class CrashedError(BaseException):
    """The process that made a call is dead."""


@dataclass(frozen=True, slots=True)
class Mishaps:
    """How often a call goes wrong, as shares.

    Attributes:
        fails: Calls that fail out of an outage.
        cut: Appends that fail before they are done.
        unanswered: Appends that are done, and then fail.
        dies: Appends in which the process dies, before or after they are done.
    """

    fails: float = 0.0
    cut: float = 0.0
    unanswered: float = 0.0
    dies: float = 0.0


class SimulatedJournal:
    """A `hermes_cache.ports.Journal` over the file that is in the world's place for it.

    Args:
        world: The files.
        random: Draws what goes wrong.
        mishaps: How often.

    Attributes:
        outage: Makes what every call raises now; None while it can be reached.
        file: The file that was read last.
    """

    def __init__(self, world: World, random: Random, mishaps: Mishaps) -> None:
        self.outage: Callable[[], Exception] | None = None
        self.file = world.file
        self._world = world
        self._random = random
        self._mishaps = mishaps

    @property
    def level(self) -> Level:
        """One machine."""
        return "host"

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        """Commit events."""
        self._reach()
        if any(isinstance(event, SessionListChanged) and event.reason == TOO_LARGE for event in events):
            raise JournalError("an event is too large")
        fate, mishaps = self._random.random(), self._mishaps
        self._suffer("cut", happens=fate < mishaps.cut)
        self._die(happens=self._random.random() < mishaps.dies / 2)
        seqs = self._world.commit(list(events))
        self._world.interrupt()
        self._die(happens=self._random.random() < mishaps.dies / 2)
        self._suffer("unanswered", happens=fate > 1 - mishaps.unanswered)
        return seqs

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        """Return the events after a position, up to a damaged one."""
        self._reach()
        self.file = file = self._world.file
        recorded = file.journal.read(after, limit=limit)
        damaged = next((at for at, each in enumerate(recorded) if each.position.mark in file.damaged), None)
        if damaged == 0:
            raise self._whole_run(after)
        self._world.interrupt()
        return recorded[:damaged]

    def _whole_run(self, after: Position) -> JournalDamagedError:
        file, end = self.file, self.file.journal.end()
        rows = file.journal.read(after, limit=end.seq)
        run = [*takewhile(lambda each: each.position.mark in file.damaged, rows)]
        last = run[-1].position
        mark = last.mark if last.seq == end.seq else ""
        return JournalDamagedError(run[0].position.seq, "its checksum is wrong", last_seq=last.seq, last_mark=mark)

    def seq_of(self, event_id: EventId, /) -> int | None:
        """Return an event's sequence number."""
        self._reach()
        return self._world.file.journal.seq_of(event_id)

    def end(self) -> Position:
        """Return the position of one who has read everything."""
        self._reach()
        return self._world.file.journal.end()

    def stamp(self) -> Hashable:
        """Return a value that differs once anybody committed, or the file was replaced."""
        self._reach()
        stamp = self._world.file.moves
        self._world.interrupt()
        return stamp

    def wait(self, seen: Hashable, /, *, timeout_s: float) -> None:
        """Nobody waits: the schedule says who acts."""

    def snapshot(self) -> Snapshot | None:
        """Return what the compacted events amount to."""
        self._reach()
        self.file = file = self._world.file
        snapshot = file.journal.snapshot()
        if snapshot is not None and file.snapshot_is_damaged:
            raise JournalDamagedError(snapshot.position.seq, "the snapshot's checksum is wrong")
        self._world.interrupt()
        return snapshot

    def compact(self, fold: FoldSnapshot, /, *, before_s: float, max_events: int) -> int:
        """Fold the oldest events that are not damaged into the snapshot; one that is damaged counts as empty."""
        self._reach()
        file = self._world.file

        def fold_sound(body: bytes | None, events: Sequence[AppliedEvent]) -> bytes:
            readable = None if file.snapshot_is_damaged else body
            self._world.interrupt()
            return fold(readable, [event for event in events if str(event.id) not in file.damaged])

        dropped = file.journal.compact(fold_sound, before_s=before_s, max_events=max_events)
        if dropped:
            # Whatever became of the earlier snapshot meanwhile, it was read while it was sound.
            file.snapshot_is_damaged = False
        file.moves += 1
        return dropped

    def close(self) -> None:
        """Let go of nothing."""

    def _reach(self) -> None:
        self._world.interrupt()
        if self.outage is not None:
            raise self.outage()
        if self._random.random() < self._mishaps.fails:
            self._world.note("call failed")
            make = self._random.choice(OUTAGES)
            raise make()

    def _suffer(self, happened: str, *, happens: bool) -> None:
        if happens:
            self._world.note(happened)
            raise JournalUnavailableError(f"the append was {happened}; try again")

    def _die(self, *, happens: bool) -> None:
        if happens:
            self._world.note("died in an append")
            raise CrashedError


OUTAGES: tuple[Callable[[], Exception], ...] = (
    lambda: JournalUnavailableError("the journal cannot be reached; try again"),
    lambda: JournalDamagedError(None, "it is no journal"),
    lambda: JournalSetupError("the journal", "it is of a later version"),
    lambda: RuntimeError("a journal of the user's own fails"),
)
"""What a call may raise where nothing can be done."""
