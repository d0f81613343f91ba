"""One life of a process's part in a journal: its writer, its relay and its tail, from a start to a stop.

Source: rules J1, J3, J5, J8, L1.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Final, cast

import pykka

from hermes_cache.actors.mailbox import MailboxActor, MailboxRef
from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.core.policy import Policy
from hermes_cache.errors import (
    CacheStoppedError,
    CallBlockedError,
    JournalUnavailableError,
    MailboxReentryError,
)
from hermes_cache.journal.applied import Applied
from hermes_cache.journal.look import Look, Looks
from hermes_cache.journal.relay import CatchUp, Hearers, Relay
from hermes_cache.journal.status import JournalStatus
from hermes_cache.journal.tail import Tail
from hermes_cache.journal.writer import Flush, JournalWriter
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Clock, Journal

logger = QuietLogger(__name__)

_PATIENCE_S: Final = 1.0
"""How long a read waits for the journal at most: a check takes milliseconds, and a lock is let go before."""

_OWN_CHECK_S: Final = 0.5
"""Who has so much time left checks on its own thread: where nothing is wrong, that takes microseconds."""

_LOOK_AGAIN_S: Final = 0.25
"""A journal that hangs tells nobody, so who waits for an event looks now and then whether it may still come."""

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
        self._looks = Looks()
        self._stopped = False
        self._first_put: EventId | None = None

    def start(self) -> None:
        """Begin to follow the journal."""
        self._tail.start()

    @property
    def status(self) -> JournalStatus:
        """How the process stands to the journal."""
        progress, writer = self._relay.progress, self._writer
        silent_s = self._silent_s()
        failure = progress.failure or writer.failure or (_SILENT if silent_s > _HUNG_S else None)
        own = {actor.thread.name for actor in (writer, self._relay) if actor.thread.is_missing}
        lag_s, missing = silent_s if failure else 0.0, self._tail.missing_threads | own
        return JournalStatus(progress.seq, lag_s, failure, writer.pending, missing)

    def uncommitted(self) -> list[AppliedEvent]:
        """Return this process's events that are not committed, oldest first."""
        return self._writer.uncommitted()

    def put(self, event: AppliedEvent) -> Callable[[], bool | None]:
        """Hand an event of this process to the journal, as `JournalWriter.put` does."""
        self._first_put = self._first_put or event.id
        # In this order: a join must find it in the buffer, if it does not see it noted.
        committed = self._writer.put(event)
        self._applied.note(event)
        return committed

    def committed(self, event_id: EventId, *, own: bool) -> bool | None:
        """Say from memory whether an event is in the journal: false if it was given up, None if nobody knows (J8).

        Args:
            event_id: The event.
            own: Whether this incarnation said it.
        """
        if own and self._writer.commit_of(event_id) is not None:
            return None
        # Looked at after the buffer: what leaves it given up is noted before.
        gave_up = self._writer.gave_up(event_id) if own else False
        if gave_up is not False:
            return False if gave_up else None
        if self._applied.has(event_id):
            return True
        was_put = self._first_put is not None and self._first_put.number <= event_id.number
        # Another journal was put in its place, as this one does not know what was written to it.
        return False if own and was_put and self._relay.joined.is_open else None

    def look_for_commit(self, event_id: EventId, *, own: bool, timeout_s: float) -> Look[bool | None]:
        """Do what `await_commit` does, on another thread, of which there are so many and no more."""
        wait = partial(self.await_commit, event_id, own=own, timeout_s=timeout_s)
        return self._looks.at(("commit", event_id), wait)

    def await_commit(self, event_id: EventId, *, own: bool, timeout_s: float) -> bool | None:
        """Do what `committed` does, and wait or ask the journal where memory does not know."""
        ends_at_s = monotonic() + timeout_s
        commit = self._writer.commit_of(event_id) if own else None
        if commit is not None:
            commit.wait(timeout_s)
        known = self.committed(event_id, own=own)
        if known is not None or own:
            return known
        try:
            if self.journal.seq_of(event_id) is not None:
                return True
            return self.await_event(event_id, inf, ends_at_s - monotonic()) or None
        except Exception:  # noqa: BLE001 - a user's own journal may raise anything: nothing is known
            return None

    def follow_closely(self) -> None:
        """Wait for news rather than look now and then: somebody began to listen."""
        self._tail.wake()

    def is_current(self, interval_s: float) -> bool:
        """Say whether a read that begins now needs no check; a look into memory, no more (J3).

        Args:
            interval_s: How old the last check may be.
        """
        now_s = self._clock.monotonic_s()
        self._tail.read_s = now_s
        relay = self._relay
        if not relay.joined.is_open:
            # What is built before the process has its position is missed by all that others say meanwhile.
            return False
        if not self._checks_at_reads:
            # Without the tail nobody hears of anything; `catch_up` sees to it.
            return not self._tail.missing_threads
        is_checked = relay.progress.checked_s > now_s - interval_s and not relay.is_applying
        return is_checked or self._is_away()

    def join(self, patience_s: float = _PATIENCE_S) -> bool:
        """Wait for the process to have its position in the journal; false where it goes on without."""
        return self._relay.joined.wait(min(patience_s, _PATIENCE_S))

    def catch_up(self, interval_s: float, patience_s: float) -> None:
        """Apply what others said before now, where that can be known at a read (J3).

        Args:
            interval_s: How old the last check may be.
            patience_s: How long the read can wait for it.
        """
        self._tail.see_to()
        failing = self._relay.progress.failure is not None
        if not self._relay.joined.is_open and (failing or not self.join(patience_s)):
            self._relay.miss("lists were served before the journal could be read")
            return
        if self._checks_at_reads and not self._is_away():
            self._check(self._clock.monotonic_s() - interval_s, patience_s)

    def insist(self, lease_s: float, patience_s: float) -> None:
        """See that a read which insists on freshness may be served (J5).

        Args:
            lease_s: For how long nothing may have been heard of the journal.
            patience_s: How long the read can wait.

        Raises:
            JournalUnavailableError: Nothing was heard for longer.
        """
        self._tail.see_to()
        # A process that was suspended is not cut off before it has looked.
        if not self._is_away() and (self._checks_at_reads or self._silent_s() > lease_s):
            self._check(self._clock.monotonic_s(), patience_s)
        self._see_to_lease(lease_s)

    def has(self, event_id: EventId, patience_s: float) -> bool:
        """Say whether another process's event is applied here; it may ask the journal (J8).

        Args:
            event_id: The event.
            patience_s: How long the read can wait for the journal's answer.
        """
        if self._applied.has(event_id):
            return True
        passed = self._relay.progress.seq
        if passed is None or self._relay.progress.failure is not None:
            return False
        # So many ids are remembered; the journal knows the position of all that it keeps.
        seq = self._looks.at(("seq", event_id), partial(self._seq_of, event_id)).wait(patience_s)
        return seq is not None and seq <= passed

    def await_event(self, event_id: EventId, lease_s: float, timeout_s: float) -> bool:
        """Wait until another process's event is applied here; false where it was not in time (J8).

        Raises:
            JournalUnavailableError: It cannot come: nothing was heard of the journal for longer than the lease.
        """
        # No Event: its inner lock may be held by the call that a signal handler interrupts.
        woken: SimpleQueue[None] = SimpleQueue()
        ends_at_s = monotonic() + timeout_s
        with self._applied.awaited(partial(woken.put, None)):
            self._tail.wake()
            while not self._arrived(event_id, lease_s):
                left_s = ends_at_s - monotonic()
                if left_s <= 0:
                    return False
                with contextlib.suppress(Empty):
                    woken.get(timeout=min(left_s, _LOOK_AGAIN_S))
        return True

    async def aawait_event(self, event_id: EventId, lease_s: float, timeout_s: float) -> bool:
        """Do what `await_event` does without blocking the event loop."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            # The loop may be closed by now: nobody waits there any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(woken.set)

        ends_at_s = monotonic() + timeout_s
        with self._applied.awaited(wake):
            self._tail.wake()
            while not self._arrived(event_id, lease_s):
                left_s = ends_at_s - monotonic()
                if left_s <= 0:
                    return False
                # Not `wait_for`, which up to Python 3.11 may swallow that this read is cancelled.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, _LOOK_AGAIN_S)):
                        await woken.wait()
                woken.clear()
        return True

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

        self._stopped = True
        self._applied.tell()
        if not self.flush(left_s()):
            logger.error("hermes_cache.events_not_written", extra={"hermes_cache.pending": self._writer.pending})
        self._tail.end()
        if close:
            self.journal.close()
        refs = [cast("MailboxRef[MailboxActor]", actor.actor_ref) for actor in (self._writer, self._relay)]
        for ref in refs:
            ref.stop(block=False)
        return all([self._tail.join(left_s()), *[ref.join(left_s()) for ref in refs]])

    def _seq_of(self, event_id: EventId) -> int | None:
        try:
            return self.journal.seq_of(event_id)
        except Exception:
            # A user's own may raise anything; the wait that follows finds out whether the event comes.
            logger.warning("hermes_cache.journal_not_asked", exc_info=True)
            return None

    def _check(self, since_s: float, patience_s: float) -> None:
        """Have what the journal holds applied, or go on without once patience ends."""
        ref = cast("MailboxRef[Relay]", self._relay.actor_ref)
        # What a check finds takes its time, but no longer than the read has.
        until_s, patience_s = self._clock.monotonic_s() + patience_s, min(patience_s, _PATIENCE_S)
        # Where another thread runs a check, this one waits for it with a bound: that one may wait for us.
        timeout_s = None if patience_s >= _OWN_CHECK_S and ref.actor_inbox.is_free() else patience_s
        # Inside a check already, a receiver or an alias callable that reads gets what is applied so far.
        with contextlib.suppress(MailboxReentryError, pykka.ActorDeadError, pykka.Timeout, CallBlockedError):
            ref.ask(CatchUp(since_s, until_s), timeout=timeout_s)

    def _is_away(self) -> bool:
        """Say whether the journal fails for so long that reads leave it to the tail to find it back."""
        return self._clock.monotonic_s() - self._relay.progress.failing_since_s > _PATIENCE_S

    def _arrived(self, event_id: EventId, lease_s: float) -> bool:
        if self._applied.has(event_id):
            return True
        if self._stopped:
            raise CacheStoppedError
        self._see_to_lease(lease_s)
        return False

    def _see_to_lease(self, lease_s: float) -> None:
        silent_s = self._silent_s()
        if silent_s <= lease_s:
            return
        failure = self._relay.progress.failure or _SILENT
        told = f"nothing was heard of the journal for {silent_s:.1f} s ({failure})"
        raise JournalUnavailableError(f"{told}; read with freshness='default' or try again once it is back")

    def _is_listening(self) -> bool:
        return self._applied.is_awaited or self._hearers.is_listening()

    def _silent_s(self) -> float:
        return max(0.0, self._clock.monotonic_s() - self._relay.progress.checked_s)
