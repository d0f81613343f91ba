"""Processes that share a journal: each with a bus, a cache on it, and a list of what it applied.

What a member does are functions of this module, which run in its process and take its `Inside` first. The truth
that the caches serve is a number per profile in a file, so that a list which is older than it may be is told by
its number.
"""

import os
import signal
import sqlite3
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.adapters.sqlalchemy_journal import journal_at
from hermes_cache.core.events import AppliedEvent, SessionListChanged
from hermes_cache.errors import JournalUnavailableError
from hermes_cache.ports import Place

WAIT_S = 30.0
WORK = "work"
KEY = SessionListKey(WORK)

_Asked = ParamSpec("_Asked")
_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True)
class Truth:
    """A number for each profile, in a folder that all processes see; it starts as 0."""

    folder: Path

    def number(self, profile: str = WORK) -> int:
        """Give the number as of now."""
        try:
            return int.from_bytes((self.folder / profile).read_bytes())
        except FileNotFoundError:
            return 0

    def move(self, number: int, profile: str = WORK) -> None:
        """Let the number be another, in one step."""
        file = os.open(self.folder / profile, os.O_RDWR | os.O_CREAT)
        os.pwrite(file, number.to_bytes(8), 0)
        os.close(file)

    def build(self, key: SessionListKey) -> dict[str, object]:
        """Build a key's payload."""
        return {"sessions": [], "number": self.number(key.profile or WORK)}


class _Steady:
    """Sources that never say that anything moved: only events do."""

    def scope(self, key: SessionListKey) -> str | None:
        return key.profile

    def stamp(self, _key: SessionListKey, *, held: bool) -> dict[str, Hashable]:
        return {} if held else {"steady": 0}


class Inside:
    """What a process has.

    Attributes:
        bus: Its own, with the journal.
        cache: On that bus; starts at once.
        truth: What it serves.
        applied: The events that were applied on the bus, in order, with the moments.
    """

    def __init__(self, url: str, folder: Path, policy: Policy) -> None:
        self.bus = Bus()
        self.truth = Truth(folder)
        self.applied: list[tuple[AppliedEvent, float]] = []
        self.cache = SessionListCache(
            self.truth.build, sources=_Steady(), bus=self.bus, journal=url, policy=policy
        )
        self.bus.attach(lambda event: self.applied.append((event, time.monotonic())))
        self.cache.start()
        self.cache.get(KEY)

    def publish(self, session_id: str | None = None, profile: str = WORK) -> tuple[str, bool | None]:
        """Say that a list changed; give the event's id, and whether it is committed."""
        ticket = self.cache.invalidate(profile, session_id=session_id)
        return str(ticket), ticket.committed

    def number(self, profile: str = WORK) -> int:
        """Read the list."""
        return _number(self.cache.get(SessionListKey(profile)))


class Member:
    """A process of its own, asked for one thing at a time.

    Args:
        url: The journal's.
        folder: The truth's.
        policy: Its cache's.
    """

    def __init__(self, url: str, folder: Path, policy: Policy) -> None:
        spawn = get_context("spawn")
        self._here, there = spawn.Pipe()
        self.process = spawn.Process(target=_live, args=(url, folder, policy, there), daemon=True)
        self.process.start()
        there.close()

    def ask(
        self, act: Callable[Concatenate[Inside, _Asked], _Told], *given: _Asked.args, **named: _Asked.kwargs
    ) -> _Told:
        """Have it do something, and give what came of it."""
        self.begin(act, *given, **named)
        return self.end(act)

    def begin(
        self, act: Callable[Concatenate[Inside, _Asked], object], *given: _Asked.args, **named: _Asked.kwargs
    ) -> None:
        """Have it do something, and go on meanwhile."""
        self._here.send((act, given, named))

    def end(self, _act: Callable[Concatenate[Inside, _Asked], _Told], wait_s: float = WAIT_S) -> _Told:
        """Wait for what was begun, and give what came of it."""
        assert self._here.poll(wait_s), "the member hangs"
        raised, told = self._here.recv()
        if raised:
            raise told
        result: _Told = told
        return result

    def kill(self) -> None:
        """Let it vanish."""
        self.process.kill()
        self.process.join(WAIT_S)

    def suspend(self) -> None:
        """Let all its threads stand still, where they are."""
        os.kill(self.process.pid or 0, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        os.kill(self.process.pid or 0, signal.SIGCONT)

    def __enter__(self) -> Self:
        """Wait until it has its place in the journal."""
        self.ask(read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self.resume()
            self._here.send(None)
        self.process.join(WAIT_S if error is None else 0.1)
        ended = self.process.exitcode
        self.kill()
        self._here.close()
        assert error is not None or ended in (0, -signal.SIGKILL), f"a member ended with {ended}"


@contextmanager
def inside(url: str, folder: Path, policy: Policy) -> Iterator[Inside]:
    """Let this process be one of those that share a journal."""
    here = Inside(url, folder, policy)
    try:
        yield here
    finally:
        here.cache.stop()


def read(here: Inside, profile: str = WORK) -> int:
    """Give the number that a read gets."""
    return here.number(profile)


def read_fresh(here: Inside) -> int | None:
    """Give the number that a read gets that insists on freshness; None where it is refused."""
    try:
        return _number(here.cache.get(KEY, freshness="fresh"))
    except JournalUnavailableError:
        return None


def read_at_least(here: Inside, ticket: str) -> int | None:
    """Give the number that a read with a ticket gets; None where it is refused."""
    try:
        return _number(here.cache.get(KEY, at_least=ticket))
    except JournalUnavailableError:
        return None


def outcome(here: Inside) -> str:
    """Say how a read came by its answer."""
    return here.cache.lookup(KEY).outcome


def publish(here: Inside, session_ids: list[str]) -> list[tuple[str, bool | None]]:
    """Say that sessions changed."""
    return [here.publish(session_id) for session_id in session_ids]


def applied(here: Inside) -> list[AppliedEvent]:
    """Give what was applied here."""
    return [event for event, _ in here.applied]


def await_file(file: Path) -> None:
    """Wait until another process made a file."""
    ends_at_s = time.monotonic() + WAIT_S
    while not file.exists():
        assert time.monotonic() < ends_at_s, f"{file} was never made"
        threading.Event().wait(0.005)


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
    ends_at_s = time.monotonic() + WAIT_S
    while pending := here.cache.stats().journal_pending:
        assert time.monotonic() < ends_at_s, f"{pending} events are not committed"
        threading.Event().wait(0.005)


def await_stale_reads(here: Inside, number: int) -> float:
    """Read until the number is there; give the moment at which the last read began that got an older one."""
    last_s = -1.0
    while True:
        began_s = time.monotonic()
        if here.number() >= number:
            return last_s
        last_s = began_s


def hear(here: Inside, changes: int, *, busy: bool) -> dict[str, float]:
    """Give the moments at which a subscriber had the changes of sessions, maybe beside a busy thread."""
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


def publish_with_tickets(here: Inside, profile: str, events: int, board: Path) -> list[str]:
    """Move a profile's number, publish, and leave the ticket for readers; give the ids of the events."""
    ids = []
    for number in range(1, events + 1):
        here.truth.move(number, profile)
        ticket, _ = here.publish(profile=profile)
        ids.append(ticket)
        draft = board / f"{profile}.draft"
        draft.write_text(f"{number} {ticket}")
        draft.replace(board / profile)
    return ids


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
                got = _number(here.cache.get(SessionListKey(profile), at_least=ticket))
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

    def told(self) -> str:
        """Give the figures."""
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
    for number in count(here.truth.number() + 1):
        if time.monotonic() > ends_at_s:
            break
        here.truth.move(number)
        began_s = time.monotonic()
        ticket, committed = here.publish()
        lived.sends_s.append(time.monotonic() - began_s)
        lived.ids.append(ticket)
        lived.committed.append(committed)
        lived.outdated_reads += here.number() < number
        _hit(here, lived, min(ends_at_s, began_s + 0.1))
    health = here.cache.health()
    lived.failure, lived.lag_s = health.journal_failure, health.journal_lag_s or 0.0
    return lived


def hold_lock(_here: Inside, file: Path, locked: Path) -> None:
    """Lock an SQLite file, so that nobody reads it, from when another file is made here until that is gone."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=WAIT_S)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        locked.touch()
        while locked.exists():
            threading.Event().wait(0.005)
        connection.execute("ROLLBACK")


def read_until(here: Inside, stop: Path, freshness: Literal["default", "fresh"]) -> list[tuple[float, int | None]]:
    """Read until a file is there; give when each read began, and its number, or None where it was refused."""
    reads: list[tuple[float, int | None]] = []
    while not stop.exists():
        began_s = time.monotonic()
        try:
            reads.append((began_s, _number(here.cache.get(KEY, freshness=freshness))))
        except JournalUnavailableError:
            reads.append((began_s, None))
    return reads


def outdated(reads: list[tuple[float, int | None]], said: list[tuple[float, int]]) -> int:
    """Count the reads that got a number older than one that had been said, with its moment, when they began."""
    moments = [at_s for at_s, _ in said]
    due = ((number, bisect_left(moments, began_s)) for began_s, number in reads if number is not None)
    return sum(behind > 0 and number < said[behind - 1][1] for number, behind in due)


def journaled(url: str) -> list[AppliedEvent]:
    """Give all events of a journal, in their order."""
    events: list[AppliedEvent] = []
    with closing(journal_at(url)) as journal:
        place = Place(journal.end().journal)
        while part := journal.read(place):
            events += [recorded.event for recorded in part]
            place = part[-1].place
    return events


def gaps(events: list[AppliedEvent]) -> int:
    """Count the times that everything was outdated since events were missed."""
    return sum(isinstance(event, SessionListChanged) and event.reason == "journal_gap" for event in events)


def members(stack: ExitStack, url: str, folder: Path, policy: Policy, *, number: int) -> list[Member]:
    """Start some processes that end with a stack."""
    return [stack.enter_context(Member(url, folder, policy)) for _ in range(number)]


def percentile(values: list[float], share: float) -> float:
    """Give the value below which a share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _hit(here: Inside, lived: Endured, until_s: float) -> None:
    while (began_s := time.monotonic()) < until_s:
        here.cache.get(KEY)
        lived.hits_s.append(time.monotonic() - began_s)
        threading.Event().wait(0.001)


def _number(payload: Any) -> int:
    return int(payload["number"])


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


def _live(url: str, folder: Path, policy: Policy, asked: Connection) -> None:
    with inside(url, folder, policy) as here, suppress(EOFError):
        while (request := asked.recv()) is not None:
            act, given, named = request
            try:
                asked.send((False, act(here, *given, **named)))
            except Exception as error:  # noqa: BLE001 - told to who asked
                asked.send((True, error))
