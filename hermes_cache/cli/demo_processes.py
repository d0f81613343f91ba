"""The two processes that write to the home of a demo. They end with their standard input.

`python -m hermes_cache.cli.demo_processes agent HOME` streams turns. It prints the events that a gateway would
publish of them, one a line, and the gateway publishes them. It takes commands from its standard input, one a line.

`python -m hermes_cache.cli.demo_processes importer HOME JOURNAL` adds, renames and archives sessions, and
publishes by the journal.
"""

import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import count, cycle
from pathlib import Path
from queue import Empty, SimpleQueue
from secrets import token_hex
from typing import Final

import orjson

from hermes_cache.journal.bus import Bus
from hermes_cache.samples import writer

DEMO_PREFIX: Final = "hermes-cache-demo-"
"""The folder of a demo has such a name."""

_FIRST_PAUSE_S: Final = 2.0
_TOKENS: Final = 150
_TOKEN_S: Final = 0.06
_BETWEEN_TURNS_S: Final = 12.0
_BETWEEN_IMPORTS_S: Final = 9.0
_WITHIN_A_BATCH_S: Final = 0.25
"""Shorter than a build, so that the second event of a batch overtakes the build that the first one asked for."""

_READ_S: Final = 0.1
"""A build has read the home by then, and still goes on."""

_QUESTIONS: Final = (
    "Why does the nightly import take an hour?",
    "Plan a week in Lisbon with two children",
    "Find the test that fails on every second run",
    "اشرح لي كيف تعمل ذاكرة التخزين المؤقت",
    "Write the release notes of this month",
)


RENAMED: Final = "session_rename"

END: Final = b'{"do":"end"}\n'
"""The last command. A parent that did not send it was killed."""


class _Life:
    """The life of such a process: commands come, until the parent sends the last one or is gone."""

    def __init__(self) -> None:
        self.commands: SimpleQueue[dict[str, str | None]] = SimpleQueue()
        self.is_over = threading.Event()
        self.is_orphan = False
        self.database = ExitStack()
        """Closes the database that is open during a turn; nothing if none is."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            if line == END:
                break
            self.commands.put(orjson.loads(line))
        else:
            self.is_orphan = True
        self.is_over.set()


def _agent(home: Path, life: _Life) -> None:
    """Stream one turn after the other, and obey meanwhile."""
    _pause(home, life, _FIRST_PAUSE_S)
    for number in count():
        if life.is_over.is_set():
            return
        if not writer.is_broken(home):
            with suppress(sqlite3.Error, OSError), life.database:
                life.database.enter_context(writer.kept_open(home))
                _turn(home, life, _QUESTIONS[number % len(_QUESTIONS)])
        _pause(home, life, _BETWEEN_TURNS_S)


def _turn(home: Path, life: _Life, question: str) -> None:
    session_id = writer.begin_session(home, source="cli", text=question)
    stream_id = f"turn-{token_hex(3)}"
    _tell("session_list_changed", profile="default", reason="session_created", session_id=session_id)
    _tell("stream_started", profile="default", stream_id=stream_id, session_id=session_id)
    try:
        for _ in range(_TOKENS):
            if life.is_over.is_set() or writer.is_broken(home):
                return
            writer.add_message(home, session_id)
            _pause(home, life, _TOKEN_S)
        # Titles are unique in a home.
        writer.rename_session(home, session_id, f"{question} ({time.strftime('%H:%M:%S')})")
    finally:
        _tell("stream_stopped", stream_id=stream_id)
        _tell("session_list_changed", profile="default", reason="turn_saved", session_id=session_id)


def _pause(home: Path, life: _Life, pause_s: float) -> None:
    """Wait, and obey the commands that come meanwhile."""
    ends_s = time.monotonic() + pause_s
    while not life.is_over.is_set() and (left_s := ends_s - time.monotonic()) > 0:
        with suppress(Empty):
            command = life.commands.get(timeout=min(left_s, 0.2))
            with suppress(sqlite3.Error, OSError, LookupError):
                _obey(home, life, command)


def _obey(home: Path, life: _Life, command: dict[str, str | None]) -> None:
    match command["do"]:
        case "rename":
            # The build that is to be overtaken has begun just now.
            time.sleep(_READ_S)
            session_id = command["session_id"] or writer.newest_sessions(home, 1)[0]
            writer.rename_session(home, session_id, f"Renamed amid a build, {time.strftime('%H:%M:%S')}")
            _tell("session_list_changed", profile="default", reason=RENAMED, session_id=session_id)
        case "break" if not writer.is_broken(home):
            life.database.close()
            writer.break_home(home)
        case "mend" if writer.is_broken(home):
            writer.mend_home(home)


def _tell(kind: str, **fields: str) -> None:
    sys.stdout.buffer.write(orjson.dumps({"kind": kind, **fields}) + b"\n")
    sys.stdout.buffer.flush()


def _importer(home: Path, life: _Life, journal: str) -> None:
    """Do one thing after the other, and publish it by the journal."""
    with closing(Bus(journal=journal)) as bus:
        for act in cycle((_rename_batch, _run_job, _receive, _archive)):
            if life.is_over.wait(_BETWEEN_IMPORTS_S):
                return
            with suppress(sqlite3.Error, OSError, LookupError):
                for reason, session_id in act(home):
                    bus.session_list_changed.send(
                        "importer", reason=reason, profile="default", session_id=session_id
                    )


def _run_job(home: Path) -> Iterator[tuple[str, str]]:
    yield "cron_run", writer.begin_session(home, source="cron", text="Run the job", messages=4, job="job_03")


def _rename_batch(home: Path) -> Iterator[tuple[str, str]]:
    for session_id in writer.newest_sessions(home, 2):
        writer.rename_session(home, session_id, f"Renamed by the import, {token_hex(2)}")
        yield RENAMED, session_id
        time.sleep(_WITHIN_A_BATCH_S)


def _receive(home: Path) -> Iterator[tuple[str, str]]:
    title = f"Lunch on Friday? {token_hex(2)}"
    yield "message_received", writer.begin_session(home, source="telegram", text="Lunch?", title=title, messages=2)


def _archive(home: Path) -> Iterator[tuple[str, str]]:
    for session_id in writer.newest_sessions(home, 4)[3:]:
        writer.archive_session(home, session_id)
        yield "session_archived", session_id


def main() -> None:
    """Run one of the two until standard input ends."""
    which, home, *journal = sys.argv[1:]
    path = Path(home)
    life = _Life()
    if which == "agent":
        _agent(path, life)
        if life.is_orphan and path.parent.name.startswith(DEMO_PREFIX):
            shutil.rmtree(path.parent, ignore_errors=True)
    else:
        _importer(path, life, *journal)


if __name__ == "__main__":
    main()
