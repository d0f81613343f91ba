"""What a process remembers of its journal when that was away, damaged or replaced."""

import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from math import inf
from pathlib import Path
from time import monotonic

import pytest

from hermes_cache.bus.feed import Feed
from hermes_cache.core.events import AppliedEvent, EventId, SessionListChanged, StreamStarted
from hermes_cache.errors import JournalDamagedError, JournalError, JournalUnavailableError
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.follower import Follower
from hermes_cache.journal.member import Bounds, MemberState
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.journal.replaying import parts_after, replay
from hermes_cache.journal.sqlalchemy_journal import journal_at
from hermes_cache.ports import Position, Recorded, Snapshot
from hermes_cache.testing import ManualClock
from hermes_cache.threads.gates import Gate
from tests.waiting import WAIT_S


class _BusSide:
    """Remember what they are told of gaps, and nothing else."""

    def __init__(self) -> None:
        self.gaps: list[str] = []

    def hear(self, event: AppliedEvent) -> None:
        pass

    def learn(self, agreed: AgreedState) -> None:
        pass

    def outdate_all(self, reason: str, *, alone: bool) -> None:
        self.gaps.append(reason if not alone else f"alone: {reason}")

    def hear_position(self, position: Position) -> None:
        pass

    def tell_loss(self, *, settings: bool) -> None:
        pass

    def wake_writer(self) -> None:
        pass


class _InterruptedBusSide(_BusSide):
    """Applies events, and is struck by an interrupt or a failure over one of them, once."""

    def __init__(self, number: int, strike: BaseException) -> None:
        super().__init__()
        self.heard: list[int] = []
        self._number = number
        self._strikes = [strike]

    def hear(self, event: AppliedEvent) -> None:
        if event.id.number == self._number and self._strikes:
            raise self._strikes.pop()
        self.heard.append(event.id.number)


class _Slow(MemoryJournal):
    """A journal that gives one event at a time, each after 0.4 s."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._time = clock

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        self._time.advance(0.4)
        return super().read(after, limit=min(limit, 1))


class _PublishedMeanwhile(MemoryJournal):
    """A journal whose process says one more event just when it is read."""

    def __init__(self, event: AppliedEvent) -> None:
        super().__init__()
        self.follower: Follower | None = None
        self._event = event

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        recorded = super().read(after, limit=limit)
        assert self.follower is not None
        self.follower.put(self._event)
        assert self.follower.state.has(self._event.id)
        return recorded


class _Choosy(MemoryJournal):
    """A journal that does as it is told: it is away, or refuses an event for good."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: BaseException | None = None

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        if self.failure is not None:
            raise self.failure
        return super().append(events)


class _NoReplay(MemoryJournal):
    """A journal that can be looked at, but not replayed for now."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.is_broken = False

    def snapshot(self) -> Snapshot | None:
        if self.is_broken:
            raise JournalUnavailableError("the connection broke")
        return super().snapshot()


class _Damaged(MemoryJournal):
    """A journal of which one row, or the snapshot, cannot be read."""

    def __init__(self, store: MemoryStore, seq: int, *, snapshot: bool = False) -> None:
        super().__init__(store)
        self._seq = seq
        self._snapshot_too = snapshot

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        recorded = super().read(after, limit=min(limit, max(1, self._seq - 1 - after.seq)))
        if recorded and recorded[0].position.seq == self._seq:
            raise JournalDamagedError(self._seq, "its checksum is wrong")
        return recorded

    def snapshot(self) -> Snapshot | None:
        if self._snapshot_too:
            raise JournalDamagedError(self._seq, "its checksum is wrong")
        return super().snapshot()


def _changed(number: int, profile: str | None = None) -> SessionListChanged:
    return SessionListChanged(id=EventId("life", number), at_s=float(number), profile=profile)


def _started(number: int) -> StreamStarted:
    return StreamStarted(id=EventId("life", number), at_s=float(number), stream_id=f"turn {number}")


def _follower(
    journal: MemoryJournal,
    bus_side: _BusSide | None = None,
    clock: ManualClock | None = None,
    *,
    wait_s: float = 0.0,
    buffered: int = 100,
) -> Follower:
    bounds = Bounds(buffered=buffered)
    return Follower(journal, clock or ManualClock(), bus_side or _BusSide(), wait_s=wait_s, bounds=bounds)


def test_a_process_that_joins_remembers_what_it_said_and_the_journal_has_not() -> None:
    """J1, J2"""
    waiting = _started(1)
    follower = _follower(MemoryJournal())
    follower.put(waiting)
    assert follower.state.has(waiting.id)

    follower.check(since_s=2_000.0)

    assert follower.state.has(waiting.id)
    assert list(follower.state.agreed.streams) == ["turn 1"]


def test_what_a_process_says_while_it_joins_is_remembered() -> None:
    """J1, J2"""
    event = _started(1)
    journal = _PublishedMeanwhile(event)
    follower = journal.follower = _follower(journal)

    follower.check(since_s=2_000.0)

    assert follower.state.agreed.streams["turn 1"].started == event


def test_a_process_that_joins_another_journal_agrees_to_nothing_of_the_one_before() -> None:
    """J2"""
    store = MemoryStore()
    follower = _follower(MemoryJournal(store))
    MemoryJournal(store).append([_started(1)])
    follower.check(since_s=2_000.0)
    before = list(follower.state.agreed.streams)
    store.name, store.end = "another", Position("another")
    store.events.clear()

    follower.check(since_s=2_000.0)

    assert before == ["turn 1"]
    assert follower.state.agreed == AgreedState()


@pytest.mark.parametrize("strike", [KeyboardInterrupt(), MemoryError()])
def test_a_check_that_is_cut_short_is_taken_up_at_the_event_that_it_did_not_apply(strike: BaseException) -> None:
    """J4, L6: neither the position nor the stamp goes past what is not applied."""
    bus_side, journal = _InterruptedBusSide(2, strike), MemoryJournal()
    follower = _follower(journal, bus_side)
    follower.check(since_s=2_000.0)
    journal.append([_changed(number) for number in range(1, 4)])

    with suppress(KeyboardInterrupt):
        follower.check(since_s=2_000.0)
    position = follower.state.position
    follower.check(since_s=2_000.0)

    assert position is not None
    assert (position.seq, bus_side.heard) == (1, [1, 2, 3])
    assert follower.state.has(EventId("life", 2))


def test_a_thread_that_waits_for_a_join_finds_its_position_handed_out() -> None:
    """J2, L4"""
    journal = MemoryJournal()
    journal.append([_changed(1), _changed(2)])
    follower = _follower(journal)
    seen: list[Position | None] = []

    class _LookingGate(Gate):
        def open(self) -> None:
            seen.append(follower.state.position)
            super().open()

    follower.joined = _LookingGate()
    follower.check(since_s=2_000.0)

    assert [position and position.seq for position in seen] == [2]


def test_rows_that_are_gone_outdate_everything_once() -> None:
    """J9, J5: however many they are, and also once the journal goes on behind them."""
    store, bus_side = MemoryStore(), _BusSide()
    journal = MemoryJournal(store)
    follower = _follower(journal, bus_side)
    follower.check(since_s=2_000.0)
    journal.append([_changed(number) for number in range(1, 6)])
    store.events.clear()

    follower.check(since_s=2_000.0)
    journal.append([_changed(6)])
    follower.check(since_s=2_000.0)

    assert (follower.state.position, bus_side.gaps) == (journal.end(), ["it is gone"])


def test_a_check_that_takes_longer_than_its_reader_waits_is_left_to_the_next() -> None:
    """R6, J3: what was read is applied, and the check does not count as done."""
    clock = ManualClock()
    journal = _Slow(clock)
    follower = _follower(journal, clock=clock)
    follower.check(since_s=clock.monotonic_s() + 1)
    journal.append([_changed(number) for number in range(1, 6)])
    checked_s, now_s = follower.state.checked_s, clock.monotonic_s()

    follower.check(since_s=now_s, until_s=now_s + 1.0)
    left_at = (
        follower.state.checked_s,
        follower.state.has(EventId("life", 3)),
        follower.state.has(EventId("life", 4)),
    )
    follower.check(since_s=now_s)

    assert left_at == (checked_s, True, False)
    assert follower.state.position == journal.end()


def test_a_journal_that_says_where_it_ends_is_not_read_on(tmp_path: Path) -> None:
    """J3: for each event that others publish this saves a transaction."""
    url = f"sqlite:///{tmp_path}/journal.db"
    with closing(journal_at(url)) as journal, closing(journal_at(url)) as other:
        reads: list[Position] = []
        read = journal.read

        def counted(after: Position, /, *, limit: int = 1000) -> list[Recorded]:
            reads.append(after)
            return read(after, limit=limit)

        journal.read = counted  # type: ignore[method-assign]
        follower = Follower(journal, ManualClock(), _BusSide(), wait_s=0.0, bounds=Bounds(part=2))
        follower.check(since_s=2_000.0)
        reads.clear()
        other.append([_changed(number) for number in range(1, 6)])

        follower.check(since_s=2_000.0)

        assert [after.seq for after in reads] == [0, 2, 4]
        assert follower.state.position == journal.end()


def test_an_event_that_is_refused_after_an_outage_holds_no_later_one_up() -> None:
    """J5"""
    journal = _Choosy()
    follower = _follower(journal)
    journal.failure = JournalUnavailableError("it is away")
    refused = follower.put(_changed(1))
    follower.write()
    journal.failure = JournalError("the event is too large")
    follower.write(now=True)
    journal.failure = None

    committed = follower.put(_changed(2))
    follower.write()

    assert (refused(), committed(), follower.state.write_failure) == (False, True, None)


def test_an_append_that_ends_its_thread_has_failed_and_is_tried_again() -> None:
    """J5, L7: whatever a journal of a user's own raises."""
    journal = _Choosy()
    follower = _follower(journal)
    journal.failure = SystemExit(3)
    committed = follower.put(_changed(1))

    follower.write()
    failed = follower.state.status(0.0).failure, follower.state.write_at_s < inf
    journal.failure = None
    follower.write(now=True)

    assert failed == ("3", True)
    assert (committed(), follower.state.buffer) == (True, ())


def test_an_interrupt_of_an_append_counts_as_a_failure_and_goes_on() -> None:
    """J5, L6"""
    journal = _Choosy()
    follower = _follower(journal)
    journal.failure = KeyboardInterrupt()
    follower.put(_changed(1))

    with pytest.raises(KeyboardInterrupt):
        follower.write()

    assert follower.state.write_failure == "KeyboardInterrupt"


def test_nothing_is_kept_for_a_replay_that_failed() -> None:
    """J5: what is published until the next replay waits in the buffer alone, which has a bound."""
    journal = _NoReplay(MemoryStore())
    follower = _follower(journal, buffered=5)
    journal.is_broken = True
    follower.check(since_s=2_000.0)

    for number in range(1, 100):
        follower.put(_changed(number))
    kept = follower.state.on_the_way, len(follower.state.buffer)
    journal.is_broken = False
    follower.check(since_s=2_000.0)

    assert kept == (None, 5)
    assert all(follower.state.has(event.id) for event in follower.state.buffer)


def test_an_event_that_has_room_when_it_is_put_is_not_given_up() -> None:
    """J8: the writer may empty the buffer while an event is on its way there."""
    journal = MemoryJournal()
    follower = _follower(journal, buffered=1)
    change, first = follower._change, follower.put(_changed(1))

    def after_the_writer(*given: object, **options: object) -> MemberState:
        follower._change = change  # type: ignore[method-assign]
        follower.write()
        return change(*given, **options)  # type: ignore[arg-type]

    follower._change = after_the_writer  # type: ignore[method-assign]
    second = follower.put(_changed(2))
    follower.write()

    assert (first(), second()) == (True, True)
    assert journal.end().seq == 2


def test_who_publishes_does_not_wait_for_an_event_that_is_given_up() -> None:
    """J5: though the buffer had room when it looked."""
    follower = _follower(MemoryJournal(), buffered=1, wait_s=WAIT_S)
    change = follower._change

    def after_another(*given: object, **options: object) -> MemberState:
        follower._change = change  # type: ignore[method-assign]
        follower.put(_changed(1))
        return change(*given, **options)  # type: ignore[arg-type]

    follower._change = after_another  # type: ignore[method-assign]
    began_s = monotonic()
    committed = follower.put(_changed(2))()

    assert committed is False
    assert monotonic() - began_s < WAIT_S / 2


def test_who_looks_after_a_failed_append_waits_for_the_next_one() -> None:
    """J8"""
    journal = _Choosy()
    follower = _follower(journal)
    journal.failure = JournalUnavailableError("it is away")
    follower.put(_changed(1))
    follower.write()
    journal.failure = None
    commit = follower.commit_of(EventId("life", 1))
    assert commit is not None

    left_alone = commit.gate.wait(0.0)
    writer = threading.Timer(0.05, follower.write, kwargs={"now": True})
    writer.start()

    assert not left_alone
    assert commit.gate.wait(WAIT_S)
    assert commit.outcome is True


@pytest.mark.parametrize("checks", [1, 3])
def test_a_gap_that_cannot_be_passed_yet_outdates_everything_once_for_all_and_once_here(checks: int) -> None:
    """J5, R1: once for what was missed, and at the join for what was served until then."""
    store, bus_side = MemoryStore(), _BusSide()
    journal = _NoReplay(store)
    follower = _follower(journal, bus_side)
    journal.append([_changed(1)])
    follower.check(since_s=2_000.0)
    store.name, store.end = "another", Position("another")
    store.events.clear()

    journal.is_broken = True
    for _ in range(checks):
        follower.check(since_s=2_000.0)
    once = len(bus_side.gaps)
    journal.is_broken = False
    follower.check(since_s=2_000.0)
    follower.check(since_s=2_000.0)

    assert once == 1
    assert [gap.startswith("alone") for gap in bus_side.gaps] == [False, True]
    assert follower.state.position == Position("another")


def test_who_waits_for_an_event_takes_no_lock() -> None:
    """L6: a signal handler may strike the main thread there."""
    follower = _follower(MemoryJournal())
    woken: list[bool] = []
    held, may_go = Gate(), Gate()

    def hold() -> None:
        with follower._lock:
            held.open()
            may_go.wait(WAIT_S)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(WAIT_S)
    waiter = threading.Thread(target=lambda: _wait_for_news(follower, woken))
    waiter.start()
    waiter.join(WAIT_S / 4)
    is_over = not waiter.is_alive()
    may_go.open()
    holder.join(WAIT_S)
    waiter.join(WAIT_S)

    assert is_over
    assert (woken, follower.is_awaited) == ([True], False)


def _wait_for_news(follower: Follower, woken: list[bool]) -> None:
    with follower.awaited(lambda: woken.append(True)):
        assert follower.is_awaited
        follower.wake()


def test_an_event_that_a_finalizer_says_in_the_middle_of_another_is_kept_too() -> None:
    """L6, J5"""
    journal = MemoryJournal()
    follower = _follower(journal)
    unsaid = [_changed(2)]

    def put(state: MemberState) -> MemberState:
        if unsaid:
            follower.put(unsaid.pop())
        return state.put(_changed(1), now_s=1.0)

    follower._change(put)
    follower.write()

    kept = journal.read(Position(journal.end().journal))
    assert [each.position.mark for each in kept] == ["life:2", "life:1"]


def test_a_position_behind_a_damaged_row_at_the_end_tells_a_restored_journal() -> None:
    """J5, I7"""
    store = MemoryStore()
    journal = _Damaged(store, 2)
    journal.append([_changed(1), _changed(2)])

    parts = list(parts_after(journal, Position(store.name)))
    joined = replay(journal)

    assert [(part.position, part.damaged is not None) for part in parts] == [
        (Position(store.name, 1, "life:1"), False),
        (Position(store.name, 2, "life:2"), True),
    ]
    assert joined.position == store.end


def test_a_position_behind_a_damaged_snapshot_at_the_end_tells_a_restored_journal() -> None:
    """J5, I7"""
    store = MemoryStore()
    journal = _Damaged(store, 2, snapshot=True)
    journal.append([_changed(1), _changed(2)])
    journal.compact(lambda _body, _events: b"", before_s=100.0, max_events=0)

    joined = replay(journal)

    assert (joined.position, joined.damaged) == (store.end, (2,))


def test_a_journal_that_fails_as_it_should_not_makes_who_resumes_refresh_everything() -> None:
    """E8"""

    def fail(_position: Position) -> None:
        raise RuntimeError("a journal of the user's own")

    feed = Feed("feed", size=4, missed_since=fail)
    feed.note_position(Position("journal", 5))

    change = feed.subscribe(since="journal:3:another:9").get(timeout=0)

    assert change is not None
    assert change.everything
