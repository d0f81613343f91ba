"""Rules L1, L3 and W6: what ends `hermes-cache serve`, and that it leaves nothing behind."""

import json
import os
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.demo_process import children_of, demo_folder, outlives
from tests.e2e.gateway_process import COMMAND, connect, served
from tests.e2e.process_log import AS_JSON, log_of
from tests.waiting import PROCESS_S, at_its_best, until

STARTED_AND_STOPPED = ["hermes_cache.serving", "hermes_cache.stopping", "hermes_cache.stopped"]
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of the commands, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def listed(url: str) -> list[object]:
    with closing(connect(url)) as connection:
        connection.request("GET", "/api/sessions?show_cli=1&show_cron=1&all_profiles=1")
        rows: list[object] = json.loads(connection.getresponse().read())["sessions"]
    return rows


@pytest.mark.parametrize("number", SIGNALS)
@at_its_best(under_s=5.0)
def test_a_signal_ends_it_within_5_s_with_a_stream_connected(home: Path, number: signal.Signals) -> float:
    """W6, L1, L3, W1"""
    with served("--home", str(home), *AS_JSON) as (process, url), closing(connect(url)) as stream:
        rows = listed(url)
        stream.request("GET", "/api/sessions/events")
        response = stream.getresponse()
        response.readline()

        began_s = time.monotonic()
        process.send_signal(number)
        code = process.wait(PROCESS_S)
        took_s = time.monotonic() - began_s
        logged = log_of(process)

    assert rows
    assert (code, [line.event for line in logged]) == (0, STARTED_AND_STOPPED)
    assert logged[1].fields == {"signal": number.name}
    return took_s


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_leaves_no_file_and_no_process_of_a_demo(temporary: Path, number: signal.Signals) -> None:
    """W6, X9"""
    with served("--demo", "--sessions", "20") as (process, url):
        folder = demo_folder(process)
        children = children_of(process.pid)
        rows = listed(url)

        process.send_signal(number)
        code = process.wait(PROCESS_S)

    assert rows
    assert folder.is_relative_to(temporary)
    assert (code, list(temporary.iterdir())) == (0, [])
    assert not [child for child in children if outlives(child)]


@pytest.mark.parametrize("number", SIGNALS)
def test_further_signals_during_the_stop_do_no_harm(temporary: Path, number: signal.Signals) -> None:
    """W6"""
    with served("--demo", "--sessions", "5", *AS_JSON) as (process, _):

        def has_ended() -> bool:
            process.send_signal(number)
            return process.poll() is not None

        until(has_ended, within_s=PROCESS_S)
        logged = log_of(process)

    assert (process.returncode, [line.event for line in logged]) == (0, STARTED_AND_STOPPED)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("kind", ["home", "demo"])
def test_a_signal_to_all_its_processes_at_once_ends_it_as_well(
    home: Path, kind: str, number: signal.Signals
) -> None:
    """W6: a terminal that closes sends its signal so, and so does a service manager."""
    serves = ("--home", str(home)) if kind == "home" else ("--demo", "--sessions", "5")
    with subprocess.Popen(  # noqa: S603 -- ours
        [*COMMAND, "--port", "0", *serves, *AS_JSON],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        first = process.stdout.readline()
        os.killpg(process.pid, number)
        logged = log_of(process)

    assert "Serving" in first
    assert (process.returncode, [line.event for line in logged]) == (0, STARTED_AND_STOPPED)


def test_it_starts_with_ctrl_c_ignored_and_still_obeys_it(home: Path) -> None:
    """L3: a shell starts background jobs so."""
    ignoring = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with served("--home", str(home)) as (process, _):
            process.send_signal(signal.SIGINT)

            assert process.wait(PROCESS_S) == 0
    finally:
        signal.signal(signal.SIGINT, ignoring)


def test_a_hangup_that_was_ignored_at_the_start_stays_ignored(home: Path) -> None:
    """W6: nohup starts a command so."""
    ignoring = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with served("--home", str(home)) as (process, url):
            process.send_signal(signal.SIGHUP)
            rows = listed(url)
            process.terminate()

            assert rows
            assert process.wait(PROCESS_S) == 0
    finally:
        signal.signal(signal.SIGHUP, ignoring)


def test_a_demo_whose_server_is_killed_leaves_no_file_and_no_process(temporary: Path) -> None:
    """W6, L1"""
    with served("--demo", "--sessions", "5") as (process, _):
        folder = demo_folder(process)
        children = children_of(process.pid)

        process.kill()

    assert folder.is_relative_to(temporary)
    assert not [child for child in children if outlives(child)]
    until(lambda: not list(temporary.iterdir()), within_s=PROCESS_S)
