"""Processes that share an SQLite journal through their caches (rules J1, J3 to J6, J8, E8)."""

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from hermes_cache import Policy
from tests.integration import journal_members as acts
from tests.integration.journal_members import Inside, Member, inside, percentile

Record = Callable[[str, object], None]

ALWAYS = Policy(ttl=600.0, journal_interval=0.0, journal_wait=10.0)
"""Each read sees what was committed before it, and each publish waits for its commit."""

_SLACK_S = 0.25
"""What the machine's other work may add to a span."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "journal").mkdir()
    return f"sqlite:///{tmp_path / 'journal' / 'journal.db'}"


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    folder = tmp_path / "truth"
    folder.mkdir()
    return folder


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
def test_a_subscriber_elsewhere_hears_of_every_event(
    url: str, truth: Path, rounds: int, beside: str, record_testsuite_property: Record
) -> None:
    """J3, E7: also beside a busy Python thread in its process."""
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
    assert beside != "nothing" or percentile(after_s, 0.5) < 0.02


def _await_publication(here: Inside, session_id: str) -> None:
    ends_at_s = time.monotonic() + acts.WAIT_S
    while session_id not in {getattr(event, "session_id", None) for event in acts.applied(here)}:
        assert time.monotonic() < ends_at_s
        Event().wait(0.005)


@pytest.mark.parametrize("kills", [2, _long(50)])
def test_what_a_killed_publisher_was_told_is_committed_is_there(
    url: str, truth: Path, tmp_path: Path, kills: int, record_testsuite_property: Record
) -> None:
    """J1, J4: two publish through caches, one is killed at some moment, the others go on."""
    stop = tmp_path / "stop"
    moments = random.Random(kills)
    acked = []

    with inside(url, truth, Policy()) as reader:
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
    ends_at_s = time.monotonic() + acts.WAIT_S
    while not (file.exists() and file.stat().st_size):
        assert time.monotonic() < ends_at_s, "the writer never got through"
        Event().wait(0.005)
