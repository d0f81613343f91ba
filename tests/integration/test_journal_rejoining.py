"""What a journal's writer and relay remember when the journal was away, damaged or replaced."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import pytest

from hermes_cache.bus.feed import Feed
from hermes_cache.core.events import AppliedEvent, EventId, SessionListChanged, StreamStarted
from hermes_cache.core.policy import Policy
from hermes_cache.errors import JournalDamagedError, JournalError, JournalUnavailableError
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.applied import Applied
from hermes_cache.journal.life import JournalLife
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.journal.relay import CatchUp, Relay
from hermes_cache.journal.replaying import parts_after, replay
from hermes_cache.journal.writer import Flush, JournalWriter
from hermes_cache.ports import Position, Recorded, Snapshot
from hermes_cache.testing import ManualClock
from hermes_cache.threads import Gate


class _Hearers:
    """Remember what they are told of gaps, and nothing else."""

    def __init__(self) -> None:
        self.gaps: list[str] = []

    def is_listening(self) -> bool:
        return False

    def hear(self, event: AppliedEvent) -> None:
        pass

    def learn(self, agreed: AgreedState) -> None:
        pass

    def hear_of_gap(self, reason: str, *, alone: bool) -> None:
        self.gaps.append(reason if not alone else f"alone: {reason}")

    def hear_position(self, position: Position) -> None:
        pass


class _InterruptedHearers(_Hearers):
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

    def __init__(self, applied: Applied, event: AppliedEvent) -> None:
        super().__init__()
        self._applied_here = applied
        self._event = event

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        recorded = super().read(after, limit=limit)
        self._applied_here.note(self._event)
        assert self._applied_here.has(self._event.id)
        return recorded


class _Choosy(MemoryJournal):
    """A journal that does as it is told: it is away, or refuses an event for good."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: JournalError | None = None

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        if self.failure is not None:
            raise self.failure
        return super().append(events)


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


def _relay(
    journal: MemoryJournal,
    applied: Applied,
    uncommitted: Iterable[AppliedEvent] = (),
    *,
    hearers: _Hearers | None = None,
    clock: ManualClock | None = None,
) -> Relay:
    return Relay(
        journal,
        clock=clock or ManualClock(),
        applied=applied,
        hearers=hearers or _Hearers(),
        uncommitted=lambda: list(uncommitted),
    )


def test_a_process_that_joins_remembers_what_it_said_and_the_journal_has_not() -> None:
    """J1, J2"""
    applied = Applied()
    waiting = _started(1)
    applied.note(waiting)
    assert applied.has(waiting.id)

    _relay(MemoryJournal(), applied, [waiting]).on_receive(CatchUp(since_s=2_000.0))

    assert applied.has(waiting.id)
    assert list(applied.agreed.streams) == ["turn 1"]


def test_what_a_process_says_while_it_joins_is_remembered() -> None:
    """J1, J2"""
    applied = Applied()
    event = _started(1)

    _relay(_PublishedMeanwhile(applied, event), applied).on_receive(CatchUp(since_s=2_000.0))

    assert applied.agreed.streams["turn 1"].started == event


def test_a_process_that_joins_another_journal_agrees_to_nothing_of_the_one_before() -> None:
    """J2"""
    applied = Applied()
    applied.note(_started(1))

    _relay(MemoryJournal(), applied).on_receive(CatchUp(since_s=2_000.0))

    assert applied.agreed == AgreedState()


@pytest.mark.parametrize("strike", [KeyboardInterrupt(), MemoryError()])
def test_a_check_that_is_cut_short_is_taken_up_at_the_event_that_it_did_not_apply(strike: BaseException) -> None:
    """J4, L6: neither the place nor the stamp goes past what is not applied."""
    hearers, journal = _InterruptedHearers(2, strike), MemoryJournal()
    relay = _relay(journal, Applied(), hearers=hearers)
    relay.on_receive(CatchUp(since_s=2_000.0))
    journal.append([_changed(number) for number in range(1, 4)])

    with suppress(KeyboardInterrupt):
        relay.on_receive(CatchUp(since_s=2_000.0))
    position = relay._position
    relay.on_receive(CatchUp(since_s=2_000.0))

    assert position is not None
    assert (position.seq, hearers.heard) == (1, [1, 2, 3])
    assert relay._applied.has(EventId("life", 2))


def test_an_event_is_with_the_writer_before_it_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """J1: a join that comes in between finds it in one of the two."""
    applied, clock = Applied(), ManualClock()
    life = JournalLife(
        MemoryJournal(),
        policy=Policy(),
        clock=clock,
        applied=applied,
        hearers=_Hearers(),
        on_loss=lambda _settings: None,
    )
    put = life._writer.put

    def join_and_put(event: AppliedEvent) -> Callable[[], bool | None]:
        life._relay.on_receive(CatchUp(since_s=2_000.0))
        return put(event)

    monkeypatch.setattr(life._writer, "put", join_and_put)
    event = _started(1)

    life.put(event)
    known = applied.has(event.id)
    life.stop(5.0, close=False)

    assert known


def test_who_waits_for_a_join_finds_its_position_told() -> None:
    """J2, L4"""
    journal = MemoryJournal()
    journal.append([_changed(1), _changed(2)])
    relay = _relay(journal, Applied())
    seen: list[int | None] = []

    class _LookingGate(Gate):
        def open(self) -> None:
            seen.append(relay.progress.seq)
            super().open()

    relay.joined = _LookingGate()
    relay.on_receive(CatchUp(since_s=2_000.0))

    assert seen == [2]


def test_rows_that_are_gone_outdate_everything_once() -> None:
    """J9, J5: however many they are, and also once the journal goes on behind them."""
    store, hearers = MemoryStore(), _Hearers()
    journal = MemoryJournal(store)
    relay = _relay(journal, Applied(), hearers=hearers)
    relay.on_receive(CatchUp(since_s=2_000.0))
    journal.append([_changed(number) for number in range(1, 6)])
    store.events.clear()

    relay.on_receive(CatchUp(since_s=2_000.0))
    journal.append([_changed(6)])
    relay.on_receive(CatchUp(since_s=2_000.0))

    assert (relay.progress.seq, hearers.gaps) == (6, ["it is gone"])


def test_a_check_that_takes_longer_than_its_reader_waits_is_left_to_the_next() -> None:
    """R6, J3: what was read is applied, and the check does not count as done."""
    clock = ManualClock()
    journal = _Slow(clock)
    relay = _relay(journal, Applied(), clock=clock)
    relay.on_receive(CatchUp(since_s=clock.monotonic_s() + 1))
    journal.append([_changed(number) for number in range(1, 6)])
    checked_s, now_s = relay.progress.checked_s, clock.monotonic_s()

    relay.on_receive(CatchUp(since_s=now_s, until_s=now_s + 1.0))
    left_at = (
        relay.progress.checked_s,
        relay._applied.has(EventId("life", 3)),
        relay._applied.has(EventId("life", 4)),
    )
    relay.on_receive(CatchUp(since_s=now_s))

    assert left_at == (checked_s, True, False)
    assert relay.progress.seq == 5


def test_an_event_that_is_refused_after_an_outage_holds_no_later_one_up() -> None:
    """J5"""
    journal = _Choosy()
    writer = JournalWriter(journal, clock=ManualClock(), wait_s=0.0, on_loss=lambda _settings: None)
    journal.failure = JournalUnavailableError("it is away")
    refused = writer.put(_changed(1))
    writer.on_receive(Flush())
    journal.failure = JournalError("the event is too large")
    writer.on_wake()
    journal.failure = None

    committed = writer.put(_changed(2))
    writer.on_receive(Flush())

    assert (refused(), committed(), writer.failure) == (False, True, None)


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
