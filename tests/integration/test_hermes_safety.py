"""No harm to the host: rule X2 with live writers, an audit of every open, and readers side by side."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from hermes_cache.samples import writer
from hermes_cache.samples.home import make_sample_home
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.read_only import read_database
from tests.waiting import PROCESS_S

EVERYTHING = SessionListKey(
    show_cli=True, show_cron=True, show_webhook=True, show_kanban=True, show_previous_messaging=True
)

AUDIT = """
import sys

opened, connected = [], []

def audit(event, arguments):
    if event == "open" and str(arguments[0]).endswith(("state.db", "state.db-wal", "state.db-shm")):
        opened.append(arguments[0])
    if event == "sqlite3.connect":
        connected.append(str(arguments[0]))

sys.addaudithook(audit)

from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome

home = HermesHome(sys.argv[1])
for key in (SessionListKey(), SessionListKey(profile="work"), SessionListKey(all_profiles=True)):
    for _ in range(3):
        home.sources.stamp(key, held=False)
        home.builder(key)
home.close()
home.builder(SessionListKey())
assert not opened, opened
assert connected and all(each.startswith("file:") and "mode=ro" in each for each in connected), connected
"""


def test_no_database_is_ever_opened_but_read_only_by_sqlite(tmp_path: Path) -> None:
    """X2"""
    sample = make_sample_home(tmp_path / "home", sessions=20)

    command = [sys.executable, "-c", AUDIT, str(sample.path)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)  # noqa: S603 - our own

    assert outcome.returncode == 0, outcome.stderr


WITH_HOME = """
import subprocess, sys
{first}
from hermes_cache import SessionListCache, SessionListKey
from hermes_cache.errors import SourceError
from hermes_cache.stores.hermes import HermesHome

home = HermesHome(sys.argv[1])

def refused(library):
    try:
        HermesHome(sys.argv[1]).builder(SessionListKey())
    except SourceError as error:
        return library in str(error) and 'executor="processes"' in str(error)

{then}
"""

IN_THREADS = """
assert home.builder(SessionListKey()) is not None
from pysqlite3 import dbapi2
assert refused("pysqlite3")
"""

IN_PROCESSES = """
host = dbapi2.connect(sys.argv[1] + "/state.db", isolation_level=None)
host.execute("BEGIN IMMEDIATE")
assert refused("pysqlite3")
with SessionListCache(home.builder, sources=home.sources, executor="processes") as cache:
    assert len(cache.get(SessionListKey(show_cron=True))["sessions"]) > 5
other = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
command = [sys.executable, "-c", other, sys.argv[1] + "/state.db"]
assert b"database is locked" in subprocess.run(command, capture_output=True).stderr
"""

IS_READ = "assert home.builder(SessionListKey()) is not None"
ALIAS = 'import pysqlite3; sys.modules["sqlite3"] = sys.modules.pop("pysqlite3")'


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param("", IN_THREADS, id="in threads"),
        pytest.param("from pysqlite3 import dbapi2", IN_PROCESSES, id="in worker processes"),
        pytest.param(ALIAS, IS_READ, id="as the only one"),
        pytest.param(f"import sqlite3; {ALIAS}", 'assert refused("_sqlite3")', id="as sqlite3, beside sqlite3"),
        pytest.param("", f'{ALIAS}; assert refused("pysqlite3")', id="as sqlite3, later"),
    ],
)
def test_a_home_is_read_only_where_no_other_sqlite_library_may_have_it_open(
    tmp_path: Path, first: str, then: str
) -> None:
    """X2: to close it would drop the locks of that library; a host may open it there at any moment."""
    pytest.importorskip("pysqlite3.dbapi2", reason="not here: pip install pysqlite3")
    sample = make_sample_home(tmp_path / "home", sessions=20)

    command = [sys.executable, "-c", WITH_HOME.format(first=first, then=then), str(sample.path)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)  # noqa: S603 - our own

    assert outcome.returncode == 0, outcome.stderr


def test_a_live_writer_loses_nothing_beside_readers(tmp_path: Path) -> None:
    """X2, X9: the writer's log stays, its commits all arrive, and every list is whole."""
    sample = make_sample_home(tmp_path / "home", sessions=50, profiles=())
    log = sample.path / "state.db-wal"
    with closing(sqlite3.connect(sample.state_db)) as holder:
        holder.execute("UPDATE sessions SET archived = archived")
        holder.commit()
        inode = log.stat().st_ino
        command = [sys.executable, "-m", "hermes_cache.samples.writer", "--home", str(sample.path)]
        command += ["--commits-per-second", "200", "--seconds", "2"]

        lengths = []
        with subprocess.Popen(command) as process:  # noqa: S603 - our own
            while process.poll() is None:
                home = HermesHome(sample.path)
                home.sources.stamp(EVERYTHING, held=False)
                rows: Any = home.builder(EVERYTHING)["sessions"]
                lengths.append(len(rows))
                home.close()

        assert process.returncode == 0
        assert log.stat().st_ino == inode
        assert min(lengths) > 0
        assert lengths == sorted(lengths)
        (fit,) = holder.execute("PRAGMA integrity_check").fetchone()
        assert fit == "ok"


class _AlarmError(Exception):
    """What a signal handler raises."""


def _raises(_signal: int, _frame: FrameType | None) -> None:
    raise _AlarmError


SLOW = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000000) SELECT max(x) FROM n"


def test_what_a_signal_handler_raises_ends_a_read_under_a_lock(tmp_path: Path) -> None:
    """L6: SQLite asks how long the lock was held; what is raised while it does goes to the caller."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as host:
        host.execute("PRAGMA journal_mode=PERSIST")
        host.execute("CREATE TABLE sessions (id)")
    before = signal.signal(signal.SIGALRM, _raises)
    try:
        for _ in range(5):
            with pytest.raises(_AlarmError):  # noqa: PT012 - the alarm may come before the read begins
                signal.setitimer(signal.ITIMER_REAL, 0.03)
                read_database(path, lambda connection: connection.execute(SLOW).fetchall(), Looks())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_waits_for_the_reads_under_way(tmp_path: Path) -> None:
    """X2, L2: SQLite in the child would count on locks that the child does not have."""
    sample = make_sample_home(tmp_path / "home", sessions=20, profiles=())
    stopping, reading, read = threading.Event(), threading.Event(), []

    def read_without_a_pause() -> None:
        while not stopping.is_set():
            read.append(read_database(sample.state_db, _count_slowly, Looks()))
            reading.set()

    threads = [threading.Thread(target=read_without_a_pause) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert reading.wait(PROCESS_S)
        open_in_children = [_forked(partial(_open_count, sample.path)) for _ in range(20)]
    finally:
        stopping.set()
        for thread in threads:
            thread.join()

    assert open_in_children == [0] * 20
    assert set(read) == {20_000}


def _count_slowly(connection: sqlite3.Connection) -> int:
    connection.execute("SELECT count(*) FROM sessions").fetchall()
    (found,) = connection.execute(SLOW.replace("100000000", "20000")).fetchone()
    assert isinstance(found, int)
    return found


def _open_count(folder: Path) -> int:
    """Count the files in a folder that this process has open."""
    found = []
    for each in Path("/dev/fd").iterdir():
        with suppress(OSError):
            found.append(each.readlink())
    return sum(path.is_relative_to(folder) for path in found)


def _forked(call: Callable[[], int]) -> int:
    """Return what a call returns in a forked child."""
    pid = os.fork()
    if pid == 0:
        os._exit(call())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_view_shares_no_refresh_that_began_before_it(tmp_path: Path) -> None:
    """X4: whoever committed before reading finds the commit, however many refresh at once."""
    sample = make_sample_home(tmp_path / "home", sessions=30, profiles=())
    home = HermesHome(sample.path)
    mine = [each.id for each in sample.sessions if each.source == "cron"][:4]
    together = threading.Barrier(len(mine), timeout=PROCESS_S)

    def commits_then_reads(session_id: str) -> list[bool]:
        found = []
        for number in range(15):
            together.wait()
            title = f"{session_id} {number}"
            writer.rename_session(sample.path, session_id, title)
            rows: Any = home.builder(EVERYTHING)["sessions"]
            found.append(title in {row["title"] for row in rows})
        return found

    with ThreadPoolExecutor(len(mine)) as threads:
        found = list(threads.map(commits_then_reads, mine))

    assert len(mine) == 4
    assert found == [[True] * 15] * 4
