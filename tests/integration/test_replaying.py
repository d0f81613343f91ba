"""Replaying a journal: the agreed state as of its end, or of any number before (J2, J5)."""

import pytest

from hermes_cache.core.events import AppliedEvent, EventId, SessionListChanged, StreamStarted, StreamStopped
from hermes_cache.errors import JournalGapError
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.memory import MemoryJournal
from hermes_cache.journal.replaying import parts_after, replay
from hermes_cache.journal.snapshots import fold_snapshot
from hermes_cache.ports import Position, Recorded

_LIFE = "life"


@pytest.fixture
def said() -> list[AppliedEvent]:
    return [
        SessionListChanged(id=EventId(_LIFE, 1), at_s=1.0, profile="work"),
        StreamStarted(id=EventId(_LIFE, 2), at_s=2.0, stream_id="s", profile="work"),
        SessionListChanged(id=EventId(_LIFE, 3), at_s=3.0, profile="home"),
        StreamStopped(id=EventId(_LIFE, 4), at_s=4.0, stream_id="s"),
    ]


@pytest.fixture
def journal(said: list[AppliedEvent]) -> MemoryJournal:
    journal = MemoryJournal()
    journal.append(said)
    return journal


@pytest.mark.parametrize("until", range(5))
def test_a_replay_gives_the_state_as_of_any_number(
    journal: MemoryJournal, said: list[AppliedEvent], until: int
) -> None:
    """J2"""
    replayed = replay(journal, until=until)

    assert (replayed.agreed, replayed.position.seq) == (AgreedState().after(said[:until]), until)


def test_a_compacted_journal_replays_to_the_same_state(journal: MemoryJournal, said: list[AppliedEvent]) -> None:
    """J2, J6"""
    journal.compact(fold_snapshot, before_s=3.0, max_events=100)

    replayed = replay(journal)

    assert (replayed.agreed, replayed.position.seq) == (AgreedState().after(said), 4)


def test_what_lies_before_the_snapshot_is_a_gap(journal: MemoryJournal) -> None:
    """J6"""
    journal.compact(fold_snapshot, before_s=3.0, max_events=100)

    with pytest.raises(JournalGapError, match="compacted up to 2"):
        replay(journal, until=1)


def test_an_empty_journal_amounts_to_nothing() -> None:
    """J2"""
    assert replay(MemoryJournal()).agreed == AgreedState()


def test_a_compaction_in_the_middle_of_a_replay_loses_nothing(
    journal: MemoryJournal, said: list[AppliedEvent]
) -> None:
    """J2, J6"""
    compacting = _CompactsBeforeTheFirstRead(journal)

    assert replay(compacting).agreed == AgreedState().after(said)


def test_the_parts_after_the_end_are_none(journal: MemoryJournal) -> None:
    """J4"""
    assert list(parts_after(journal, journal.end())) == []


class _CompactsBeforeTheFirstRead(MemoryJournal):
    """The journal of another, which is compacted between the look at its snapshot and the first read."""

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__(journal._store)
        self._other = journal

    def read(self, after: Position, /, *, limit: int = 1000) -> list[Recorded]:
        self._other.compact(fold_snapshot, before_s=3.0, max_events=100)
        return super().read(after, limit=limit)
