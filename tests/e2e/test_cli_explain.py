"""`hermes-cache explain` as a process: over a real gateway, and over a real journal."""

import json
import os
import re
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from hermes_cache.core.events import (
    AppliedEvent,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.journal.snapshots import fold_snapshot
from hermes_cache.journal.sqlalchemy_journal import journal_at
from tests.e2e.gateway_process import free_port, served
from tests.waiting import PROCESS_S

COMMAND = [sys.executable, "-m", "hermes_cache.cli"]
TOKEN = "correct-horse-battery"  # noqa: S105 -- a token of the tests
EVENTS: list[AppliedEvent] = [
    SessionListChanged(id=EventId("a", 1), at_s=1000.0, reason="session_rename", profile="work", session_id="s1"),
    StreamStarted(id=EventId("a", 2), at_s=1001.0, stream_id="turn of work", profile="work"),
    StreamStarted(id=EventId("a", 3), at_s=1001.0, stream_id="turn of home", profile="home"),
    StreamStopped(id=EventId("a", 4), at_s=1002.0, stream_id="turn of home"),
    StreamStopped(id=EventId("a", 5), at_s=1002.0, stream_id="turn of work"),
    StreamStopped(id=EventId("a", 6), at_s=1002.0, stream_id="unheard of"),
    SettingsChanged(id=EventId("b", 1), at_s=1003.0),
    SessionListChanged(id=EventId("b", 2), at_s=1004.0, reason="session_new", profile="home"),
    SessionListChanged(id=EventId("b", 3), at_s=1005.0, reason="import"),
]
OF_WORK = ["a:1", "a:2", "a:5", "a:6", "b:1", "b:3"]


def explained(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 -- ours
        [*COMMAND, "explain", *arguments],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
        env=os.environ | environment,
    )


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """The URL of a journal that holds `EVENTS`."""
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    with closing(journal_at(url)) as opened:
        opened.append(EVENTS)
    return url


def ids(result: "subprocess.CompletedProcess[str]") -> list[str]:
    return [str(json.loads(line)["id"]) for line in result.stdout.splitlines()]


def test_a_list_of_a_running_gateway_is_explained(home: Path) -> None:
    # Proves J7, W1, W3, W5.
    with served("--home", str(home), "--token", TOKEN) as (_, url):
        asked = Request(f"{url}api/sessions?show_cron=1", headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310
        with urlopen(asked, timeout=PROCESS_S) as answer:  # noqa: S310 -- ours
            answer.read()

        story = explained("--url", url, "--query", "show_cron=1", HERMES_CACHE_TOKEN=TOKEN)
        plain = explained(
            "--url", url, "--query", "show_cron=1", "--profile", "default", "--json", "--token", TOKEN
        )
        refused = explained("--url", url)
        wrong = explained("--url", url, "--query", "show_cli=maybe", "--token", TOKEN)
        strange = explained("--url", url, "--query", "colour=red", "--token", TOKEN)

    assert story.returncode == 0, story.stderr
    assert story.stdout.startswith("profile default with show_cli, show_cron")
    # Which build it was depends on how many lists the gateway had warmed by then.
    told = r"\nReads since it was built: 1 built\.\nBuilds:\n  \d: stored, asked for by miss"
    assert re.search(told, story.stdout)
    assert json.loads(plain.stdout)["served"] == {"built": 1}
    assert (refused.returncode, wrong.returncode) == (1, 2)
    assert "--token" in refused.stderr
    assert "show_cli" in wrong.stderr
    assert (strange.returncode, "colour" in strange.stderr) == (0, True)


def test_where_no_gateway_is_the_message_says_what_to_do() -> None:
    # Proves W3.
    result = explained("--url", f"http://127.0.0.1:{free_port()}")

    assert (result.returncode, result.stdout) == (1, "")
    assert "hermes-cache serve" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>"), (200, b"[]"), (200, b'{"hello": 1}'), (502, b"Bad gateway"), (500, b"{}")],
)
def test_what_is_no_gateway_is_called_so(status: int, body: bytes) -> None:
    # Proves W3.
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        result = explained("--url", f"http://127.0.0.1:{server.server_port}/", "--json")
        server.shutdown()
        serving.join(5.0)

    assert (result.returncode, result.stdout) == (1, "")
    assert "gateway" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "ftp://127.0.0.1"],
        ["--url", "127.0.0.1:8787"],
        ["--url", "http://me:secret@127.0.0.1:8787"],
        ["--url", "http://127.0.0.1:high"],
        ["--url", "http://[::1"],
        ["--query", "show_cli"],
        ["--query", "=1"],
        ["--token", "two\nlines"],
        ["--journal", "sqlite:///x.db", "--url", "http://127.0.0.1"],
        ["--journal", "sqlite:///x.db", "--query", "show_cli=1"],
        ["--journal", "sqlite:///x.db", "--limit", "0"],
    ],
)
def test_wrong_usage_of_explain_has_exit_code_2(arguments: list[str]) -> None:
    # Proves W3.
    result = explained(*arguments)

    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "secret" not in result.stderr


def test_help_of_explain_has_an_example() -> None:
    # Proves W3.
    result = explained("--help")

    assert result.returncode == 0
    assert "  hermes-cache explain --" in result.stdout


def test_a_journal_tells_which_events_touched_a_profile(journal: str) -> None:
    # Proves J7, V1, H5: a stop is its start's profile's, and everybody's where that is not known.
    of_work = explained("--journal", journal, "--profile", "work", "--json")
    of_all = explained("--journal", journal, "--json")

    assert ids(of_work) == OF_WORK
    assert ids(of_all) == [str(event.id) for event in EVENTS]


def test_the_newest_event_is_printed_last_and_those_over_the_limit_not_at_all(journal: str) -> None:
    # Proves J7.
    result = explained("--journal", journal, "--profile", "work", "--limit", "2")

    first, last = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (0, "")
    assert "settings-changed" in first
    assert "reason=import" in last
    assert "by=b:3" in last


def test_a_compacted_journal_tells_what_is_left(journal: str) -> None:
    # Proves J6, J7.
    with closing(journal_at(journal)) as opened:
        opened.compact(fold_snapshot, before_s=0.0, max_events=3)

    result = explained("--journal", journal, "--profile", "work", "--json")

    assert ids(result) == ["b:1", "b:3"]


def test_a_profile_that_nothing_touched_has_an_empty_answer(tmp_path: Path) -> None:
    # Proves J7, W3.
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    with closing(journal_at(url)) as opened:
        opened.append(EVENTS[:1])

    result = explained("--journal", url, "--profile", "home")

    assert (result.returncode, result.stdout) == (0, "")
    assert "No event" in result.stderr


def test_a_journal_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    # Proves W3.
    result = explained("--journal", f"sqlite:///{tmp_path / 'journal.db'}")

    assert result.returncode == 1
    assert "no journal" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_profile_that_no_event_names_is_reported(journal: str) -> None:
    # Proves W3: events of all profiles touch it all the same.
    result = explained("--journal", journal, "--profile", "wrok", "--json")

    assert (result.returncode, ids(result)) == (0, ["a:6", "b:1", "b:3"])
    assert "names the profile wrok; it names home, work" in result.stderr


def test_a_profile_that_the_gateway_does_not_have_is_reported(home: Path) -> None:
    # Proves W3, X8.
    with served("--home", str(home)) as (_, url):
        result = explained("--url", url, "--profile", "wrok")
        known = explained("--url", url, "--profile", "work")

    assert (result.returncode, result.stdout) == (1, "")
    assert "there is no profile 'wrok'" in result.stderr
    assert known.returncode == 0
