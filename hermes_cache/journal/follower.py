"""The follower: reads and writes the journal for one process, on the thread that calls.

What each happening makes of the process's state is decided in `member.py`. There is no thread here: one at a time
may `check`, one may `write`, and any may `put`. A state is replaced under a lock that is held for microseconds,
never by the main thread, where signal handlers strike: what that thread publishes is put aside for it.
Source: rules J1 to J5, J8, L6.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import inf
from threading import RLock
from typing import Concatenate, Final, ParamSpec, Protocol

from hermes_cache.core.events import SESSIONS, AppliedEvent, EventId, is_of_stream
from hermes_cache.errors import (
    JournalDamagedError,
    JournalError,
    JournalGapError,
    JournalSetupError,
    JournalUnavailableError,
)
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.member import Bounds, MemberState
from hermes_cache.journal.replaying import parts_after, replay
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Clock, Journal, Position
from hermes_cache.threads.gates import Gate
from hermes_cache.threads.interrupts import belongs_to_caller

logger = QuietLogger(__name__)

P = ParamSpec("P")

_MAX_LOGGED: Final = 20
"""Numbers of damaged rows in one record of the log."""


class BusSide(Protocol):
    """What a follower has done on its bus; each call is quick and raises nothing."""

    def hear(self, event: AppliedEvent) -> None:
        """Apply an event and tell of it; one of this process's own is applied already."""

    def learn(self, agreed: AgreedState) -> None:
        """Know what others said before this process joined."""

    def outdate_all(self, reason: str, *, alone: bool) -> None:
        """Outdate everything: events were missed; `alone`: by this process and no other."""

    def hear_position(self, position: Position) -> None:
        """Know that all events up to a position were handed out."""

    def tell_loss(self, *, settings: bool) -> None:
        """Say one event for all that did not fit into the buffer: settings changed, or every list did."""

    def wake_writer(self) -> None:
        """Have `write` called on the writer's thread."""


class Commit:
    """What becomes of one event, and the wait for it.

    Attributes:
        outcome: True, false, or None while that is not known.
        gate: Opens once the outcome is known, or the journal fails.
    """

    __slots__ = ("gate", "outcome")

    def __init__(self) -> None:
        self.outcome: bool | None = None
        self.gate = Gate()

    def settle(self, *, outcome: bool) -> None:
        """Let all waiting publishers go on, with what is known for good."""
        self.outcome = outcome
        self.gate.open()

    def let_go(self) -> None:
        """Let the publishers that wait now go on, though nothing is known; later ones wait again."""
        gate, self.gate = self.gate, Gate()
        gate.open()


class Follower:
    """One process's part in a journal.

    Args:
        journal: The journal that it shares.
        clock: The time.
        bus_side: Does what concerns the bus.
        wait_s: How long a publisher waits for its commit at most.
        bounds: How much is kept and read at once.
        bus: The name of its bus; it passes over what is said on others.

    Attributes:
        state: What the process knows of the journal; it may be looked at from any thread.
        joined: Open once the process has its position in the journal.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        bus_side: BusSide,
        *,
        wait_s: float,
        bounds: Bounds,
        bus: str = SESSIONS,
    ) -> None:
        self.state = MemberState(clock.monotonic_s(), bounds=bounds)
        self.joined = Gate(shared=True)
        self._journal = journal
        self._clock = clock
        self._bus_side = bus_side
        self._wait_s = wait_s
        self._bus = bus
        self._lock = RLock()
        self._commits: dict[EventId, Commit] = {}
        self._wakers: dict[object, Callable[[], None]] = {}

    # What this process says.

    def put(self, event: AppliedEvent) -> Callable[[], bool | None]:
        """Take an event of this process; what this returns waits for its commit and says whether it came."""
        now_s = self._clock.monotonic_s()
        commit = self._commits[event.id] = Commit()
        after = self._change(MemberState.put, event, now_s)
        if event.id in after.given_up[-1:]:
            self._settle([event], outcome=False)
        self._bus_side.wake_writer()
        # Once an answer is overdue, a journal that hangs is known to be away before it says so.
        if after.is_late(now_s, self._wait_s) or not self._wait_s or is_of_stream(event):
            return lambda: commit.outcome
        return partial(self._await_commit, commit)

    def commit_of(self, event_id: EventId) -> Commit | None:
        """Return what becomes of an event of this process whose end is not known."""
        return self._commits.get(event_id)

    def write(self, *, now: bool = False) -> None:
        """Append what is in the buffer, and tell of what did not fit; `now`: even if a failure says to pause."""
        if not (now or self.state.may_write(self._clock.monotonic_s())):
            return
        while self._write_buffer() and (self.state.lost_settings or self.state.lost_events):
            settings = self.state.lost_settings
            self._change(MemberState.loss_published)
            self._bus_side.tell_loss(settings=settings)

    def _await_commit(self, commit: Commit) -> bool | None:
        # Taken first: a failure opens the gate that was there before it was known.
        gate = commit.gate
        if self.state.write_failure is None:
            gate.wait(self._wait_s)
        return commit.outcome

    def _write_buffer(self) -> bool:
        """Append what is in the buffer; false if the journal cannot be reached now."""
        while group := self.state.buffer[: self.state.bounds.group]:
            if not self._append(group):
                return False
        return True

    def _append(self, group: tuple[AppliedEvent, ...]) -> bool:
        """Append a group; false if the journal cannot be reached now."""
        try:
            self._journal.append(list(group))
        except (JournalUnavailableError, JournalDamagedError, JournalSetupError) as failure:
            self._note_append_failed(failure)
            return False
        except JournalError as refusal:
            if len(group) > 1:
                return all(self._append((event,)) for event in group)
            self._give_up(group[0], refusal)
        except BaseException as failure:
            # A user's own journal may raise anything; whatever it is, the events wait for the next attempt.
            self._note_append_failed(failure)
            if belongs_to_caller(failure):
                raise
            return False
        else:
            self._note_answered(len(group))
            self._settle(group, outcome=True)
        return True

    def _give_up(self, event: AppliedEvent, refusal: JournalError) -> None:
        extra = {"hermes_cache.event_id": str(event.id)}
        logger.error("hermes_cache.event_not_kept", exc_info=refusal, extra=extra)
        # It answered, so it is there: what comes next is written at once.
        self._note_answered(1)
        self._change(MemberState.gave_up, event)
        self._settle([event], outcome=False)

    def _note_answered(self, count: int) -> None:
        if self.state.write_failure is not None:
            pending = {"hermes_cache.pending": len(self.state.buffer)}
            logger.info("hermes_cache.journal_written_again", extra=pending)
        now_s = self._clock.monotonic_s()
        self._change(MemberState.answered, count, now_s)

    def _note_append_failed(self, failure: BaseException) -> None:
        if self.state.write_failure is None:
            logger.warning("hermes_cache.journal_not_written", exc_info=failure)
        now_s = self._clock.monotonic_s()
        self._change(MemberState.append_failed, failure, now_s)
        for event in self.state.buffer:
            commit = self._commits.get(event.id)
            if commit is not None:
                commit.let_go()

    def _settle(self, events: Sequence[AppliedEvent], *, outcome: bool) -> None:
        """Let publishers go on: their events are in the journal, or given up."""
        for event in events:
            commit = self._commits.pop(event.id, None)
            if commit is not None:
                commit.settle(outcome=outcome)

    # What others say.

    def check(self, since_s: float, until_s: float = inf) -> None:
        """Apply what the journal holds, unless a check did that began since then.

        Args:
            since_s: A check that began then or later will do.
            until_s: When to leave the rest to the next check, as the caller waits no longer.
        """
        began_s = self._clock.monotonic_s()
        if self.state.followed_s == inf:
            self._change(MemberState.followed, began_s)
        if self.state.checked_s >= since_s:
            return
        try:
            self._check(began_s, until_s)
        except Exception as failure:
            if self.state.read_failure is None:
                logger.warning("hermes_cache.journal_not_read", exc_info=failure)
            self._change(MemberState.check_failed, failure, began_s)
        finally:
            if self.state.is_applying:
                # The check was left to the next one, or interrupted.
                self._change(MemberState.applying, is_applying=False)
        self.wake()

    def serve_without(self) -> None:
        """Have the next join outdate everything here: a read goes on without the journal."""
        self._change(MemberState.served_before_joining)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for an event."""
        return bool(self._wakers)

    @contextmanager
    def awaited(self, wake: Callable[[], None]) -> Iterator[None]:
        """Have whoever waits for an event woken to look again; `wake` is called from any thread."""
        # One operation of the dict each, and no lock: signal handlers may strike the main thread here.
        waiting = object()
        self._wakers[waiting] = wake
        try:
            yield
        finally:
            self._wakers.pop(waiting, None)

    def wake(self) -> None:
        """Wake all who wait for an event, to look again."""
        for wake in list(self._wakers.values()):
            wake()

    def _check(self, began_s: float, until_s: float) -> None:
        stamp = self._journal.stamp()
        if stamp != self.state.seen and not self._catch_up(until_s):
            return
        if self.state.read_failure is not None:
            logger.info("hermes_cache.journal_read_again")
        self._change(MemberState.checked, began_s, stamp)

    def _catch_up(self, until_s: float) -> bool:
        """Apply what the journal holds; false if that was not all, as the time was over."""
        self._change(MemberState.applying, is_applying=True)
        try:
            position = self.state.position
            if position is not None:
                return self._read_on(position, until_s)
            self._join()
        finally:
            if self.state.missed is not None:
                self._outdate_missed()
                # After a gap, what is built until the join misses what others publish meanwhile.
                self._change(MemberState.served_before_joining)
        return True

    def _read_on(self, position: Position, until_s: float) -> bool:
        try:
            for part in parts_after(self._journal, position, self.state.bounds.part):
                for recorded in part.recorded:
                    if recorded.event.id.bus == self._bus:
                        self._bus_side.hear(recorded.event)
                        self._change(MemberState.event_applied, recorded)
                self._change(MemberState.part_applied, part)
                self._bus_side.hear_position(part.position)
                if self._clock.monotonic_s() >= until_s:
                    return False
        except JournalGapError as gap:
            self._change(MemberState.gap_found, gap.reason)
            self._join()
        return True

    def _join(self) -> None:
        """Take a position at the end, with the agreed state as of it (J2), and what is on its way there."""
        self._change(MemberState.joining)
        replayed = replay(self._journal, part=self.state.bounds.part, bus=self._bus)
        if replayed.damaged:
            extra = {"hermes_cache.seqs": replayed.damaged[:_MAX_LOGGED]}
            logger.warning("hermes_cache.journal_damaged", extra=extra)
        self._bus_side.learn(self.state.agreed_after(replayed))
        self._outdate_missed()
        self._bus_side.hear_position(replayed.position)
        self._change(MemberState.joined, replayed)
        self.joined.open()

    def _outdate_missed(self) -> None:
        """Outdate everything once where events were missed, however many, whatever became of the check (J5)."""
        missed, here = self.state.missed, self.state.missed_here
        if missed is None and here is None:
            return
        self._change(MemberState.outdated)
        self._bus_side.outdate_all(missed or here or "", alone=missed is None)

    def _change(
        self, change: Callable[Concatenate[MemberState, P], MemberState], *args: P.args, **options: P.kwargs
    ) -> MemberState:
        with self._lock:
            while True:
                before = self.state
                after = change(before, *args, **options)
                # A finalizer may publish in the middle. Nothing is called between this look and the store.
                if self.state is before:
                    self.state = after
                    return after
