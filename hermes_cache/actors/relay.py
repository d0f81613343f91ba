"""The relay: turns the journal's tail into events of this process, once each.

Whoever wants to know what others said asks for a check, which runs on the thread that asks: one at a time, and
whoever comes while one runs waits for it, since the mailbox is handled in order. A check is over only when what it
found is applied. Its law: the place moves over an event only once that is applied, and no event is passed over
without everything being outdated. Source: rules J1 to J5.
"""

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from math import inf
from threading import Event
from typing import Final, Protocol

from hermes_cache.actors.applied import Applied
from hermes_cache.actors.mailbox import MailboxActor
from hermes_cache.actors.replaying import Part, parts_after, replay
from hermes_cache.core.events import AppliedEvent
from hermes_cache.errors import JournalGapError
from hermes_cache.ports import Clock, Journal, Place

logger = logging.getLogger(__name__)

_NEVER_SEEN: Final = object()


class Hearers(Protocol):
    """Who hears of what the relay finds; each is called on the thread of a check and never raises."""

    def is_listening(self) -> bool:
        """Say whether somebody waits for what others say."""

    def hear(self, event: AppliedEvent, *, applied: bool) -> None:
        """Tell of an event, and apply it first where this process has not."""

    def hear_of_gap(self, reason: str) -> None:
        """Outdate everything: events were missed."""

    def hear_place(self, place: Place) -> None:
        """Know that everything up to a place was told."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the last checks came to.

    Attributes:
        checked_s: When the last that succeeded began, in monotonic seconds; before it, when the relay was made.
        seq: The last sequence number that is applied here; None before the process joined.
        failure: Why the last one failed; None where it did not.
        failing_since_s: When the first that failed since then began; infinity where none did.
    """

    checked_s: float
    seq: int | None = None
    failure: str | None = None
    failing_since_s: float = inf


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Apply what the journal holds.

    Attributes:
        since_s: A check that began then or later will do.
    """

    since_s: float


class Relay(MailboxActor):
    """Reads a journal on.

    Args:
        journal: Which.
        clock: The time.
        applied: What this process applied.
        hearers: Who hears of it.
        uncommitted: Gives what this process said and the journal may not have yet.

    Attributes:
        progress: What the last checks came to; it may be looked at from any thread.
        seen: The journal's stamp as of the last check.
        joined: Set once the process has its place in the journal.
        is_applying: Whether a check found something, and applies it now.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        clock: Clock,
        applied: Applied,
        hearers: Hearers,
        uncommitted: Callable[[], list[AppliedEvent]],
    ) -> None:
        super().__init__(clock=clock.monotonic_s)
        self.progress = Progress(clock.monotonic_s())
        self.seen: Hashable = _NEVER_SEEN
        self.joined = Event()
        self.is_applying = False
        self._journal = journal
        self._applied = applied
        self._hearers = hearers
        self._uncommitted = uncommitted
        self._place: Place | None = None
        self._missed: str | None = None

    def on_receive(self, message: object) -> None:
        """Check the journal, unless somebody did meanwhile."""
        if not isinstance(message, CatchUp) or self.progress.checked_s >= message.since_s:
            return
        began_s = self._clock()
        try:
            self._catch_up()
        except Exception as failure:  # noqa: BLE001 - a journal may be a user's own; logged by `_fail`
            self._fail(failure, began_s)
        else:
            self._succeed(began_s)
        self._applied.tell()

    def miss(self, reason: str) -> None:
        """Have the next join outdate everything: somebody went on without the journal."""
        self._missed = reason

    def _catch_up(self) -> None:
        stamp = self._journal.stamp()
        if stamp == self.seen:
            return
        self.is_applying = True
        try:
            if self._place is None:
                self._join()
            else:
                self._read_on(self._place)
        finally:
            self.is_applying = False
        self.seen = stamp

    def _read_on(self, place: Place) -> None:
        try:
            for part in parts_after(self._journal, place):
                self._take(part)
        except JournalGapError as gap:
            self._missed = gap.reason
            self._join()

    def _take(self, part: Part) -> None:
        # A journal keeps each event once, so one look at what was known will do for all of them.
        known = self._applied.agreed
        for recorded in part.recorded:
            event = recorded.event
            self._hearers.hear(event, applied=known.has(event.id))
            self._applied.note(event)
            self._place = recorded.place
        if part.damaged is not None:
            self._hearers.hear_of_gap(part.damaged.reason)
        self._place = part.place
        self._hearers.hear_place(part.place)

    def _join(self) -> None:
        """Take a place at the end, with the agreed state as of it (J2), and what is on its way there."""
        self._applied.prepare_restart()
        on_their_way = self._uncommitted()
        replayed = replay(self._journal)
        if replayed.damaged:
            logger.warning("hermes_cache.journal_damaged", extra={"hermes_cache.seqs": replayed.damaged})
        known = self._applied.agreed
        for event in replayed.agreed.stream_events():
            self._hearers.hear(event, applied=known.has(event.id))
        self._applied.restart(replayed.agreed.after(on_their_way))
        if self._missed is not None:
            self._hearers.hear_of_gap(self._missed)
            self._missed = None
        self._place = replayed.place
        self._hearers.hear_place(replayed.place)
        self.joined.set()

    def _succeed(self, began_s: float) -> None:
        if self.progress.failure is not None:
            logger.info("hermes_cache.journal_read_again")
        self.progress = Progress(began_s, self._place.seq if self._place else None)

    def _fail(self, failure: Exception, began_s: float) -> None:
        if self.progress.failure is None:
            logger.warning("hermes_cache.journal_not_read", exc_info=failure)
        # Whatever was seen, the next check looks again.
        self.seen = _NEVER_SEEN
        since_s = min(self.progress.failing_since_s, began_s)
        self.progress = replace(self.progress, failure=str(failure), failing_since_s=since_s)
