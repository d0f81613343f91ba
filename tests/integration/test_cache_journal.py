"""Caches that share a journal: what one process says is true in all, and what holds while the journal is away (J).

Two buses stand for two processes: they share nothing but the journal.
"""

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from hermes_cache import (
    BuildError,
    Bus,
    CacheStoppedError,
    EventError,
    JournalUnavailableError,
    LookupTimeoutError,
    Policy,
    SessionListCache,
    SessionListChanged,
    SessionListKey,
    StreamStarted,
)
from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.errors import JournalSetupError
from hermes_cache.journal.link import JournalLink
from hermes_cache.journal.member import Bounds
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.journal.replaying import replay
from hermes_cache.journal.snapshots import fold_snapshot
from hermes_cache.journal.sqlalchemy_journal import journal_at
from hermes_cache.ports import Journal, Position
from hermes_cache.testing import GatedBuilder, Listener, ManualClock, UnpluggableJournal
from tests.waiting import WAIT_S

_KEY = SessionListKey()
_WORK = SessionListKey("work")
_STRICT = Policy(ttl=3_600.0, streaming_ttl=3_600.0, journal_interval=0, journal_wait=WAIT_S)
_NEVER_SAID = "4fd0:1"


class _Process:
    """A bus, a cache on it that shares a journal, and what its receivers heard."""

    def __init__(
        self,
        journal: str | Journal | None,
        policy: Policy = _STRICT,
        clock: ManualClock | None = None,
        bus: Bus | None = None,
    ) -> None:
        self.bus = bus or Bus()
        self.heard = Listener(*self.bus.published())
        self.builder = GatedBuilder(is_open=True)
        self.cache = SessionListCache(self.builder, bus=self.bus, journal=journal, policy=policy, clock=clock)

    def reasons(self, count: int) -> list[str]:
        return [event.reason for event in self.heard.wait_for(count)]


@contextmanager
def _processes(*processes: _Process) -> Iterator[None]:
    for process in processes:
        process.cache.start()
    try:
        yield
    finally:
        for process in processes:
            process.cache.stop()


def test_an_event_of_one_process_outdates_the_lists_of_another(
    journals: tuple[str | Journal, str | Journal],
) -> None:
    """J3, R1"""
    here, there = _Process(journals[0]), _Process(journals[1])
    with _processes(here, there):
        there.cache.get(_KEY)

        ticket = here.cache.invalidate("default", "rename")
        looked = there.cache.lookup(_KEY)

    assert ticket.committed is True
    assert (looked.payload["call"], looked.reason) == (2, "event")


def test_only_what_an_event_touches_is_outdated_elsewhere(journals: tuple[str | Journal, str | Journal]) -> None:
    """V1, J1"""
    here, there = _Process(journals[0]), _Process(journals[1])
    with _processes(here, there):
        there.cache.get(_KEY)
        there.cache.get(_WORK)

        here.cache.invalidate("work")

        assert (there.cache.lookup(_KEY).outcome, there.cache.lookup(_WORK).outcome) == ("hit", "built")


def test_each_event_is_applied_and_heard_once_in_each_process(
    journals: tuple[str | Journal, str | Journal],
) -> None:
    """J1, J4"""
    here, there = _Process(journals[0]), _Process(journals[1])
    with _processes(here, there):
        for number in range(20):
            (here if number % 2 else there).cache.invalidate("work", f"r{number}")
        for process in (here, there):
            process.cache.get(_KEY)

        said = {f"r{number}" for number in range(20)}
        assert set(here.reasons(20)) == set(there.reasons(20)) == said
        assert here.cache.stats().events == there.cache.stats().events == 20


def test_a_stream_of_one_process_holds_the_lists_of_another_down(
    journals: tuple[str | Journal, str | Journal],
) -> None:
    """H1, J3"""
    here, there = _Process(journals[0]), _Process(journals[1])
    with _processes(here, there):
        here.bus.stream_started.send(stream_id="s", profile="work")
        here.cache.invalidate("other")
        there.cache.get(_KEY)

        assert there.cache.stats().streams == 1


def test_a_process_that_joins_later_knows_the_active_streams(
    journals: tuple[str | Journal, str | Journal],
) -> None:
    """J2"""
    here, there = _Process(journals[0]), _Process(journals[1])
    with _processes(here):
        here.bus.stream_started.send(stream_id="running", profile="work")
        here.bus.stream_started.send(stream_id="over", profile="work")
        here.bus.stream_stopped.send(stream_id="over")
        here.cache.invalidate()

        with _processes(there):
            there.cache.get(_KEY)

            assert there.cache.stats().streams == 1


def test_a_cache_that_joins_a_bus_later_knows_the_active_streams(url: str) -> None:
    """J1, J2"""
    first = _Process(url)
    second = SessionListCache(GatedBuilder(is_open=True), bus=first.bus, journal=url, policy=_STRICT)
    with _processes(first):
        first.bus.stream_started.send(stream_id="s", profile="work")

        with second:
            assert second.stats().streams == 1


def test_a_ticket_lets_the_next_read_in_any_process_see_the_write(
    journals: tuple[str | Journal, str | Journal],
) -> None:
    """J8"""
    policy = Policy(ttl=3_600.0, journal_interval=3_600.0, journal_wait=WAIT_S)
    here, there = _Process(journals[0], policy), _Process(journals[1], policy)
    with _processes(here, there):
        there.cache.get(_KEY)
        ticket = here.cache.invalidate("default")

        looked = there.cache.lookup(_KEY, at_least=ticket)

        assert (looked.payload["call"], looked.reason) == (2, "event")


def test_an_event_from_before_a_process_joined_counts_as_applied(url: str) -> None:
    """J8"""
    here, there = _Process(url), _Process(url)
    with _processes(here):
        ticket = here.cache.invalidate("default")
    compacting = journal_at(url)
    compacting.compact(fold_snapshot, before_s=2e10, max_events=0)
    compacting.close()

    with _processes(there):
        assert there.cache.lookup(_KEY, at_least=ticket, timeout=WAIT_S).outcome == "built"


def test_an_event_of_a_forgotten_incarnation_counts_as_applied_while_the_journal_keeps_it() -> None:
    """J8: as many short-lived publishers came since as are remembered."""
    journal = MemoryJournal()
    process = _Process(journal)
    said = [SessionListChanged(id=EventId(f"life{life}", 1), at_s=1.0) for life in range(4_200)]
    journal.append(said)

    with _processes(process):
        assert process.cache.lookup(_KEY, at_least="life0:1", timeout=WAIT_S).outcome == "built"


def test_a_ticket_that_nobody_wrote_is_waited_for_no_longer_than_the_read_may(url: str) -> None:
    """J8, R6"""
    process = _Process(url)
    with _processes(process), pytest.raises(LookupTimeoutError, match=_NEVER_SAID):
        process.cache.get(_KEY, at_least=_NEVER_SAID, timeout=0.05)


def test_an_event_loop_waits_for_a_ticket_without_standing_still(url: str) -> None:
    """J8, W4"""
    here, there = _Process(url), _Process(url)

    async def read() -> int:
        event = SessionListChanged(id=EventId("other", 1), at_s=1.0)
        reading = asyncio.create_task(there.cache.alookup(_KEY, at_least="other:1"))
        await asyncio.sleep(0)
        await asyncio.to_thread(_append, url, event)
        return int(str((await reading).payload["call"]))

    with _processes(here, there):
        there.cache.get(_KEY)

        assert asyncio.run(read()) == 2


def test_reads_and_local_events_go_on_while_the_journal_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """J5"""
    journal, store = _unpluggable()
    here, there = _Process(journal), _Process(MemoryJournal(store))
    with _processes(here, there), caplog.at_level(logging.WARNING):
        here.cache.get(_KEY)
        journal.unplug()
        journal.wait_for_refusals(1)

        ticket = here.cache.invalidate("default", "while away")
        outcome = here.cache.lookup(_KEY).outcome
        health = here.cache.health()
        there.cache.invalidate("work", "by another")
        journal.plug()
        heard_there, heard_here = there.reasons(2), here.reasons(2)

    assert (ticket.committed, outcome) == (None, "built")
    assert (health.healthy, "unplugged" in str(health.journal_failure)) == (False, True)
    assert set(heard_there) == set(heard_here) == {"while away", "by another"}
    assert [r.message for r in caplog.records].count("hermes_cache.journal_not_read") == 1


def test_an_append_whose_answer_was_lost_is_kept_once() -> None:
    """J4, J5"""
    journal, store = _unpluggable(loses_answers=True)
    here, there = _Process(journal), _Process(MemoryJournal(store))
    with _processes(here, there):
        journal.unplug()
        journal.wait_for_refusals(1)
        here.cache.invalidate("work", "once")
        journal.plug()
        here.cache.invalidate("work", "after")

        assert there.reasons(2) == ["once", "after"]
        assert len(replay(MemoryJournal(store)).agreed.applied[here.bus.incarnation].ranges) == 1


def test_past_the_lease_reads_that_insist_on_freshness_are_refused_and_others_tell() -> None:
    """J5, R8"""
    clock = ManualClock()
    journal, _ = _unpluggable()
    process = _Process(journal, Policy(ttl=3_600.0), clock)
    with _processes(process):
        process.cache.get(_KEY)
        journal.unplug()
        journal.wait_for_refusals(1)

        within = process.cache.lookup(_KEY, freshness="fresh").outcome
        clock.advance(16.0)

        with pytest.raises(JournalUnavailableError, match=r"16\.0 s"):
            process.cache.get(_KEY, freshness="fresh")
        with pytest.raises(JournalUnavailableError, match=r"16\.0 s"):
            process.cache.get(_KEY, at_least=_NEVER_SAID)
        told = process.cache.lookup(_KEY)
        assert within in ("hit", "built")
        assert (told.outcome, told.journal_lag_s, process.cache.health().journal_lag_s) == ("hit", 16.0, 16.0)


def test_health_tells_of_a_journal_that_hangs() -> None:
    """J5, L4"""
    clock = ManualClock()
    process = _Process(MemoryJournal(), Policy(ttl=3_600.0), clock)
    with _processes(process):
        process.cache.get(_KEY)
        # No check began since, as far as this clock goes: what a check that hangs looks like.
        checked = process.cache.health().healthy
        clock.advance(2.5)
        while (health := process.cache.health()).healthy:
            clock.advance(2.5)

    assert checked
    assert (health.journal_failure, health.journal_lag_s) == ("it does not answer", 2.5)


def test_a_journal_that_nobody_reads_yet_is_not_silent() -> None:
    """E10, J8, L4: a bus that only publishes, or a cache before its start, asks for no news"""
    clock, store = ManualClock(), MemoryStore()
    here, there = _Process(MemoryJournal(store), clock=clock), _Process(MemoryJournal(store))
    ticket = there.cache.invalidate("default", "rename")
    here.bus.session_list_changed.send()
    clock.advance(3_600.0)

    health, known = here.cache.health(), here.cache.committed(ticket)

    with _processes(here, there):
        assert (health.journal_failure, health.journal_lag_s, known) == (None, 0.0, True)
        assert here.cache.lookup(_KEY, freshness="fresh", at_least=ticket).outcome == "built"


def test_a_ticket_is_refused_where_the_journal_goes_away_over_the_wait() -> None:
    """J5, J8"""
    clock = ManualClock()
    journal, _ = _unpluggable()
    process = _Process(journal, Policy(ttl=3_600.0), clock)
    raised: list[BaseException] = []

    def read() -> None:
        try:
            process.cache.get(_KEY, at_least=_NEVER_SAID)
        except JournalUnavailableError as error:
            raised.append(error)

    with _processes(process):
        reading = threading.Thread(target=read)
        reading.start()
        journal.unplug()
        journal.wait_for_refusals(1)
        clock.advance(11.0)
        journal.wait_for_refusals(3)
        reading.join(WAIT_S)

    assert len(raised) == 1


def test_lists_served_before_the_journal_could_be_read_are_outdated_once_it_can() -> None:
    """J5, R1"""
    journal, _ = _unpluggable()
    journal.unplug()
    process = _Process(journal)
    with _processes(process):
        journal.wait_for_refusals(1)
        process.cache.get(_KEY)
        journal.plug()

        assert process.reasons(1) == ["journal_gap"]
        assert process.cache.lookup(_KEY).reason == "event"


def test_a_replaced_journal_outdates_everything_in_all_who_read_it(url: str, tmp_path: Path) -> None:
    """J5"""
    here, there = _Process(url), _Process(url)
    with _processes(here, there):
        here.cache.invalidate("work", "first")
        there.cache.get(_KEY)
        another = tmp_path / "another.db"
        journal = journal_at(f"sqlite:///{another}")
        journal.append([SessionListChanged(id=EventId("other", 1), at_s=1.0, profile="elsewhere")])
        journal.close()
        another.replace(tmp_path / "journal.db")

        looked = there.cache.lookup(_KEY)

        assert (looked.outcome, looked.reason) == ("built", "event")
        assert here.reasons(2) == there.reasons(2) == ["first", "journal_gap"]


def test_a_reader_that_fell_behind_the_compaction_invalidates_everything_once_tells_and_goes_on() -> None:
    """J5, J6"""
    journal, store = _unpluggable()
    behind, ahead = _Process(journal), _Process(MemoryJournal(store))
    with _processes(behind, ahead):
        behind.cache.get(_KEY)
        journal.unplug()
        journal.wait_for_refusals(1)
        ahead.cache.invalidate("work", "missed")
        ahead.cache.get(_KEY)
        MemoryJournal(store).compact(fold_snapshot, before_s=2e10, max_events=0)
        journal.plug()

        assert behind.reasons(1) == ["journal_gap"]
        assert behind.cache.lookup(_KEY).reason == "event"
        assert ahead.reasons(2) == ["missed", "journal_gap"]
        ahead.cache.invalidate("work", "read again")
        assert behind.reasons(2) == ["journal_gap", "read again"]


def test_the_journal_is_compacted_as_it_grows_and_nothing_is_lost_by_it(url: str) -> None:
    """J6, J2"""
    policy = Policy(journal_max_events=100, journal_wait=5.0)
    process = _Process(url, policy)
    with _processes(process):
        process.bus.stream_started.send(stream_id="s")
        for number in range(150):
            process.cache.invalidate(f"p{number % 3}")
        applied = process.bus.last_number

        journal = journal_at(url)
        while (snapshot := journal.snapshot()) is None or applied - snapshot.position.seq > 111:
            journal.wait(journal.stamp(), timeout_s=5.0)
        replayed = replay(journal)
        journal.close()

    assert replayed.agreed.applied[process.bus.incarnation].ranges == ((1, applied),)
    assert set(replayed.agreed.streams) == {"s"}


def test_caches_on_one_bus_share_its_journal_and_another_is_refused(url: str) -> None:
    """J1"""
    process = _Process(url)
    second = SessionListCache(GatedBuilder(is_open=True), bus=process.bus, journal=url)
    with _processes(process), second:
        process.cache.invalidate("work", "shared")

        with pytest.raises(ValueError, match="has the journal"):
            SessionListCache(GatedBuilder(), bus=process.bus, journal=MemoryJournal())
        assert process.reasons(1) == ["shared"]
        assert (process.cache.stats().events, second.stats().events) == (1, 1)


def test_a_start_does_not_wait_for_itself_where_the_journal_tells_of_streams(url: str) -> None:
    """J2, L1"""
    policy = Policy(journal_interval=3_600.0)
    with _processes(other := _Process(url)):
        other.bus.stream_started.send(stream_id="s", profile="work")
        other.cache.invalidate()
    process = _Process(url, policy)

    process.cache.start()
    stats = process.cache.stats()
    process.cache.stop()

    assert (stats.journal_seq, stats.streams) == (2, 1)


def test_a_stream_of_a_process_that_died_long_ago_does_not_come_back_to_life(url: str) -> None:
    """H4"""
    dead = StreamStarted(id=EventId("dead", 1), at_s=time.time() - 901.0, stream_id="ghost", profile="work")
    _append(url, dead)
    process = _Process(url)
    process.cache.invalidate("elsewhere")

    with _processes(process):
        process.cache.get(_WORK)

        assert process.cache.stats().streams == 0


def test_what_was_said_of_streams_before_a_process_joined_is_no_news_to_its_receivers(url: str) -> None:
    """J2, E5"""
    started = StreamStarted(id=EventId("other", 1), at_s=time.time(), stream_id="s", profile="work")
    _append(url, started)
    process = _Process(url)
    with _processes(process):
        process.cache.invalidate("work", "news")

        assert process.reasons(1) == ["news"]


def test_a_gap_may_hide_that_settings_changed_so_aliases_are_asked_for_anew(url: str, tmp_path: Path) -> None:
    """J5, K3, V1"""
    roots = {"default"}
    here = _Process(url)
    bus = Bus()
    there = SessionListCache(
        GatedBuilder(is_open=True), bus=bus, journal=url, policy=_STRICT, is_root_profile=roots.__contains__
    )
    with _processes(here), there:
        there.get(_KEY)
        there.get(_WORK)
        here.bus.settings_changed.send()
        with closing(sqlite3.connect(tmp_path / "journal.db")) as connection, connection:
            connection.execute("UPDATE hermes_cache_events SET checksum = 0 WHERE seq = 1")
        roots.add("work")
        there.get(_KEY)
        here.cache.invalidate("work")

        assert there.lookup(_KEY).reason == "event"


def test_a_restart_asks_for_aliases_anew(url: str) -> None:
    """K3, J2"""
    roots: set[str] = set()
    here, bus = _Process(url), Bus()
    there = SessionListCache(
        GatedBuilder(is_open=True), bus=bus, journal=url, policy=_STRICT, is_root_profile=roots.__contains__
    )
    with _processes(here):
        there.get(_WORK)
        there.stop()
        roots.add("work")
        here.bus.settings_changed.send()
        with there:
            there.get(_KEY)

            here.cache.invalidate("work")

            assert there.lookup(_KEY).reason == "event"


def test_many_damaged_rows_are_one_gap(url: str, tmp_path: Path) -> None:
    """J5"""
    journal = UnpluggableJournal(journal_at(url))
    here, there = _Process(url), _Process(journal)
    with _processes(here, there), closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        journal.unplug()
        journal.wait_for_refusals(1)
        for number in range(5):
            here.cache.invalidate("work", f"r{number}")
        here.cache.get(_KEY)
        with connection:
            connection.execute("UPDATE hermes_cache_events SET checksum = 0")
        journal.plug()
        assert there.reasons(1) == ["journal_gap"]

        here.cache.invalidate("work", "after")

        assert there.reasons(2) == ["journal_gap", "after"]
        assert sorted(here.reasons(7)) == ["after", "journal_gap", *[f"r{number}" for number in range(5)]]
    journal.close()


def test_one_event_stands_for_what_did_not_fit_at_a_stop_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """J5, L1"""
    monkeypatch.setattr("hermes_cache.journal.link.Bounds", partial(Bounds, buffered=2))
    journal, store = _unpluggable()
    here = _Process(journal)
    with _processes(here):
        journal.unplug()
        journal.wait_for_refusals(1)
        for number in range(4):
            here.cache.invalidate("work", f"r{number}")
        journal.plug()

    kept = MemoryJournal(store).read(Position(store.name))
    assert [getattr(each.event, "reason", "") for each in kept] == ["r0", "r1", "journal_overrun"]


def test_a_read_with_a_bound_does_not_wait_longer_for_the_journal(url: str, tmp_path: Path) -> None:
    """R6"""
    bounded, patient = _Process(url), _Process(url)
    with (
        _processes(bounded, patient),
        closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as holder,
    ):
        for process in (bounded, patient):
            process.cache.get(_KEY)
        holder.execute("BEGIN EXCLUSIVE")
        # Else its times tell that nobody committed.
        os.utime(tmp_path / "journal.db")

        # A busy machine makes some take longer; the shortest tells.
        bounded_s = min(_took_s(bounded.cache, timeout=0.05) for _ in range(5))
        patient_s = _took_s(patient.cache)
        holder.execute("ROLLBACK")

    assert bounded_s < patient_s


def _took_s(cache: SessionListCache, timeout: float | None = None) -> float:
    """Return how long a hit took."""
    began_s = time.monotonic()
    assert cache.lookup(_KEY, timeout=timeout).outcome == "hit"
    return time.monotonic() - began_s


def test_caches_on_one_bus_are_each_as_fresh_as_their_own_policy_says() -> None:
    """J3"""
    store = MemoryStore()
    journal = MemoryJournal(store)
    lax = _Process(journal, Policy(ttl=3_600.0, journal_interval=3_600.0))
    strict = SessionListCache(GatedBuilder(is_open=True), bus=lax.bus, journal=journal, policy=_STRICT)
    other = _Process(MemoryJournal(store))
    with _processes(lax, other), strict:
        strict.get(_KEY)
        other.cache.invalidate("default")

        assert strict.lookup(_KEY).reason == "event"


def test_a_read_inside_a_builder_does_not_wait_for_a_ticket(url: str) -> None:
    """L5"""
    process = _Process(url)
    raised: list[BaseException] = []

    def build(key: SessionListKey) -> dict[str, object]:
        try:
            process.cache.get(key, at_least=_NEVER_SAID)
        except BuildError as error:
            raised.append(error)
        return {"sessions": []}

    with _processes(process):
        process.cache.get(_KEY, builder=build)

    assert len(raised) == 1


def test_a_stop_lets_go_who_waits_for_a_ticket(url: str) -> None:
    """L1, J8"""
    process = _Process(url)
    raised: list[BaseException] = []

    def read() -> None:
        try:
            process.cache.get(_KEY, at_least=_NEVER_SAID)
        except CacheStoppedError as error:
            raised.append(error)

    with _processes(process):
        process.cache.get(_KEY)
        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        link = process.bus._recorder
        assert isinstance(link, JournalLink)
        while not link.life().follower.is_awaited:
            threading.Event().wait(0.001)
    reading.join(WAIT_S)

    assert len(raised) == 1


def test_tickets_that_never_come_hold_no_thread_of_an_event_loop(url: str) -> None:
    """J8, W4"""
    process = _Process(url)

    async def run() -> bool:
        waiting = [asyncio.create_task(process.cache.aget(_KEY, at_least=f"other:{n + 1}")) for n in range(50)]
        done, _ = await asyncio.wait(waiting, timeout=0.5)
        await asyncio.to_thread(int)
        came_first = not any(each.done() for each in waiting)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not done
        return came_first

    with _processes(process):
        assert asyncio.run(run())


def test_a_bus_may_have_another_journal_once_no_cache_uses_the_first(url: str) -> None:
    """J1"""
    process = _Process(url)
    with _processes(process):
        process.cache.invalidate()

    with SessionListCache(GatedBuilder(), bus=process.bus, journal=MemoryJournal()) as cache:
        assert cache.invalidate().committed is True


@pytest.mark.parametrize(
    ("journal", "error", "told"),
    [
        ("mysql://somebody:secret@there/events", JournalSetupError, "only SQLite and PostgreSQL"),
        ("no url", JournalSetupError, "no URL"),
        (7, TypeError, "journal is 7"),
    ],
)
def test_what_can_be_no_journal_is_refused_at_once(journal: object, error: type[Exception], told: str) -> None:
    """J1"""
    with pytest.raises(error, match=told) as raised:
        SessionListCache(GatedBuilder(), bus=Bus(), journal=journal)  # type: ignore[arg-type]

    assert "secret" not in str(raised.value)


def test_a_stopped_cache_has_written_what_nobody_waited_for(url: str) -> None:
    """L1, J3"""
    process = _Process(url, Policy(journal_wait=0))
    with _processes(process):
        for number in range(300):
            process.bus.stream_started.send(stream_id=f"s{number}")

    journal = journal_at(url)
    assert journal.end().seq == 300
    journal.close()


def test_what_is_published_before_a_start_is_kept_too(url: str) -> None:
    """J1, L1"""
    process = _Process(url)

    ticket = process.cache.invalidate()

    assert ticket.committed is True
    process.cache.stop()


def test_a_publisher_that_will_not_wait_does_not(url: str, tmp_path: Path) -> None:
    """J3"""
    with (
        _processes(process := _Process(url, Policy(journal_wait=0))),
        closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as holder,
    ):
        process.cache.get(_KEY)
        holder.execute("BEGIN EXCLUSIVE")
        ticket = process.cache.invalidate()
        holder.execute("ROLLBACK")

    assert ticket.committed is None


def test_nothing_that_is_refused_reaches_the_journal(url: str) -> None:
    """E3"""
    with _processes(process := _Process(url)):
        with pytest.raises(EventError):
            process.bus.stream_started.send(stream_id="")
        process.cache.invalidate()

    journal = journal_at(url)
    assert journal.end().seq == 1
    journal.close()


def test_a_receiver_of_another_processes_event_reads_the_list_without_what_it_outdated(url: str) -> None:
    """E5, J3, L5"""
    here, there = _Process(url), _Process(url)
    calls = Listener()
    with _processes(here, there):
        there.cache.get(_KEY)

        def read(_sender: object, *, event: object) -> None:
            del event
            calls._hear(None, event=there.cache.get(_KEY)["call"])

        there.bus.session_list_changed.connect(read)
        here.cache.invalidate("default")

        assert calls.wait_for(1) == [2]


def test_a_receiver_that_blocks_holds_up_neither_readers_nor_the_relay(url: str) -> None:
    """E4, J3"""
    here, there = _Process(url), _Process(url)
    blocked, free = threading.Event(), threading.Event()

    def block(_sender: object, *, event: object) -> None:
        del event
        blocked.set()
        free.wait(WAIT_S)

    with _processes(here, there):
        there.bus.session_list_changed.connect(block)
        here.cache.invalidate("default")
        assert blocked.wait(WAIT_S)

        here.cache.invalidate("default")
        seen = there.cache.lookup(_KEY).outcome
        applied = there.cache.stats().events
        free.set()

    assert (seen, applied) == ("built", 2)


def test_a_subscriber_resumes_over_a_restart_of_its_process(url: str) -> None:
    """E8, E9"""
    before, other = _Process(url), _Process(url)
    with _processes(before, other):
        subscription = before.cache.subscribe()
        before.cache.invalidate("work", "seen")
        seen = subscription.get(WAIT_S)
        assert seen is not None
    with _processes(other):
        other.cache.invalidate("work", "missed", "a")
        other.cache.invalidate("work", "missed too", "b")

    after = _Process(url)
    with _processes(after):
        after.cache.get(_KEY)
        resumed = after.cache.subscribe(since=seen.version)
        missed, moved = resumed.get(WAIT_S), resumed.get(WAIT_S)

    assert missed is not None
    assert moved is not None
    assert (missed.profile, missed.session_id, missed.reason) == ("work", None, "missed too")
    assert (moved.reason, moved.everything) == ("source_changed", True)


def test_a_subscriber_from_another_journal_refreshes_everything(url: str, tmp_path: Path) -> None:
    """E8"""
    with _processes(first := _Process(f"sqlite:///{tmp_path}/another.db")):
        first.cache.get(_KEY)
        subscription = first.cache.subscribe()
        first.cache.invalidate("work")
        seen = subscription.get(WAIT_S)
    assert seen is not None

    with _processes(second := _Process(url)):
        change = second.cache.subscribe(since=seen.version).get(WAIT_S)

    assert change is not None
    assert change.everything


def test_a_stopped_cache_starts_nothing_when_somebody_subscribes_or_asks(url: str) -> None:
    """L1: what the suite checks of every test, that no thread is left, is the proof."""
    with _processes(process := _Process(url)):
        process.cache.get(_KEY)

    subscription = process.cache.subscribe(since="elsewhere:7:feed:3")

    assert subscription.get(0) is not None
    assert process.cache.health().journal_lag_s is None
    assert process.cache.invalidate().committed is None


def test_one_event_stands_for_those_that_did_not_fit_while_the_journal_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """J5"""
    monkeypatch.setattr("hermes_cache.journal.link.Bounds", partial(Bounds, buffered=5))
    journal, store = _unpluggable()
    here, there = _Process(journal), _Process(MemoryJournal(store))
    with _processes(here, there):
        there.cache.get(_KEY)
        journal.unplug()
        journal.wait_for_refusals(1)
        committed = [here.cache.invalidate("work", f"r{number}").committed for number in range(8)]
        here.bus.stream_started.send(stream_id="s")
        journal.plug()

        heard = there.heard.wait_for(7)
        looked = there.cache.lookup(_KEY)

    assert committed == [None] * 5 + [False] * 3
    assert [getattr(event, "reason", "stream") for event in heard] == [
        *[f"r{number}" for number in range(5)],
        "stream",
        "journal_overrun",
    ]
    assert looked.reason == "event"


def _unpluggable(*, loses_answers: bool = False) -> tuple[UnpluggableJournal, MemoryStore]:
    store = MemoryStore()
    return UnpluggableJournal(MemoryJournal(store), loses_answers=loses_answers), store


def _append(url: str, event: AppliedEvent) -> None:
    journal = journal_at(url)
    journal.append([event])
    journal.close()
