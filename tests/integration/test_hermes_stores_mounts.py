"""A home on a mount that is read-only or full, and one that several users read (rules X2, X8).

Each mount is made in a namespace of its own, which ends with its process: nothing of the machine changes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest

from tests.integration.agent import NOBODY, Agent
from tests.integration.namespaces import namespace

MODES: Final = ("WAL", "DELETE", "TRUNCATE", "PERSIST")
STRANGER: Final = 65_533
GROUP: Final = 65_532

READ: Final = """
import json, sys
from hermes_cache import Policy, SessionListCache, SessionListKey
from hermes_cache.errors import HermesCacheError
from hermes_cache.stores.hermes import HermesHome
key = SessionListKey(show_cli=True, show_cron=True)
def titles(payload):
    return sorted(row["title"] for row in payload["sessions"])
home = HermesHome(sys.argv[1])
policy = Policy(stamp_interval=0, max_build_duty=1.0, owner_wait=30.0)
with SessionListCache(home.builder, sources=home.sources, policy=policy) as cache:
    for line in sys.stdin:
        found = {}
        try:
            found["read"] = titles(HermesHome(sys.argv[1]).builder(key))
        except HermesCacheError as error:
            found["failed"] = str(error)
        try:
            looked = cache.lookup(key)
            found["held"] = titles(looked.payload)
        except HermesCacheError as error:
            found["refused"] = str(error)
        print(json.dumps(found), flush=True)
"""


class Reader:
    """Starts a process that reads a home as often as it is asked, by a new home and by a cache that it keeps."""

    def __init__(self, folder: Path, run_as: Sequence[str] = ()) -> None:
        command = [*run_as, sys.executable, "-B", "-c", READ, str(folder)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
        self._process = subprocess.Popen(  # noqa: S603 - our own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=150)

    def send(self) -> None:
        """Ask for one reading, and do not wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")

    def answer(self) -> dict[str, Any]:
        """Wait for the oldest reading that was asked for."""
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def read(self) -> dict[str, Any]:
        """Ask for one reading and return it."""
        self.send()
        return self.answer()


READ_ONLY: Final = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
SMALL: Final = 'mount -t tmpfs -o size=1m tmpfs "$1"'


def _tree(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return what lies in a folder; SQLite notes its readers in a `-shm`, so the time of that says nothing."""
    found = {path.name: path.stat() for path in folder.iterdir()}
    return {
        name: (at.st_size, at.st_ino, at.st_uid, at.st_mode, 0 if name.endswith("-shm") else at.st_mtime_ns)
        for name, at in found.items()
    }


def _filled(agent: Agent, mode: str = "WAL", sessions: int = 10) -> list[str]:
    agent.do("open", mode=mode)
    return _titles(agent.do("fill", sessions=sessions))


def _titles(answer: dict[str, Any]) -> list[str]:
    return sorted(answer["titles"].values())


@pytest.mark.parametrize("mode", MODES)
def test_a_read_only_mount_is_read_while_the_agent_writes_past_it_and_when_it_has_quit(
    tmp_path: Path, mode: str
) -> None:
    """X2, X8"""
    with (
        Agent(tmp_path / "state.db") as agent,
        namespace(READ_ONLY, tmp_path) as (inside, folder),
        Reader(tmp_path, inside) as reader,
    ):
        with pytest.raises(OSError, match="Read-only file system"):
            (folder / "made").touch()
        expected = _filled(agent, mode)
        before = _tree(tmp_path)
        assert reader.read()["read"] == expected
        assert _tree(tmp_path) == before

        expected = _titles(agent.do("commits", count=5))
        assert reader.read()["read"] == expected

        agent.do("close")
        before = _tree(tmp_path)
        assert reader.read() == {"read": expected, "held": expected}
        assert _tree(tmp_path) == before
        assert set(before) <= {"state.db", "state.db-journal"}


@pytest.mark.parametrize("left", ["log", "log without shm", "empty log", "journal"])
def test_what_a_crash_left_on_a_read_only_mount_is_read_whole_or_reported(tmp_path: Path, left: str) -> None:
    """X2, X8"""
    with Agent(tmp_path / "state.db") as agent:
        expected = _filled(agent, "DELETE" if left == "journal" else "WAL")
        agent.die("killed_while_writing" if left == "journal" else "killed")
    if left == "empty log":
        with Agent(tmp_path / "state.db") as agent:
            agent.do("open")
            agent.do("statement", sql="PRAGMA wal_checkpoint(TRUNCATE)")
            agent.die("killed")
    if left == "log without shm":
        (tmp_path / "state.db-shm").unlink()
    before = _tree(tmp_path)

    with namespace(READ_ONLY, tmp_path) as (inside, _), Reader(tmp_path, inside) as reader:
        found = reader.read()

    assert _tree(tmp_path) == before
    if left in {"log", "empty log"}:
        assert found == {"read": expected, "held": expected}
    else:
        assert "start Hermes once" in found["failed"]
        assert "start Hermes once" in found["refused"]


def test_a_just_made_home_on_a_read_only_mount_is_empty(tmp_path: Path) -> None:
    """X8"""
    with namespace(READ_ONLY, tmp_path) as (inside, _), Reader(tmp_path, inside) as reader:
        assert reader.read() == {"read": [], "held": []}

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk_is_read_and_the_list_stays_until_the_agent_can_commit(tmp_path: Path, mode: str) -> None:
    """X2, X8"""
    with (
        namespace(SMALL, tmp_path) as (inside, folder),
        Agent(tmp_path / "state.db", inside) as agent,
        Reader(tmp_path, inside) as reader,
    ):
        expected = _filled(agent, mode)
        _fill_up(folder)
        before = _tree(folder)
        assert reader.read() == {"read": expected, "held": expected}
        assert _tree(folder) == before

        for _ in range(3):
            refused = agent.do("fill", sessions=200, size=1_000)
            agent.do("statement", sql="ROLLBACK")
            assert "full" in refused["error"] or "disk I/O error" in refused["error"]
            found = reader.read()
            assert found["held"] == expected
            assert found.get("read", expected) == expected

        (folder / "filler").unlink()
        expected = _titles(agent.do("commits", count=5))
        assert reader.read()["read"] == expected
        agent.do("close")
        assert reader.read()["read"] == expected
        assert {path.name for path in folder.iterdir()} <= {"state.db", "state.db-journal"}


def _fill_up(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4_096))


@pytest.fixture
def nobodys_folder(two_users: None, open_folder: Path) -> Path:  # noqa: ARG001 - it skips
    """A folder of another user, in which everybody may read."""
    os.chown(open_folder, NOBODY, GROUP)
    return open_folder


def _as(user: int) -> tuple[str, ...]:
    return ("setpriv", f"--reuid={user}", f"--regid={GROUP}", "--clear-groups")


def test_a_shared_folder_of_a_group_is_refused_by_name_while_the_agent_runs(nobodys_folder: Path) -> None:
    """X2: the agent could not write what a reader of the same group makes."""
    nobodys_folder.chmod(0o2770)
    database = nobodys_folder / "state.db"
    database.touch()
    database.chmod(0o660)
    os.chown(database, NOBODY, GROUP)
    with Agent(database, _as(NOBODY)) as agent:
        expected = _filled(agent)
        with Reader(nobodys_folder, _as(STRANGER)) as reader:
            before = _tree(nobodys_folder)
            refused = reader.read()
            assert "belongs to user nobody, and this process runs as user 65533" in refused["failed"]
            assert "belongs to user nobody" in refused["refused"]
            assert _tree(nobodys_folder) == before
            assert "error" not in agent.do("commits", count=3)

            expected = _titles(agent.do("close"))
            assert reader.read() == {"read": expected, "held": expected}
    assert [path.name for path in nobodys_folder.iterdir()] == ["state.db"]


@pytest.mark.parametrize("closed", [".", "state.db", "state.db-wal", "state.db-shm"])
def test_what_another_user_may_not_read_is_named_and_no_empty_list(nobodys_folder: Path, closed: str) -> None:
    """X8"""
    with Agent(nobodys_folder / "state.db", _as(NOBODY)) as agent:
        expected = _filled(agent)
        (nobodys_folder / closed).chmod(0o700)
        before = _tree(nobodys_folder)
        with Reader(nobodys_folder, _as(STRANGER)) as reader:
            found = reader.read()
            (nobodys_folder / closed).chmod(0o755)
            later = reader.read()

        assert str(nobodys_folder) in found["failed"]
        assert str(nobodys_folder) in found["refused"]
        assert "missing" not in found["failed"]
        assert later == {"read": expected, "held": expected}
        assert {name: at[:3] for name, at in _tree(nobodys_folder).items()} == {
            name: at[:3] for name, at in before.items()
        }
        assert "error" not in agent.do("commits", count=3)


def test_root_and_a_stranger_read_at_once_and_leave_only_files_of_the_owner(nobodys_folder: Path) -> None:
    """X2"""
    with Reader(nobodys_folder) as root, Reader(nobodys_folder, _as(STRANGER)) as stranger:
        for number in range(6):
            with Agent(nobodys_folder / "state.db", _as(NOBODY)) as agent:
                for reader in (root, stranger):
                    for _ in range(10):
                        reader.send()
                answers = [
                    agent.do("open", seed=number),
                    agent.do("commits", count=20, pause_s=0.003),
                    agent.do("close"),
                ]
                for reader in (root, stranger):
                    for _ in range(10):
                        reader.answer()
                    # The agent that has quit tells no titles if its log stayed, as it may beside a read.
                    assert reader.read()["read"] == _titles(answers[1])
            assert not [answer["error"] for answer in answers if "error" in answer]
            assert {path.stat().st_uid for path in nobodys_folder.iterdir()} == {NOBODY}
