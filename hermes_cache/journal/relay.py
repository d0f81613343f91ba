"""The relay: turns the journal's tail into events of this process, once each.

Whoever wants to know what others said asks for a check, which runs on the thread that asks: one at a time, and
whoever comes while one runs waits for it, since the mailbox is handled in order. A check is over only when what it
found is applied. Its law: the position moves over an event only once that is applied, and no event is passed over
without everything being outdated. Source: rules J1 to J5.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from math import inf
from typing import Final, Protocol

from hermes_cache.actors.mailbox import MailboxActor
from hermes_cache.core.events import AppliedEvent
from hermes_cache.errors import JournalGapError
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.applied import Applied
from hermes_cache.journal.replaying import Part, parts_after, replay
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Clock, Journal, Position
from hermes_cache.threads import Gate

logger = QuietLogger(__name__)

_NEVER_SEEN: Final = object()

_MAX_TOLD: Final = 20
"""Numbers of damaged rows in one record of the log."""


class Hearers(Protocol):
    """Who hears of what the relay finds; each is called on the thread of a check and never raises."""

    def is_listening(self) -> bool:
        """Say whether somebody waits for what others say."""

    def hear(self, event: AppliedEvent) -> None:
        """Apply an event and tell of it; one of this process's own is applied already."""

    def learn(self, agreed: AgreedState) -> None:
        """Know what others said before this process joined."""

    def hear_of_gap(self, reason: str, *, alone: bool) -> None:
        """Outdate everything: events were missed; `alone`: by this process and no other."""

    def hear_position(self, position: Position) -> None:
        """Know that everything up to a position was told."""


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
        until_s: When to leave the rest to the next check, as the caller waits no longer.
    """

    since_s: float
    until_s: float = inf


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
        joined: Open once the process has its position in the journal.
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
        self.joined = Gate(shared=True)
        self.is_applying = False
        self._journal = journal
        self._applied = applied
        self._hearers = hearers
        self._uncommitted = uncommitted
        self._position: Position | None = None
        self._passed_seq = 0
        self._missed: str | None = None
        self._missed_here: str | None = None

    def on_receive(self, message: object) -> None:
        """Check the journal, unless somebody did meanwhile."""
        if not isinstance(message, CatchUp) or self.progress.checked_s >= message.since_s:
            return
        began_s = self._clock()
        try:
            is_over = self._catch_up(message.until_s)
        except Exception as failure:  # noqa: BLE001 - a journal may be a user's own; logged by `_fail`
            self._fail(failure, began_s)
        else:
            if is_over:
                self._succeed(began_s)
        self._applied.tell()

    def miss(self, reason: str) -> None:
        """Have the next join outdate everything here: somebody went on without the journal."""
        self._missed_here = reason

    def _catch_up(self, until_s: float) -> bool:
        """Apply what the journal holds; false if that was not all, as the time was over."""
        stamp = self._journal.stamp()
        if stamp == self.seen:
            return True
        self.is_applying = True
        try:
            if self._position is None:
                self._join()
            elif not self._read_on(self._position, until_s):
                return False
        finally:
            self._tell_gap()
            self.is_applying = False
        self.seen = stamp
        return True

    def _read_on(self, position: Position, until_s: float) -> bool:
        try:
            for part in parts_after(self._journal, position):
                self._take(part)
                if self._clock() >= until_s:
                    return False
        except JournalGapError as gap:
            self._missed = gap.reason
            self._join()
        return True

    def _take(self, part: Part) -> None:
        for recorded in part.recorded:
            self._hearers.hear(recorded.event)
            self._applied.note(recorded.event)
            self._position = recorded.position
        if part.damaged is not None and part.position.seq > self._passed_seq:
            self._missed = part.damaged.reason
            self._passed_seq = part.position.seq
        if part.position.mark:
            # By another one, a journal that is restored before the next is read would not be told.
            self._position = part.position
        self._hearers.hear_position(part.position)

    def _join(self) -> None:
        """Take a position at the end, with the agreed state as of it (J2), and what is on its way there."""
        self._applied.prepare_restart()
        on_their_way = self._uncommitted()
        replayed = replay(self._journal)
        if replayed.damaged:
            logger.warning(
                "hermes_cache.journal_damaged", extra={"hermes_cache.seqs": replayed.damaged[:_MAX_TOLD]}
            )
        agreed = replayed.agreed.after(on_their_way)
        self._hearers.learn(agreed)
        self._applied.restart(agreed)
        self._passed_seq = 0
        self._position = replayed.position
        self._tell_gap()
        self._hearers.hear_position(replayed.position)
        # Told before those who wait for the join look at it.
        self.progress = replace(self.progress, seq=replayed.position.seq)
        self.joined.open()

    def _tell_gap(self) -> None:
        """Outdate everything once where events were missed, however many, whatever became of the check (J5)."""
        if self._position is None:
            return
        here, self._missed_here = self._missed_here, None
        missed, self._missed = self._missed, None
        if missed is not None:
            self._hearers.hear_of_gap(missed, alone=False)
        elif here is not None:
            self._hearers.hear_of_gap(here, alone=True)

    def _succeed(self, began_s: float) -> None:
        if self.progress.failure is not None:
            logger.info("hermes_cache.journal_read_again")
        self.progress = Progress(began_s, self._position.seq if self._position else None)

    def _fail(self, failure: Exception, began_s: float) -> None:
        if self.progress.failure is None:
            logger.warning("hermes_cache.journal_not_read", exc_info=failure)
        # Whatever was seen, the next check looks again.
        self.seen = _NEVER_SEEN
        since_s = min(self.progress.failing_since_s, began_s)
        self.progress = replace(self.progress, failure=str(failure), failing_since_s=since_s)
