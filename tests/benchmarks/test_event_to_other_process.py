"""An event's way to another process on the same machine, over an SQLite journal.

Two processes, one cache each. 1,000 events at pauses of 1 to 20 ms, from the call of `send` to the moment at which
a subscriber of the other process has the change. 10,000 times a change, its event, and a read in the other
process, which begins after `send` returned; every read is a build. Then hits on one key, with a journal in which
nothing happens.
"""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from tests.benchmarks.figures import Figure, in_units
from tests.benchmarks.timing import Benchmark, percentile, run_once, side_by_side
from tests.integration import journal_acts as acts
from tests.integration.journal_members import Inside, Member, inside
from tests.waiting import until

pytestmark = pytest.mark.long

_EVENTS = 1_000
_READS = 10_000
_KEY = SessionListKey()
_NEVER_OLD_S = 3_600.0
_MOST_S = 0.02


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """The folder with the truth that the caches are to serve."""
    folder = tmp_path / "truth"
    folder.mkdir()
    return folder


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a journal."""
    return f"sqlite:///{tmp_path}/journal.db"


def test_an_event_to_a_subscriber_elsewhere(
    benchmark: Benchmark, record: Callable[[Figure], None], url: str, truth: Path
) -> None:
    """J3, E7"""
    policy = Policy(journal_wait=10.0, subscription_size=_EVENTS)
    taken_s: list[tuple[float, float]] = []

    with Member(url, truth, policy) as there, inside(url, truth, policy) as here:
        run_once(benchmark, lambda: taken_s.extend(_send_to(there, here)))

    assert len(taken_s) == _EVENTS
    p99_s, sends_p99_s = (percentile(each, 99) for each in zip(*taken_s, strict=True))
    sends = f"until `send` returned, p99 {in_units(sends_p99_s)}"
    record(Figure("event to another process, p99", in_units(p99_s), sends, "", "<= 20 ms", p99_s <= _MOST_S))


@pytest.mark.timeout(600)
def test_reads_elsewhere_after_a_send(
    benchmark: Benchmark, record: Callable[[Figure], None], url: str, truth: Path
) -> None:
    """J3"""
    policy = Policy(journal_interval=0, journal_wait=10.0, max_build_duty=1.0)
    outdated: list[int] = []

    with Member(url, truth, policy) as there, inside(url, truth, policy) as here:
        run_once(benchmark, lambda: outdated.append(_outdated_reads(there, here)))

    assert outdated == [0]
    what = "reads elsewhere after `send` returned, journal_interval=0: up to date"
    record(Figure(what, f"{_READS:,}", f"of {_READS:,}", "", "all", met=True))


@pytest.mark.parametrize(("interval_s", "named"), [(0.05, "by default"), (0.0, "0")])
def test_a_hit_with_a_journal(
    benchmark: Benchmark, record: Callable[[Figure], None], url: str, interval_s: float, named: str
) -> None:
    """J3"""
    policy = Policy(ttl=_NEVER_OLD_S, journal_interval=interval_s)

    with (
        SessionListCache(_build, policy=policy, bus=Bus(), journal=url) as ours,
        SessionListCache(_build, policy=policy, bus=Bus()) as plain,
    ):
        ours_s, plain_s = side_by_side(
            benchmark, lambda: ours.get(_KEY), lambda: plain.get(_KEY), calls=(2_000, 2_000), rounds=30
        )
        builds = ours.stats().builds

    assert builds == 1
    what, ratio = f"fresh hit with a journal, journal_interval {named}", f"{ours_s / plain_s:.2f} x its time"
    record(Figure(what, in_units(ours_s), f"without a journal {in_units(plain_s)}", ratio))


def _send_to(there: Member, here: Inside) -> list[tuple[float, float]]:
    """Return how long each event took to a subscriber there, and until `send` returned, from its call."""
    sent_s: dict[str, tuple[float, float]] = {}
    pauses = random.Random(_EVENTS)
    there.begin(acts.hear, _EVENTS, busy=False)
    _await_publication(here, "listening")
    for number in range(_EVENTS):
        threading.Event().wait(pauses.uniform(0.001, 0.02))
        began_s = time.monotonic()
        here.publish(f"s{number}")
        sent_s[f"s{number}"] = began_s, time.monotonic()
    heard_s = there.end(acts.hear)
    return [(heard_s[name] - began_s, over_s - began_s) for name, (began_s, over_s) in sent_s.items()]


def _outdated_reads(there: Member, here: Inside) -> int:
    """Count the reads there that got less than what was said here before they began."""
    outdated = 0
    for number in range(1, _READS + 1):
        here.truth.move(number)
        _, committed = here.publish()
        assert committed
        outdated += there.ask(acts.read) < number
    return outdated


def _await_publication(here: Inside, session_id: str) -> None:
    until(lambda: session_id in {getattr(event, "session_id", None) for event in acts.applied(here)})


def _build(_key: object) -> dict[str, object]:
    return {"sessions": []}
