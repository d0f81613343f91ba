"""A journal that a test can disconnect and connect again, as a network or a server does."""

from collections.abc import Hashable, Sequence
from threading import Condition

from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.errors import JournalUnavailableError
from hermes_cache.ports import FoldSnapshot, Journal, Level, Position, Recorded, Snapshot


class UnpluggableJournal:
    """A `hermes_cache.ports.Journal` over another one. Any thread may call.

    Args:
        journal: The journal that keeps the events.
        loses_answers: While it is unplugged, an append is done before it fails, so that its outcome is not known.
    """

    def __init__(self, journal: Journal, *, loses_answers: bool = False) -> None:
        self._journal = journal
        self._loses_answers = loses_answers
        self._moved = Condition()
        self._is_plugged = True
        self._refused = 0

    @property
    def level(self) -> Level:
        """The level of the journal behind it."""
        return self._journal.level

    def unplug(self) -> None:
        """Fail every call from now on."""
        with self._moved:
            self._is_plugged = False

    def plug(self) -> None:
        """Let calls through again."""
        with self._moved:
            self._is_plugged = True

    def wait_for_refusals(self, count: int, *, timeout_s: float = 30.0) -> None:
        """Wait until so many calls failed.

        Raises:
            TimeoutError: Fewer calls failed in time.
        """
        with self._moved:
            if not self._moved.wait_for(lambda: self._refused >= count, timeout_s):
                raise TimeoutError(f"{self._refused} of {count} calls failed within {timeout_s:g} s")

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        """Commit events."""
        if self._loses_answers:
            self._journal.append(events)
        self._pass()
        return self._journal.append(events)

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        """Return the events after a position."""
        self._pass()
        return self._journal.read(after, limit=limit)

    def seq_of(self, event_id: EventId, /) -> int | None:
        """Return an event's sequence number."""
        self._pass()
        return self._journal.seq_of(event_id)

    def end(self) -> Position:
        """Return the position of a reader that has read everything."""
        self._pass()
        return self._journal.end()

    def stamp(self) -> Hashable:
        """Return a value that changes when a process appends."""
        self._pass()
        return self._journal.stamp()

    def wait(self, seen: Hashable, /, *, timeout_s: float) -> None:
        """Wait until the stamp may differ."""
        self._pass()
        self._journal.wait(seen, timeout_s=timeout_s)

    def snapshot(self) -> Snapshot | None:
        """Return the state that the compacted events lead to."""
        self._pass()
        return self._journal.snapshot()

    def compact(self, fold: FoldSnapshot, /, *, before_s: float, max_events: int) -> int:
        """Fold the oldest events into the snapshot."""
        self._pass()
        return self._journal.compact(fold, before_s=before_s, max_events=max_events)

    def close(self) -> None:
        """Close the journal behind it."""
        self._journal.close()

    def _pass(self) -> None:
        with self._moved:
            if self._is_plugged:
                return
            self._refused += 1
            self._moved.notify_all()
        raise JournalUnavailableError("the journal is unplugged; plug it in")
