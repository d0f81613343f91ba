"""Publishing with an SQLite journal.

One cache on a bus, nothing held, no subscribers and no receivers; the events are changes of one session's list. A
committed publish is held against a plain program that inserts a row of the same size into a table of its own with
the same pragmas: one publisher at a time, and eight at once. A publish that waits for nothing is held against one
without a journal: 2,000 in a row, and one every 5 ms.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from statistics import median

from hermes_cache import Bus, Policy, SessionListCache
from hermes_cache.bus.tickets import Ticket
from hermes_cache.journal.wal_reset import wal_is_safe
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.timing import Benchmark, percentile, run_once, side_by_side, timed_s
from tests.waiting import until

_PROFILE, _SESSION = "work", "20261101_000001"
_INCARNATION = "0" * 32
_BODY = b"x" * 170
"""As long as the body of such an event."""

_SINGLE_ROUNDS, _SINGLES = 60, 10
_PUBLISHERS = 8
_GROUP_ROUNDS, _EVENTS_EACH = 5, 50
_BURST_ROUNDS, _BURST = 9, 2_000
_STEADY_ROUNDS, _STEADY = 10, 40
_PERIOD_S = 0.005
_WAIT_S = 30.0


def test_a_committed_publish(benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path) -> None:
    """J1, J5"""
    spans: dict[str, list[float]] = {"ours": [], "bare": []}

    def measure() -> None:
        for _ in range(_SINGLE_ROUNDS):
            spans["bare"] += [timed_s(insert) for _ in range(_SINGLES)]
            spans["ours"] += [timed_s(lambda: _commit(cache)) for _ in range(_SINGLES)]
        _check_kept(cache, _SINGLE_ROUNDS * _SINGLES)

    with _bare_inserts(tmp_path) as insert, _journaled(tmp_path, Policy(journal_wait=_WAIT_S)) as cache:
        run_once(benchmark, measure)

    what, than = "publish, committed", "bare SQLite commit"
    record(at_most(f"{what}, median", median(spans["ours"]), than, median(spans["bare"]), most=1.5))
    p99 = {name: percentile(taken, 99) for name, taken in spans.items()}
    record(at_most(f"{what}, p99", p99["ours"], than, p99["bare"], most=1.5))


def test_committed_publishes_of_many_threads(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path
) -> None:
    """J5"""
    events = _PUBLISHERS * _EVENTS_EACH

    with _bare_inserts(tmp_path) as insert, _journaled(tmp_path, Policy(journal_wait=_WAIT_S)) as cache:
        ours_s, bare_s = side_by_side(
            benchmark, lambda: _publish_at_once(cache), insert, calls=(1, _EVENTS_EACH), rounds=_GROUP_ROUNDS
        )
        _check_kept(cache, _GROUP_ROUNDS * events)

    rate, bare_rate = events / ours_s, 1 / bare_s
    record(
        Figure(
            f"publish, committed, {_PUBLISHERS} threads at once",
            f"{rate:,.0f}/s",
            f"bare SQLite commits {bare_rate:,.0f}/s",
            f"{rate / bare_rate:.1f} x as many",
        )
    )


def test_a_burst_that_waits_for_nothing(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path
) -> None:
    """J5"""
    spans: dict[str, list[float]] = {"ours": [], "plain": []}

    with _journaled(tmp_path, Policy(journal_wait=0)) as ours, SessionListCache(_build, bus=Bus()) as plain:

        def measure() -> None:
            for _ in range(_BURST_ROUNDS):
                spans["plain"].append(timed_s(lambda: _publish(plain), _BURST))
                spans["ours"].append(timed_s(lambda: _publish(ours), _BURST))
                _await_written(ours)

        run_once(benchmark, measure)
        _check_kept(ours, _BURST_ROUNDS * _BURST)

    what = f"publish with journal_wait=0, {_BURST:,} in a row"
    record(at_most(what, median(spans["ours"]), "without a journal", median(spans["plain"]), most=3))


def test_publishing_steadily_without_waiting(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path
) -> None:
    """J5"""
    spans: dict[str, list[float]] = {"ours": [], "plain": []}

    with _journaled(tmp_path, Policy(journal_wait=0)) as ours, SessionListCache(_build, bus=Bus()) as plain:

        def measure() -> None:
            for _ in range(_STEADY_ROUNDS):
                spans["plain"] += _steady_spans(plain)
                spans["ours"] += _steady_spans(ours)
                _await_written(ours)

        run_once(benchmark, measure)
        _check_kept(ours, _STEADY_ROUNDS * _STEADY)

    what = "publish with journal_wait=0, one every 5 ms"
    record(at_most(what, median(spans["ours"]), "without a journal", median(spans["plain"]), most=3))


@contextmanager
def _journaled(folder: Path, policy: Policy) -> Iterator[SessionListCache]:
    journal = f"sqlite:///{folder}/journal.db"
    with SessionListCache(_build, bus=Bus(), journal=journal, policy=policy) as cache:
        _publish(cache)
        _await_written(cache)
        yield cache


def _build(_key: object) -> dict[str, object]:
    return {"sessions": []}


def _publish(cache: SessionListCache) -> Ticket:
    return cache.invalidate(_PROFILE, session_id=_SESSION)


def _commit(cache: SessionListCache) -> None:
    assert _publish(cache).committed is True


def _publish_at_once(cache: SessionListCache) -> None:
    committed: list[bool | None] = []

    def publish() -> None:
        committed.extend(_publish(cache).committed for _ in range(_EVENTS_EACH))

    threads = [threading.Thread(target=publish) for _ in range(_PUBLISHERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert committed == [True] * _PUBLISHERS * _EVENTS_EACH


def _steady_spans(cache: SessionListCache) -> list[float]:
    spans = []
    for _ in range(_STEADY):
        threading.Event().wait(_PERIOD_S)
        spans.append(timed_s(lambda: _publish(cache)))
    return spans


def _check_kept(cache: SessionListCache, events: int) -> None:
    """Check that the journal has so many events, and the one that `_journaled` published first."""
    until(
        lambda: cache.stats().journal_seq == 1 + events, "not each event is in the journal once", within_s=_WAIT_S
    )


def _await_written(cache: SessionListCache) -> None:
    until(lambda: not cache.stats().journal_pending, within_s=_WAIT_S)


@contextmanager
def _bare_inserts(folder: Path) -> Iterator[Callable[[], None]]:
    """Return what inserts one row and commits it, with the pragmas that the journal has."""
    mode = "wal" if wal_is_safe(sqlite3.sqlite_version_info) else "persist"
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, event_id TEXT, at_s REAL, body BLOB, checksum INTEGER)"
        )
        numbers = count(1)

        def insert() -> None:
            row = (f"{_INCARNATION}:{next(numbers)}", time.time(), _BODY, 4_000_000_000)
            connection.execute("INSERT INTO events (event_id, at_s, body, checksum) VALUES (?, ?, ?, ?)", row)

        yield insert
