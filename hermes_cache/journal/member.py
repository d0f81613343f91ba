"""What one process knows of the journal that it shares, and how each event changes that: pure values.

No I/O, clock, thread or log here; `follower.py` reads and writes, and replaces one value by the next.

    from here    put ─▶ buffer ─ append ─▶ appended: the publisher goes on
                          │         ├────▶ append_failed: publishers go on; after a pause, again
                          │         └────▶ refused: one by one, then given up
                          └ full: given up; one event tells of all that were, once the buffer is written
    from others  check ─▶ stamp as seen: checked
                   └────▶ it differs: applying ─▶ read on, event_applied …, part_applied … ─▶ checked
                             ├ a gap: gap_found; there is no position any more, so as below
                             └ no position: joining ─▶ replay ─▶ outdated, if any were missed ─▶ joined ─▶ checked
                 check_failed at any step: the next check looks again

The position moves over an event only after the event is applied. If events are skipped, everything is outdated
once, however many they were (`missed`, `outdated`). What this process publishes while the journal is replayed is
added to the result of the replay (`on_the_way`). Source: rules J1 to J5, J8.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from hermes_cache.core.events import AppliedEvent, EventId, SettingsChanged, is_of_stream
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.replaying import PART, Part, Replay
from hermes_cache.ports import Position, Recorded

NEVER_SEEN: Final = object()
"""Differs from every stamp."""

AWAY_AFTER_S: Final = 1.0
"""Once the journal fails for so long, reads leave it to the tail to find it again."""

_HUNG_AFTER_S: Final = 2.0
"""Checks follow one another in a quarter of a second: one that is out for so long hangs."""

_FIRST_PAUSE_S: Final = 0.05
_MAX_PAUSE_S: Final = 1.0
"""After a failed append. Its return is noticed soon, and it is not asked all the time meanwhile."""

_MAX_UNFOLDED: Final = 100
"""Past so many the next one folds them, which copies the agreed state once."""

_SILENT: Final = "it does not answer"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a member keeps and reads at once.

    Attributes:
        group: Events in one append: past it there is nothing more to gain, and the others wait.
        buffered: The length of the buffer from which an event is given up; one event without a profile stands for
            those that were.
        buffered_streams: The same for a stream event: more, because nothing can stand for a lost stop.
        given_up: Ids that are remembered as given up; whether an older event was, is not known any more.
        part: Events in one read.
        missed_by_subscriber: How many events a subscriber catches up at most; past it, it refreshes everything.
    """

    group: int = 500
    buffered: int = 10_000
    buffered_streams: int = 20_000
    given_up: int = 10_000
    part: int = PART
    missed_by_subscriber: int = 10_000


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """How far a process has come, and what is in its way (J5, L4).

    Attributes:
        seq: The last sequence number that is applied here; None before the process joined, or joined again.
        lag_s: Seconds for which nothing was heard of the journal; 0 while it can be reached.
        failure: Why it can not be read or written now; None if it can.
        pending: This process's events that are not committed.
        missing_threads: The names of the journal's threads that should run and do not.
    """

    seq: int | None
    lag_s: float = 0.0
    failure: str | None = None
    pending: int = 0
    missing_threads: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class MemberState:
    """What one process knows of the journal that it shares; moments are monotonic seconds.

    Attributes:
        checked_s: When the last check that succeeded began; before it, when this life began.
        followed_s: When the first check was asked for; infinity in a process that only publishes.
        position: Everything up to it is applied here; None before the process joined, and after a gap until it
            joins again.
        seen: The journal's stamp as of the last check.
        is_applying: Whether a check found something, and applies it now.
        read_failure: Why the last check failed; None if it did not.
        failing_since_s: When the first check that failed after the last success began; infinity if none failed.
        passed_seq: The last damaged row that was passed; the position may lie before it.
        missed: Why everything is to be outdated in all processes: they missed events. None if they missed none.
        missed_here: The same for this process alone.
        folded: The agreed state without the events of `unfolded`: to fold costs more than to note, so it is rare.
        unfolded: The events that were applied after the last fold.
        on_the_way: Events of this process that a replay may lack, as they may not be written yet; None without a
            replay.
        buffer: This process's events that are not committed, oldest first.
        answered_s: When the journal took or refused an event last, or the oldest one of the buffer came.
        write_failure: Why the last append failed; None if it did not.
        write_pause_s: The pause after it.
        write_at_s: When to try again; infinity if nothing failed.
        lost_events: Whether events were given up, and no event stands for them yet.
        lost_settings: Whether there are `SettingsChanged` among them.
        given_up: The ids of the last events that were given up.
        first_put: The first event that was put.
        bounds: How much is kept and read at once.
    """

    checked_s: float
    followed_s: float = inf
    position: Position | None = None
    seen: Hashable = NEVER_SEEN
    is_applying: bool = False
    read_failure: str | None = None
    failing_since_s: float = inf
    passed_seq: int = 0
    missed: str | None = None
    missed_here: str | None = None
    folded: AgreedState = AgreedState()  # noqa: RUF009 - immutable
    unfolded: tuple[AppliedEvent, ...] = ()
    on_the_way: tuple[AppliedEvent, ...] | None = None
    buffer: tuple[AppliedEvent, ...] = ()
    answered_s: float = inf
    write_failure: str | None = None
    write_pause_s: float = 0.0
    write_at_s: float = inf
    lost_events: bool = False
    lost_settings: bool = False
    given_up: tuple[EventId, ...] = ()
    first_put: EventId | None = None
    bounds: Bounds = Bounds()

    # What is known.

    @property
    def agreed(self) -> AgreedState:
        """What agrees in all processes that applied the same events (J1)."""
        return self.folded.after(self.unfolded) if self.unfolded else self.folded

    def has(self, event_id: EventId) -> bool:
        """Say whether an event was applied here."""
        return self.folded.has(event_id) or any(event.id == event_id for event in self.unfolded)

    def is_away(self, now_s: float) -> bool:
        """Say whether the journal fails for so long that reads leave it to the tail to find it again."""
        return now_s - self.failing_since_s > AWAY_AFTER_S

    def is_current(self, now_s: float, interval_s: float) -> bool:
        """Say whether a read that begins now needs no check, if the last may be so old (J3)."""
        is_checked = self.checked_s > now_s - interval_s and not self.is_applying
        return is_checked or self.is_away(now_s)

    def silence(self, now_s: float, lease_s: float) -> str | None:
        """Say for how long nothing was heard of the journal, and why, if that is longer than a lease (J5)."""
        silent_s = self._silent_s(now_s)
        if silent_s <= lease_s:
            return None
        return f"nothing was heard of the journal for {silent_s:.1f} s ({self.read_failure or _SILENT})"

    def committed(self, event_id: EventId, *, own: bool) -> bool | None:
        """Say whether an event is in the journal: false if it was given up, None if that is not known (J8).

        Args:
            event_id: The event.
            own: Whether this incarnation published it.
        """
        if own and any(event.id == event_id for event in self.buffer):
            return None
        if own and event_id in self.given_up:
            return False
        if own and len(self.given_up) == self.bounds.given_up and event_id.number < self.given_up[0].number:
            return None
        if self.has(event_id):
            return True
        was_put = self.first_put is not None and self.first_put.number <= event_id.number
        # It left the buffer, so a journal took it; this journal lacks it. So the journal was replaced by another
        # one, and the event is lost.
        return False if own and was_put and self.position is not None else None

    def status(self, now_s: float) -> JournalStatus:
        """Say how far this process has come, and what is in its way."""
        silent_s = self._silent_s(now_s)
        failure = self.read_failure or self.write_failure or (_SILENT if silent_s > _HUNG_AFTER_S else None)
        seq = self.position.seq if self.position else None
        return JournalStatus(seq, silent_s if failure else 0.0, failure, len(self.buffer))

    # What other processes published.

    def applying(self, *, is_applying: bool) -> "MemberState":
        """A check found something, and applies it; or is over with that."""
        return replace(self, is_applying=is_applying)

    def event_applied(self, recorded: Recorded) -> "MemberState":
        """An event from the journal is applied here."""
        folded, unfolded = self._noted(recorded.event)
        return replace(self, folded=folded, unfolded=unfolded, position=recorded.position)

    def part_applied(self, part: Part) -> "MemberState":
        """All events of a part that concern this process are applied; it may say that rows after them are gone."""
        after = self
        if part.damaged is not None and part.position.seq > self.passed_seq:
            after = replace(after, missed=part.damaged.reason, passed_seq=part.position.seq)
        # Only a mark shows, at the next read, that the journal was restored meanwhile: so a position without
        # a mark is not taken, but that of the last event, which may be of another bus.
        reached = part.recorded[-1].position if part.recorded and not part.position.mark else part.position
        is_known = reached == self.position or not reached.mark
        return after if is_known else replace(after, position=reached)

    def gap_found(self, reason: str) -> "MemberState":
        """What comes after the position cannot be had, so the process has to join again."""
        return replace(self, position=None, missed=reason)

    def joining(self) -> "MemberState":
        """The journal is going to be replayed: what this process publishes from now on may not be in it."""
        return replace(self, on_the_way=self.buffer)

    def agreed_after(self, replay: Replay) -> AgreedState:
        """Return what a replay amounts to, with what is on its way."""
        return replay.agreed.after(self.on_the_way or ())

    def joined(self, replay: Replay) -> "MemberState":
        """The process has its position at the end of a replay, with the agreed state as of it (J2)."""
        folded = self.agreed_after(replay)
        return replace(self, folded=folded, unfolded=(), on_the_way=None, position=replay.position, passed_seq=0)

    def served_before_joining(self) -> "MemberState":
        """A read went on before this process had its position."""
        if self.position is not None:
            return self
        return replace(self, missed_here="lists were served before the journal could be read")

    def outdated(self) -> "MemberState":
        """Everything is outdated, or about to be, for all that was missed (J5)."""
        return replace(self, missed=None, missed_here=None)

    def followed(self, began_s: float) -> "MemberState":
        """The first check is asked for: from now on the journal can be silent."""
        return replace(self, followed_s=began_s)

    def checked(self, began_s: float, stamp: Hashable) -> "MemberState":
        """A check is over, and all that it found is applied."""
        return replace(
            self, checked_s=began_s, seen=stamp, is_applying=False, read_failure=None, failing_since_s=inf
        )

    def check_failed(self, failure: Exception, began_s: float) -> "MemberState":
        """The journal could not be read. Whatever was seen, the next check looks again."""
        return replace(
            self,
            seen=NEVER_SEEN,
            is_applying=False,
            read_failure=_text(failure),
            failing_since_s=min(self.failing_since_s, began_s),
            on_the_way=None,
        )

    # What this process publishes.

    def is_late(self, now_s: float, wait_s: float) -> bool:
        """Say whether the journal owes an answer for longer than a publisher waits."""
        return bool(self.buffer) and now_s - self.answered_s > wait_s

    def put(self, event: AppliedEvent, now_s: float) -> "MemberState":
        """This process publishes an event; the event waits in the buffer, or is given up if the buffer is full."""
        is_full = len(self.buffer) >= (
            self.bounds.buffered_streams if is_of_stream(event) else self.bounds.buffered
        )
        folded, unfolded = self._noted(event)
        after = replace(
            self,
            folded=folded,
            unfolded=unfolded,
            on_the_way=None if self.on_the_way is None else (*self.on_the_way, event),
            buffer=self.buffer if is_full else (*self.buffer, event),
            answered_s=self.answered_s if self.buffer else now_s,
            first_put=self.first_put or event.id,
        )
        return after.gave_up(event) if is_full else after

    def may_write(self, now_s: float) -> bool:
        """Say whether no failure says to pause."""
        return self.write_failure is None or now_s >= self.write_at_s

    def answered(self, count: int, now_s: float) -> "MemberState":
        """The journal has the oldest events of the buffer, so many, or never takes them."""
        return replace(
            self,
            buffer=self.buffer[count:],
            answered_s=now_s,
            write_failure=None,
            write_pause_s=0.0,
            write_at_s=inf,
        )

    def append_failed(self, failure: BaseException, now_s: float) -> "MemberState":
        """Nobody knows whether the journal has what was appended; it is appended again after a pause."""
        pause_s = min(max(_FIRST_PAUSE_S, 2 * self.write_pause_s), _MAX_PAUSE_S)
        return replace(self, write_failure=_text(failure), write_pause_s=pause_s, write_at_s=now_s + pause_s)

    def gave_up(self, event: AppliedEvent) -> "MemberState":
        """An event is lost to the journal: it did not fit, or was refused."""
        is_settings = isinstance(event, SettingsChanged)
        return replace(
            self,
            given_up=(*self.given_up, event.id)[-self.bounds.given_up :],
            lost_settings=self.lost_settings or is_settings,
            lost_events=self.lost_events or not is_settings,
        )

    def loss_published(self) -> "MemberState":
        """One event stands for all that were given up."""
        return replace(self, lost_settings=False, lost_events=False)

    def _silent_s(self, now_s: float) -> float:
        return max(0.0, now_s - max(self.checked_s, self.followed_s))

    def _noted(self, event: AppliedEvent) -> tuple[AgreedState, tuple[AppliedEvent, ...]]:
        unfolded = (*self.unfolded, event)
        if len(unfolded) <= _MAX_UNFOLDED:
            return self.folded, unfolded
        return self.folded.after(unfolded), ()


def _text(failure: BaseException) -> str:
    return str(failure) or type(failure).__name__
