"""A PostgreSQL journal while its server, its connections and the network fail (rules J1, J3, J4, J5)."""

import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from threading import Condition, Event, Thread
from time import monotonic, sleep
from typing import Self

import pytest
from sqlalchemy import URL

from hermes_cache.errors import JournalUnavailableError
from hermes_cache.journal.sqlalchemy_journal import SqlAlchemyJournal, journal_at
from hermes_cache.ports import Position
from hermes_cache.testing.journal_contract import follow, numbered
from tests.integration.postgres_server import PostgresServer
from tests.integration.silent_proxy import SilentProxy
from tests.waiting import PROCESS_S, at_its_best

_WAIT_S = PROCESS_S
_WRITERS = 8

_Record = Callable[[str, object], None]


class _Load:
    """Two threads that append one event after the other, each as often as it takes."""

    def __init__(self, url: URL) -> None:
        self.acked: list[str] = []
        self._url = url
        self._refused = dict.fromkeys("ab", 0)
        self._survived = dict.fromkeys("ab", 0)
        self._moved = Condition()
        self._over = Event()
        self._threads = [Thread(target=self._append, args=(life,), daemon=True) for life in "ab"]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        with self._moved:
            assert self._moved.wait_for(lambda: self.acked, _WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_WAIT_S)

    def survive(self, kill: Callable[[], None]) -> float:
        """Return the seconds from a kill's end until each thread was refused, and then got through."""
        before = dict(self._refused)
        kill()
        began_s = monotonic()
        with self._moved:
            assert self._moved.wait_for(lambda: all(self._survived[life] > before[life] for life in "ab"), _WAIT_S)
        return monotonic() - began_s

    def _append(self, life: str) -> None:
        number = 1
        with closing(journal_at(self._url)) as journal:
            while not self._over.is_set():
                try:
                    journal.append(numbered([number], life=life))
                except JournalUnavailableError:
                    self._refused[life] += 1
                    self._over.wait(0.01)
                    continue
                with self._moved:
                    self.acked.append(f"{life}:{number}")
                    self._survived[life] = self._refused[life]
                    self._moved.notify_all()
                number += 1


def _marks(url: URL) -> list[str]:
    marks: list[str] = []
    with closing(journal_at(url)) as journal:
        position = Position(journal.end().journal)
        while part := journal.read(position):
            marks += [recorded.position.mark for recorded in part]
            position = part[-1].position
    return marks


def _kill_backend(server: PostgresServer) -> None:
    with server.connect() as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchall()
    os.kill(int(str(random.choice(found)[0])), signal.SIGKILL)


def _kill_all(server: PostgresServer) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("kill", [_kill_backend, _kill_all])
@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
@at_its_best(under_s=15.0)
def test_what_was_acknowledged_outlives_kills_of_the_server(
    postgres: PostgresServer,
    postgres_url: URL,
    kill: Callable[[PostgresServer], None],
    kills: int,
    record_testsuite_property: _Record,
) -> float:
    """J1, J4, J5: at any moment; appends go on by themselves, and no event is there twice."""
    back_s = []
    with _Load(postgres_url) as load:
        for _ in range(kills):
            sleep(random.uniform(0.0, 0.3))
            back_s.append(load.survive(partial(kill, postgres)))

    marks = _marks(postgres_url)

    lost = set(load.acked) - set(marks)
    record_testsuite_property(
        f"{kill.__name__}, {kills} times",
        f"acknowledged {len(load.acked)}, lost {len(lost)}, back after {max(back_s):.2f} s at most",
    )
    assert not lost
    assert len(set(marks)) == len(marks)
    return max(back_s)


def test_a_waiter_whose_listener_is_cut_hears_again(postgres: PostgresServer, postgres_url: URL) -> None:
    """J3, J4: it returns or raises at once, and the next one misses nothing."""
    with closing(journal_at(postgres_url)) as writer, closing(journal_at(postgres_url)) as reader:
        position, seen = writer.end(), reader.stamp()
        ended, heard = Event(), Event()
        waiter = Thread(target=_wait, args=(reader, seen, ended), daemon=True)
        waiter.start()
        _cut_listener(postgres)
        cut_told = ended.wait(_WAIT_S)
        waiter.join(_WAIT_S)

        writer.append(numbered([1]))
        reader.wait(seen, timeout_s=_WAIT_S)
        missed = reader.read(position)
        seen = reader.stamp()
        again = Thread(target=_wait, args=(reader, seen, heard), daemon=True)
        again.start()
        writer.append(numbered([2]))
        told_again = heard.wait(_WAIT_S)
        again.join(_WAIT_S)

    assert cut_told
    assert [recorded.event for recorded in missed] == numbered([1])
    assert told_again


def _wait(journal: SqlAlchemyJournal, seen: object, ended: Event) -> None:
    with suppress(JournalUnavailableError):
        journal.wait(seen, timeout_s=600.0)
    ended.set()


def _cut_listener(server: PostgresServer) -> None:
    ends_at_s = monotonic() + _WAIT_S
    with server.connect() as connection:
        while monotonic() < ends_at_s:
            cut = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'"
            ).fetchall()
            if cut:
                return
    pytest.fail("nobody listens")


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[SilentProxy]:
    with closing(SilentProxy(postgres.socket)) as opened:
        yield opened


def _through(proxy: SilentProxy, url: URL) -> URL:
    query = {name: value for name, value in url.query.items() if name != "host"}
    return url.set(host="127.0.0.1", port=proxy.port, query=query)


def _refused_after_s(call: Callable[[], object]) -> float:
    began_s = monotonic()
    with pytest.raises(JournalUnavailableError, match="try again"):
        call()
    return monotonic() - began_s


def _refused_twice_after_s(call: Callable[[], object]) -> tuple[float, float]:
    return _refused_after_s(call), _refused_after_s(call)


@at_its_best(under_s=20.0)
def test_a_network_that_swallows_everything_is_an_error_within_seconds(
    proxy: SilentProxy, postgres_url: URL, record_testsuite_property: _Record
) -> float:
    """J5: on connections that are open, and on new ones; afterwards it goes on with those that work."""
    with ExitStack() as stack:
        url = _through(proxy, postgres_url)
        one, two, three, four = (stack.enter_context(closing(journal_at(url))) for _ in range(4))
        start = one.end()
        events = numbered([start.seq + 1])
        four.wait(None, timeout_s=0.0)
        calls: tuple[Callable[[], object], ...] = (
            partial(one.append, events),
            partial(two.read, two.end()),
            partial(three.wait, three.stamp(), timeout_s=600.0),
            partial(four.wait, four.stamp(), timeout_s=600.0),
        )
        proxy.forwards.clear()
        with ThreadPoolExecutor(len(calls)) as threads:
            took_s = list(threads.map(_refused_twice_after_s, calls))
        proxy.forwards.set()

        seqs = one.append(events)
        four.wait(start, timeout_s=_WAIT_S)
        kept = four.read(start)

    record_testsuite_property("silent network", str([f"{each:.1f} s" for pair in took_s for each in pair]))
    assert seqs == [start.seq + 1]
    assert [recorded.event for recorded in kept] == events
    return max(map(max, took_s))


@at_its_best(under_s=4.0)
def test_closing_waits_for_no_server_that_fell_silent(
    postgres: PostgresServer, proxy: SilentProxy, postgres_url: URL, record_testsuite_property: _Record
) -> float:
    """L1: who waits for events lets go of the connections that it holds as soon as it is back."""
    journal = journal_at(_through(proxy, postgres_url))
    seen, ended = journal.stamp(), Event()
    journal.wait(None, timeout_s=0.0)
    waiter = Thread(target=_wait, args=(journal, seen, ended), daemon=True)
    proxy.forwards.clear()
    proxy.swallowed.clear()
    waiter.start()
    asked = proxy.swallowed.wait(_WAIT_S)

    began_s = monotonic()
    journal.close()
    took_s = monotonic() - began_s
    waited_on = not ended.is_set()
    proxy.forwards.set()
    waiter.join(_WAIT_S)

    record_testsuite_property("close beside a silent server", f"{took_s:.2f} s")
    assert (asked, waited_on, ended.is_set()) == (True, True, True)
    assert _listeners_are_gone(postgres)
    return took_s


def _listeners_are_gone(server: PostgresServer) -> bool:
    ends_at_s = monotonic() + _WAIT_S
    with server.connect() as connection:
        while monotonic() < ends_at_s:
            found = connection.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN %'").fetchall()
            if not found:
                return True
    return False


def _append_many(url: URL, life: str, many: int) -> None:
    sizes = random.Random(life)
    with closing(journal_at(url)) as journal:
        first = 1
        while first <= many:
            after = min(many + 1, first + sizes.randint(1, 12))
            journal.append(numbered(range(first, after), life=life))
            first = after


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_reader_skips_an_event_of_many_processes(postgres_url: URL, record_testsuite_property: _Record) -> None:
    """J4: eight processes append side by side; one who reads all the while sees each number once, in order."""
    many = 100_000 // _WRITERS
    spawn = multiprocessing.get_context("spawn")
    with closing(journal_at(postgres_url)) as journal:
        writers = [spawn.Process(target=_append_many, args=(postgres_url, f"w{n}", many)) for n in range(_WRITERS)]
        for writer in writers:
            writer.start()
        seen = follow(journal, many * _WRITERS, limit=1000, timeout_s=800.0)
        for writer in writers:
            writer.join(_WAIT_S)

    ids = {recorded.event.id for recorded in seen}
    record_testsuite_property(f"{_WRITERS} writers", f"read {len(seen)}, twice {len(seen) - len(ids)}")
    assert [recorded.position.seq for recorded in seen] == list(range(1, many * _WRITERS + 1))
    assert len(ids) == len(seen)
