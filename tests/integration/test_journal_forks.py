"""A process with a journal forks: the child is a member of its own, and the parent goes on (rules L2, J1, J3)."""

import os
import pickle
import select
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import URL

from hermes_cache import Policy
from hermes_cache.threads.forks import ForkGate
from tests.integration import journal_acts as acts
from tests.integration.journal_members import KEY, Inside, Member, inside
from tests.waiting import PROCESS_S, threads_left

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

_POLICY = Policy(ttl=600.0, journal_interval=0.0, journal_wait=10.0)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'journal.db'}"
    found: URL = request.getfixturevalue("postgres_url")
    return found.render_as_string(hide_password=False)


@dataclass(frozen=True, slots=True)
class _Child:
    """What a child came to."""

    incarnation: str
    ticket: str
    committed: bool | None
    number: int | None
    first_read_s: float
    threads_left: tuple[str, ...]


def _in_child(live: Callable[[], _Child]) -> _Child:
    """Run in a forked child, and give what it came to; fail where it hangs."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, pickle.dumps(live()))
        except BaseException as error:  # noqa: BLE001  # told to the parent
            os.write(writing, pickle.dumps(error))
        finally:
            os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], PROCESS_S)
        told = pickle.loads(os.read(reading, 65536)) if ready else TimeoutError("the child hangs")  # noqa: S301  # ours
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if isinstance(told, BaseException):
        raise told
    assert isinstance(told, _Child)
    return told


def _live(here: Inside, at_least: str | None) -> _Child:
    began_s = time.monotonic()
    here.number()
    first_read_s = time.monotonic() - began_s
    ticket, committed = here.publish("child")
    number = here.cache.get(KEY, at_least=at_least, timeout=30.0)["number"]
    here.cache.stop()
    left = tuple(threads_left())
    return _Child(here.bus.incarnation, ticket, committed, int(str(number)), first_read_s, left)


def _fork(here: Inside, at_least: str) -> tuple[str, _Child]:
    """Fork, and give this process's incarnation and what the child came to."""
    return here.bus.incarnation, _in_child(lambda: _live(here, at_least))


@dataclass
class _Forks:
    """What came of forks beside threads that publish."""

    acked: list[str] = field(default_factory=list)
    children: list[_Child] = field(default_factory=list)


def _fork_while_publishing(here: Inside, times: int) -> _Forks:
    forks, stop, parent = _Forks(), threading.Event(), os.getpid()

    def publish() -> None:
        while not stop.is_set() and os.getpid() == parent:
            ticket, committed = here.publish()
            forks.acked += [ticket] if committed else []

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(times):
            forks.children.append(_in_child(lambda: _live(here, None)))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return forks


def test_a_child_publishes_and_reads_as_itself_and_the_parent_is_untouched(url: str, truth: Path) -> None:
    """L2, J1, J8"""
    with Member(url, truth, _POLICY) as parent, inside(url, truth, _POLICY) as other:
        other.truth.move(1)
        said, _ = other.publish()
        name, child = parent.ask(_fork, said)
        other.truth.move(2)
        [(after, committed)] = parent.ask(acts.publish, ["parent"])
        acts.await_applied(other, {child.ticket, after})
        parent.ask(acts.await_applied, {child.ticket, after})
        kept = [str(event.id) for event in acts.journaled(url)]
        heard = [
            Counter(str(event.id) for event in events)
            for events in (acts.applied(other), parent.ask(acts.applied))
        ]

        assert child.incarnation != name
        assert child.ticket.startswith(child.incarnation)
        assert (child.committed, child.number, child.threads_left) == (True, 1, ())
        assert committed
        assert kept == [said, child.ticket, after]
        assert all(counts == Counter(kept) for counts in heard)
        assert parent.ask(acts.read) == 2


@pytest.mark.parametrize("times", [5, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_forks_in_the_middle_of_publishing_harm_nobody(
    url: str, truth: Path, times: int, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """L2, J1, J4"""
    with Member(url, truth, _POLICY) as parent, inside(url, truth, _POLICY) as other:
        parent.begin(_fork_while_publishing, times)
        forks = parent.end(_fork_while_publishing, 500.0)
        kept = Counter(str(event.id) for event in acts.journaled(url))
        acts.await_applied(other, set(kept))
        heard = Counter(str(event.id) for event in acts.applied(other))

    slowest_s = max(child.first_read_s for child in forks.children)
    told = f"{len(forks.acked)} acknowledged; a child's first read took {slowest_s:.3f} s at most"
    record_testsuite_property(f"{times} forks, {url.partition(':')[0]}", told)
    assert len({child.incarnation for child in forks.children}) == times
    assert {child.committed for child in forks.children} == {True}
    assert {*forks.acked, *(child.ticket for child in forks.children)} <= kept.keys()
    assert set(kept.values()) == {1}
    assert heard == kept
    assert _is_sound(url)


def _is_sound(url: str) -> bool:
    if not url.startswith("sqlite"):
        return True
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_waits_for_who_is_inside_a_gate_and_lets_nobody_in_meanwhile() -> None:
    """L2"""
    gate, entered, order = ForkGate(), threading.Event(), []

    def stay() -> None:
        with gate:
            entered.set()
            threading.Event().wait(0.2)
            order.append("out")

    staying = threading.Thread(target=stay)
    staying.start()
    entered.wait(PROCESS_S)
    pid = os.fork()
    if pid == 0:
        with gate:
            os._exit(len(order))
    order.append("forked")
    staying.join()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    with gate:
        assert order == ["out", "forked"]
    assert status == 1
