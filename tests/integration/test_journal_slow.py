"""A journal that takes its time: nobody misses anything, and no publisher waits in vain twice (J2, J3, J5)."""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import pytest

from hermes_cache import Bus, Payload, Policy, SessionListCache, SessionListKey
from hermes_cache.core.events import AppliedEvent
from hermes_cache.errors import JournalUnavailableError
from hermes_cache.journal.checks import Checks
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.ports import Journal
from hermes_cache.threads.calls import Call
from tests.waiting import WAIT_S, until

_KEY = SessionListKey("work")


class _SlowJournal(MemoryJournal):
    """One that answers nobody before it may."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.may_answer = threading.Event()

    def stamp(self) -> Hashable:
        self.may_answer.wait(WAIT_S)
        return super().stamp()


class _HangsForReaders(MemoryJournal):
    """One that answers its own thread, and others when it may."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.may_answer, self.asked, self.looks = threading.Event(), threading.Event(), 0
        self.may_answer.set()

    def stamp(self) -> Hashable:
        if threading.current_thread().name != "hermes_cache.tail":
            self.looks += 1
            if not self.may_answer.is_set():
                self.asked.set()
                self.may_answer.wait(WAIT_S)
        return super().stamp()


class _LockedJournal(MemoryJournal):
    """One that can be locked."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.locked = threading.Event()

    def stamp(self) -> Hashable:
        if self.locked.is_set():
            raise JournalUnavailableError("the journal is locked; try again")
        return super().stamp()


class _SlowToKeep(MemoryJournal):
    """One that keeps nothing before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_keep = threading.Event()

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        self.may_keep.wait(WAIT_S)
        return super().append(events)


def test_what_others_say_while_a_process_joins_is_not_missed() -> None:
    """J3: the first list may be built before the journal was read; then the next read builds another."""
    store = MemoryStore()
    journal, bus = _SlowJournal(store), Bus()
    truth = ["old"]
    policy = Policy(ttl=600.0, journal_interval=60.0)
    newcomer = SessionListCache(lambda _key: {"sessions": truth.copy()}, bus=Bus(), journal=journal, policy=policy)
    with newcomer, SessionListCache(bus=bus, journal=MemoryJournal(store), policy=policy):
        first = threading.Thread(target=newcomer.get, args=(_KEY,))
        first.start()
        first.join(0.2)
        truth[0] = "new"
        bus.session_list_changed.send(profile="work")
        journal.may_answer.set()
        first.join(WAIT_S)

        assert newcomer.get(_KEY)["sessions"] == ["new"]


def test_once_a_publisher_waited_in_vain_nobody_waits_until_the_journal_keeps_something() -> None:
    """J3, J5: and then who publishes waits for the commit again."""
    journal = _SlowToKeep()
    policy = Policy(journal_wait=1.0)
    spans_s = []
    with SessionListCache(bus=Bus(), journal=journal, policy=policy) as cache:
        for _ in range(20):
            began_s = time.monotonic()
            cache.invalidate("work")
            spans_s.append(time.monotonic() - began_s)
        journal.may_keep.set()
        while cache.stats().journal_pending:
            threading.Event().wait(0.001)

        assert spans_s[0] >= policy.journal_wait
        # Each would wait for all of it, and a busy machine adds less than that to all of them.
        assert sum(spans_s[1:]) < len(spans_s[1:]) * policy.journal_wait / 2
        assert cache.invalidate("work").committed


def test_a_read_after_a_commit_sees_it_although_the_check_before_it_failed() -> None:
    """J3: a journal that is locked for a moment is not away; each read looks for itself."""
    store = MemoryStore()
    journal, bus = _LockedJournal(store), Bus()
    truth = ["old"]
    policy = Policy(ttl=600.0, journal_interval=0.0)
    reader = SessionListCache(lambda _key: {"sessions": truth.copy()}, bus=Bus(), journal=journal, policy=policy)
    with reader, SessionListCache(bus=bus, journal=MemoryJournal(store), policy=policy):
        reader.get(_KEY)
        journal.locked.set()
        while reader.health().healthy:
            threading.Event().wait(0.001)
        truth[0] = "new"
        bus.session_list_changed.send(profile="work")
        journal.locked.clear()

        assert reader.get(_KEY)["sessions"] == ["new"]


def test_reads_wait_for_a_locked_journal_once_then_they_go_on() -> None:
    """J5: past a second it is away, and only its own thread looks whether it is back."""
    journal = _LockedJournal(MemoryStore())
    spans_s = []
    policy = Policy(ttl=600.0, journal_interval=0.0)
    cache = SessionListCache(lambda _key: {"sessions": []}, bus=Bus(), journal=journal, policy=policy)
    with cache:
        cache.get(_KEY)
        journal.locked.set()
        for _ in range(20):
            began_s = time.monotonic()
            cache.get(_KEY)
            spans_s.append(time.monotonic() - began_s)

    # Each would wait for a second, and a busy machine adds less than that to all of them.
    assert spans_s[0] < WAIT_S / 2
    assert sum(spans_s[1:]) < len(spans_s[1:]) / 4


@pytest.mark.parametrize("freshness", ["default", "fresh"])
def test_a_read_with_a_bound_does_not_wait_for_a_check_that_hangs(freshness: Literal["default", "fresh"]) -> None:
    """R6: however much time the read had left when it began."""
    journal = _HangsForReaders(MemoryStore())
    with _polled(journal) as cache:
        journal.may_answer.clear()
        reading = _reading(lambda: cache.get(_KEY, timeout=0.7, freshness=freshness))

        is_over = reading.wait(WAIT_S / 2)
        journal.may_answer.set()

    assert is_over


def test_a_read_that_comes_in_the_middle_of_a_check_goes_on_without_it_after_a_second() -> None:
    """J3, J5: the thread that checks may wait for something that the reader holds."""
    journal = _HangsForReaders(MemoryStore())
    with _polled(journal) as cache:
        journal.may_answer.clear()
        checking = _reading(lambda: cache.get(_KEY))
        assert journal.asked.wait(WAIT_S)
        beside = [_reading(lambda: cache.get(_KEY)) for _ in range(3)]

        are_over = [reading.wait(WAIT_S / 2) for reading in beside]
        is_checking = not checking.is_over
        journal.may_answer.set()

    assert is_checking
    assert are_over == [True] * 3


def test_reads_that_wait_for_a_check_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """J3: with `journal_interval=0` it is one that began after each of them."""
    journal, shared, share = _HangsForReaders(MemoryStore()), list[Call[None]](), Checks._shared

    def noting(checks: Checks) -> Call[None]:
        shared.append(share(checks))
        return shared[-1]

    monkeypatch.setattr(Checks, "_shared", noting)
    with _polled(journal) as cache:
        journal.may_answer.clear()
        _reading(lambda: cache.get(_KEY))
        assert journal.asked.wait(WAIT_S)
        shared.clear()
        beside = [_reading(lambda: cache.get(_KEY)) for _ in range(20)]
        until(lambda: len(shared) == len(beside))
        before = journal.looks
        journal.may_answer.set()
        assert all(reading.wait(WAIT_S) for reading in beside)

        looks = journal.looks - before

    assert looks <= 2


@contextmanager
def _polled(journal: Journal) -> Iterator[SessionListCache]:
    policy = Policy(ttl=600.0, journal_interval=0.0)
    with SessionListCache(lambda _key: {"sessions": []}, bus=Bus(), journal=journal, policy=policy) as cache:
        cache.get(_KEY)
        yield cache


def _reading(read: Callable[[], Payload]) -> Call[Payload]:
    call = Call(read)
    threading.Thread(target=call.run, daemon=True).start()
    return call
