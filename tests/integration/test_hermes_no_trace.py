"""A reader that leaves no trace: rule X2 with real processes and users, which use the agent's own pragmas.

A round has an agent do what agents do while a home is read without a pause, and looks at what lies in the folder
afterwards. `make` runs a few rounds of each kind; all 1,000 are `long`.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest

from hermes_cache import SessionListCache, SessionListKey
from hermes_cache.errors import SourceError
from hermes_cache.stores.hermes import HermesHome
from tests.integration.agent import AS_NOBODY, NOBODY, Agent

KEY = SessionListKey(show_cli=True, show_cron=True)
MODES: Final = ("WAL", "DELETE", "TRUNCATE", "PERSIST")

needs_root = pytest.mark.usefixtures("two_users")


def _tree(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return what lies in a folder; SQLite notes its readers in a `-shm`, so the time of that says nothing."""
    found = {path.name: path.stat() for path in folder.iterdir()}
    return {
        name: (at.st_size, at.st_ino, at.st_uid, 0 if name.endswith("-shm") else at.st_mtime_ns)
        for name, at in found.items()
    }


class Report:
    """What the rounds found."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.longest_commit_s = 0.0
        self.wrong: list[str] = []

    def took(self, answer: dict[str, Any], what: str) -> dict[str, str]:
        """Note the answer of an agent, and return its titles."""
        if "error" in answer:
            self.counts["refused"] += 1
            self.wrong.append(f"{what}: the agent got {answer['error']}")
            return {}
        if isinstance(answer["answer"], float):
            self.longest_commit_s = max(self.longest_commit_s, answer["answer"])
        titles: dict[str, str] = answer["titles"]
        return titles


@contextmanager
def _read_without_a_pause(folder: Path, report: Report) -> Iterator[None]:
    """Read a home all the time, each time anew."""
    stopping = threading.Event()

    def read() -> None:
        while not stopping.is_set():
            report.counts["reads"] += 1
            try:
                HermesHome(folder).builder(KEY)
            except SourceError as error:
                report.counts[f"read failed: {error.reason[:40]}"] += 1

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _away(agent: Agent, folder: Path, mode: str, report: Report) -> None:
    report.took(agent.do("close"), mode)
    _same_tree_after_reading(folder, report, f"away {mode}")


def _running(agent: Agent, folder: Path, mode: str, report: Report) -> None:
    _same_tree_after_reading(folder, report, f"running {mode}")
    report.took(agent.do("close"), mode)


def _same_tree_after_reading(folder: Path, report: Report, what: str) -> None:
    before = _tree(folder)
    for _ in range(3):
        report.counts["reads"] += 1
        HermesHome(folder).builder(KEY)
    if _tree(folder) != before:
        report.counts["traces"] += 1
        report.wrong.append(f"{what}: {before} became {_tree(folder)}")


def _starting(agent: Agent, folder: Path, mode: str, report: Report) -> None:
    report.took(agent.do("close"), mode)
    with _read_without_a_pause(folder, report):
        report.took(agent.do("open", mode=mode), f"starting {mode}")
        report.took(agent.do("commits", count=5), f"starting {mode}")
    report.took(agent.do("close"), mode)


def _checkpointing(agent: Agent, folder: Path, mode: str, report: Report) -> None:
    with _read_without_a_pause(folder, report):
        for kind in ("PASSIVE", "TRUNCATE", "RESTART"):
            report.took(agent.do("commits", count=10, pause_s=0.002), f"checkpointing {mode}")
            report.took(agent.do("statement", sql=f"PRAGMA wal_checkpoint({kind})"), f"checkpointing {mode}")
    report.took(agent.do("close"), mode)


def _quitting(agent: Agent, folder: Path, mode: str, report: Report) -> None:
    with _read_without_a_pause(folder, report):
        report.took(agent.do("commits", count=10, pause_s=0.004), f"quitting {mode}")
        report.took(agent.do("close"), f"quitting {mode}")
        report.counts["quit"] += 1


def _killed(agent: Agent, folder: Path, mode: str, report: Report) -> None:
    agent.die("killed_while_writing")
    before = _tree(folder)
    for _ in range(2):
        with suppress(SourceError):
            HermesHome(folder).builder(KEY)
    if _tree(folder) != before:
        report.counts["traces"] += 1
        report.wrong.append(f"killed {mode}: {before} became {_tree(folder)}")
    with Agent(folder / "state.db") as following:
        report.took(following.do("open", mode=mode), f"killed {mode}")
        report.took(following.do("close"), f"killed {mode}")


def _vacuuming(agent: Agent, folder: Path, mode: str, report: Report) -> None:
    with _read_without_a_pause(folder, report):
        for _ in range(2):
            report.took(agent.do("commits", count=5), f"vacuuming {mode}")
            report.took(agent.do("statement", sql="VACUUM"), f"vacuuming {mode}")
    report.took(agent.do("close"), mode)


def _restored(way: str) -> Callable[[Agent, Path, str, Report], None]:
    def restore(agent: Agent, folder: Path, mode: str, report: Report) -> None:
        path, backup = folder / "state.db", folder.with_name(f"{folder.name}.backup")
        expected = report.took(agent.do("close"), mode)
        shutil.copy(path, backup)
        report.took(agent.do("open", mode=mode), f"restored by {way} {mode}")
        home = HermesHome(folder)
        with SessionListCache(home.builder, sources=home.sources) as cache:
            cache.get(KEY)
            report.took(agent.do("commits", count=20), f"restored by {way} {mode}")
            report.took(agent.do("close"), f"restored by {way} {mode}")
            if way == "cp":
                shutil.copy(backup, path)
            elif way == "mv":
                backup.replace(path)
            else:
                report.took(agent.do("restore", backup=str(backup)), f"restored by {way} {mode}")
            cache.get(KEY, freshness="fresh")
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            if dict(connection.execute("SELECT id, title FROM sessions")) != expected:
                report.wrong.append(f"restored by {way} {mode}: it is not the backup")

    restore.__name__ = f"_restored_by_{way}"
    return restore


KINDS: Final = (
    _away, _running, _starting, _checkpointing, _quitting, _killed, _vacuuming,
    _restored("cp"), _restored("mv"), _restored("backup"),
)  # fmt: skip


def _round(
    folder: Path, mode: str, act: Callable[[Agent, Path, str, Report], None], report: Report, *, sessions: int = 40
) -> None:
    """Have an agent make a home and act on it; then see that nothing but its own files lies there, whole."""
    folder.mkdir()
    path, what = folder / "state.db", f"{act.__name__} {mode}"
    with Agent(path) as agent:
        report.took(agent.do("open", mode=mode, seed=report.counts["rounds"]), mode)
        report.took(agent.do("fill", sessions=sessions, size=1_000), mode)
        act(agent, folder, mode, report)
    report.counts["rounds"] += 1
    left = {each.name: each.stat().st_size for each in folder.iterdir() if each.name != "state.db"}
    its_own = set() if mode == "WAL" else {"state.db-journal"}
    if act is _quitting and mode == "WAL" and "state.db-wal" in left:
        # It quit in the middle of a read, or between the look of one and its opening: then the log is empty.
        kind = "filled" if left["state.db-wal"] else "empty"
        report.counts[f"{kind} logs left: {what}"] += 1
        its_own = {"state.db-wal", "state.db-shm"}
    if set(left) - its_own:
        report.counts["files made"] += 1
        report.wrong.append(f"{what} left {left}")
    with closing(sqlite3.connect(path)) as connection:
        (fit,) = connection.execute("PRAGMA integrity_check").fetchone()
    if fit != "ok":
        report.counts["corrupt"] += 1
        report.wrong.append(f"{what}: {fit}")
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", MODES)
def test_reading_leaves_no_trace_whatever_the_agent_does(tmp_path: Path, mode: str) -> None:
    """X2"""
    report = Report()

    for number, act in enumerate(KINDS):
        _round(tmp_path / str(number), mode, act, report)

    assert report.wrong == []


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("act", KINDS)
def test_a_hundred_rounds_of_each_kind_leave_no_trace(
    tmp_path: Path, act: Callable[[Agent, Path, str, Report], None]
) -> None:
    """X2: 1,000 in all; prints what it counted (`-s`)."""
    report = Report()

    for number in range(100):
        _round(tmp_path / str(number), MODES[number % len(MODES)], act, report)

    sys.stdout.write(f"\n{act.__name__} {dict(report.counts)}\nlongest commit {report.longest_commit_s:.3f} s\n")
    assert report.wrong == []


def test_the_hosts_own_process_keeps_its_locks_beside_a_reader(tmp_path: Path) -> None:
    """X2: hermes-webui runs in the host's process, where closing a plain handle would drop the host's locks."""
    for mode in MODES:
        folder = tmp_path / mode
        folder.mkdir()
        with Agent(folder / "state.db") as agent, closing(_host(folder / "state.db", mode)) as host:
            agent.do("open", mode=mode, timeout=0.05)
            agent.do("fill", sessions=10)
            host.execute("BEGIN IMMEDIATE")
            host.execute("UPDATE sessions SET title = 'of the host' WHERE rowid = 1")

            for _ in range(5):
                with suppress(SourceError):
                    HermesHome(folder).builder(KEY)
            refused = agent.do("commits", count=1)
            host.execute("COMMIT")
            accepted = agent.do("commits", count=1)

            assert "locked" in refused["error"], mode
            assert "error" not in accepted, mode
            agent.do("close")
        left = {path.name for path in folder.iterdir()} - {"state.db-journal"}
        assert left == {"state.db"}, mode


def _host(path: Path, mode: str) -> sqlite3.Connection:
    host = sqlite3.connect(path, isolation_level=None)
    host.execute(f"PRAGMA journal_mode={mode}")
    return host


def test_an_empty_database_beside_a_log_is_not_opened(tmp_path: Path) -> None:
    """X2: SQLite, read-only too, would delete the log."""
    path, log = tmp_path / "state.db", tmp_path / "state.db-wal"
    with Agent(path) as agent:
        agent.do("open")
        agent.do("fill", sessions=10)
        agent.die("killed")
    frames = log.read_bytes()
    path.write_bytes(b"")

    with pytest.raises(SourceError, match=r"is empty, and its log state\.db-wal is not"):
        HermesHome(tmp_path).builder(KEY)

    assert log.read_bytes() == frames


@pytest.mark.parametrize("mode", MODES)
def test_what_a_crash_or_a_copy_left_is_reported_and_not_touched(tmp_path: Path, mode: str) -> None:
    """X2"""
    with Agent(tmp_path / "state.db") as agent:
        agent.do("open", mode=mode)
        agent.do("fill", sessions=2)
        agent.die("killed_while_writing")
    (tmp_path / "state.db-shm").unlink(missing_ok=True)
    before = _tree(tmp_path)

    with pytest.raises(SourceError, match="start Hermes once"):
        HermesHome(tmp_path).builder(KEY)

    assert _tree(tmp_path) == before


QUIT_SLOWLY: Final = """
import fcntl, os, sys, time
with open(sys.argv[1], "r+b") as database:
    fcntl.lockf(database, fcntl.LOCK_EX, 512, 0x40000000)
    print("quitting", flush=True)
    time.sleep(0.2)
    os.unlink(sys.argv[1] + "-wal")
    os.unlink(sys.argv[1] + "-shm")
    time.sleep(0.05)
"""
"""Takes the log away under the lock that SQLite takes when it closes, on a slow disk."""


def test_a_read_that_begins_while_hermes_quits_makes_no_log_anew(tmp_path: Path) -> None:
    """X2"""
    path = tmp_path / "state.db"
    with Agent(path) as agent:
        agent.do("open")
        agent.do("fill", sessions=10)
        agent.do("statement", sql="PRAGMA wal_checkpoint(PASSIVE)")
        agent.die("killed")
    command = [sys.executable, "-S", "-c", QUIT_SLOWLY, str(path)]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as quitting:  # noqa: S603 - our own
        assert quitting.stdout is not None
        assert quitting.stdout.readline() == "quitting\n"
        found: Any = HermesHome(tmp_path).builder(KEY)

    assert len(found["sessions"]) == 10
    assert [each.name for each in tmp_path.iterdir()] == ["state.db"]


READ: Final = """
import json, sys
from hermes_cache.errors import SourceError
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome
home = HermesHome(sys.argv[1])
for line in sys.stdin:
    try:
        found = len(home.builder(SessionListKey(show_cli=True, show_cron=True))["sessions"])
    except SourceError as error:
        found = str(error)
    print(json.dumps(found), flush=True)
"""


def _read_as_nobody(folder: Path) -> Any:
    command = [*AS_NOBODY, sys.executable, "-B", "-c", READ, str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    outcome = subprocess.run(  # noqa: S603 - our own
        command, input="\n", capture_output=True, text=True, timeout=150, check=True, env=environment
    )
    return json.loads(outcome.stdout)


@needs_root
def test_another_users_log_is_not_opened_where_files_of_our_user_would_be_made(open_folder: Path) -> None:
    """X2: the agent could never write them again."""
    with Agent(open_folder / "state.db") as agent:
        agent.do("open")
        agent.do("fill", sessions=10)
        open_folder.chmod(0o777)
        before = _tree(open_folder)

        refused = _read_as_nobody(open_folder)
        open_folder.chmod(0o755)
        accepted = _read_as_nobody(open_folder)

        assert "belongs to user root, and this process runs as user nobody" in refused
        assert accepted == 10
        assert _tree(open_folder) == before
        assert "error" not in agent.do("commits", count=3)
        agent.do("close")
    open_folder.chmod(0o777)
    assert _read_as_nobody(open_folder) >= 8
    assert [path.name for path in open_folder.iterdir()] == ["state.db"]


@needs_root
def test_root_leaves_no_file_of_its_own_in_the_home_of_a_user(open_folder: Path) -> None:
    """X2"""
    os.chown(open_folder, NOBODY, NOBODY)
    report = Report()

    for number in range(6):
        with Agent(open_folder / "state.db", AS_NOBODY) as agent:
            report.took(agent.do("open", seed=number), "as nobody")
            with _read_without_a_pause(open_folder, report):
                report.took(agent.do("commits", count=20, pause_s=0.003), "as nobody")
                report.took(agent.do("close"), "as nobody")
        assert {path.stat().st_uid for path in open_folder.iterdir()} == {NOBODY}

    assert report.wrong == []


@needs_root
def test_a_folder_that_cannot_be_written_is_read(open_folder: Path) -> None:
    """X2"""
    with Agent(open_folder / "state.db") as agent:
        agent.do("open")
        agent.do("fill", sessions=10)
        agent.do("close")
    (open_folder / "state.db").chmod(0o444)
    open_folder.chmod(0o555)

    assert _read_as_nobody(open_folder) == 10
    assert [path.name for path in open_folder.iterdir()] == ["state.db"]


def test_health_names_a_log_that_nobody_holds_and_what_to_do(tmp_path: Path) -> None:
    """X2"""
    home = HermesHome(tmp_path)
    with SessionListCache(home.builder, sources=home.sources) as cache, Agent(tmp_path / "state.db") as agent:
        agent.do("open")
        agent.do("fill", sessions=5)
        _make_old(tmp_path / "state.db-wal")
        cache.get(KEY, freshness="fresh")
        held = cache.health().notes
        agent.die("killed")
        _make_old(tmp_path / "state.db-wal")
        left = _notes_within_20_s(cache)

    # In a container the locks of other processes are not seen, and nothing is claimed.
    assert held == () or "cannot be known" in held[0]
    assert "start and quit Hermes once" in left[0]
    assert "state.db-wal" in left[0]


def _make_old(path: Path) -> None:
    os.utime(path, (1, 1))


def _notes_within_20_s(cache: SessionListCache) -> tuple[str, ...]:
    ends_at_s = monotonic() + 20
    while not (notes := cache.health().notes) and monotonic() < ends_at_s:
        cache.get(KEY, freshness="fresh")
    return notes
