"""`hermes-cache stats` as a process: over a real gateway, and over a real journal."""

import json
import os
import pty
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

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
from tests.e2e.gateway_process import served
from tests.waiting import PROCESS_S

STATS = [sys.executable, "-m", "hermes_cache.cli", "stats"]
EVENTS: list[AppliedEvent] = [
    SettingsChanged(id=EventId("c", 1), at_s=900.0),
    SessionListChanged(id=EventId("a", 1), at_s=1000.0, reason="new", profile="work"),
    StreamStarted(id=EventId("a", 2), at_s=1001.0, stream_id="turn", profile="work"),
    StreamStopped(id=EventId("a", 3), at_s=1002.0, stream_id="turn"),
    SessionListChanged(id=EventId("b", 1, "mail"), at_s=1003.0),
]


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """The URL of a journal whose first event is compacted."""
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    with closing(journal_at(url)) as opened:
        opened.append(EVENTS)
        assert opened.compact(fold_snapshot, before_s=950.0, max_events=100) == 1
    return url


def counted(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    plain = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    return subprocess.run(  # noqa: S603 -- ours
        [*STATS, *arguments],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
        env=plain | environment,
    )


def at_a_terminal(*arguments: str, **environment: str) -> str:
    """Return what is printed where standard output is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*STATS, *arguments], stdout=theirs, env=os.environ | environment) as process:  # noqa: S603 -- ours
        os.close(theirs)
        printed = b""
        while part := _read(ours):
            printed += part
        process.wait(PROCESS_S)
    os.close(ours)
    return printed.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 10_000)
    except OSError:  # Linux: nobody writes to it any more.
        return b""


def test_a_journal_is_counted_for_scripts(journal: str) -> None:
    """W3"""
    result = counted("--journal", journal, "--json")

    told = json.loads(result.stdout)
    assert (told["seq"], told["compacted"], told["events"], told["publishers"]) == (5, 1, 4, 2)
    assert told["kinds"] == {"session_list_changed": 2, "stream_started": 1, "stream_stopped": 1}
    assert told["profiles"] == [{"profile": "work", "events": 3}, {"profile": None, "events": 1}]
    assert told["buses"] == {"sessions": 3, "mail": 1}
    assert (told["first_at_s"], told["last_at_s"]) == (1000.0, 1003.0)


def test_a_pipe_gets_plain_lines(journal: str) -> None:
    """W3"""
    lines = counted("--journal", journal).stdout.splitlines()

    assert "session-list-changed       2" in lines
    assert "work          3" in lines
    assert not any(line != line.rstrip() or not line.isprintable() for line in lines)


def test_colours_come_at_a_terminal_unless_they_are_not_wanted(journal: str) -> None:
    """W3: `NO_COLOR` and `FORCE_COLOR` win over what standard output is."""
    terminal = {"TERM": "xterm-256color"}

    assert "\x1b[1m" in at_a_terminal("--journal", journal, **terminal)
    assert "\x1b[" not in at_a_terminal("--journal", journal, TERM="dumb")
    assert "\x1b[1m" in counted("--journal", journal, FORCE_COLOR="1").stdout


def test_no_color_leaves_no_colour(home: Path) -> None:
    """W3: `NO_COLOR` wins over `FORCE_COLOR`; bold and dim are no colours."""
    with served("--home", str(home)) as (_, url):
        with urlopen(f"{url}api/sessions", timeout=PROCESS_S) as answer:  # noqa: S310 -- ours
            answer.read()
        coloured = counted("--url", url, FORCE_COLOR="1").stdout
        plain = counted("--url", url, FORCE_COLOR="1", NO_COLOR="1").stdout

    assert "\x1b[32m" in coloured
    assert "\x1b[3" not in plain


def test_a_running_gateway_is_counted(home: Path) -> None:
    """W3, L4"""
    with served("--home", str(home)) as (_, url):
        for _ in range(3):
            with urlopen(f"{url}api/sessions?profile=work", timeout=PROCESS_S) as answer:  # noqa: S310 -- ours
                answer.read()
        plain = counted("--url", url)
        told = json.loads(counted("--url", url, "--json").stdout)

    assert told["stats"]["outcomes"]["built"] >= 1
    assert plain.returncode == 0
    assert "Reads" in plain.stdout
    assert "profile work with" in plain.stdout


def test_a_journal_is_not_counted_at_a_gateway(journal: str) -> None:
    """W3"""
    result = counted("--journal", journal, "--url", "http://127.0.0.1:1")

    assert (result.returncode, result.stdout) == (2, "")


def test_where_no_gateway_answers_the_message_says_what_to_do() -> None:
    """W3"""
    result = counted("--url", "http://127.0.0.1:1")

    assert (result.returncode, result.stdout) == (1, "")
    assert "hermes-cache serve" in result.stderr
