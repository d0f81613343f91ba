"""Processes that share an SQLite journal through their caches (rules J1, J3 to J6, J8, E8)."""

import random
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event
from typing import Literal

import pytest

from hermes_cache import Policy
from hermes_cache.journal.snapshots import fold_snapshot
from hermes_cache.journal.sqlalchemy_journal import journal_at
from hermes_cache.testing.journal_contract import numbered
from tests.integration import journal_acts as acts
from tests.integration.journal_acts import percentile
from tests.integration.journal_members import WAIT_S, Inside, Member, inside, members
from tests.waiting import at_its_best, until

Record = Callable[[str, object], None]

ALWAYS = Policy(ttl=600.0, journal_interval=0.0, journal_wait=10.0)
"""Each read sees what was committed before it, and each publish waits for its commit."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "journal").mkdir()
    return f"sqlite:///{tmp_path / 'journal' / 'journal.db'}"


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _integrity(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def _say(here: Inside, number: int) -> str:
    here.truth.move(number)
    ticket, committed = here.publish()
    assert committed
    return ticket


def _long(*values: object, timeout_s: int = 600) -> object:
    return pytest.param(*values, marks=[pytest.mark.long, pytest.mark.timeout(timeout_s)])


@pytest.mark.parametrize("rounds", [100, _long(10_000)])
def test_a_read_after_a_commit_sees_it_whoever_committed(
    url: str, truth: Path, rounds: int, record_testsuite_property: Record
) -> None:
    """J3, with `journal_interval=0`."""
    stale = 0

    with Member(url, truth, ALWAYS) as there, inside(url, truth, ALWAYS) as here:
        for number in range(1, rounds + 1):
            _say(here, number)
            stale += there.ask(acts.read) != number

    record_testsuite_property(f"{rounds} publishes, each followed by a read elsewhere: stale", stale)
    assert stale == 0


@pytest.mark.parametrize("rounds", [20, _long(2_000)])
def test_a_read_that_begins_an_interval_after_a_commit_sees_it(
    url: str, truth: Path, rounds: int, record_testsuite_property: Record
) -> None:
    """J3, with the interval of 50 ms: reads go on without a pause, and the last stale one began within it."""
    policy = Policy(ttl=600.0, journal_wait=10.0)
    late_s = []

    with Member(url, truth, policy) as there, inside(url, truth, policy) as here:
        for number in range(1, rounds + 1):
            there.begin(acts.await_stale_reads, number)
            _say(here, number)
            committed_s = time.monotonic()
            late_s.append(there.end(acts.await_stale_reads) - committed_s)

    record_testsuite_property(f"{rounds} publishes: the latest stale read began after", f"{max(late_s):.4f} s")
    assert max(late_s) <= policy.journal_interval


@pytest.mark.parametrize("beside", ["nothing", "a busy thread"])
@pytest.mark.parametrize("rounds", [50, _long(2_000)])
@at_its_best(under_s=Policy().journal_interval)
def test_a_subscriber_elsewhere_hears_of_every_event(
    url: str, truth: Path, rounds: int, beside: str, record_testsuite_property: Record
) -> float:
    """J3, E7: also beside a busy Python thread in its process, where it may take its time."""
    policy = Policy(journal_wait=10.0, subscription_size=rounds)
    sent_s = {}
    pauses = random.Random(rounds)

    with Member(url, truth, policy) as there, inside(url, truth, policy) as here:
        there.begin(acts.hear, rounds, busy=beside != "nothing")
        _await_publication(here, "listening")
        for number in range(rounds):
            Event().wait(pauses.uniform(0.001, 0.02))
            here.publish(f"s{number}")
            sent_s[f"s{number}"] = time.monotonic()
        heard_s = there.end(acts.hear)

    after_s = [heard_s[name] - sent_s[name] for name in sent_s]
    told = (
        f"p50 {percentile(after_s, 0.5):.4f} s, p99 {percentile(after_s, 0.99):.4f} s, worst {max(after_s):.4f} s"
    )
    record_testsuite_property(f"{rounds} events, heard elsewhere after `send` returned; beside {beside}", told)
    assert heard_s.keys() == sent_s.keys()
    return percentile(after_s, 0.5) if beside == "nothing" else 0.0


def _await_publication(here: Inside, session_id: str) -> None:
    until(lambda: session_id in {getattr(event, "session_id", None) for event in acts.applied(here)})


@pytest.mark.parametrize("kills", [2, _long(50)])
def test_what_a_killed_publisher_knew_as_committed_is_there(
    url: str, truth: Path, tmp_path: Path, kills: int, record_testsuite_property: Record
) -> None:
    """J1, J4: two publish through caches, one is killed at some moment, the others go on."""
    stop = tmp_path / "stop"
    moments = random.Random(kills)
    acked = []

    with inside(url, truth, ALWAYS) as reader:
        writers = [_writer(url, truth, tmp_path / f"acked{number}", stop) for number in range(2)]
        for number in range(2, kills + 2):
            _await_line(tmp_path / f"acked{number - 2}")
            Event().wait(moments.uniform(0.0, 0.5))
            writers.pop(0).kill()
            if number < kills:
                writers.append(_writer(url, truth, tmp_path / f"acked{number}", stop))
        acked = [line for file in tmp_path.glob("acked*") for line in file.read_text().splitlines()]
        kept = Counter(str(event.id) for event in acts.journaled(url))
        acts.await_applied(reader, set(kept))
        heard = Counter(str(event.id) for event in acts.applied(reader))

    lost = set(acked) - kept.keys()
    record_testsuite_property(f"{kills} kills: acknowledged, lost", f"{len(acked)}, {len(lost)}")
    assert not lost
    assert set(kept.values()) == {1}
    assert heard == kept
    assert _integrity(_file(url)) == "ok"


def _writer(url: str, truth: Path, acked: Path, stop: Path) -> Member:
    writer = Member(url, truth, Policy())
    writer.begin(acts.publish_until, stop, acked, threads=3)
    return writer


def _await_line(file: Path) -> None:
    until(lambda: file.exists() and file.stat().st_size, "the writer never got through")


def _copy_of(url: str, file: Path) -> Path:
    with closing(sqlite3.connect(_file(url))) as source, closing(sqlite3.connect(file)) as target:
        source.backup(target)
    return file


def _put(copy: Path, url: str) -> None:
    copy.replace(_file(url))


def _replace(url: str, copy: Path) -> None:
    other = copy.with_name("other.db")
    with closing(journal_at(f"sqlite:///{other}")) as journal:
        journal.append(numbered(range(1, 10)))
    _put(other, url)


def _restore(url: str, copy: Path) -> None:
    _put(copy, url)


def _restore_and_go_on(url: str, copy: Path) -> None:
    missing = len(acts.journaled(url)) - len(acts.journaled(f"sqlite:///{copy}"))
    with closing(journal_at(f"sqlite:///{copy}")) as journal:
        journal.append(numbered(range(1, missing + 1)))
    _put(copy, url)


def _remove(url: str, _copy: Path) -> None:
    _file(url).unlink()


@pytest.mark.parametrize("damage", [_replace, _restore, _restore_and_go_on, _remove])
def test_a_journal_that_is_not_what_it_was_outdates_everything_before_the_next_read(
    url: str, truth: Path, tmp_path: Path, damage: Callable[[str, Path], None]
) -> None:
    """J5: in each process, and they go on."""
    with Member(url, truth, ALWAYS) as there, inside(url, truth, ALWAYS) as here:
        _say(here, 1)
        copy = _copy_of(url, tmp_path / "copy.db")
        _say(here, 2)
        _say(here, 3)
        before = (there.ask(acts.read), here.number())

        here.truth.move(4)
        damage(url, copy)
        after = (there.ask(acts.read), here.number())
        _say(here, 5)
        seen_there = there.ask(acts.read)
        [(ticket, _)] = there.ask(acts.publish, ["back"])
        acts.await_applied(here, {ticket})
        heard = (acts.gaps(there.ask(acts.applied)), acts.gaps(acts.applied(here)))

    assert (before, after, seen_there) == ((3, 3), (4, 4), 5)
    assert all(1 <= times <= 2 for times in heard), "each says it once, and hears of the other's once at most"


@pytest.mark.parametrize("damage", ["cp", "truncate"])
def test_a_journal_that_is_written_over_outdates_everything(
    url: str, truth: Path, tmp_path: Path, damage: str
) -> None:
    """J5: it is away while that lasts, and what was missed is told once it is back."""
    with Member(url, truth, ALWAYS) as there, inside(url, truth, ALWAYS) as here:
        _say(here, 1)
        copy = _copy_of(url, tmp_path / "copy.db")
        _say(here, 2)
        before = (there.ask(acts.read), here.number())

        here.truth.move(3)
        commands = {"cp": ["cp", str(copy), str(_file(url))], "truncate": ["truncate", "-s", "0", str(_file(url))]}
        subprocess.run(commands[damage], check=True)  # noqa: S603  # beside our own locks, not through them
        there.ask(acts.await_stale_reads, 3)
        acts.await_stale_reads(here, 3)
        _say(here, 4)

        assert before == (2, 2)
        assert there.ask(acts.read) == 4
        assert 1 <= acts.gaps(acts.applied(here)) <= 2


def test_who_stood_still_while_the_journal_was_compacted_outdates_everything_before_the_next_read(
    url: str, truth: Path
) -> None:
    """J6"""
    with Member(url, truth, ALWAYS) as there, inside(url, truth, ALWAYS) as here:
        _say(here, 1)
        before = there.ask(acts.read)
        there.suspend()
        for number in range(2, 40):
            _say(here, number)
        with closing(journal_at(url)) as journal:
            dropped = journal.compact(fold_snapshot, before_s=0.0, max_events=5)
        there.begin(acts.read)
        there.resume()

        after = there.end(acts.read)
        # The other one may have read so slowly that it missed events, too, and says so.
        own = [event for event in there.ask(acts.applied) if event.id.incarnation != here.bus.incarnation]

    assert (before, after, acts.gaps(own)) == (1, 39, 1)
    assert dropped >= 30


@pytest.mark.parametrize("freshness", ["default", "fresh"])
@pytest.mark.parametrize(("lease_s", "still_s"), [(1.0, 1.2), _long(10.0, 12.0)])
def test_who_stood_still_reads_nothing_that_is_outdated(
    *,
    url: str,
    truth: Path,
    freshness: Literal["default", "fresh"],
    lease_s: float,
    still_s: float,
    record_testsuite_property: Record,
) -> None:
    """J3, J5: a read that begins after it may go on is right, or refused, or says that the journal is away."""
    policy = Policy(ttl=600.0, journal_interval=0.0, journal_wait=10.0, journal_lease=lease_s)
    stop = truth.parent / "stop"
    said: list[tuple[float, int]] = []

    def say_for(seconds: float) -> None:
        ends_at_s = time.monotonic() + seconds
        while time.monotonic() < ends_at_s:
            number = here.truth.number() + 1
            here.truth.move(number)
            # Who stands still with a lock on the file keeps the others from committing.
            if here.publish()[1]:
                said.append((time.monotonic(), number))
            Event().wait(0.01)

    with Member(url, truth, policy) as there, inside(url, truth, policy) as here:
        there.begin(acts.read_until, stop, freshness)
        say_for(1.0)
        there.suspend()
        say_for(still_s)
        there.resume()
        say_for(0.3)
        # It goes on until a read is answered again.
        stop.touch()
        reads = there.end(acts.read_until)

    refused = sum(number is None for _, number in reads)
    told = f"{len(reads)} reads, {refused} refused, {acts.outdated(reads, said)} outdated"
    record_testsuite_property(f"stood still for {still_s} s, lease {lease_s} s, {freshness}", told)
    assert acts.outdated(reads, said) == 0
    assert refused < len(reads)
    assert reads[-1][1] is not None


@pytest.mark.parametrize("away", ["locked", "renamed"])
@pytest.mark.parametrize(("lease_s", "seconds"), [(0.8, 1.5), _long(10.0, 30.0)])
@at_its_best(under_s=1.0)
def test_reads_and_own_events_go_on_while_the_journal_is_away(
    *,
    url: str,
    truth: Path,
    away: str,
    lease_s: float,
    seconds: float,
    record_testsuite_property: Record,
) -> float:
    """J5: and afterwards nothing is missing on either side."""
    policy = Policy(ttl=600.0, journal_lease=lease_s)
    folder, locked = _file(url).parent, truth.parent / "locked"

    with ExitStack() as stack:
        there, locker = members(stack, url, truth, policy, number=2)
        here = stack.enter_context(inside(url, truth, policy))
        _await_all([here], [there, locker], {here.publish()[0]})
        if away == "locked":
            locker.begin(acts.hold_lock, _file(url), locked)
            acts.await_file(locked)
        else:
            folder.rename(truth.parent / "elsewhere")
        there.begin(acts.endure, seconds)
        own = [here.publish() for _ in range(5)]
        lived = there.end(acts.endure, seconds + WAIT_S)
        refused = (there.ask(acts.read_fresh), there.ask(acts.read_at_least, own[0][0]))
        if away == "locked":
            locked.unlink()
            locker.end(acts.hold_lock)
        else:
            (truth.parent / "elsewhere").rename(folder)
        healed_s = time.monotonic()
        everything = {*lived.ids, *(ticket for ticket, _ in own)}
        back_s = _await_all([here], [there, locker], everything) - healed_s
        heard = [acts.applied(here), there.ask(acts.applied), locker.ask(acts.applied)]

    record_testsuite_property(f"{away} for {seconds} s", f"{lived.told()}; all there after {back_s:.2f} s")
    assert lived.outdated_reads == 0
    assert lived.failure
    assert refused == (None, None)
    assert all(max(Counter(event.id for event in events).values()) == 1 for events in heard)
    return lived.worst_share(policy.journal_wait, back_s)


def _await_all(insides: list[Inside], others: list[Member], ids: set[str]) -> float:
    """Wait until events were applied in all processes, and give the moment of the last."""
    here_s = [acts.await_applied(here, ids) for here in insides]
    return max(here_s + [other.ask(acts.await_applied, ids) for other in others])
