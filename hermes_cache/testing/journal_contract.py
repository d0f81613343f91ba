"""The tests that every journal must pass: a class of tests to subclass.

They start threads, but no processes.
"""
# ruff: noqa: S101, PLR2004  # these are tests: they assert, and expected values stand where they are compared

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from threading import Barrier, Event, Thread
from time import monotonic
from typing import Final, TypeVar, get_args
from unittest import SkipTest

from hermes_cache.core.events import (
    SESSIONS,
    AppliedEvent,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.errors import JournalGapError, JournalUnavailableError
from hermes_cache.journal.memory import MemoryJournal
from hermes_cache.journal.replaying import parts_after
from hermes_cache.ports import Journal, Level, Position, Recorded, Snapshot

_WAIT_S: Final = 30.0
_PAIRS: Final = 15
_MANY: Final = 2_500

_Error = TypeVar("_Error", bound=Exception)


def numbered(numbers: Sequence[int], *, life: str = "life", bus: str = SESSIONS) -> list[AppliedEvent]:
    """Return events of one incarnation whose numbers are also their times."""
    return [SettingsChanged(id=EventId(life, number, bus), at_s=float(number)) for number in numbers]


class JournalContract:
    """The tests that every journal must pass. A subclass in a test file says how its journal is opened.

    Example:
        ```python
        class TestMyJournal(JournalContract):
            @pytest.fixture(autouse=True)
            def _storage(self, tmp_path: Path) -> None:
                self.folder = tmp_path  # each test has a new object of this class, and an empty journal

            def open_journal(self) -> Journal:
                return MyJournal(self.folder)
        ```

    A test closes the journals that it opens. To see the values of a failed assertion, call
    `pytest.register_assert_rewrite` with the name of this module in a `conftest.py`, before the first import.
    """

    def open_journal(self) -> Journal:
        """Open the journal of this test once more. Within a test it is always the same journal, empty at first."""
        raise NotImplementedError

    def lose_rows(self, first: int, last: int) -> None:
        """Delete events from the storage of this test's journal by their numbers. Some tests need this."""
        raise SkipTest(f"override lose_rows to test a journal without rows {first} to {last}")

    def damage_rows(self, first: int, last: int) -> None:
        """Make events in the storage of this test's journal unreadable by their numbers. Some tests need this."""
        raise SkipTest(f"override damage_rows to test damaged rows {first} to {last}")

    def test_its_level_is_known_before_anything_is_connected(self) -> None:
        """J3: and it is the same for all that open it."""
        with self._two() as (one, other):
            assert one.level in get_args(Level)
            assert one.level == other.level

    def test_an_event_is_found_by_its_id_while_it_is_kept(self) -> None:
        """J8: and one that is compacted, or was never appended, is not."""
        with self._two() as (writer, reader):
            writer.append(numbered([7, 9]))
            writer.compact(fold_ids, before_s=0.0, max_events=1)

            found = [reader.seq_of(EventId("life", number)) for number in (7, 9, 11)]

        assert found == [None, 2, None]

    def test_events_come_back_in_order_and_as_they_went(self) -> None:
        """J1: every kind of event, with its profile as it was published."""
        events: list[AppliedEvent] = [
            SessionListChanged(id=EventId("a", 1), at_s=1.5, reason="new", profile=" Root ", session_id="ü"),
            StreamStarted(id=EventId("a", 2), at_s=2.0, stream_id="s", profile="p"),
            StreamStopped(id=EventId("a", 3), at_s=3.0, stream_id="s"),
            SettingsChanged(id=EventId("b", 1), at_s=4.0),
        ]
        with self._two() as (writer, reader):
            start = reader.end()

            seqs = writer.append(events)

            assert seqs == [1, 2, 3, 4]
            assert [recorded.event for recorded in reader.read(start)] == events

    def test_events_of_all_buses_have_their_numbers_in_one_order(self) -> None:
        """K5, J4: each with the name of its bus, for those too who opened the journal before it had names."""
        with self._two() as (one, other):
            start = one.end()
            other.append(numbered([1]))
            one.append(numbered([1, 2], life="shop", bus="orders"))
            other.append(numbered([2]))
            seqs = other.append(numbered([7], life="till", bus="bills"))

            assert seqs == [5]
            assert one.seq_of(EventId("shop", 2, "orders")) == 3
            assert one.seq_of(EventId("shop", 2)) is None
            for journal in (one, other):
                events = [recorded.event for recorded in journal.read(start)]
                assert [event.id.bus for event in events] == ["sessions", "orders", "orders", "sessions", "bills"]

    def test_buses_that_publish_first_at_the_same_time_are_both_kept(self) -> None:
        """K5, J4: the first event of a bus with a name of its own may change the storage."""
        lives = "abcdefgh"
        together = Barrier(len(lives))
        with self._two() as (reader, _):
            threads = [_started(partial(self._append_pairs, life, together, bus=life)) for life in lives]

            seen = follow(reader, len(lives) * 2 * _PAIRS)
            for thread in threads:
                thread.join(_WAIT_S)

            assert [recorded.position.seq for recorded in seen] == list(range(1, len(lives) * 2 * _PAIRS + 1))
            assert {recorded.event.id.bus for recorded in seen} == set(lives)

    def test_compaction_by_count_counts_the_events_of_each_bus(self) -> None:
        """K5, J6: a busy bus does not push out the events of the others before it has too many itself."""
        with self._two() as (journal, _):
            journal.append(numbered([1, 2]))
            journal.append(numbered(range(1, 5), life="shop", bus="orders"))
            journal.append(numbered([3, 4]))

            within = journal.compact(fold_ids, before_s=0.0, max_events=4)
            beyond = journal.compact(fold_ids, before_s=0.0, max_events=3)
            snapshot = journal.snapshot()
            kept = journal.read(snapshot.position) if snapshot else []

            assert (within, beyond) == (0, 3)
            assert snapshot is not None
            assert snapshot.body == b"life:1 life:2 orders/shop:1"
            assert [str(recorded.event.id) for recorded in kept] == [
                *(f"orders/shop:{number}" for number in (2, 3, 4)),
                *("life:3", "life:4"),
            ]

    def test_a_known_event_keeps_its_number(self) -> None:
        """J4: known by id, in the same group, in a later one, and from another process."""
        first, second, third = numbered([1, 2, 3])
        with self._two() as (one, other):
            one.append([first, second, first])

            seqs = other.append([second, third, first])

            assert seqs == [2, 3, 1]
            assert [recorded.event for recorded in one.read(Position(one.end().journal))] == [first, second, third]

    def test_an_empty_group_changes_nothing(self) -> None:
        """J1."""
        with self._two() as (journal, _):
            before = journal.end()

            assert journal.append([]) == []
            assert journal.end() == before

    def test_a_reader_goes_on_from_its_position_a_part_at_a_time(self) -> None:
        """J4."""
        with self._two() as (writer, reader):
            position = reader.end()
            writer.append(numbered(range(1, 6)))

            seen = []
            while part := reader.read(position, limit=2):
                seen += [recorded.position.seq for recorded in part]
                position = part[-1].position

            assert seen == [1, 2, 3, 4, 5]
            assert position == writer.end()

    def test_a_stamp_moves_with_every_append_of_anybody(self) -> None:
        """J3."""
        with self._two() as (own, other):
            stamps = [own.stamp(), own.stamp()]
            own.append(numbered([1]))
            stamps.append(own.stamp())
            other.append(numbered([2]))
            stamps.append(own.stamp())

            assert stamps[0] == stamps[1]
            assert len(set(stamps)) == 3

    def test_a_waiter_wakes_for_an_append_of_another(self) -> None:
        """J3."""
        with self._two() as (writer, reader):
            seen = reader.stamp()
            waiter = _started(lambda: _wait_past(reader, seen))

            writer.append(numbered([1]))
            waiter.join(_WAIT_S)

            assert not waiter.is_alive()
            assert reader.stamp() != seen

    def test_a_waiter_that_is_late_does_not_wait(self) -> None:
        """J3: what was appended between the check and the wait is not slept over."""
        with self._two() as (writer, reader):
            seen = reader.stamp()
            writer.append(numbered([1]))

            waiter = _started(lambda: reader.wait(seen, timeout_s=600.0))
            waiter.join(_WAIT_S)

            assert not waiter.is_alive()

    def test_a_wait_ends_with_its_time_and_with_close(self) -> None:
        """L1."""
        with self._two() as (journal, other):
            journal.wait(journal.stamp(), timeout_s=0.01)
            seen, began = other.stamp(), Event()

            def wait() -> None:
                began.set()
                _until_closed(other, seen)

            waiter = _started(wait)
            began.wait(_WAIT_S)
            other.close()
            waiter.join(_WAIT_S)

            assert not waiter.is_alive()

    def test_no_reader_skips_an_event_of_writers_side_by_side(self) -> None:
        """J4: one who reads all the while sees each number once, in order."""
        lives = "abcdefgh"
        together = Barrier(len(lives))
        with self._two() as (reader, _):
            threads = [_started(partial(self._append_pairs, life, together)) for life in lives]

            seen = follow(reader, len(lives) * 2 * _PAIRS)
            for thread in threads:
                thread.join(_WAIT_S)

            assert [recorded.position.seq for recorded in seen] == list(range(1, len(lives) * 2 * _PAIRS + 1))
            assert len({recorded.event.id for recorded in seen}) == len(seen)

    def test_compaction_by_count_keeps_the_newest(self) -> None:
        """J6, J2: the snapshot and the events after it are all there ever was."""
        with self._two() as (journal, other):
            journal.append(numbered(range(1, 8)))

            dropped = journal.compact(fold_ids, before_s=0.0, max_events=3)

            assert dropped == 4
            snapshot = other.snapshot()
            assert snapshot == Snapshot(
                Position(journal.end().journal, 4, "life:4"), b"life:1 life:2 life:3 life:4"
            )
            assert [recorded.event for recorded in other.read(snapshot.position)] == numbered([5, 6, 7])

    def test_compaction_by_age_stops_at_the_first_younger_event(self) -> None:
        """J6."""
        with self._two() as (journal, _):
            journal.append(numbered([1, 2, 9, 3, 10]))

            assert journal.compact(fold_ids, before_s=5.0, max_events=100) == 2
            assert journal.compact(fold_ids, before_s=5.0, max_events=100) == 0
            assert journal.end().seq == 5

    def test_compactions_add_up(self) -> None:
        """J2, J6: numbers go on when everything was compacted, and one snapshot folds into the next."""
        with self._two() as (journal, _):
            journal.append(numbered([1, 2]))
            journal.compact(fold_ids, before_s=100.0, max_events=100)
            seqs = journal.append(numbered([3]))
            journal.compact(fold_ids, before_s=100.0, max_events=100)

            snapshot = journal.snapshot()

            assert seqs == [3]
            assert snapshot is not None
            assert (snapshot.body, snapshot.position) == (b"life:1 life:2 life:3", journal.end())
            assert journal.read(snapshot.position) == []

    def test_of_two_compactions_at_once_one_counts(self) -> None:
        """J6: another process is at it while the snapshot is folded."""
        with self._two() as (journal, other):
            journal.append(numbered([1, 2, 3]))

            def fold(earlier: bytes | None, events: Sequence[AppliedEvent]) -> bytes:
                other.compact(fold_ids, before_s=0.0, max_events=1)
                return fold_ids(earlier, events)

            assert journal.compact(fold, before_s=0.0, max_events=0) == 0
            snapshot = journal.snapshot()
            assert snapshot is not None
            assert snapshot.body == b"life:1 life:2"

    def test_a_reader_that_fell_behind_the_compaction_gets_a_gap(self) -> None:
        """J6."""
        with self._two() as (journal, reader):
            position = reader.end()
            journal.append(numbered([1, 2, 3]))
            journal.compact(fold_ids, before_s=0.0, max_events=1)

            gap = _raised(JournalGapError, lambda: reader.read(position))

            assert gap is not None
            assert gap.seq == 0

    def test_a_position_of_another_journal_is_a_gap(self) -> None:
        """J5: another journal, one restored from before the position, and one that then went on differently."""
        with self._two() as (journal, _):
            journal.append(numbered([1, 2]))
            end = journal.end()

            strange = [
                replace(end, journal="other"),
                replace(end, seq=3, mark="life:3"),
                replace(end, mark="elsewhere:2"),
            ]

            for position in strange:
                assert _raised(JournalGapError, partial(journal.read, position)) is not None
            assert journal.read(end) == journal.read(replace(end, mark="")) == []

    def test_a_closed_journal_says_so(self) -> None:
        """L1."""
        with self._two() as (journal, other):
            end = other.end()
            other.close()

            assert _raised(JournalUnavailableError, lambda: other.read(end)) is not None
            assert _raised(JournalUnavailableError, lambda: other.append(numbered([1]))) is not None
            assert journal.end() == end

    def test_rows_that_are_gone_at_the_start_cost_one_step(self) -> None:
        """J9."""
        self._see_run_passed(lambda: self.lose_rows(1, _MANY - 3), lost=range(1, _MANY - 2))

    def test_rows_that_are_gone_in_the_middle_cost_one_step(self) -> None:
        """J9."""
        self._see_run_passed(lambda: self.lose_rows(3, _MANY - 3), lost=range(3, _MANY - 2))

    def test_rows_that_are_gone_at_the_end_cost_one_step(self) -> None:
        """J9: and the position behind them is the journal's end, with its mark."""
        self._see_run_passed(lambda: self.lose_rows(3, _MANY), lost=range(3, _MANY + 1))

    def test_a_journal_whose_rows_are_all_gone_costs_one_step(self) -> None:
        """J9."""
        self._see_run_passed(lambda: self.lose_rows(1, _MANY), lost=range(1, _MANY + 1))

    def test_rows_that_cannot_be_read_cost_one_step(self) -> None:
        """J9."""
        self._see_run_passed(lambda: self.damage_rows(3, _MANY - 3), lost=range(3, _MANY - 2))

    def test_rows_that_are_gone_between_some_that_cannot_be_read_cost_one_step(self) -> None:
        """J9."""

        def spoil() -> None:
            self.damage_rows(3, _MANY)
            self.lose_rows(5, 7)
            self.lose_rows(_MANY // 2, _MANY // 2 + 10)
            self.lose_rows(_MANY - 5, _MANY)

        self._see_run_passed(spoil, lost=range(3, _MANY + 1))

    def test_rows_that_are_gone_here_and_there_cost_few_steps(self) -> None:
        """J9: many short runs do not cost a step each."""
        lost = range(2, 200, 3)
        with self._two() as (writer, reader):
            writer.append(numbered(range(1, 201)))
            for seq in lost:
                self.lose_rows(seq, seq)
            counted = _Counted(reader)

            parts = list(parts_after(counted, Position(reader.end().journal)))

            assert [[*part.lost] for part in parts if part.damaged is not None] == [[seq] for seq in lost]
            sound = [recorded.position.seq for part in parts for recorded in part.recorded]
            assert sound == [seq for seq in range(1, 201) if seq not in lost]
            assert counted.calls <= 4

    def test_an_append_behind_rows_that_are_gone_is_read_from_there(self) -> None:
        """J9: a reader that passed them misses nothing more."""
        with self._two() as (writer, reader):
            writer.append(numbered([1, 2, 3]))
            self.lose_rows(2, 3)
            position = [*parts_after(reader, Position(reader.end().journal))][-1].position

            assert writer.append(numbered([4])) == [4]
            assert [recorded.event for recorded in reader.read(position)] == numbered([4])

    def _see_run_passed(self, spoil: Callable[[], None], *, lost: range) -> None:
        with self._two() as (writer, reader):
            writer.append(numbered(range(1, _MANY + 1)))
            spoil()
            counted = _Counted(reader)

            parts = list(parts_after(counted, Position(reader.end().journal)))

            runs = [part.lost for part in parts if part.damaged is not None]
            sound = [recorded.position.seq for part in parts for recorded in part.recorded]
            assert runs == [lost]
            assert sound == [seq for seq in range(1, _MANY + 1) if seq not in lost]
            assert parts[-1].position == reader.end()
            # What lies before the run, the run, what lies behind it, and that no more comes.
            assert counted.calls <= 4

    def _append_pairs(self, life: str, together: Barrier, bus: str = SESSIONS) -> None:
        with closing(self.open_journal()) as journal:
            together.wait(_WAIT_S)
            for number in range(_PAIRS):
                append_patiently(journal, numbered([2 * number + 1, 2 * number + 2], life=life, bus=bus))

    @contextmanager
    def _two(self) -> Iterator[tuple[Journal, Journal]]:
        one, other = self.open_journal(), self.open_journal()
        try:
            yield one, other
        finally:
            one.close()
            other.close()


class _Counted(MemoryJournal):
    """Another journal, and how often it was asked for something."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.calls = 0
        self._journal = journal

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        self.calls += 1
        return self._journal.read(after, limit=limit)

    def end(self) -> Position:
        self.calls += 1
        return self._journal.end()


def fold_ids(earlier: bytes | None, events: Sequence[AppliedEvent]) -> bytes:
    """Fold events into a snapshot that lists their ids."""
    marks = [earlier.decode()] if earlier else []
    return " ".join([*marks, *(str(event.id) for event in events)]).encode()


def append_patiently(journal: Journal, events: Sequence[AppliedEvent]) -> None:
    """Append events beside many others, who may hold a lock for longer than one append waits on a busy machine."""
    for _ in range(10):
        with suppress(JournalUnavailableError):
            journal.append(events)
            return
    journal.append(events)


def follow(journal: Journal, count: int, *, limit: int = 7, timeout_s: float = _WAIT_S) -> list[Recorded]:
    """Read a journal from its start while others append; give up on the rest after a time.

    Args:
        count: How many events are awaited.
        limit: How many are read at once.
    """
    seen: list[Recorded] = []
    position, ends_at_s = Position(journal.end().journal), monotonic() + timeout_s
    while len(seen) < count and monotonic() < ends_at_s:
        # A stamp may give up on a lock that the writers hand to each other.
        with suppress(JournalUnavailableError):
            stamp = journal.stamp()
            part = journal.read(position, limit=limit)
            seen += part
            position = part[-1].position if part else position
            if not part:
                journal.wait(stamp, timeout_s=1.0)
    return seen


def _started(run: Callable[[], None]) -> Thread:
    thread = Thread(target=run, daemon=True)
    thread.start()
    return thread


def _wait_past(journal: Journal, seen: object) -> None:
    while journal.stamp() == seen:
        journal.wait(seen, timeout_s=_WAIT_S)


def _until_closed(journal: Journal, seen: object) -> None:
    try:
        while True:
            journal.wait(seen, timeout_s=_WAIT_S)
    except JournalUnavailableError:
        return


def _raised(kind: type[_Error], call: Callable[[], object]) -> _Error | None:
    try:
        call()
    except kind as error:
        return error
    return None
