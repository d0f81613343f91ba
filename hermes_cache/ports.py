"""What the cache asks of the outside, and what each part must promise.

These are Protocols: a callable or an object of the right shape will do. Foreign code behind them may raise,
hang or return late; the cache survives that, and the promises below say what it makes of it. A key is any hashable
value, as the readers of a cache give it: Any here, so that a builder may say which kind it takes.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.core.stamps import SETTINGS_PART
from hermes_cache.core.state import Target
from hermes_cache.payload.content import Content
from hermes_cache.sessions.overlay import LiveSession

__all__ = [
    "SETTINGS_PART",
    "ActiveStreamIds",
    "Builder",
    "Clock",
    "Executor",
    "FoldSnapshot",
    "IsRootProfile",
    "JoiningBuilder",
    "Journal",
    "LastKnown",
    "Level",
    "LiveSessions",
    "Position",
    "Recorded",
    "ScopedBuilder",
    "SettingsVersion",
    "Snapshot",
    "Sources",
]


class Clock(Protocol):
    """Where time comes from.

    Promise: `monotonic_s` never goes back; `wall_s` is epoch seconds and may jump.
    """

    def monotonic_s(self) -> float:
        """Seconds from some fixed moment."""

    def wall_s(self) -> float:
        """Epoch seconds."""


class Builder(Protocol):
    """Builds the payload of a key; a slow call that may read files and databases.

    Promise: the payload depends on the key and the sources alone, never on the calling thread. It is called on a
    pool thread, one call a key at a time, with the key's canonical profile. What it raises fails that build
    alone. What it returns may be changed afterwards: the cache keeps a frozen copy.
    """

    def __call__(self, key: Any, /) -> Mapping[str, object]:
        """Return a mapping of str to JSON values, with the rows as a list under `sessions`."""


@runtime_checkable
class ScopedBuilder(Builder, Protocol):
    """A builder whose keys share the reading: all keys of a scope are views over one snapshot.

    Promise: `refresh` reads or probes the sources and begins after it was called; `view` is pure and quick;
    `builder(key)` equals `view(refresh(scope of key), key)`.
    """

    def refresh(self, scope: Hashable, /) -> object:
        """Read what changed at the sources of a scope and give an immutable snapshot."""

    def view(self, snapshot: object, key: Any, /) -> Mapping[str, object]:
        """Return the payload of a key from a snapshot."""


@runtime_checkable
class JoiningBuilder(ScopedBuilder, Protocol):
    """A scoped builder, some of whose scopes join others that may live in other processes.

    Promise: a builder that adopted what the others shared joins that, instead of reading their scopes itself.
    """

    def parts(self, key: Any, /) -> tuple[Hashable, ...]:
        """Name the scopes that a key's scope joins; none where it reads for itself."""

    def share(self, scope: Hashable, seen: Hashable, /) -> tuple[Hashable, bytes]:
        """Refresh a scope, and give its state to one who saw an earlier one.

        Args:
            scope: Which.
            seen: What the last call for that taker gave; None where there was none. An unknown one gets all.

        Returns:
            What it has seen after this, and what to hand to `adopt`.
        """

    def adopt(self, scope: Hashable, share: bytes, /) -> None:
        """Take in what another builder shared of a scope."""


class Executor(Protocol):
    """Where builders run.

    Promise: `build` is called on a thread that may wait, one build a key at a time, and raises what the builder
    raised; what it gives may be rows or their bytes.
    """

    def start(self) -> None:
        """Get ready; may take a while."""

    def check(self, builder: Builder, /) -> None:
        """See that a reader's own builder can run here; raise `TypeError` where it cannot."""

    def build(self, build_id: int, target: Target, builder: Builder | None, /) -> Content:
        """Build a key's content, with a reader's own builder or the cache's."""

    def give_up(self, build_id: int, /) -> None:
        """Kill what runs a build, where that can be done."""

    def stop(self) -> None:
        """End what runs; nothing is built afterwards."""


@dataclass(frozen=True, slots=True)
class LastKnown:
    """A stamp part that could not be read now, with the value it had when it last could.

    It compares as that value, but such a check verifies nothing for a read that insists on freshness.
    Source: rules S2, R8.
    """

    value: Hashable


class Sources(Protocol):
    """Says whether what was built is still what the sources hold.

    Promise: `stamp` opens nothing for writing and blocks at most 50 ms; equal stamps mean unchanged sources. A
    call that raises is a failed check (S4). Calls for one scope come one at a time, from any thread.
    """

    def scope(self, key: Any, /) -> Hashable:
        """Name what the keys that share a check have in common; pure and quick."""

    def stamp(self, key: Any, /, *, held: bool) -> Mapping[str, Hashable]:
        """Return part names and values as of now.

        Args:
            held: A stream is active: leave out, and do not read, the parts that a stream itself moves.
        """


ActiveStreamIds: TypeAlias = Callable[[], Iterable[str]]
"""Lists the ids of the streams that are active now; a failure counts as none (rule H4)."""

LiveSessions: TypeAlias = Callable[[], Mapping[str, LiveSession]]
"""Gives live state by session id; asked once per overlay (rule O1)."""

IsRootProfile: TypeAlias = Callable[[str], bool]
"""Says whether a name is an alias of the root profile; a failure counts as no (rule K3)."""

SettingsVersion: TypeAlias = Callable[[], Hashable]
"""Gives a value that moves when settings change; asked by the checker (rule V3)."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader has come in a journal.

    Attributes:
        journal: Names the journal; another one put in its place has another name.
        seq: Everything up to and with this one was read; 0 before the first.
        mark: The id of the event there, as text, by which a journal restored from an older copy is told; blank
            where it is not known.
    """

    journal: str
    seq: int = 0
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in a journal, and the position of one who has read it."""

    position: Position
    event: AppliedEvent


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the events before a position amount to, in the form that `FoldSnapshot` gave it."""

    position: Position
    body: bytes


FoldSnapshot: TypeAlias = Callable[[bytes | None, Sequence[AppliedEvent]], bytes]
"""Folds the events after a snapshot (None: from the start) into it; pure, and called with a part at a time."""


Level: TypeAlias = Literal["process", "host", "cluster"]
"""How far what one process published is seen at once by the reads of another.

"process": by none; "host": by all on this machine, as each may ask the journal's stamp before it is served;
"cluster": by those that hold a ticket of it, while the others see it as soon as it arrives. Source: rules J3, J8.
"""


class Journal(Protocol):
    """Keeps events, in one order, for every process that opens it.

    Promises:
        Sequence numbers grow by one from 1, in the order in which appends become visible: who has read up to a
        number never finds a lower one later. An event is kept once, whatever the number of appends. What `append`
        returned for survives the death of any process. Calls come from any thread; opening connects to nothing,
        so that the first call finds out whether the journal can be reached. A forked child goes on with
        connections of its own.

    Every call may raise `JournalUnavailableError`, after seconds at most: nothing is known of what it did, and it
    is safe to do again. `JournalSetupError` says that trying again is of no use, `JournalDamagedError` without a
    row that the journal must be replaced. Source: rules J1 to J6.
    """

    @property
    def level(self) -> Level:
        """What readers may count on; known before anything is connected.

        "host": `stamp` takes microseconds, and every commit of any process on this machine shows in it at once,
        so a read may ask before it is served. "cluster": events arrive by `wait`, and a read with a ticket waits
        for its event.
        """

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        """Commit events, all or none, and give their sequence numbers; a known event keeps the one it has."""

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        """Return the events after a position, oldest first.

        Raises:
            JournalGapError: The events after the position are compacted, or the position is none of this journal.
            JournalDamagedError: The next event is gone or damaged; earlier calls returned those before it. The
                error says how far the run of such events goes, and may bring what lies behind it, so that a reader
                passes it in one step.
        """

    def seq_of(self, event_id: EventId, /) -> int | None:
        """Return an event's sequence number; None where it is not kept: compacted, or never appended."""

    def end(self) -> Position:
        """Return the position of one who has read everything."""

    def stamp(self) -> Hashable:
        """Return a value that differs once anybody appended or replaced the journal; cheap, for each read."""

    def wait(self, seen: Hashable, /, *, timeout_s: float) -> None:
        """Wait until the stamp may differ from one that was seen; returns early at times, and at `close`."""

    def snapshot(self) -> Snapshot | None:
        """Return what the compacted events amount to; None where none were."""

    def compact(self, fold: FoldSnapshot, /, *, before_s: float, max_events: int) -> int:
        """Fold the oldest events into the snapshot and drop them.

        Args:
            fold: Called outside any transaction; damaged rows are kept from it.
            before_s: Events said before this moment, in epoch seconds, go, up to the first younger one.
            max_events: The oldest go until so many are left.

        Returns:
            How many were dropped; 0 too where another process was at it meanwhile.
        """

    def close(self) -> None:
        """Let go of all connections; a later call raises `JournalUnavailableError`."""
