"""A bus that keeps what is sent on it without a cache: scripts, task workers, and caches that join it (E10)."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from hermes_cache import Bus, ListCache, Policy, SessionListCache, SessionListChanged, SessionListKey, journal_at
from hermes_cache.core.events import AppliedEvent
from hermes_cache.errors import JournalSetupError
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.ports import Journal, Position
from hermes_cache.testing import GatedBuilder, UnpluggableJournal
from tests.waiting import PROCESS_S, WAIT_S

_PATIENT = Policy(journal_wait=10.0)
_HASTY = Policy(journal_wait=0.0)
_KEY = SessionListKey()

_SCRIPT = """
import sys
from hermes_cache import Bus, Policy
bus = Bus("orders", journal=sys.argv[1], policy=Policy(journal_wait=0))
for number in range(200):
    bus.list_changed.send("script", reason="paid", row_id=str(number))
print(bus.incarnation)
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'journal.db'}"


def _kept(journal: str | Journal) -> list[AppliedEvent]:
    opened = journal_at(journal) if isinstance(journal, str) else journal
    events = [recorded.event for recorded in opened.read(Position(opened.end().journal))]
    if isinstance(journal, str):
        opened.close()
    return events


def test_what_is_sent_without_a_cache_is_in_the_journal(url: str) -> None:
    """E10, J3: `send` waits for the commit."""
    with Bus(journal=url, policy=_PATIENT) as bus:
        bus.session_list_changed.send(profile="work", reason="imported")
        ticket = bus.session_list_changed.ticket()

        assert ticket is not None
        assert ticket.committed is True
        assert [event.id for event in _kept(url)] == [ticket.event_id]


def test_a_bus_that_only_publishes_has_one_thread_and_reads_nothing(url: str) -> None:
    """E10"""
    with Bus(journal=url, policy=_PATIENT) as bus:
        bus.session_list_changed.send()
        names = {thread.name for thread in threading.enumerate() if thread.name.startswith("hermes_cache")}

    assert names - {"hermes_cache.aside"} == {"hermes_cache.journal_writer"}


def test_closing_writes_what_nobody_waited_for(url: str) -> None:
    """E10: and a second time does no harm."""
    bus = Bus("orders", policy=_HASTY)
    bus.attach_journal(url)
    for number in range(500):
        bus.list_changed.send(row_id=str(number))

    bus.close()
    bus.close()

    assert [event.id.number for event in _kept(url)] == list(range(1, 501))


class _GatedJournal(MemoryJournal):
    """Takes events once its gate is open."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.gate = threading.Event()

    def append(self, events: Sequence[AppliedEvent], /) -> list[int]:
        self.gate.wait(WAIT_S)
        return super().append(events)


def test_a_bus_is_closed_on_an_event_loop_without_blocking_it() -> None:
    """E10, W4"""
    store = MemoryStore()
    journal = _GatedJournal(store)

    async def publish() -> None:
        async with Bus("orders", journal=journal, policy=Policy(journal_wait=0.0, stop_timeout=WAIT_S)) as bus:
            bus.list_changed.send()
            ended = asyncio.create_task(bus.aclose())
            await asyncio.sleep(0)
            assert not ended.done()
            journal.gate.set()
            await ended

    asyncio.run(publish())

    assert len(store.events) == 1


def test_the_interpreter_writes_at_its_exit_what_a_script_sent(url: str) -> None:
    """E10: nobody closed the bus."""
    command = [sys.executable, "-c", _SCRIPT, url]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_S, check=True)  # noqa: S603 - our own

    assert ended.stderr == ""
    assert {event.id.incarnation for event in _kept(url)} == {ended.stdout.strip()}
    assert [event.id.number for event in _kept(url)] == list(range(1, 201))


_HANGING = """
import logging, threading
from hermes_cache import Bus, Policy
from hermes_cache.journal.memory import MemoryJournal

class HangingJournal(MemoryJournal):
    def append(self, events):
        threading.Event().wait()

logging.basicConfig(format="%(message)s %(created)f")
policy = Policy(journal_wait=0, stop_timeout=2)
buses = [Bus(f"b{number}", journal=HangingJournal(), policy=policy) for number in range(4)]
for bus in buses:
    bus.list_changed.send()
"""


def test_several_buses_whose_journals_hang_hold_up_the_exit_no_longer_than_one() -> None:
    """E10: within one `stop_timeout`, which begins with the exit."""
    command = [sys.executable, "-c", _HANGING]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_S, check=True)  # noqa: S603 - our own

    lines = [line for line in ended.stderr.splitlines() if line.startswith("hermes_cache.events_not_written")]
    moments_s = [float(line.rpartition(" ")[2]) for line in lines]
    assert len(moments_s) == 4
    # One after the other, the last would come three times the bound after the first.
    assert max(moments_s) - min(moments_s) < 3 * 2


def test_what_could_not_be_written_is_logged_with_its_count(caplog: pytest.LogCaptureFixture) -> None:
    """E10: within `stop_timeout`."""
    store = MemoryStore()
    journal = UnpluggableJournal(MemoryJournal(store))
    journal.unplug()
    with Bus("orders", journal=journal, policy=Policy(journal_wait=0.0, stop_timeout=0.2)) as bus:
        for _ in range(3):
            bus.list_changed.send()

    (told,) = [record for record in caplog.records if record.message == "hermes_cache.events_not_written"]
    assert (told.levelno, told.__dict__["hermes_cache.pending"]) == (logging.ERROR, 3)
    assert store.events == {}


def test_a_script_whose_journal_is_away_ends_in_time_and_says_how_much_is_lost(tmp_path: Path) -> None:
    """E10, J5: publishing raises nothing for the journal's sake."""
    script = f"import logging; logging.basicConfig(format='%(message)s %(levelname)s')\n{_SCRIPT}"
    gone = f"sqlite:///{tmp_path / 'no-such-folder' / 'journal.db'}"

    ended = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", script, gone], capture_output=True, text=True, timeout=PROCESS_S, check=True
    )

    assert ended.stderr.count("hermes_cache.events_not_written ERROR") == 1


def test_a_bus_that_nobody_holds_any_more_writes_what_was_sent_and_ends(url: str) -> None:
    """E10, L1: whoever holds one of its topics holds the bus"""
    topic = Bus("orders", journal=url, policy=_HASTY).list_changed
    bus = weakref.ref(topic._publish.func.__self__)  # type: ignore[attr-defined]  # no public name leads there
    gc.collect()
    for number in range(200):
        topic.send(row_id=str(number))
    (writer,) = [each for each in threading.enumerate() if each.name == "hermes_cache.journal_writer"]

    del topic
    gc.collect()

    assert bus() is None
    writer.join(WAIT_S)
    assert not writer.is_alive()
    assert [event.id.number for event in _kept(url)] == list(range(1, 201))


def test_a_cache_on_such_a_bus_uses_its_journal(url: str) -> None:
    """E10, J1: it follows the journal, and two that use it do not end it for the bus."""
    with Bus(journal=url, policy=_PATIENT) as bus, Bus(journal=url, policy=_PATIENT) as elsewhere:
        builder = GatedBuilder(is_open=True)
        with SessionListCache(builder, bus=bus, policy=Policy(ttl=600.0, journal_interval=0.0)) as cache:
            cache.get(_KEY)
            elsewhere.session_list_changed.send()
            assert cache.lookup(_KEY).reason == "event"
        bus.session_list_changed.send(reason="after the cache")
        ticket = bus.session_list_changed.ticket()

    assert ticket is not None
    assert ticket.committed is True


def test_a_cache_that_names_the_journal_of_its_bus_shares_it_and_another_is_refused(url: str) -> None:
    """E10, J1"""
    with Bus("orders", journal=url) as bus:
        with ListCache(GatedBuilder(), bus=bus, journal=url):
            pass
        with pytest.raises(ValueError, match="the bus has the journal sqlite"):
            ListCache(GatedBuilder(), bus=bus, journal=f"{url}2")
        with pytest.raises(ValueError, match="the bus has the journal sqlite"):
            bus.attach_journal(f"{url}2")
        bus.attach_journal(url)
        assert bus.journal == url


def test_a_journal_that_comes_after_a_cache_is_refused(url: str) -> None:
    """E10: that cache would not look at it."""
    bus = Bus("orders")
    with ListCache(GatedBuilder(), bus=bus):
        with pytest.raises(ValueError, match="attach it before the cache is made"):
            bus.attach_journal(url)
        assert bus.journal is None


def test_a_journal_that_cannot_be_is_refused_when_it_is_named() -> None:
    """E10"""
    with pytest.raises(JournalSetupError, match="only SQLite and PostgreSQL"):
        Bus("orders", journal="mysql://host/db")
    with pytest.raises(TypeError, match="journal is 7"):
        Bus("orders").attach_journal(7)  # type: ignore[arg-type]


def test_what_is_sent_after_the_end_is_heard_by_nobody(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """E10"""
    bus = Bus("orders", journal=url, policy=_PATIENT)
    bus.list_changed.send()
    bus.close()

    bus.list_changed.send()

    assert len(_kept(url)) == 1
    assert [record.message for record in caplog.records].count("hermes_cache.event_unheard") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_task_worker_that_was_forked_publishes_as_a_bus_of_its_own(url: str) -> None:
    """E10, L2: as a task queue forks its workers."""
    with Bus("orders", journal=url, policy=_PATIENT) as bus:
        bus.list_changed.send(reason="before")
        pid = os.fork()
        if pid == 0:
            bus.list_changed.send(reason="in the worker")
            bus.close()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        bus.list_changed.send(reason="after")

    assert status == 0
    with closing(journal_at(url)) as journal:
        events = [each.event for each in journal.read(Position(journal.end().journal))]
    assert [event.reason for event in events if isinstance(event, SessionListChanged)] == [
        "before",
        "in the worker",
        "after",
    ]
    assert len({event.id.incarnation for event in events}) == 2
