"""One life of a process's part in a journal: its writer, its relay and its tail, from a start to a stop.

Source: rules J1, J3, J5, J8, L1.
"""

import contextlib
import logging
from collections.abc import Callable
from time import sleep
from typing import Final, cast

import pykka

from hermes_cache.actors.applied import Applied
from hermes_cache.actors.journal_writer import Flush, JournalWriter
from hermes_cache.actors.mailbox import MailboxActor, MailboxRef
from hermes_cache.actors.relay import CatchUp, Hearers, Relay
from hermes_cache.actors.tail import Tail
from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.core.journal_status import JournalStatus
from hermes_cache.core.policy import Policy
from hermes_cache.errors import JournalError, JournalUnavailableError, MailboxReentryError
from hermes_cache.ports import Clock, Journal

logger = logging.getLogger(__name__)

_JOIN_WAIT_S: Final = 1.0
"""How long the first reads wait for the process to join; it takes milliseconds where the journal is there."""

_LOCKED_S: Final = 1.0
"""How long reads wait for a journal that fails: a lock is let go before that, and then it is simply away."""

_RETRY_S: Final = 0.005
_MAX_LOOKS: Final = 200
"""So that a clock that stands still holds no reader up for ever."""

_LAST_CHECK_S: Final = 0.5
"""How long a read that would be refused waits for one more check: a process that was suspended is not cut off."""


_HUNG_S: Final = 2.0
"""Checks follow one another in a quarter of a second: who hears nothing for so long waits for one that hangs."""

_SILENT: Final = "it does not answer"


class JournalLife:
    """The running parts.

    Args:
        journal: Which.
        policy: The bounds and spans.
        clock: The time.
        applied: What this process applied.
        hearers: Who hears of what others said.
        on_loss: As in `JournalWriter`.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        policy: Policy,
        clock: Clock,
        applied: Applied,
        hearers: Hearers,
        on_loss: Callable[[bool], None],
    ) -> None:
        self.journal = journal
        self._policy = policy
        self._clock = clock
        self._applied = applied
        self._hearers = hearers
        self._writer = JournalWriter(journal, clock=clock, wait_s=policy.journal_wait, on_loss=on_loss)
        self._relay = Relay(
            journal, clock=clock, applied=applied, hearers=hearers, uncommitted=self._writer.uncommitted
        )
        self._tail = Tail(journal, self._relay, clock, policy, is_listening=self._is_listening)
        for actor in (self._writer, self._relay):
            actor._start_actor_loop()  # noqa: SLF001 - as `start` does, which gives no look at the actor
        self._checks_at_reads = journal.level == "host"
        self._given_up_s: float | None = None

    def start(self) -> None:
        """Begin to follow the journal."""
        self._tail.start()

    @property
    def status(self) -> JournalStatus:
        """How the process stands to the journal."""
        progress, writer = self._relay.progress, self._writer
        silent_s = self._silent_s()
        failure = progress.failure or writer.failure or (_SILENT if silent_s > _HUNG_S else None)
        return JournalStatus(progress.seq, silent_s if failure else 0.0, failure, writer.pending)

    def uncommitted(self) -> list[AppliedEvent]:
        """Give this process's events that are not committed, oldest first."""
        return self._writer.uncommitted()

    def put(self, event: AppliedEvent) -> Callable[[], bool | None]:
        """Hand an event of this process to the journal, as `JournalWriter.put` does."""
        # In this order: a join must find it in the buffer, if it does not see it noted.
        committed = self._writer.put(event)
        self._applied.note(event)
        return committed

    def follow_closely(self) -> None:
        """Wait for news rather than look now and then: somebody began to listen."""
        self._tail.wake()

    def is_current(self) -> bool:
        """Say whether a read that begins now needs no check; a look into memory, no more (J3)."""
        now_s = self._clock.monotonic_s()
        self._tail.read_s = now_s
        relay = self._relay
        if not relay.joined.is_set():
            # What is built before the process has its place is missed by all that others say meanwhile.
            return False
        if not self._checks_at_reads or self._is_away():
            return True
        return relay.progress.checked_s > now_s - self._policy.journal_interval and not relay.is_applying

    def join(self) -> bool:
        """Wait for the process to have its place in the journal; false where it goes on without, for now."""
        return self._relay.joined.wait(_JOIN_WAIT_S)

    def catch_up(self) -> None:
        """Apply what others said before now, where that can be known at a read (J3)."""
        failing = self._relay.progress.failure is not None
        if not self._relay.joined.is_set() and (failing or not self.join()):
            self._relay.miss("lists were served before the journal could be read")
            return
        if self._checks_at_reads:
            self._look(self._clock.monotonic_s() - self._policy.journal_interval)

    def insist(self) -> None:
        """See that a read which insists on freshness may be served (J5).

        Raises:
            JournalUnavailableError: Nothing was heard of the journal for `Policy.journal_lease`.
        """
        now_s = self._clock.monotonic_s()
        if self._checks_at_reads:
            self._look(now_s)
        if self._is_cut_off() and self._relay.progress.failure is None:
            self._check(now_s, timeout_s=_LAST_CHECK_S)
        if self._is_cut_off():
            raise self._cut_off()

    def await_event(self, event_id: EventId, timeout_s: float) -> bool:
        """Wait until another process's event is applied here; false where it was not in time (J8).

        Raises:
            JournalUnavailableError: It cannot come: the journal is away for longer than its lease.
        """
        if self._applied.has(event_id):
            return True
        self.insist()
        if self._is_behind(event_id):
            return True
        found = self._applied.wait_for(event_id, timeout_s, unless=self._is_cut_off, began=self._tail.wake)
        if not found and self._is_cut_off():
            raise self._cut_off()
        return found

    def flush(self, timeout_s: float) -> bool:
        """Write what is not written; say whether all was in time."""
        with contextlib.suppress(pykka.ActorDeadError, pykka.Timeout, MailboxReentryError):
            self._writer.actor_ref.ask(Flush(now=True), timeout=timeout_s)
        return not self._writer.pending

    def stop(self, timeout_s: float, *, close: bool) -> bool:
        """Write what is not written, and end all threads; say whether they ended in time.

        Args:
            timeout_s: Seconds, in all.
            close: Whether the journal is to be closed too.
        """
        ends_at_s = self._clock.monotonic_s() + timeout_s

        def left_s() -> float:
            return max(0.0, ends_at_s - self._clock.monotonic_s())

        if not self.flush(left_s()):
            logger.error("hermes_cache.events_not_written", extra={"hermes_cache.pending": self._writer.pending})
        self._tail.end()
        if close:
            self.journal.close()
        refs = [cast("MailboxRef[MailboxActor]", actor.actor_ref) for actor in (self._writer, self._relay)]
        for ref in refs:
            ref.stop(block=False)
        return all([self._tail.join(left_s()), *[ref.join(left_s()) for ref in refs]])

    def _look(self, since_s: float) -> None:
        """Check, and again until it succeeds or the journal is away: others may commit between two locks."""
        for _ in range(_MAX_LOOKS):
            if self._is_away() or not self._check(since_s) or self._relay.progress.failure is None:
                return
            sleep(_RETRY_S)
        self._given_up_s = self._relay.progress.failing_since_s

    def _is_away(self) -> bool:
        failing_since_s = self._relay.progress.failing_since_s
        return self._clock.monotonic_s() - failing_since_s > _LOCKED_S or failing_since_s == self._given_up_s

    def _check(self, since_s: float, *, timeout_s: float | None = None) -> bool:
        """Say whether a check is over; there is none inside a check: in a receiver that reads, for one."""
        with contextlib.suppress(MailboxReentryError, pykka.ActorDeadError, pykka.Timeout):
            self._relay.actor_ref.ask(CatchUp(since_s), timeout=timeout_s)
            return True
        return False

    def _is_behind(self, event_id: EventId) -> bool:
        """Say whether an event's place is one that this process has passed; it remembers so many ids alone."""
        passed = self._relay.progress.seq
        try:
            seq = self.journal.seq_of(event_id)
        except JournalError:
            return False
        return seq is not None and passed is not None and seq <= passed

    def _is_listening(self) -> bool:
        return self._applied.is_awaited or self._hearers.is_listening()

    def _silent_s(self) -> float:
        return max(0.0, self._clock.monotonic_s() - self._relay.progress.checked_s)

    def _is_cut_off(self) -> bool:
        return self._silent_s() > self._policy.journal_lease

    def _cut_off(self) -> JournalUnavailableError:
        failure = self._relay.progress.failure or _SILENT
        told = f"nothing was heard of the journal for {self._silent_s():.1f} s ({failure})"
        return JournalUnavailableError(f"{told}; read with freshness='default' or try again once it is back")
