"""`hermes-cache publish`, `tail`, `replay` and `compact` as processes, over a real journal."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hermes_cache.bus.codec import to_plain
from hermes_cache.bus.tickets import Ticket
from hermes_cache.core.events import (
    AppliedEvent,
    EventId,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.journal.agreed import AgreedState
from hermes_cache.journal.sqlalchemy_journal import journal_at
from tests.waiting import PROCESS_S

COMMAND = [sys.executable, "-m", "hermes_cache.cli"]

EVENTS: list[AppliedEvent] = [
    SessionListChanged(id=EventId("a", 1), at_s=1000.0, reason="new", profile="work", session_id="s1"),
    StreamStarted(id=EventId("a", 2), at_s=1001.0, stream_id="turn", profile="work"),
    SettingsChanged(id=EventId("b", 1), at_s=1002.0),
    StreamStopped(id=EventId("a", 3), at_s=1003.0, stream_id="turn"),
    SessionListChanged(id=EventId("b", 2), at_s=1004.0, profile="home"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def kept(url: str) -> str:
    """The URL of a journal that holds `EVENTS`."""
    keep(url, EVENTS)
    return url


def keep(url: str, events: list[AppliedEvent]) -> None:
    with closing(journal_at(url)) as journal:
        journal.append(events)


def run(command: str, url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return execute(*COMMAND, command, "--journal", url, *arguments)


def execute(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 -- ours
        command, capture_output=True, text=True, timeout=PROCESS_S, check=False, env=os.environ | environment
    )


def printed(command: str, url: str, *arguments: str) -> dict[str, object]:
    result = run(command, url, *arguments, "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer


def ids(result: "subprocess.CompletedProcess[str]") -> list[str]:
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


@contextmanager
def following(url: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run `tail --follow --json`; it has said its first lines when this gives it."""
    command = [*COMMAND, "tail", "--journal", url, "--follow", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 -- ours
        try:
            yield process
        finally:
            process.kill()


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    event_id = json.loads(process.stdout.readline())["id"]
    assert isinstance(event_id, str)
    return event_id


def warned(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    return process.stderr.readline()


def change(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def test_what_was_published_is_in_the_tail(url: str) -> None:
    # Proves W3, J1: also where publishing makes the journal.
    first = run("publish", url, "--profile", "work", "--session-id", "s1", "--reason", "session_rename")
    second = run("publish", url, "stream-started", "--stream-id", "turn-7")

    tickets = [Ticket(result.stdout.strip()) for result in (first, second)]
    tail = run("tail", url, "--json")
    lines = run("tail", url).stdout.splitlines()
    assert ids(tail) == tickets
    assert "session-list-changed  profile=work  session=s1  reason=session_rename  by=" in lines[0]
    assert "stream-started        stream=turn-7  by=" in lines[1]
    assert lines[1].endswith("  seq=2")


def test_a_published_event_is_printed_as_json(kept: str) -> None:
    # Proves W3, J8: with the ticket, and its position.
    answer = printed("publish", kept, "--profile", "work")

    with closing(journal_at(kept)) as journal:
        end = journal.end()
    assert (answer["ticket"], answer["seq"], answer["journal"]) == (end.mark, end.seq, end.journal)
    assert (answer["kind"], answer["profile"]) == ("session_list_changed", "work")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["stream-started"], "--stream-id"),
        (["--reason", " "], "--reason"),
        (["--profile", "caf\udce9"], "--profile"),
        (["settings-changed", "--profile", "work"], "--profile"),
        (["stream-stopped", "--stream-id", "s", "--reason", "x"], "--reason"),
    ],
)
def test_what_no_event_can_have_is_refused_by_its_option(
    arguments: list[str], option: str, file: Path, url: str
) -> None:
    # Proves W3, E3: nothing is published, not even a journal made.
    result = run("publish", url, *arguments)

    assert result.returncode == 2
    assert option in result.stderr
    assert not file.exists()


def test_an_event_of_another_bus_is_published_and_named_in_the_tail(url: str) -> None:
    # Proves W3, K5.
    ticket = run("publish", url, "--bus", "mail", "--profile", "work").stdout.strip()
    refused = run("publish", url, "--bus", "a/b")

    assert ticket.startswith("mail/")
    assert "  bus=mail  profile=work  " in run("tail", url).stdout
    assert (refused.returncode, "--bus" in refused.stderr) == (2, True)


def test_the_journal_can_be_named_by_the_environment(kept: str) -> None:
    # Proves W3.
    named = execute(*COMMAND, "tail", "--json", HERMES_CACHE_JOURNAL=kept)
    unnamed = execute(*COMMAND, "tail", HERMES_CACHE_JOURNAL="")

    assert ids(named) == [str(event.id) for event in EVENTS]
    assert unnamed.returncode == 2
    assert "--journal" in unnamed.stderr


def test_the_tail_is_as_long_as_was_asked_for(kept: str) -> None:
    # Proves W3.
    assert ids(run("tail", kept, "--json", "--lines", "2")) == ["a:3", "b:2"]
    assert ids(run("tail", kept, "--json", "--lines", "0")) == []


def test_the_tail_of_a_profile_goes_back_as_far_as_it_must(url: str) -> None:
    # Proves W3: past thousands of events of others, and with those that touch all profiles.
    others = [SessionListChanged(id=EventId("c", n), at_s=2000.0, profile="home") for n in range(1, 2501)]
    keep(url, [*EVENTS, *others])

    assert ids(run("tail", url, "--json", "--profile", "work", "--lines", "3")) == ["a:2", "b:1", "a:3"]


def test_a_line_of_the_tail_holds_no_control_characters(url: str) -> None:
    # Proves W3: what somebody published moves no cursor.
    keep(url, [SessionListChanged(id=EventId("e\x1b[2J", 1), at_s=1e300, reason="a\nb", profile="\x1b[31m")])

    result = run("tail", url)

    assert len(result.stdout.splitlines()) == 1
    assert "\x1b" not in result.stdout
    assert r"profile='\x1b[31m'  reason='a\nb'" in result.stdout


def test_a_follower_hears_what_another_process_publishes_until_ctrl_c(kept: str) -> None:
    # Proves W3, J3.
    with following(kept, "--lines", "1") as process:
        last = heard(process)
        ticket = run("publish", kept).stdout.strip()
        new = heard(process)
        process.send_signal(signal.SIGINT)
        _, warnings = process.communicate(timeout=PROCESS_S)

    assert (last, new) == ("b:2", ticket)
    assert (process.returncode, warnings) == (0, "")


def test_a_follower_whose_reader_is_gone_ends_with_one_line(kept: str) -> None:
    # Proves W3.
    with following(kept, "--lines", "1") as process:
        heard(process)
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        run("publish", kept)
        process.wait(PROCESS_S)

        assert process.stderr.read() == "Error: cannot write the output: Broken pipe\n"


@pytest.mark.parametrize("options", [(), ("--profile", "work")])
def test_a_follower_of_an_empty_journal_says_that_it_waits(url: str, options: tuple[str, ...]) -> None:
    # Proves W3.
    with closing(journal_at(url)) as journal:
        assert journal.end().seq == 0  # it is made

    with following(url, *options) as process:
        said = warned(process)
        ticket = run("publish", url, *options).stdout.strip()

        assert "waiting for new ones" in said
        assert heard(process) == ticket


def test_the_tail_of_an_empty_journal_says_that_it_is_empty(url: str) -> None:
    # Proves W3.
    with closing(journal_at(url)) as journal:
        assert journal.end().seq == 0

    result = run("tail", url)

    assert (result.returncode, result.stdout) == (0, "")
    assert "--follow" in result.stderr


def test_a_follower_goes_on_from_the_end_of_a_journal_that_was_replaced(
    file: Path, kept: str, tmp_path: Path
) -> None:
    # Proves W3, J5.
    keep(f"sqlite:///{tmp_path / 'other.db'}", EVENTS[:2])
    with following(kept, "--lines", "1") as process:
        heard(process)
        (tmp_path / "other.db").replace(file)
        warning = warned(process)
        ticket = run("publish", kept).stdout.strip()

        assert "events after 5 are missed: another journal is in its place" in warning
        assert heard(process) == ticket


def test_a_follower_waits_for_a_journal_that_cannot_be_reached(file: Path, kept: str, tmp_path: Path) -> None:
    # Proves W3, J5: it says so once, and goes on where it was.
    def link(name: str, target: Path) -> Path:
        made = tmp_path / name
        made.symlink_to(target)
        return made

    position = link("position.db", file)
    with following(f"sqlite:///{position}", "--lines", "1") as process:
        heard(process)
        link("away", tmp_path).replace(position)
        lost = warned(process)
        ticket = run("publish", kept).stdout.strip()
        link("again", file).replace(position)

        assert "cannot be used now" in lost
        assert heard(process) == ticket
        assert warned(process) == "the journal is back\n"


def test_a_damaged_row_is_reported_and_passed_over(file: Path, kept: str) -> None:
    # Proves W3, J5.
    change(file, "UPDATE hermes_cache_events SET body = x'00' WHERE seq = 2")

    tail = run("tail", kept, "--json")
    replay = run("replay", kept, "--json")

    assert ids(tail) == ["a:1", "b:1", "a:3", "b:2"]
    assert "row 2 is damaged" in tail.stderr
    assert "row 2 is damaged" in replay.stderr
    assert (json.loads(replay.stdout)["applied"], json.loads(replay.stdout)["damaged"]) == (4, [2])


@pytest.mark.parametrize("until", [0, 2, 5])
def test_a_journal_is_replayed_until_any_of_its_events(until: int, kept: str) -> None:
    # Proves W3, J2.
    answer = printed("replay", kept, "--until", str(until))

    agreed = AgreedState().after(EVENTS[:until])
    outdated = {name or None: to_plain(event) for name, event in agreed.outdated.items()}
    assert (answer["seq"], answer["applied"]) == (until, until)
    assert answer["streams"] == ([to_plain(EVENTS[1])] if until == 2 else [])
    assert isinstance(answer["outdated"], list)
    assert {each["profile"]: each["by"] for each in answer["outdated"]} == outdated


def test_a_replay_can_be_read_by_people(kept: str) -> None:
    # Proves W3.
    lines = run("replay", kept, "--until", "3").stdout.splitlines()

    assert lines[0] == "Up to number 3, 3 events were applied."
    assert "stream-started        profile=work  stream=turn  by=a:2" in lines[2]
    assert lines[4].startswith("  all profiles: ")
    assert lines[5].startswith("  profile work: ")


def test_a_stream_that_fell_silent_long_ago_is_active_no_more(url: str) -> None:
    # Proves W3, H4: unless what was active then is asked for.
    keep(url, EVENTS[:2])

    assert printed("replay", url)["streams"] == []
    assert printed("replay", url, "--until", "2")["streams"] == [to_plain(EVENTS[1])]


def test_a_compacted_journal_amounts_to_the_same(kept: str) -> None:
    # Proves W3, J2, J6.
    before = printed("replay", kept)

    compacted = printed("compact", kept, "--max-age", "99999d", "--max-events", "2")

    assert compacted["compacted"] == 3
    assert printed("replay", kept) == before
    assert ids(run("tail", kept, "--json")) == ["a:3", "b:2"]
    assert run("compact", kept).stdout == "Events compacted: 2.\n"
    assert printed("replay", kept) == before
    assert ids(run("tail", kept, "--json")) == []


@pytest.mark.parametrize(("until", "word"), [("2", "compacted up to 3"), ("6", "ends at 5")])
def test_a_position_that_cannot_be_replayed_is_refused_with_one_that_can(until: str, word: str, kept: str) -> None:
    # Proves W3, J2.
    run("compact", kept, "--max-age", "99999d", "--max-events", "2")

    result = run("replay", kept, "--until", until)

    assert (result.returncode, result.stdout) == (1, "")
    assert word in result.stderr


@pytest.mark.parametrize("span", ["", "-1", "1.5", "7w", "soon"])
def test_a_span_that_is_none_is_wrong_usage(span: str, kept: str) -> None:
    # Proves W3.
    result = run("compact", kept, "--max-age", span)

    assert result.returncode == 2
    assert "--max-age" in result.stderr


@pytest.mark.parametrize("command", ["tail", "replay", "compact"])
def test_a_journal_that_is_only_read_is_not_made(command: str, file: Path, url: str) -> None:
    # Proves W3.
    missing = run(command, url)
    made = file.exists()
    change(file, "CREATE TABLE sessions (id TEXT)")
    content = file.read_bytes()
    foreign = run(command, url)

    assert [result.returncode for result in (missing, foreign)] == [1, 1]
    assert {result.stderr for result in (missing, foreign)} == {f"Error: there is no journal at {file}\n"}
    assert not made
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "url",
    [
        "nowhere",
        "mysql://me:secret@localhost/x",
        "postgresql//me:secret@localhost/x",
        "postgresql://me:secret",
        "postgresql://me:secret@127.0.0.1:1/x?password=secret",
        "sqlite://",
        "sqlite:////dev/null/journal.db",
    ],
)
def test_a_journal_that_cannot_be_used_is_reported_without_its_password(url: str) -> None:
    # Proves W3.
    result = run("publish", url)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_publisher_is_told_that_it_may_try_again(tmp_path: Path) -> None:
    # Proves W3, J5.
    result = run("publish", f"sqlite:///{tmp_path}")

    assert result.returncode == 1
    assert "not known whether the event was published" in result.stderr
    assert "you can publish it again without harm" in result.stderr


def test_a_driver_that_is_missing_is_named_with_what_to_install() -> None:
    # Proves W3.
    code = (
        "import sys; sys.modules['psycopg'] = None; from hermes_cache.cli.main import main; "
        "main(['tail', '--journal', 'postgresql://me:secret@localhost/x'])"
    )

    result = execute(sys.executable, "-c", code)

    assert result.returncode == 1
    assert 'pip install "hermes-session-cache[postgres]"' in result.stderr
    assert "secret" not in result.stderr


def test_people_at_a_terminal_are_told_that_it_takes_long(file: Path, kept: str) -> None:
    # Proves W3: another process holds the journal for longer than a second.
    ours, theirs = pty.openpty()
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        # A busy machine may hold it for longer than the command would wait.
        code = (
            "from hermes_cache.journal import sqlite; sqlite._BUSY_TIMEOUT_S = 60.0; "
            "from hermes_cache.cli.main import main; main()"
        )
        command = [sys.executable, "-c", code, "compact", "--journal", kept]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:  # noqa: S603 -- ours
            os.close(theirs)
            said = b""
            while b"Compacting" not in said:
                said += os.read(ours, 1000)
            holder.execute("ROLLBACK")
            out, _ = process.communicate(timeout=PROCESS_S)
    os.close(ours)

    assert (process.returncode, out) == (0, "Events compacted: 5.\n")
