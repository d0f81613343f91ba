"""Looking again whether the journal has what a ticket names (rule J8)."""

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from hermes_cache import Bus, LookupTimeoutError, Policy, SessionListCache, SessionListKey
from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.errors import JournalError
from hermes_cache.journal.member import Bounds
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.journal.snapshots import fold_snapshot
from hermes_cache.ports import Journal
from hermes_cache.testing import GatedBuilder, UnpluggableJournal
from tests.waiting import until

_KEY = SessionListKey()
_WAIT_S = 20.0
_UNKNOWN = "4fd0:1"


@contextmanager
def _cache(journal: str | Journal | None, *, journal_wait: float = _WAIT_S) -> Iterator[SessionListCache]:
    policy = Policy(ttl=3_600.0, streaming_ttl=3_600.0, journal_wait=journal_wait)
    cache = SessionListCache(GatedBuilder(is_open=True), bus=Bus(), journal=journal, policy=policy)
    with cache:
        yield cache


def test_an_event_that_is_committed_after_its_send_is_known_to_be(url: str) -> None:
    """J8: `ticket.committed` stays as it was when `send` returned."""
    with _cache(url, journal_wait=0.0) as cache:
        ticket = cache.invalidate()
        until(lambda: cache.committed(ticket) is True)

    assert ticket.committed is None


def test_an_event_waits_for_its_journal_and_is_known_to_be_committed_then() -> None:
    """J8, J5: unknown while the journal is away, and nobody waits for that."""
    journal = UnpluggableJournal(MemoryJournal())
    with _cache(journal) as cache:
        journal.unplug()
        ticket = cache.invalidate()
        began_s = time.monotonic()
        meanwhile = cache.committed(ticket)
        waited_s = time.monotonic() - began_s
        journal.plug()
        until(lambda: cache.committed(ticket) is True)

    assert (ticket.committed, meanwhile) == (None, None)
    assert waited_s < _WAIT_S / 2


def test_a_look_waits_for_a_commit_that_is_on_its_way() -> None:
    """J8: at most `journal_wait`."""
    journal = _Hanging(MemoryStore())
    with _cache(journal) as cache:
        journal.answers.clear()
        publisher = threading.Thread(target=cache.invalidate)
        publisher.start()
        assert journal.asked.wait(_WAIT_S)
        looked: list[bool | None] = []
        looker = threading.Thread(target=lambda: looked.append(cache.committed(f"{cache._bus.incarnation}:1")))
        looker.start()
        journal.answers.set()
        looker.join(_WAIT_S)
        publisher.join(_WAIT_S)

    assert looked == [True]


def test_a_ticket_of_another_process_is_looked_up_in_the_journal(
    journals: tuple[str | Journal, str | Journal],
) -> None:
    """J8"""
    with _cache(journals[0]) as here, _cache(journals[1]) as there:
        ticket = here.invalidate()

        assert there.committed(str(ticket)) is True
        assert here.committed(str(ticket)) is True


def test_a_ticket_from_before_a_process_joined_is_looked_up_too(
    journals: tuple[str | Journal, str | Journal],
) -> None:
    """J8, J6: also where its event is compacted."""
    with _cache(journals[0]) as here:
        tickets = [here.invalidate() for _ in range(3)]
        journal = here._membership._link
        assert journal is not None
        journal.life().journal.compact(fold_snapshot, before_s=0.0, max_events=1)
    with _cache(journals[1]) as there:
        looked = [there.committed(str(ticket)) for ticket in tickets]

    assert looked == [True, True, True]


def test_a_ticket_that_nobody_wrote_stays_unknown(journals: tuple[str | Journal, str | Journal]) -> None:
    """J8"""
    with _cache(journals[0], journal_wait=0.05) as cache:
        assert cache.committed(_UNKNOWN) is None


def test_an_event_that_did_not_fit_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """J8, J5: for good, also once the journal is back."""
    monkeypatch.setattr("hermes_cache.journal.link.Bounds", partial(Bounds, buffered=1))
    journal = UnpluggableJournal(MemoryJournal())
    with _cache(journal) as cache:
        journal.unplug()
        kept, lost = cache.invalidate(), cache.invalidate()
        away = cache.committed(kept), cache.committed(lost)
        journal.plug()
        until(lambda: cache.committed(kept) is True)

        assert cache.committed(lost) is False
    assert away == (None, False)


def test_an_event_that_the_journal_refuses_is_given_up() -> None:
    """J8"""
    journal = _Hanging(MemoryStore())
    with _cache(journal) as cache:
        journal.refuses = True
        ticket = cache.invalidate()
        journal.refuses = False
        kept = cache.invalidate()

        assert (cache.committed(ticket), cache.committed(kept)) == (False, True)


def test_an_event_whose_journal_was_replaced_is_given_up(url: str, tmp_path: Path) -> None:
    """J8"""
    with _cache(url) as cache:
        ticket = cache.invalidate()
        before = cache.committed(ticket)
        for path in tmp_path.iterdir():
            # What SQLite keeps beside its file may be gone by then.
            path.unlink(missing_ok=True)
        until(lambda: cache.committed(ticket) is False)

    assert before is True


def test_an_event_that_a_restored_journal_has_not_is_given_up(url: str, tmp_path: Path) -> None:
    """J8"""
    with _cache(url) as cache:
        kept = cache.invalidate()
        shutil.copy(tmp_path / "journal.db", tmp_path / "copy.db")
        lost = cache.invalidate()
        until(lambda: cache.stats().journal_seq == 2)
        (tmp_path / "copy.db").replace(tmp_path / "journal.db")
        until(lambda: cache.committed(lost) is False)

        assert cache.committed(kept) is True


def test_without_a_journal_and_after_a_stop_nothing_is_known(url: str) -> None:
    """J8, L1"""
    with _cache(None) as cache:
        alone = cache.committed(cache.invalidate()), cache.committed(_UNKNOWN)
    with _cache(url) as cache:
        ticket = cache.invalidate()
    stopped = cache.committed(ticket)

    assert (alone, stopped) == ((None, None), None)


@pytest.mark.parametrize("journaled", [False, True])
def test_what_is_no_ticket_is_refused(url: str, *, journaled: bool) -> None:
    """J8"""
    with _cache(url if journaled else None) as cache:
        cache.invalidate()
        for text in ("", "life", "life:x", f"{cache._bus.incarnation}:99"):
            with pytest.raises(ValueError, match="event"):
                cache.committed(text)
        with pytest.raises(TypeError, match="give the text of one"):
            cache.committed(None)  # type: ignore[arg-type]  # what a caller may do
        with pytest.raises(ValueError, match="is no event id"):
            asyncio.run(cache.acommitted("life"))


def test_a_journal_that_hangs_is_waited_for_no_longer_than_journal_wait() -> None:
    """J8, R6: the look goes on aside, and its caller does not."""
    journal = _Hanging(MemoryStore())
    with _cache(journal, journal_wait=0.1) as cache:
        journal.looks.clear()
        looked = cache.committed(_UNKNOWN), asyncio.run(cache.acommitted(_UNKNOWN))
        journal.looks.set()

    assert looked == (None, None)


def test_a_read_with_a_ticket_waits_for_a_journal_that_hangs_no_longer_than_it_may() -> None:
    """R6, J8"""
    journal = _Hanging(MemoryStore())
    with _cache(journal) as cache:
        journal.looks.clear()
        began_s = time.monotonic()
        for read in (cache.get, lambda key, **options: asyncio.run(cache.aget(key, **options))):
            with pytest.raises(LookupTimeoutError):
                read(_KEY, at_least=_UNKNOWN, timeout=0.1)
        took_s = time.monotonic() - began_s
        journal.looks.set()

    assert took_s < _WAIT_S / 2


def test_looks_at_a_journal_that_hangs_keep_so_many_threads_and_no_more() -> None:
    """R6, J8: one for each event, however many ask for it, and a bound for all."""
    journal, same, others = _Hanging(MemoryStore()), list[int](), list[int]()
    with _cache(journal, journal_wait=0.01) as cache:
        journal.looks.clear()
        for _ in range(20):
            assert cache.committed(_UNKNOWN) is None
            assert asyncio.run(cache.acommitted(_UNKNOWN)) is None
        same.append(_looking())
        for number in range(2, 100):
            assert cache.committed(f"4fd0:{number}") is None
        others.append(_looking())
        journal.looks.set()

    assert same == [1]
    assert others[0] <= 32


def _looking() -> int:
    return sum(thread.name == "hermes_cache.inquiry" for thread in threading.enumerate())


def test_an_event_loop_looks_without_standing_still_or_using_its_executor(
    journals: tuple[str | Journal, str | Journal],
) -> None:
    """J8, R6: its default executor may be busy."""
    busy = threading.Event()

    async def look(cache: SessionListCache, text: str) -> tuple[bool | None, bool]:
        with ThreadPoolExecutor(1) as executor:
            loop = asyncio.get_running_loop()
            loop.set_default_executor(executor)
            executor.submit(busy.wait, _WAIT_S)
            ran = asyncio.Event()
            loop.call_later(0.0, ran.set)
            found = await cache.acommitted(text)
            unknown = asyncio.ensure_future(cache.acommitted(_UNKNOWN))
            await ran.wait()
            moved = not unknown.done()
            busy.set()
            unknown.cancel()
            return found, moved

    with _cache(journals[0]) as here, _cache(journals[1]) as there:
        ticket = here.invalidate()
        assert asyncio.run(look(there, str(ticket))) == (True, True)


class _Hanging(MemoryJournal):
    """A journal that answers when it may, or refuses."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.answers, self.looks, self.asked = threading.Event(), threading.Event(), threading.Event()
        self.answers.set()
        self.looks.set()
        self.refuses = False

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        self.asked.set()
        self.answers.wait(_WAIT_S)
        if self.refuses:
            raise JournalError("it is too large")
        return super().append(events)

    def seq_of(self, event_id: EventId, /) -> int | None:
        self.looks.wait(_WAIT_S)
        return super().seq_of(event_id)
