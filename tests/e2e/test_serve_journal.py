"""`hermes-cache serve --journal`: gateways and commands that hear of each other through one journal."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from http.client import HTTPException
from math import inf
from pathlib import Path

import pytest
from sqlalchemy import URL

from hermes_cache import Policy
from hermes_cache.journal.bus import Bus
from hermes_cache.samples.home import make_sample_home
from hermes_cache.sessions.session_list_cache import SessionListCache
from hermes_cache.testing import GatedBuilder
from tests.e2e.event_client import Client
from tests.e2e.gateway_process import COMMAND, connect, served
from tests.waiting import PROCESS_S, at_its_best, until


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gateway") / "home"
    make_sample_home(path, sessions=20, seed=5)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def gateway(home: Path, journal: str) -> Iterator[str]:
    with served("--home", str(home), "--journal", journal) as (_, url):
        yield url


def publish(journal: str, *arguments: str) -> None:
    """Say something as a cron job does: in a process of its own."""
    command = [sys.executable, "-m", "hermes_cache.cli", "publish", "--journal", journal, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=PROCESS_S)  # noqa: S603 -- ours


def outcome(url: str) -> str | None:
    """Ask for a list that the command does not build by itself at its start; return how the answer was found."""
    with closing(connect(url)) as connection:
        connection.request("GET", "/api/sessions?visible_only=0")
        response = connection.getresponse()
        response.read()
        return response.headers["X-Hermes-Cache"]


def health(url: str) -> dict[str, object]:
    with closing(connect(url)) as connection:
        connection.request("GET", "/api/health")
        answer = json.loads(connection.getresponse().read())
    assert isinstance(answer, dict)
    return answer


def greeted(url: str, last_event_id: str) -> bool:
    """Come back as a browser does; says whether the gateway answered."""
    with suppress(HTTPException, OSError), Client(url, last_event_id=last_event_id) as client:
        return client.next() is not None
    return False


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, float]:
    """End the command; gives its exit code, what it complained of, and how long it took.

    One that says that it ended late is late.
    """
    began_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, complaints = process.communicate(timeout=PROCESS_S)
    took_s = inf if "hermes_cache.stopped_late" in complaints else time.monotonic() - began_s
    lines = complaints.splitlines(keepends=True)
    others = "".join(line for line in lines if "hermes_cache.stopped_late" not in line)
    return process.returncode, others, took_s


def test_what_a_command_publishes_reaches_clients_and_the_list_is_built_anew(gateway: str, journal: str) -> None:
    # Proves J3, W1, W3.
    first, second = outcome(gateway), outcome(gateway)
    with Client(gateway) as client:
        client.next()

        publish(journal, "--profile", "default", "--reason", "cron")
        event, third = client.next(), outcome(gateway)

    assert event is not None
    assert (event.fields["profile"], event.fields["reason"]) == ("default", "cron")
    assert (first, second, third) == ("built", "hit", "built")


def test_a_read_right_after_a_publish_never_sees_the_list_from_before(gateway: str, journal: str) -> None:
    # Proves J3: within `journal_interval`, which is shorter than the publisher takes to end.
    outcomes = []
    for _ in range(3):
        publish(journal, "--profile", "default")
        outcomes.append(outcome(gateway))

    assert outcomes == ["built"] * 3


@at_its_best(under_s=5.0)
def test_a_postgresql_journal_tells_a_gateway_the_same(home: Path, postgres_url: URL) -> float:
    # Proves J3, W1, W3: the event comes by notification.
    journal = postgres_url.render_as_string(hide_password=False)
    with (
        served("--home", str(home), "--journal", journal, "--log-level", "warning") as (process, url),
        Client(url) as client,
    ):
        client.next()
        outcome(url)

        publish(journal, "--profile", "default", "--reason", "cron")
        event, after = client.next(), outcome(url)
        code, complaints, took_s = ended(process)

    assert event is not None
    assert (event.fields["profile"], event.fields["reason"]) == ("default", "cron")
    assert after == "built"
    assert (code, complaints) == (0, "")
    return took_s


def test_a_client_that_comes_back_after_a_restart_gets_what_it_missed_merged(home: Path, journal: str) -> None:
    # Proves E8, E9: then that rows may have moved of which no event tells.
    arguments = ("--home", str(home), "--journal", journal)
    with served(*arguments) as (process, url), Client(url) as client:
        client.next()
        publish(journal, "--profile", "default", "--session-id", "s1")
        seen = client.next()
        assert ended(process)[0] == 0
    assert seen is not None

    publish(journal, "--profile", "default", "--session-id", "s2", "--reason", "first")
    publish(journal, "--profile", "default", "--session-id", "s3", "--reason", "second")
    with served(*arguments) as (_, url), Client(url, last_event_id=seen.id) as client:
        hello, missed, moved = client.next(), client.next(), client.next()

    assert hello is not None
    assert missed is not None
    assert moved is not None
    assert hello.id == seen.id
    assert missed.fields == {
        "type": "sessions_changed",
        "version": missed.id,
        "reason": "second",
        "profile": "default",
    }
    assert moved.fields["reason"] == "source_changed"


def test_a_client_that_missed_nothing_in_a_restart_is_told_of_moved_rows_alone(home: Path, journal: str) -> None:
    # Proves E8, E9.
    arguments = ("--home", str(home), "--journal", journal)
    with served(*arguments) as (process, url):
        publish(journal, "--profile", "default")
        outcome(url)
        with Client(url) as client:
            hello = client.next()
        ended(process)
    assert hello is not None

    with served(*arguments) as (_, url), Client(url, last_event_id=hello.id) as client:
        client.next()
        first = client.next()
        publish(journal, "--profile", "default", "--reason", "later")
        second = client.next()

    assert first is not None
    assert second is not None
    assert (first.fields["reason"], second.fields["reason"]) == ("source_changed", "later")


@pytest.mark.parametrize("unknown", ["elsewhere:1:feed:7", "feed:7"])
def test_a_client_of_another_journal_is_told_to_refresh_everything(
    gateway: str, journal: str, unknown: str
) -> None:
    # Proves E8.
    publish(journal, "--profile", "default")

    with Client(gateway, last_event_id=unknown) as client:
        client.next()
        event = client.next()

    assert event is not None
    assert "profile" not in event.fields


def test_two_gateways_on_one_journal_both_hear_a_third_process(gateway: str, home: Path, journal: str) -> None:
    # Proves J3.
    with (
        served("--home", str(home), "--journal", journal) as (_, other),
        Client(gateway) as one,
        Client(other) as two,
    ):
        one.next()
        two.next()

        publish(journal, "stream-started", "--stream-id", "turn-7", "--profile", "default")
        heard = [one.next(), two.next()]

    assert [event.fields["reason"] if event else None for event in heard] == ["stream_started"] * 2


def test_what_the_cache_of_one_gateway_publishes_is_heard_by_the_other(gateway: str, journal: str) -> None:
    # Proves J1, J3: each event once, those of the other in between. Each is committed before the next is sent.
    heard: list[object] = []
    with (
        SessionListCache(
            GatedBuilder(is_open=True), bus=Bus(), journal=journal, policy=Policy(journal_wait=PROCESS_S)
        ) as cache,
        Client(gateway) as client,
    ):
        client.next()
        for number in range(3):
            cache.invalidate("default", reason=f"ours_{number}")
            publish(journal, "--profile", "default", "--reason", f"theirs_{number}")
        for _ in range(6):
            event = client.next()
            heard.append(event.fields["reason"] if event else None)

    assert heard == [f"{who}_{number}" for number in range(3) for who in ("ours", "theirs")]


@at_its_best(under_s=5.0)
def test_it_ends_within_5_s_with_a_stream_connected(home: Path, journal: str) -> float:
    # Proves L1, L3.
    with (
        served("--home", str(home), "--journal", journal, "--log-level", "warning") as (process, url),
        Client(url) as client,
    ):
        client.next()
        outcome(url)

        code, complaints, took_s = ended(process)

    assert (code, complaints) == (0, "")
    return took_s


@at_its_best(under_s=5.0)
def test_lists_are_served_and_it_ends_while_the_journal_is_locked(home: Path, file: Path, journal: str) -> float:
    # Proves J5, L1.
    with (
        served("--home", str(home), "--journal", journal) as (process, url),
        closing(sqlite3.connect(file, isolation_level=None)) as holder,
    ):
        outcome(url)
        holder.execute("BEGIN EXCLUSIVE")

        answered = outcome(url)
        code, _, took_s = ended(process)

    assert answered is not None
    assert code == 0
    return took_s


@at_its_best(under_s=5.0)
def test_it_ends_within_5_s_while_clients_wait_for_what_a_locked_journal_holds(
    home: Path, file: Path, journal: str
) -> float:
    # Proves E8, L1: one that waits keeps neither the others nor the end.
    publish(journal, "--profile", "default")
    with (
        served("--home", str(home), "--journal", journal) as (process, url),
        closing(sqlite3.connect(file, isolation_level=None)) as holder,
        ThreadPoolExecutor(4) as tabs,
    ):
        with Client(url) as client:
            hello = client.next()
        assert hello is not None
        name, seq, _, _ = hello.id.split(":")
        holder.execute("BEGIN EXCLUSIVE")

        waiting = [tabs.submit(greeted, url, f"{name}:{seq}:an_earlier_gateway:1") for _ in range(4)]
        wait(waiting, timeout=0.5)
        code, _, took_s = ended(process)

    assert code == 0
    return took_s


@pytest.mark.parametrize(
    "url",
    ["nowhere", "mysql://me:secret@localhost/x", "postgresql://me:secret", "sqlite://", "sqlite:////dev/null/j"],
)
def test_a_journal_that_cannot_be_used_is_reported_without_its_password(home: Path, url: str) -> None:
    # Proves W3.
    command = [*COMMAND, "--home", str(home), "--port", "0", "--journal", url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_S, check=False)  # noqa: S603 -- ours

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr


@at_its_best(under_s=5.0)
def test_a_server_that_is_down_is_reported_and_lists_are_served(home: Path) -> float:
    # Proves J5, L4, W1: it may come back, and until then the age of a list bounds how stale it is.
    pytest.importorskip("psycopg")
    away = "postgresql://me:secret@127.0.0.1:1/x"
    with served("--home", str(home), "--journal", away) as (process, url):
        answered = outcome(url)
        until(lambda: health(url)["journal_failure"], within_s=PROCESS_S)
        fields = health(url)
        code, complaints, took_s = ended(process)

    assert answered == "built"
    assert "127.0.0.1" in str(fields["journal_failure"])
    assert isinstance(fields["journal_lag_s"], float)
    assert "events of other processes do not arrive" in complaints
    assert "secret" not in f"{complaints}{fields}"
    assert code == 0
    return took_s


def test_the_health_of_a_gateway_tells_that_its_journal_is_there(gateway: str) -> None:
    # Proves L4, W1.
    fields = health(gateway)

    assert fields["healthy"]
    assert (fields["journal_lag_s"], fields["journal_failure"]) == (0.0, None)
