"""What processes that share a journal are asked to do, and what is made of what they tell."""

import os
import sqlite3
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, Literal

from hermes_cache import SessionListKey
from hermes_cache.core.events import AppliedEvent, SessionListChanged
from hermes_cache.errors import JournalUnavailableError
from hermes_cache.journal.sqlalchemy_journal import journal_at
from hermes_cache.ports import Position
from tests.integration.journal_members import KEY, WAIT_S, WORK, Inside
from tests.waiting import until

_SLACK_S: Final = 0.5
"""What the machine's other work may add to a span."""

_SENDS: Final = 10
"""Of so few and more a percentile tells something."""


def read(here: Inside, profile: str = WORK) -> int:
    """Return the number that a read gets, once one does not say that the journal is away."""
    while (number := _current_number(here, profile)) is None:
        pass
    return number


def read_fresh(here: Inside) -> int | None:
    """Return the number that a read gets that insists on freshness; None where it is refused."""
    try:
        return here.number(freshness="fresh")
    except JournalUnavailableError:
        return None


def read_at_least(here: Inside, ticket: str) -> int | None:
    """Return the number that a read with a ticket gets; None where it is refused."""
    try:
        return here.number(at_least=ticket)
    except JournalUnavailableError:
        return None


def publish(here: Inside, session_ids: list[str]) -> list[tuple[str, bool | None]]:
    """Say that sessions changed."""
    return [here.publish(session_id) for session_id in session_ids]


def applied(here: Inside) -> list[AppliedEvent]:
    """Return what was applied here."""
    return [event for event, _ in here.applied]


def await_file(file: Path) -> None:
    """Wait until another process made a file."""
    until(file.exists, f"{file} was never made")


def await_applied(here: Inside, ids: set[str], wait_s: float = WAIT_S) -> float:
    """Wait until events were applied here, and give the moment at which the last one was."""
    ends_at_s = time.monotonic() + wait_s
    while time.monotonic() < ends_at_s:
        moments = {str(event.id): at_s for event, at_s in here.applied.copy()}
        if ids <= moments.keys():
            return max(moments[each] for each in ids)
        threading.Event().wait(0.005)
    raise TimeoutError(f"{len(ids - moments.keys())} of {len(ids)} events did not come within {wait_s} s")


def await_written(here: Inside) -> None:
    """Wait until all that was published here is committed."""
    until(lambda: not here.cache.stats().journal_pending, "not all events are committed")


def await_stale_reads(here: Inside, number: int) -> float:
    """Read until the number is there; give the moment at which the last read began that got an older one.

    A read that says that the journal is away does not count: it is while another process stands still with a lock.
    """
    last_s = -1.0
    while True:
        began_s = time.monotonic()
        got = _current_number(here)
        if got is None:
            continue
        if got >= number:
            return last_s
        last_s = began_s


def hear(here: Inside, changes: int, *, busy: bool) -> dict[str, float]:
    """Return the moments at which a subscriber had the changes of sessions, maybe beside a busy thread."""
    heard: dict[str, float] = {}
    with here.cache.subscribe() as subscription, _busy_thread(busy=busy):
        here.publish("listening", "listener")
        while len(heard) < changes:
            change = subscription.get(timeout=WAIT_S)
            if change is None:
                raise TimeoutError(f"only {len(heard)} changes of {changes} came")
            if change.session_id not in (None, "listening"):
                heard[change.session_id] = time.monotonic()
    return heard


def publish_until(here: Inside, stop: Path, acked: Path, *, threads: int = 1, pause_s: float = 0.0) -> None:
    """Publish on some threads until a file is there; keep the ids of what was committed in another file.

    Each line is in the system's hands before the next event is published, so it outlives this process.
    """
    with acked.open("ab", buffering=0) as notes:

        def publish_on() -> None:
            while not stop.exists():
                ticket, committed = here.publish()
                if committed:
                    notes.write(f"{ticket}\n".encode())
                if pause_s:
                    threading.Event().wait(pause_s)

        running = [threading.Thread(target=publish_on) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()


def publish_with_tickets(here: Inside, profiles: list[str], events: int, board: Path) -> list[str]:
    """On a thread for each profile: move its number, publish, leave the ticket for readers; give all ids."""

    def publish_on(profile: str) -> list[str]:
        ids = []
        for number in range(1, events + 1):
            here.truth.move(number, profile)
            ticket, _ = here.publish(profile=profile)
            ids.append(ticket)
            draft = board / f"{profile}.draft"
            draft.write_text(f"{number} {ticket}")
            draft.replace(board / profile)
        return ids

    with ThreadPoolExecutor(len(profiles)) as threads:
        return [ticket for ids in threads.map(publish_on, profiles) for ticket in ids]


@dataclass
class TicketReads:
    """What became of reads with tickets."""

    done: int = 0
    stale: int = 0
    waited_s: list[float] = field(default_factory=list)


def read_with_tickets(here: Inside, profiles: list[str], board: Path, stop: Path) -> TicketReads:
    """Read each profile with the newest ticket that was left for it, over and over."""
    reads = TicketReads()
    while not stop.exists():
        for profile in profiles:
            with suppress(FileNotFoundError):
                number, ticket = (board / profile).read_text().split()
                began_s = time.monotonic()
                got = here.number(profile, at_least=ticket)
                reads.waited_s.append(time.monotonic() - began_s)
                reads.done += 1
                reads.stale += got < int(number)
    return reads


@dataclass
class Endured:
    """What a process lived through while the journal was away. Times in seconds."""

    sends_s: list[float] = field(default_factory=list)
    hits_s: list[float] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    committed: list[bool | None] = field(default_factory=list)
    outdated_reads: int = 0
    failure: str | None = None
    lag_s: float = 0.0

    def worst_share(self, journal_wait_s: float, back_s: float) -> float:
        """Return the worst of the spans as a share of its bound.

        A busy machine holds some sends and hits up; if they waited for the journal, all would.

        Args:
            journal_wait_s: How long the first send may wait.
            back_s: How long it took until everything was everywhere.
        """
        return max(
            self.sends_s[0] / (journal_wait_s + _SLACK_S),
            percentile(self.sends_s[1:], 0.5) / 0.1,
            percentile(self.hits_s, 0.9) / 0.05,
            back_s / 15.0,
        )

    def told(self) -> str:
        """Return the figures."""
        later = self.sends_s[1:]
        return (
            f"first send {self.sends_s[0]:.3f} s, later p50 {percentile(later, 0.5):.5f} s, "
            f"worst {max(later):.3f} s; {len(self.hits_s)} hits p50 {percentile(self.hits_s, 0.5):.6f} s, "
            f"p99 {percentile(self.hits_s, 0.99):.6f} s, worst {max(self.hits_s):.4f} s; "
            f"{self.outdated_reads} reads outdated; lag {self.lag_s:.1f} s; {self.failure}"
        )


def endure(here: Inside, seconds: float) -> Endured:
    """Publish ten times a second, and read all the while: own events must take effect at once."""
    lived = Endured()
    ends_at_s = time.monotonic() + seconds
    first = here.truth.number() + 1
    for number in count(first):
        if time.monotonic() > ends_at_s and number >= first + _SENDS:
            break
        here.truth.move(number)
        began_s = time.monotonic()
        ticket, committed = here.publish()
        lived.sends_s.append(time.monotonic() - began_s)
        lived.ids.append(ticket)
        lived.committed.append(committed)
        lived.outdated_reads += here.number() < number
        _hit(here, lived, began_s + 0.1)
    health = here.cache.health()
    lived.failure, lived.lag_s = health.journal_failure, health.journal_lag_s or 0.0
    return lived


def hold_lock(_here: Inside, file: Path, locked: Path) -> None:
    """Lock an SQLite file, so that nobody reads it, from when another file is made here until that is gone."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=WAIT_S)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        # Else its times tell that nobody committed, for which no lock is needed.
        os.utime(file)
        locked.touch()
        while locked.exists():
            threading.Event().wait(0.005)
        connection.execute("ROLLBACK")


def read_until(here: Inside, stop: Path, freshness: Literal["default", "fresh"]) -> list[tuple[float, int | None]]:
    """Read until a file is there and a read is answered; give when each began, and its number.

    The number is None if the read was refused, or said that the journal is away.
    """
    reads: list[tuple[float, int | None]] = []
    while not (stop.exists() and reads and reads[-1][1] is not None):
        reads.append((time.monotonic(), _current_number(here, freshness=freshness)))
    return reads


def outdated(reads: list[tuple[float, int | None]], said: list[tuple[float, int]]) -> int:
    """Count the reads that got a number older than one that had been said, with its moment, when they began."""
    moments = [at_s for at_s, _ in said]
    due = ((number, bisect_left(moments, began_s)) for began_s, number in reads if number is not None)
    return sum(behind > 0 and number < said[behind - 1][1] for number, behind in due)


def journaled(url: str) -> list[AppliedEvent]:
    """Return all events of a journal, in their order."""
    events: list[AppliedEvent] = []
    with closing(journal_at(url)) as journal:
        position = Position(journal.end().journal)
        while part := journal.read(position):
            events += [recorded.event for recorded in part]
            position = part[-1].position
    return events


def gaps(events: list[AppliedEvent]) -> int:
    """Count the times that everything was outdated since events were missed."""
    return sum(isinstance(event, SessionListChanged) and event.reason == "journal_gap" for event in events)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _current_number(
    here: Inside, profile: str = WORK, freshness: Literal["default", "fresh"] = "default"
) -> int | None:
    """Read; None if the read is refused, or says that the journal is away."""
    try:
        found = here.cache.lookup(SessionListKey(profile), freshness=freshness)
    except JournalUnavailableError:
        return None
    return None if found.journal_lag_s else int(str(found.payload["number"]))


def _hit(here: Inside, lived: Endured, until_s: float) -> None:
    while (began_s := time.monotonic()) < until_s:
        here.cache.get(KEY)
        lived.hits_s.append(time.monotonic() - began_s)
        threading.Event().wait(0.001)


@contextmanager
def _busy_thread(*, busy: bool) -> Iterator[None]:
    stop = threading.Event()

    def burn() -> None:
        while not stop.is_set():
            pass

    thread = threading.Thread(target=burn)
    if busy:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if busy:
            thread.join()
