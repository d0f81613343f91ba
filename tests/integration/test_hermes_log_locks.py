"""Who writes to a log, by the system's table of locks: rules S2 and X2, also where the table shows nobody."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from hermes_cache.stores.hermes.log_locks import LogLocks, log_locks
from tests.integration.agent import Agent

APART: Final = ("unshare", "--pid", "--fork", "--mount-proc")
"""What runs a command that sees no process but its own."""

LOOK: Final = """
import json, sys, time
from pathlib import Path
from hermes_cache.stores.hermes.log_locks import log_locks
from hermes_cache.stores.hermes.looks import Looks
path = Path(sys.argv[1])
found = {"locks": log_locks(Path(f"{path}-shm"), is_remote=False)}
looks = Looks()
while looks.database(path)[1]:
    time.sleep(0.01)
found["age_s"] = time.time() - Path(f"{path}-wal").stat().st_mtime
print(json.dumps(found))
"""


def _seen(path: Path, run_as: tuple[str, ...] = ()) -> dict[str, Any]:
    """Look at a database in another process until it stands still."""
    command = [*run_as, sys.executable, "-B", "-c", LOOK, str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    outcome = subprocess.run(  # noqa: S603 - our own
        command, capture_output=True, text=True, timeout=150, check=True, env=environment
    )
    found: dict[str, Any] = json.loads(outcome.stdout)
    return found


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A database that an agent has open, which has just committed."""
    path = tmp_path / "state.db"
    with Agent(path) as agent:
        agent.do("open")
        agent.do("fill", sessions=5)
        yield path
        agent.do("close")


@pytest.fixture
def _apart() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare, to see no other process")
    if subprocess.run([*APART, "true"], check=False, capture_output=True).returncode:  # noqa: S603 - fixed
        pytest.skip("no namespace can be made here")


@pytest.mark.usefixtures("_apart")
def test_a_log_stands_still_only_after_2_s_if_the_locks_of_its_writers_cannot_be_seen(database: Path) -> None:
    """S2: a commit may become visible long after its last write, and nothing would tell that it did."""
    found = _seen(database, APART)

    assert found["locks"] == [None, None]
    assert found["age_s"] > 2.0


@pytest.mark.skipif(sys.platform != "linux", reason="no table of locks")
def test_a_log_is_being_written_from_the_begin_of_a_transaction_to_its_commit(database: Path) -> None:
    """S2"""
    shm = database.with_name("state.db-shm")
    held = log_locks(shm, is_remote=False)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM messages")
        written = log_locks(shm, is_remote=False)
        connection.execute("COMMIT")
        committed = log_locks(shm, is_remote=False)
        elsewhere = log_locks(shm, is_remote=True)

    assert held.is_held
    assert elsewhere == LogLocks(is_held=True, is_being_written=None)
    assert written == LogLocks(is_held=True, is_being_written=True)
    # In a container the processes outside are not seen.
    assert held.is_being_written in {False, None}
    assert committed == held


def test_without_a_table_of_locks_nothing_is_claimed_but_of_an_index_that_is_not_there(
    tmp_path: Path, database: Path
) -> None:
    """S2, X2"""
    table = tmp_path / "locks"

    unknown = log_locks(database.with_name("state.db-shm"), is_remote=False, table=table)
    nobody = log_locks(tmp_path / "other-shm", is_remote=True, table=table)

    assert unknown == LogLocks(is_held=None, is_being_written=None)
    assert nobody == LogLocks(is_held=False, is_being_written=False)
