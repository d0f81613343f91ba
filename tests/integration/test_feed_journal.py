"""A feed with a journal: who resumes is told what it missed, also by another process's feed (rules E8, E9)."""

import signal
import threading
from asyncio import CancelledError
from collections.abc import Iterable
from itertools import count
from types import FrameType
from typing import NoReturn

import pytest

from hermes_cache.bus.changes import Change
from hermes_cache.bus.feed import Feed
from hermes_cache.bus.feed_versions import FeedVersion
from hermes_cache.bus.subscription import Subscription
from hermes_cache.core.events import (
    AppliedEvent,
    EventId,
    SessionListChanged,
    SourceChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.errors import JournalUnavailableError
from hermes_cache.journal.memory import MemoryJournal
from hermes_cache.ports import Position
from tests.waiting import WAIT_S

_NUMBERS = count(1)


class _Process:
    """A process's feed, and the journal as it is read for it."""

    def __init__(self, journal: MemoryJournal, name: str, *, remembered: int = 1024) -> None:
        self.journal = journal
        self.feed = Feed(
            name, size=64, remembered=remembered, missed_since=self._missed_since, canonical=_canonical
        )
        self._position = journal.end()
        self.feed.note_position(self._position)

    def publish(self, profile: str | None, session_id: str | None = None) -> None:
        """Tell of an event and commit it; `relay` finds it."""
        event = _changed(profile, session_id)
        self.feed.tell(event, _canonical(profile))
        self.journal.append([event])

    def relay(self) -> None:
        """Tell what was committed meanwhile, by whom ever."""
        for recorded in self.journal.read(self._position):
            self._position = recorded.position
            self.feed.tell(recorded.event, _canonical(getattr(recorded.event, "profile", None)))
        self.feed.note_position(self._position)

    def _missed_since(self, position: Position) -> Iterable[AppliedEvent]:
        return [recorded.event for recorded in self.journal.read(position)]


def _id() -> EventId:
    return EventId("life", next(_NUMBERS))


def _canonical(profile: str | None) -> str | None:
    return "default" if profile == "alias" else profile


def _changed(profile: str | None, session_id: str | None = None) -> SessionListChanged:
    return SessionListChanged(id=_id(), at_s=1.0, reason="rename", profile=profile, session_id=session_id)


def _told(subscription: Subscription) -> list[tuple[str, str | None, str | None]]:
    taken: list[Change] = list(iter(lambda: subscription.get(timeout=0), None))
    return [(change.reason, change.profile, change.session_id) for change in taken]


def test_a_version_names_the_journal_and_how_far_it_was_handed_out() -> None:
    """E8"""
    journal = MemoryJournal()
    process = _Process(journal, "life")
    name = journal.end().journal
    process.publish("p")

    untold = process.feed.version
    process.relay()

    assert untold == f"{name}:0:life:1"
    assert process.feed.version == f"{name}:1.{journal.end().mark.replace(':', '.')}:life:1"


def test_an_own_event_that_the_journal_shows_again_is_handed_out_once() -> None:
    """E5, E8"""
    process = _Process(MemoryJournal(), "life")
    subscription = process.feed.subscribe()
    process.publish("p", "s")

    process.relay()

    assert _told(subscription) == [("rename", "p", "s")]


def test_within_the_process_who_resumes_gets_exactly_what_it_missed() -> None:
    """E8"""
    process = _Process(MemoryJournal(), "life")
    process.publish("p", "s")
    process.relay()
    version = process.feed.version
    process.publish("p", "t")
    process.relay()

    resumed = process.feed.subscribe("p", since=version)

    assert _told(resumed) == [("rename", "p", "t")]


def test_after_a_restart_who_resumes_gets_what_it_missed_merged_and_that_rows_moved() -> None:
    """E8, E9"""
    journal = MemoryJournal()
    first = _Process(journal, "first")
    first.publish("p", "s")
    first.relay()
    version = first.feed.version
    first.publish("q", "t")
    first.publish("p", "u")
    first.publish("p", "v")
    second = _Process(journal, "second")

    one = second.feed.subscribe("q", since=version)
    other = second.feed.subscribe("p", since=version)
    every = second.feed.subscribe(since=version)

    assert _told(one) == [("rename", "q", "t"), ("source_changed", "q", None)]
    assert _told(other) == [("rename", "p", None), ("source_changed", "p", None)]
    assert _told(every) == [("rename", None, None), ("source_changed", None, None)]
    assert one.version == other.version == every.version == second.feed.version


def test_after_a_restart_in_which_nothing_was_missed_rows_may_have_moved() -> None:
    """E9"""
    journal = MemoryJournal()
    first = _Process(journal, "first")
    first.publish("p")
    first.relay()

    resumed = _Process(journal, "second").feed.subscribe("p", since=first.feed.version)

    assert _told(resumed) == [("source_changed", "p", None)]


def test_what_the_new_feed_handed_out_meanwhile_is_part_of_what_was_missed() -> None:
    """E8"""
    journal = MemoryJournal()
    first = _Process(journal, "first")
    version = first.feed.version
    first.publish("p", "s")
    second = _Process(journal, "second")
    second.feed.tell(SourceChanged(id=_id(), at_s=2.0, profile="p"), "p")

    resumed = second.feed.subscribe("p", since=version)

    assert _told(resumed) == [("source_changed", "p", None), ("source_changed", "p", None)]


def test_what_is_handed_out_while_the_journal_is_read_is_part_of_what_was_missed() -> None:
    """E8"""
    journal = MemoryJournal()
    version = _Process(journal, "first").feed.version
    reading, told = threading.Event(), threading.Event()

    def read_slowly(_position: Position) -> list[AppliedEvent]:
        reading.set()
        assert told.wait(WAIT_S)
        return [_changed("p", "r")]

    feed = Feed("second", size=64, missed_since=read_slowly)
    feed.note_position(journal.end())
    resumed: list[Subscription] = []
    resuming = threading.Thread(target=lambda: resumed.append(feed.subscribe("p", since=version)))
    resuming.start()
    assert reading.wait(WAIT_S)
    feed.tell(_changed("p", "s"), "p")
    told.set()
    resuming.join(WAIT_S)

    assert [_told(each) for each in resumed] == [[("rename", "p", None), ("source_changed", "p", None)]]


@pytest.mark.parametrize("told_meanwhile", [0, 3])
def test_who_leaves_before_it_took_all_that_it_missed_resumes_where_it_was(told_meanwhile: int) -> None:
    """E8, E9"""
    journal = MemoryJournal()
    first = _Process(journal, "first")
    version = first.feed.version
    first.publish("p", "s")
    second = _Process(journal, "second")
    for _ in range(told_meanwhile):
        second.publish("p", "s")

    with second.feed.subscribe("p", since=version) as leaving:
        missed = leaving.get(timeout=0)

    assert missed is not None
    assert missed.session_id == "s"
    assert missed.version == leaving.version == str(FeedVersion.parse(version).in_journal_alone())


def test_a_subscriber_that_read_older_lists_elsewhere_hears_again_where_it_came_from() -> None:
    """E8: the other process has not applied what the first one told, so its lists may lack it."""
    journal = MemoryJournal()
    first = _Process(journal, "first")
    second = _Process(journal, "second")
    second.publish("p", "s")
    second.relay()
    with first.feed.subscribe("p") as subscription:
        first.publish("p", "t")
        told = subscription.get(timeout=0)
    assert told is not None
    with second.feed.subscribe("p", since=told.version) as leaving:
        half = leaving.get(timeout=0)
    first.relay()

    assert half is not None
    with first.feed.subscribe("p", since=half.version) as back:
        again = back.get(timeout=0)

    assert again is not None
    assert again.profile == "p"


def test_what_was_missed_outlasts_a_merge_with_what_comes_after() -> None:
    """E7, E8"""
    feed = Feed("life", size=3, missed_since=lambda _position: [_changed("p", "s")])
    feed.note_position(Position("journal", 5))
    subscription = feed.subscribe(since="journal:3:other:1")
    for profile in ("q", "p"):
        feed.tell(_changed(profile), profile)

    first = subscription.get(timeout=0)
    rest = list(iter(lambda: subscription.get(timeout=0), None))

    assert first is not None
    assert (first.profile, first.version) == (None, "journal:3:-:0")
    assert [change.profile for change in rest] == ["q", "p"]
    assert rest[-1].version == feed.version


def test_a_version_that_the_feed_forgot_is_looked_up_in_the_journal() -> None:
    """E8"""
    process = _Process(MemoryJournal(), "life", remembered=2)
    version = process.feed.version
    for session_id in ("s", "s", "s"):
        process.publish("p", session_id)
        process.relay()
    process.publish("q")
    process.relay()

    resumed = process.feed.subscribe("p", since=version)

    assert _told(resumed) == [("rename", "p", "s"), ("source_changed", "p", None)]


def test_profiles_in_the_journal_reach_subscribers_as_the_cache_knows_them() -> None:
    """E7, K3"""
    journal = MemoryJournal()
    first = _Process(journal, "first")
    version = first.feed.version
    first.publish("alias", "s")

    resumed = _Process(journal, "second").feed.subscribe("default", since=version)

    assert _told(resumed) == [("rename", "default", "s"), ("source_changed", "default", None)]


def test_a_missed_stop_has_its_starts_profile_where_that_is_known() -> None:
    """E7, E8"""
    journal = MemoryJournal()
    version = _Process(journal, "first").feed.version
    known = StreamStarted(id=_id(), at_s=1.0, stream_id="known", profile="p", session_id="s")
    journal.append([known, StreamStopped(id=_id(), at_s=2.0, stream_id="known")])
    process = _Process(journal, "second")

    other = process.feed.subscribe("q", since=version)
    journal.append([StreamStopped(id=_id(), at_s=3.0, stream_id="unknown")])
    all_of_it = process.feed.subscribe("q", since=version)

    assert _told(other) == [("source_changed", "q", None)]
    assert _told(all_of_it) == [("stream_stopped", None, None), ("source_changed", "q", None)]


def test_another_journals_version_means_refresh_everything() -> None:
    """E8"""
    version = _Process(MemoryJournal(), "first").feed.version

    resumed = _Process(MemoryJournal(), "second").feed.subscribe("p", since=version)

    assert _told(resumed) == [("resumed", None, None)]


def test_a_version_ahead_of_the_feed_means_refresh_everything() -> None:
    """E8: the other process read further in the journal than this one."""
    journal = MemoryJournal()
    behind, ahead = _Process(journal, "behind"), _Process(journal, "ahead")
    ahead.publish("p")
    ahead.relay()

    resumed = behind.feed.subscribe("p", since=ahead.feed.version)

    assert _told(resumed) == [("resumed", None, None)]


def test_what_was_compacted_means_refresh_everything() -> None:
    """E8, J6"""
    journal = MemoryJournal()
    first = _Process(journal, "first")
    version = first.feed.version
    first.publish("p")
    journal.compact(lambda _body, _events: b"", before_s=0.0, max_events=0)

    resumed = _Process(journal, "second").feed.subscribe("p", since=version)

    assert _told(resumed) == [("resumed", None, None)]
    assert resumed.version.startswith(f"{journal.end().journal}:1.life.")


@pytest.mark.parametrize("error", [JournalUnavailableError, ValueError, SystemExit, CancelledError])
def test_a_journal_that_cannot_be_read_means_refresh_everything(error: type[BaseException]) -> None:
    """E8, J5, L7"""

    def unreachable(_position: Position) -> Iterable[AppliedEvent]:
        raise error("away")

    feed = Feed("life", size=64, missed_since=unreachable)
    feed.note_position(Position("journal", 5))

    resumed = feed.subscribe(since="journal:3:other:1")

    assert _told(resumed) == [("resumed", None, None)]


def test_an_interrupt_that_strikes_while_the_journal_is_read_ends_the_subscribing() -> None:
    """L6"""

    class AlarmError(Exception):
        pass

    def handle(_number: int, _frame: FrameType | None) -> NoReturn:
        raise AlarmError

    def read(_position: Position) -> Iterable[AppliedEvent]:
        signal.raise_signal(signal.SIGUSR1)
        return []

    feed = Feed("life", size=64, missed_since=read)
    feed.note_position(Position("journal", 5))
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with pytest.raises(AlarmError):
            feed.subscribe(since="journal:3:other:1")
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_too_much_to_read_means_refresh_everything() -> None:
    """E8"""
    feed = Feed("life", size=64, missed_since=lambda _position: None)
    feed.note_position(Position("journal", 50_000))

    resumed = feed.subscribe("p", since="journal:3:other:1")

    assert _told(resumed) == [("resumed", None, None)]


def test_more_changes_since_the_last_position_than_are_remembered_mean_refresh_everything() -> None:
    """E8"""
    feed = Feed("life", size=64, remembered=2, missed_since=lambda _position: [])
    feed.note_position(Position("journal", 5))
    for _ in range(4):
        feed.tell(_changed("p"), "p")

    resumed = feed.subscribe("p", since="journal:3:other:1")

    assert _told(resumed) == [("resumed", None, None)]
