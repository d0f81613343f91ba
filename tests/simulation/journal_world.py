"""The world of simulated processes that share a journal: its moments, its files, and what was said when.

It knows by plain counting what processes find out through their relays, and shares no code with them. A moment is
a number that grows with all that happens; it is a microsecond of the virtual clock, too.
"""

import traceback
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final
from zlib import crc32

from hermes_cache.core.events import AppliedEvent, SessionListChanged, StreamStarted, StreamStopped
from hermes_cache.journal.memory import MemoryJournal, MemoryStore

PROFILES: Final = ("default", "home", "work")
_MOMENT_S: Final = 1e-6


class JournalFile:
    """One state of a journal that processes open: the journal itself, or what an operator replaced it by.

    Attributes:
        store: What it holds.
        history: The ids of all events that it ever kept, by sequence number from 1.
        since: When each of them came, in virtual seconds.
        damaged: Ids that nobody can read from it any more.
        snapshot_is_damaged: Whether its snapshot cannot be read.
        moves: Differs once anybody committed, or the file was replaced.
        placed_s: When it was put where it is.
    """

    def __init__(self, store: MemoryStore, history: list[str], since: list[float]) -> None:
        self.store = store
        self.journal = MemoryJournal(store)
        self.history = history
        self.since = since
        self.damaged: set[str] = set()
        self.snapshot_is_damaged = False
        self.moves = 0
        self.placed_s = 0.0

    @classmethod
    def new(cls, name: str) -> "JournalFile":
        """Return an empty one."""
        store = MemoryStore()
        store.name = name
        store.end = store.start
        return cls(store, [], [])

    def copied(self) -> "JournalFile":
        """Return a copy as of now."""
        store = MemoryStore()
        store.name, store.snapshot, store.end = self.store.name, self.store.snapshot, self.store.end
        store.events = dict(self.store.events)
        copy = JournalFile(store, self.history.copy(), self.since.copy())
        copy.damaged, copy.snapshot_is_damaged = self.damaged.copy(), self.snapshot_is_damaged
        return copy


class World:
    """What all members share.

    Args:
        seed: Of the run.
        now_s: When it begins, in virtual seconds.

    Attributes:
        seed: Of the run.
        file: The journal as it is found now.
        backup: A copy of it from before; None where there is none.
        events: All that was ever said, by id.
        said: The moment at which each was.
        committed: The ids of what any file ever kept.
        lost: The moments of events that a file which was replaced had, and the next has not; by id.
        damaged: The ids of what could not be read from some file at some time.
        twins: Numbers, with the id of the event there, that two files share which differ before that number: a
            restore took an event away, and its publisher, which had no answer, wrote it again. Nobody can tell
            one file from the other by what stands there.
        seen: What happened how often.
        broken: The laws that were broken.
        trace: A number that two runs share only if the same happened.
        interrupt: Lets others act in between.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_s = 1_000.0
        self.file = JournalFile.new("journal-1")
        self.backup: JournalFile | None = None
        self.events: dict[str, AppliedEvent] = {}
        self.said: dict[str, int] = {}
        self.committed: set[str] = set()
        self.lost: dict[str, int] = {}
        self.damaged: set[str] = set()
        self.twins: set[tuple[int, str]] = set()
        self.seen: Counter[str] = Counter()
        self.broken: list[str] = []
        self.trace = 0
        self._interrupt: Callable[[], None] = _nothing
        self._moment = 0
        self._files = 1
        self._before: dict[tuple[str, str, int], tuple[str, ...]] = {}
        self._lives = 0

    @property
    def moment(self) -> int:
        """Now."""
        return self._moment

    def name(self) -> str:
        """Name one more life of a process."""
        self._lives += 1
        return f"life-{self._lives}"

    def tick(self) -> int:
        """Let a moment pass, and give the new one."""
        self._moment += 1
        self.now_s += _MOMENT_S
        return self._moment

    def interrupt_with(self, interrupt: Callable[[], None]) -> None:
        """Let others act wherever an interrupt can come."""
        self._interrupt = interrupt

    def interrupt(self) -> None:
        """Let others act, on other threads and in other processes, before the caller goes on."""
        self.tick()
        try:
            self._interrupt()
        except Exception:  # noqa: BLE001 - whoever is interrupted would take it for a failure of its own
            self.broken.append(traceback.format_exc())

    def note(self, happened: str) -> None:
        """Count something, as part of the trace."""
        self.seen[happened] += 1
        self.trace = crc32(f"{self._moment} {happened}".encode(), self.trace)

    def demand(self, holds: object, law: str) -> None:
        """Note that a law is broken where it does not hold; the run ends with it."""
        if not holds:
            self.broken.append(law)

    def say(self, event: AppliedEvent) -> None:
        """Know of an event, at its first application: that of who says it."""
        mark = str(event.id)
        if mark not in self.events:
            self.events[mark] = event
            self.said[mark] = self.tick()

    def commit(self, events: list[AppliedEvent]) -> list[int]:
        """Append to the journal as it is now."""
        file = self.file
        seqs = file.journal.append(events)
        for event, seq in zip(events, seqs, strict=True):
            if seq > len(file.history):
                file.history.append(str(event.id))
                file.since.append(self.now_s)
                self.committed.add(str(event.id))
                before = tuple(file.history)
                if self._before.setdefault((file.store.name, before[-1], seq), before) != before:
                    self.twins.add((seq, str(event.id)))
        file.moves += 1
        self.tick()
        return seqs

    def replace(self) -> None:
        """Replace this journal by an empty one."""
        self._files += 1
        self._put(JournalFile.new(f"journal-{self._files}"))

    def restore(self) -> None:
        """Replace the journal by the backup, which may be another or an older one."""
        if self.backup is not None:
            self._put(self.backup.copied())

    def damage(self, random: Random) -> None:
        """Damage a row, or the snapshot."""
        file = self.file
        rows = [mark for mark in file.store.events if mark not in file.damaged]
        if rows and random.random() < 0.8:
            file.damaged.add(random.choice(rows[-random.choice((1, 3)) :]))
            self.damaged |= file.damaged
        elif file.store.snapshot is not None:
            file.snapshot_is_damaged = True
            self.damaged.update(file.history[: file.store.snapshot.position.seq])

    def touched(self, event: AppliedEvent) -> tuple[str, ...]:
        """Return the profiles whose lists an event moves."""
        match event:
            case SessionListChanged(profile=profile) | StreamStarted(profile=profile):
                return PROFILES if profile is None else (profile,)
            case StreamStopped(stream_id=stream_id):
                return (stream_id.partition(" ")[0],)
        return PROFILES

    def last_said(self, bus: str, profile: str, marks: list[str]) -> int:
        """Return the moment of the last event, of some, that moved a profile's list on a bus; 0 for none."""
        events = [self.events[mark] for mark in marks]
        touching = (each for each in events if each.id.bus == bus and profile in self.touched(each))
        return max((self.said[str(event.id)] for event in touching), default=0)

    def of_bus(self, bus: str, marks: list[str]) -> list[str]:
        """Return those of some events that were said on a bus."""
        return [mark for mark in marks if self.events[mark].id.bus == bus]

    def _put(self, file: JournalFile) -> None:
        # A system tells files apart, whatever they hold.
        file.moves, file.placed_s = self.file.moves + 1, self.now_s
        kept = set(file.history)
        self.lost |= {mark: self._moment for mark in self.file.history if mark not in kept}
        self.file = file


def _nothing() -> None:
    """Let nobody act."""
