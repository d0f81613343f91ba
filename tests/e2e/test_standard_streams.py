"""Rules W3 and W6: what commands do if their standard streams are closed, or cannot be written."""

import json
import os
import subprocess
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from hermes_cache.cli.main import COMMANDS
from hermes_cache.core.events import EventId, SettingsChanged
from hermes_cache.journal.sqlalchemy_journal import journal_at
from tests.e2e.gateway_process import COMMAND, free_port
from tests.e2e.process_log import AS_JSON, log_of, log_until
from tests.waiting import PROCESS_S, until

UNWRITABLE = {"full disk": "No space left on device", "closed pipe": "Broken pipe"}


def listed(port: int) -> list[object]:
    """Return the rows that a gateway lists; none while it does not answer."""
    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=PROCESS_S)) as connection:
            connection.request("GET", "/api/sessions")
            answer = connection.getresponse()
            rows: list[object] = json.loads(answer.read())["sessions"] if answer.status == 200 else []
    except (ConnectionError, HTTPException):
        return []
    return rows


@pytest.mark.parametrize("closed", ["0", "1", "2", "012"])
def test_a_gateway_whose_standard_streams_are_closed_works(home: Path, closed: str) -> None:
    """W6"""
    port = free_port()
    redirections = " ".join(f"{number}>&-" for number in closed)
    script = f'exec "$@" {redirections}'
    command = ["sh", "-c", script, "sh", *COMMAND, "--home", str(home), "--port", str(port)]

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 -- ours
        try:
            until(lambda: listed(port) or process.poll() is not None, within_s=PROCESS_S)
            rows = listed(port)
            process.terminate()
            code = process.wait(PROCESS_S)
        finally:
            process.kill()

    assert rows
    assert code == 0


@pytest.mark.parametrize("output", UNWRITABLE)
def test_a_gateway_whose_output_cannot_be_written_says_so_once_and_works(home: Path, output: str) -> None:
    """W6, W3"""
    port = free_port()
    ours, theirs = os.pipe()
    os.close(ours)
    with (
        open("/dev/full" if output == "full disk" else theirs, "wb") as target,  # noqa: PTH123 -- may be a number
        subprocess.Popen(  # noqa: S603 -- ours
            [*COMMAND, "--home", str(home), "--port", str(port), *AS_JSON],
            stdout=target,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            # It answers a moment before its start is over, and it prints at the end of that.
            logged = log_until(process, "hermes_cache.output_failed")
            rows = listed(port)
            process.terminate()
            logged += log_of(process)
        finally:
            process.kill()

    assert rows
    assert [line.event for line in logged if line.level == "warning"] == ["hermes_cache.output_failed"]
    assert process.wait() == 0


@pytest.fixture
def prints(tmp_path: Path) -> dict[str, list[str]]:
    """The arguments with which each command prints something, and ends."""
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    with closing(journal_at(url)) as journal:
        journal.append([SettingsChanged(id=EventId("a", 1), at_s=1.0)])
    return {
        "compact": ["--journal", url],
        "doctor": ["--home", str(tmp_path)],
        "explain": ["--journal", url],
        "publish": ["--journal", url],
        "replay": ["--journal", url],
        "sample-home": [str(tmp_path / "made"), "--sessions", "1", "--json"],
        "serve": ["--help"],  # What it does once it serves, the tests above say.
        "stats": ["--journal", url],
        "tail": ["--journal", url],
    }


def test_a_terminal_that_lacks_signs_shows_them_as_escapes(tmp_path: Path) -> None:
    """W3"""
    result = subprocess.run(  # noqa: S603 -- ours
        [*COMMAND[:-1], "sample-home", str(tmp_path / "caf\xe9-\u65e5"), "--sessions", "1"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        check=False,
        timeout=PROCESS_S,
    )

    assert (result.returncode, result.stdout.splitlines()[-1][-11:]) == (0, b"caf\xe9-\\u65e5")


@pytest.mark.parametrize(("output", "reason"), UNWRITABLE.items())
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_whose_output_cannot_be_written_says_so_in_one_line(
    command: str, output: str, reason: str, prints: dict[str, list[str]]
) -> None:
    """W3"""
    ours, theirs = os.pipe()
    os.close(ours)
    with open("/dev/full" if output == "full disk" else theirs, "wb") as target:  # noqa: PTH123 -- may be a number
        result = subprocess.run(  # noqa: S603 -- ours
            [*COMMAND[:-1], command, *prints[command]],
            stdout=target,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PROCESS_S,
        )

    complaints = [line for line in result.stderr.splitlines() if not line.startswith(("Making", "Done"))]
    assert complaints == [f"Error: cannot write the output: {reason}"]
    assert result.returncode == 1
