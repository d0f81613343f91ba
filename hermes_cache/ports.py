"""The interfaces between the cache and the outside, and what an implementation must promise.

They are Protocols: any callable or object of the right shape will do. The code behind them may raise, hang or
return late; the cache survives that. A key is any hashable value, as the readers of a cache give it. Its type is
Any here, so that a builder can declare which kind of key it takes.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.core.stamps import SETTINGS_PART, Doubted
from hermes_cache.core.state import Target
from hermes_cache.payload.content import Content
from hermes_cache.sessions.overlay import LiveSession

__all__ = [
    "SETTINGS_PART",
    "ActiveStreamIds",
    "BuildContext",
    "Builder",
    "Clock",
    "Doubted",
    "EncodingBuilder",
    "Executor",
    "FoldSnapshot",
    "IsRootProfile",
    "JoiningBuilder",
    "Journal",
    "LastKnown",
    "Level",
    "LiveSessions",
    "NotingSources",
    "Position",
    "Recorded",
    "ScopedBuilder",
    "SettingsVersion",
    "SettlingSources",
    "Snapshot",
    "Sources",
    "StampOf",
]


class Clock(Protocol):
    """The source of time.

    Promise: `monotonic_s` never goes back; `wall_s` is epoch seconds and may jump.
    """

    def monotonic_s(self) -> float:
        """Return the seconds since some fixed moment."""

    def wall_s(self) -> float:
        """Return epoch seconds."""


class SystemClock:
    """`Clock` on the operating system's clocks."""

    monotonic_s = staticmethod(time.monotonic)
    wall_s = staticmethod(time.time)


class Builder(Protocol):
    """Builds the payload of a key. The call may be slow, and may read files and databases.

    It may be a coroutine function. The coroutine runs on the event loop in which the cache was entered with
    `async with`, else on a loop of its own. Past `Policy.build_timeout` it is cancelled.

    Promise: the payload depends only on the key and the sources, never on the calling thread. The cache calls a
    builder on a thread of its pool, for each key once at a time, with the canonical profile of the key. An error
    fails only that build. The builder may change what it returned afterwards, because the cache keeps a frozen
    copy.
    """

    def __call__(self, key: Any, /) -> Mapping[str, object] | Awaitable[Mapping[str, object]]:
        """Return a mapping of str to JSON values, with the rows as a list under `sessions`."""


BuildContext: TypeAlias = Callable[[Any], AbstractContextManager[object]]
"""Returns, for a key, what every builder of that key runs inside of, on its thread or in its worker process."""


@runtime_checkable
class EncodingBuilder(Builder, Protocol):
    """A builder that encodes its rows itself, so that nobody else has to freeze and encode them.

    Promise: `builder(key)` equals `content(key).decoded()`.
    """

    def content(self, key: Any, /) -> Content:
        """Build the payload of a key, with its rows encoded."""


@runtime_checkable
class ScopedBuilder(Builder, Protocol):
    """A builder that reads once for all keys of a scope: each of them is a view over one snapshot.

    Promise: `refresh` reads or probes the sources after it was called. `view` is pure and quick. `builder(key)`
    equals `view(refresh(scope of key), key)`.
    """

    def refresh(self, scope: Hashable, /) -> object:
        """Read what changed at the sources of a scope, and return an immutable snapshot."""

    def view(self, snapshot: object, key: Any, /) -> Mapping[str, object]:
        """Return the payload of a key from a snapshot."""


@runtime_checkable
class JoiningBuilder(ScopedBuilder, Protocol):
    """A scoped builder with scopes that join other scopes, which other processes may keep.

    Promise: a builder that adopted what the others shared joins that, and does not read their scopes itself.
    """

    def parts(self, key: Any, /) -> tuple[Hashable, ...]:
        """Return the scopes that the scope of a key joins; none if it joins no others."""

    def share(self, scope: Hashable, seen: Hashable, /) -> tuple[Hashable, bytes]:
        """Refresh a scope, and return its state for a process that may know an earlier one.

        Args:
            scope: The scope to refresh.
            seen: The first value that the last call for that process returned; None at the first call. If it is
                not known, the whole state is returned.

        Returns:
            The value to give as `seen` at the next call, and the bytes to give to `adopt`.
        """

    def adopt(self, scope: Hashable, share: bytes, /) -> None:
        """Take over the state of a scope that another builder shared."""


@runtime_checkable
class NoticingBuilder(Builder, Protocol):
    """A builder whose copy in another process needs what was noticed in this one.

    Promise: neither method waits.
    """

    def noticed(self, seen: Hashable, /) -> tuple[Hashable, object]:
        """Return what a copy needs before it builds.

        Args:
            seen: The first value that the last call for that copy returned; None at the first call.

        Returns:
            The value to give as `seen` at the next call; and what to give to `notice`, None if there is nothing.
        """

    def notice(self, news: object, /) -> None:
        """Take what was noticed in the other process."""


class Executor(Protocol):
    """Runs builders, in threads or elsewhere.

    Promise: `build` is called on a thread that may wait, for each key once at a time. It raises what the builder
    raised. Its content may consist of rows or of their bytes.
    """

    def start(self) -> None:
        """Get ready; this may take a while."""

    def check(self, builder: Builder, /) -> None:
        """Raise `TypeError` if a reader's own builder cannot run here."""

    def build(self, build_id: int, target: Target, builder: Builder | None, /) -> Content:
        """Build the content of a key, with a reader's own builder or, if it is None, with that of the cache."""

    def give_up(self, build_id: int, /) -> None:
        """Kill the process that runs a build, if there is one."""

    def stop(self) -> None:
        """End all builds; none is started afterwards."""


@dataclass(frozen=True, slots=True)
class LastKnown:
    """The value of a stamp part that cannot be read now, as it was when it was last read.

    It compares as that value, but a check with it verifies nothing for a read that insists on freshness.
    Source: rules S2, R8.
    """

    value: Hashable


class Sources(Protocol):
    """Says whether the sources are still as they were at a build.

    Promise: `stamp` opens nothing for writing and blocks for at most 50 ms. Equal stamps mean unchanged sources. A
    call that raises is a failed check (S4). The cache makes one call for a scope at a time, from any thread.
    `stamp` may be a coroutine function, which runs as that of a builder does.
    """

    def scope(self, key: Any, /) -> Hashable:
        """Return the scope of a key, which is equal for the keys that share a check. It is pure and quick."""

    def stamp(self, key: Any, /, *, held: bool) -> Mapping[str, Hashable] | Awaitable[Mapping[str, Hashable]]:
        """Return the parts of the stamp now, by name.

        Args:
            key: A key of the scope.
            held: Whether a stream is active. If so, neither read nor return the parts that a stream itself
                changes.
        """


StampOf: TypeAlias = Callable[[Any], Hashable | Awaitable[Hashable]]
"""Returns a value of a key that changes when its sources do; each key is a scope of its own."""


@runtime_checkable
class NotingSources(Sources, Protocol):
    """Sources that found something which a user should know, and which stands in the way of no read.

    Promise: `notes` neither waits nor raises.
    """

    @property
    def notes(self) -> tuple[str, ...]:
        """What the checks so far found, in words; `health()` shows it."""


@runtime_checkable
class SettlingSources(Sources, Protocol):
    """Sources that can wait until a change from now on is sure to change a stamp.

    Promise: `settle` blocks for at most 60 ms and opens nothing. It is called before the check of a build,
    unless a stream is active.
    """

    def settle(self, key: Any, /) -> None:
        """Wait until what the stamp of a key is made from stands still (S2)."""


Scopes: TypeAlias = Callable[[], Collection[Hashable]]
"""Returns the scopes, as `Sources.scope` names them, that are to be watched now; any thread may call it."""

Moved: TypeAlias = Callable[[Collection[Hashable]], None]
"""Takes the scopes whose sources may have moved; any thread may call it, and it never waits."""


class RunningWatch(Protocol):
    """A watch of sources that runs. Promise: no method waits."""

    @property
    def trouble(self) -> str | None:
        """Why changes are noticed late, in words for `health()`; None if they are noticed as they happen."""

    def scopes_changed(self) -> None:
        """Ask for the scopes anew now; without it they are asked for every few seconds."""

    def close(self) -> None:
        """End it. It may be called twice."""


class Watch(Protocol):
    """Notices as they happen that sources moved, so that nobody must poll (X10).

    Promise: it calls `moved` within 0.5 s of a change in one of the scopes, about four times a second at most. It
    may call it though nothing moved: the cache then checks the sources. If it can have no notifications, it calls
    it for all scopes at least every 0.5 s, and `trouble` says so. It opens nothing for writing.
    """

    def __call__(self, scopes: Scopes, moved: Moved, /) -> RunningWatch:
        """Begin to watch, without waiting for anything."""


ActiveStreamIds: TypeAlias = Callable[[], Iterable[str]]
"""Returns the ids of the streams that are active now; a failure counts as none (rule H4)."""

LiveSessions: TypeAlias = Callable[[], Mapping[str, LiveSession]]
"""Returns the live state by session id; a failure counts as none (rule O1).

It is called once for each overlay, on the thread that renders, and must not wait: no limit of a read holds for it.
"""

IsRootProfile: TypeAlias = Callable[[str], bool]
"""Returns whether a name is an alias of the root profile; a failure counts as no (rule K3)."""

SettingsVersion: TypeAlias = Callable[[], Hashable]
"""Returns a value that changes when settings change; the checker calls it (rule V3)."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader has read in a journal.

    Attributes:
        journal: The name of the journal; a journal that replaces it has another name.
        seq: The sequence number of the last event that was read; 0 before the first.
        mark: The id of that event as text, to recognise a journal that was restored from an older copy; blank if
            it is not known.
    """

    journal: str
    seq: int = 0
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in a journal, and the position of a reader that has read it.

    Attributes:
        position: The position.
        event: The event.
        is_last: Whether the journal ended there when it was read, so that nobody needs to read on. False if that
            is not known; a journal may leave it at that.
    """

    position: Position
    event: AppliedEvent
    is_last: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state that the events up to a position lead to, as `FoldSnapshot` encoded it."""

    position: Position
    body: bytes


FoldSnapshot: TypeAlias = Callable[[bytes | None, Sequence[AppliedEvent]], bytes]
"""Folds events into a snapshot (None: before the first event). It is pure, and is called with a part at a time."""


Level: TypeAlias = Literal["process", "host", "cluster"]
"""Says which reads in other processes see an event at once.

"process": none. "host": all reads on this machine, because each can check the journal's stamp before it is
answered. "cluster": the reads with a ticket of the event; others see it when it arrives. Source: rules J3, J8.
"""


class Journal(Protocol):
    """Keeps events in one order, for every process that opens it.

    Promises:
        Sequence numbers grow by one from 1, in the order in which appends become visible. A reader that has read
        up to a number never finds a lower one later. An event is kept once, however often it is appended; its id
        names its bus, and events of all buses have their numbers in one order. After `append` has returned, its
        events survive the death of any process. Any thread may call. Opening does not connect, so the first call
        finds out whether the journal can be reached. A forked child uses connections of its own.

    Every call may raise `JournalUnavailableError`, after seconds at most. Then it is not known whether the call
    had an effect, and it is safe to repeat it. `JournalSetupError` means that to repeat it is useless.
    `JournalDamagedError` without a row means that the journal must be replaced. Source: rules J1 to J6.
    """

    @property
    def level(self) -> Level:
        """What readers can rely on; known before anything is connected.

        "host": `stamp` takes microseconds and shows every commit of any process on this machine at once, so a read
        can check it first. "cluster": events arrive by `wait`, and a read with a ticket waits for its event.
        """

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        """Commit all events or none, and return their sequence numbers; a known event keeps its number."""

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        """Return the events after a position, oldest first.

        Raises:
            JournalGapError: The events after the position are compacted, or the position is of another journal.
            JournalDamagedError: The next event is missing or damaged; earlier calls returned those before it. The
                error says how far the run of such events goes. It may contain the events behind the run, so that a
                reader passes the run in one step.
        """

    def seq_of(self, event_id: EventId, /) -> int | None:
        """Return the sequence number of an event; None if it was compacted or never appended."""

    def end(self) -> Position:
        """Return the position of a reader that has read everything."""

    def stamp(self) -> Hashable:
        """Return a value that changes when a process appends or replaces the journal; cheap, for each read."""

    def wait(self, seen: Hashable, /, *, timeout_s: float) -> None:
        """Wait until the stamp may differ from `seen`. It may return early, and does so at `close`."""

    def snapshot(self) -> Snapshot | None:
        """Return the state that the compacted events lead to; None if no event was compacted."""

    def compact(self, fold: FoldSnapshot, /, *, before_s: float, max_events: int) -> int:
        """Fold the oldest events into the snapshot and drop them.

        Args:
            fold: Called outside any transaction, without the damaged rows.
            before_s: Drop events published before this moment (epoch seconds), up to the first later one.
            max_events: Drop the oldest events until at most so many of each bus are left.

        Returns:
            How many were dropped; 0 if another process did the same meanwhile.
        """

    def close(self) -> None:
        """Close all connections; a later call raises `JournalUnavailableError`."""
