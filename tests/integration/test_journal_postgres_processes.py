"""Processes that share a PostgreSQL journal through their caches (rules J1, J3 to J5, J8)."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import URL, Connection

from hermes_cache import Policy
from hermes_cache.core.events import AppliedEvent
from hermes_cache.journal.sqlalchemy_journal import SqlAlchemyJournal, journal_at
from hermes_cache.journal.tables import OLDEST
from hermes_cache.testing.journal_contract import numbered
from tests.integration import journal_acts as acts
from tests.integration.journal_acts import percentile
from tests.integration.journal_members import WAIT_S, Inside, Member, inside, members
from tests.integration.postgres_server import PostgresServer
from tests.integration.silent_proxy import SilentProxy
from tests.waiting import at_its_best

Record = Callable[[str, object], None]


@pytest.fixture
def url(postgres_url: URL) -> str:
    return postgres_url.render_as_string(hide_password=False)


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[SilentProxy]:
    with closing(SilentProxy(postgres.socket)) as opened:
        yield opened


def _long(*values: object, timeout_s: int = 900) -> object:
    return pytest.param(*values, marks=[pytest.mark.long, pytest.mark.timeout(timeout_s)])


class _ChangedItsMindError(Exception):
    """A transaction that ends in nothing."""


def _hold_open(journal: SqlAlchemyJournal, event: AppliedEvent, seconds: float, *, commits: bool) -> None:
    """Take a number, and commit late, or not at all."""

    def write(connection: Connection) -> None:
        OLDEST.append_events(connection, [event])
        Event().wait(seconds)
        if not commits:
            raise _ChangedItsMindError

    try:
        with journal._database.writing() as connection:
            write(connection)
    except _ChangedItsMindError:
        return


def _dawdle(url: str, transactions: int, longest_s: float) -> set[str]:
    """Hold transactions open beside others; give the ids of what was committed."""
    spans = random.Random(transactions)
    committed = set()
    with closing(journal_at(url)) as journal:
        for event in numbered(range(1, transactions + 1), life="dawdler"):
            commits = spans.random() < 0.7
            _hold_open(
                journal, event, longest_s if event.id.number == 1 else spans.uniform(0, 0.1), commits=commits
            )
            committed |= {str(event.id)} if commits else set()
            Event().wait(spans.uniform(0, 0.1))
    return committed


@pytest.mark.parametrize(("writers", "events", "longest_s"), [(2, 25, 0.3), _long(8, 3_125, 3.0)])
def test_every_event_is_applied_once_and_who_has_its_ticket_reads_it(
    *,
    url: str,
    truth: Path,
    writers: int,
    events: int,
    longest_s: float,
    record_testsuite_property: Record,
) -> None:
    """J1, J4, J8: while others hold transactions open, longer than the writers wait for them, and roll back."""
    board, stop = truth.parent / "board", truth.parent / "stop"
    board.mkdir()
    profiles = [[f"p{number}.{thread}" for thread in range(4)] for number in range(writers)]

    with ExitStack() as stack:
        reader, *others = members(stack, url, truth, Policy(ttl=600.0), number=writers + 1)
        reader.begin(acts.read_with_tickets, [each for some in profiles for each in some], board, stop)
        began_s = time.monotonic()
        for writer, some in zip(others, profiles, strict=True):
            writer.begin(acts.publish_with_tickets, some, events, board)
        committed = _dawdle(url, max(8, events // 20), longest_s)
        ids = {each for writer in others for each in writer.end(acts.publish_with_tickets, 800.0)}
        took_s = time.monotonic() - began_s
        stop.touch()
        reads = reader.end(acts.read_with_tickets)
        reader.ask(acts.await_applied, ids | committed)
        counts = Counter(str(event.id) for event in reader.ask(acts.applied))

    twice = sum(times > 1 for times in counts.values())
    told = f"{len(ids)} events in {took_s:.1f} s and {len(committed)} late ones: applied twice {twice}"
    waits = f"p50 {percentile(reads.waited_s, 0.5):.4f} s, p99 {percentile(reads.waited_s, 0.99):.4f} s"
    record_testsuite_property(f"{writers} writers", f"{told}; {reads.done} reads, {reads.stale} stale, {waits}")
    assert len(ids) == writers * 4 * events
    assert counts.keys() == ids | committed
    assert twice == 0
    assert reads.done > 0
    assert reads.stale == 0


@pytest.mark.parametrize("kills", [1, _long(20)])
@at_its_best(under_s=15.0)
def test_a_server_that_is_killed_under_load_loses_nothing(
    postgres: PostgresServer, url: str, truth: Path, kills: int, record_testsuite_property: Record
) -> float:
    """J1, J4, J5: kill -9 of all its processes; two processes publish, one reads."""
    stop, moments = truth.parent / "stop", random.Random(kills)
    stop.unlink(missing_ok=True)
    back_s = []

    with ExitStack() as stack:
        before = Counter(str(event.id) for event in acts.journaled(url))
        reader = stack.enter_context(inside(url, truth, Policy(ttl=600.0)))
        writers = members(stack, url, truth, Policy(ttl=600.0), number=2)
        for number, writer in enumerate(writers):
            writer.begin(acts.publish_until, stop, truth.parent / f"acked{number}", threads=2, pause_s=0.005)
        for _ in range(kills):
            Event().wait(moments.uniform(0.5, 1.0))
            postgres.kill()
            Event().wait(moments.uniform(0.0, 1.0))
            postgres.start()
            back_s.append(_await_news(reader))
        stop.touch()
        for writer in writers:
            writer.end(acts.publish_until)
            writer.ask(acts.await_written)
        acts.await_written(reader)
        kept = Counter(str(event.id) for event in acts.journaled(url))
        acts.await_applied(reader, set(kept - before))
        heard = Counter(str(event.id) for event in acts.applied(reader))

    acked = [line for file in truth.parent.glob("acked*") for line in file.read_text().splitlines()]
    lost = set(acked) - kept.keys()
    told = f"acknowledged {len(acked)}, lost {len(lost)}, of {len(kept)}; news after {max(back_s):.2f} s at most"
    record_testsuite_property(f"server killed {kills} times", told)
    assert not lost
    assert heard == kept - before
    assert set(kept.values()) == {1}
    return max(back_s)


def _await_news(reader: Inside) -> float:
    """Return the seconds until an event was applied that another process said from now on."""
    began_s, now_s = time.monotonic(), time.time()
    while True:
        for last, at_s in reader.applied[-1:]:
            if last.at_s > now_s and last.id.incarnation != reader.bus.incarnation:
                return at_s - began_s
        assert time.monotonic() < began_s + WAIT_S, "no news came"
        Event().wait(0.005)


@dataclass(frozen=True, slots=True)
class _Road:
    """How one process comes to the server, and how that ends and begins again."""

    fault: str
    url: str
    cut: Callable[[], None]
    heal: Callable[[], None]


@pytest.fixture(params=["silent", "stopped"])
def road(request: pytest.FixtureRequest, postgres: PostgresServer, postgres_url: URL, proxy: SilentProxy) -> _Road:
    """A network that swallows everything between one process and the server, or a server that is stopped."""
    if request.param == "stopped":
        return _Road("stopped", postgres_url.render_as_string(hide_password=False), postgres.stop, postgres.start)
    query = {name: value for name, value in postgres_url.query.items() if name != "host"}
    through = postgres_url.set(host="127.0.0.1", port=proxy.port, query=query)
    return _Road("silent", through.render_as_string(hide_password=False), proxy.forwards.clear, proxy.forwards.set)


@pytest.mark.parametrize(("lease_s", "seconds"), [(0.8, 2.5), _long(10.0, 30.0)])
@at_its_best(under_s=1.0)
def test_reads_and_own_events_go_on_while_the_server_is_away(
    road: _Road, url: str, truth: Path, lease_s: float, seconds: float, record_testsuite_property: Record
) -> float:
    """J5: and afterwards nothing is missing on either side; for one of them alone, or for both."""
    policy = Policy(ttl=600.0, journal_lease=lease_s)

    with Member(road.url, truth, policy) as there, inside(url, truth, policy) as here:
        first, _ = here.publish()
        there.ask(acts.await_applied, {first})
        road.cut()
        there.begin(acts.endure, seconds)
        own = [here.publish() for _ in range(5)]
        lived = there.end(acts.endure, seconds + WAIT_S)
        refused = (there.ask(acts.read_fresh), there.ask(acts.read_at_least, own[0][0]))
        road.heal()
        healed_s = time.monotonic()
        everything = {*lived.ids, *(ticket for ticket, _ in own)}
        back_s = max(acts.await_applied(here, everything), there.ask(acts.await_applied, everything)) - healed_s
        heard = [acts.applied(here), there.ask(acts.applied)]
        insisting = there.ask(acts.read_at_least, own[0][0])

    record_testsuite_property(f"{road.fault} for {seconds} s", f"{lived.told()}; all there after {back_s:.2f} s")
    assert lived.outdated_reads == 0
    assert lived.failure
    assert refused == (None, None)
    assert insisting is not None
    assert all(max(Counter(event.id for event in events).values()) == 1 for events in heard)
    return lived.worst_share(policy.journal_wait, back_s)


@pytest.mark.parametrize(("lease_s", "still_s"), [(1.0, 1.2), _long(10.0, 12.0)])
def test_who_stood_still_reads_what_is_right_or_is_refused(
    url: str, truth: Path, lease_s: float, still_s: float, record_testsuite_property: Record
) -> None:
    """J5, J8: once it may go on, a read that insists on freshness, and one with a ticket."""
    policy = Policy(ttl=600.0, journal_wait=10.0, journal_lease=lease_s)
    with Member(url, truth, policy) as there, inside(url, truth, policy) as here:
        there.ask(acts.read)
        there.suspend()
        Event().wait(still_s)
        here.truth.move(1)
        ticket, committed = here.publish()
        there.begin(acts.read_fresh)
        there.resume()
        fresh = there.end(acts.read_fresh)
        with_ticket = there.ask(acts.read_at_least, ticket)

    record_testsuite_property(f"stood still for {still_s} s: fresh, with ticket", (fresh, with_ticket))
    assert committed
    assert fresh in (1, None)
    assert with_ticket in (1, None)
