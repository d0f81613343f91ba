"""What the doctor finds in a real home, each fault planted in a sample; and that it leaves no trace (W3, X2)."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_cache.doctor import home as doctor_home
from hermes_cache.doctor.home import home_findings
from hermes_cache.samples.home import make_sample_home
from hermes_cache.stores.hermes import HermesHome
from hermes_cache.stores.hermes.json_files import SMALL_BYTES
from tests.integration.agent import AS_NOBODY, NOBODY, Agent

Plant = Callable[[Path], object]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_sample_home(tmp_path / "home", sessions=30).path


def found_in(path: Path) -> dict[str, str]:
    """Return the gravity of each finding, by its name."""
    return {each.name: each.gravity for each in home_findings(HermesHome(path).locations, thoroughly=True)}


def tree(path: Path) -> dict[str, tuple[int, ...]]:
    """Return what `stat` says of all that lies in a home, but for when it was last read."""
    found = {str(each): each.stat() for each in [path, *path.rglob("*")]}
    return {name: (at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns) for name, at in found.items()}


def test_nothing_is_found_in_the_sample_home_and_no_trace_is_left(home: Path) -> None:
    """X2, X9"""
    before = tree(home)

    assert found_in(home) == {}
    assert tree(home) == before


def _write(*parts: str, content: bytes) -> Plant:
    return lambda home: home.joinpath(*parts).write_bytes(content)


def _in_an_hour(home: Path) -> None:
    at_s = (home / "state.db").stat().st_mtime + 3_600
    os.utime(home / "webui" / "settings.json", (at_s, at_s))


def _gone_beside_its_log(home: Path) -> None:
    (home / "state.db").unlink()
    (home / "state.db-wal").write_bytes(b"frames")


def _linked_to_nowhere(home: Path) -> None:
    (home / "state.db").unlink()
    (home / "state.db").symlink_to(home / "away.db")


@pytest.mark.parametrize(
    ("name", "gravity", "plant"),
    [
        ("home-missing", "wrong", shutil.rmtree),
        ("profiles-unreadable", "wrong", lambda home: _replace_folder(home / "profiles")),
        ("home-open", "wrong", lambda home: home.chmod(0o777)),
        ("odd-profile-name", "hint", lambda home: (home / "profiles" / "My Work").mkdir()),
        ("times-in-future", "hint", _in_an_hour),
        ("no-database", "hint", lambda home: (home / "profiles" / "work" / "state.db").unlink()),
        ("database-gone", "wrong", _gone_beside_its_log),
        ("database-unreadable", "wrong", _write("state.db", content=b"no database at all, but long enough" * 40)),
        ("database-unreadable", "wrong", _linked_to_nowhere),
        ("settings-unreadable", "wrong", _write("webui", "settings.json", content=b'{"show_cli')),
        ("index-broken", "wrong", _write("webui", "sessions", "_index.json", content=b"[{")),
        ("index-broken", "wrong", _write("webui", "sessions", "_index.json", content=b"{}")),
        ("file-broken", "hint", _write("webui", "projects.json", content=b"[[")),
        ("file-broken", "hint", _write("sessions", "sessions.json", content=b"")),
        ("file-broken", "hint", _write("webui", "projects.json", content=b"[]".rjust(SMALL_BYTES + 1))),
        ("sidecar-broken", "hint", _write("webui", "sessions", "0123456789ab.json", content=b"nonsense")),
        ("session-folder-unreadable", "wrong", lambda home: _replace_folder(home / "webui" / "sessions")),
    ],
)
def test_each_fault_is_found(name: str, gravity: str, plant: Plant, home: Path) -> None:
    plant(home)

    assert found_in(home) == {name: gravity}


def _replace_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("a file where a folder belongs")


def test_a_log_that_nobody_holds_is_found(tmp_path: Path) -> None:
    """X2: Hermes was killed."""
    with Agent(tmp_path / "state.db") as agent:
        agent.do("open")
        agent.do("fill", sessions=5)
        while_open = found_in(tmp_path)
        agent.die("killed")
    os.utime(tmp_path / "state.db-wal", (1_000.5, 1_000.5))

    (found,) = home_findings(HermesHome(tmp_path).locations, thoroughly=False)

    assert "log-left-behind" not in while_open
    assert found.name == "log-left-behind"
    assert "state.db-wal" in found.what
    assert found.todo.startswith(("start and quit Hermes once", "if it has not, start and quit"))


def test_the_home_of_another_user_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X2: while this user could make files beside the database."""
    if os.access(home, os.W_OK):
        monkeypatch.setattr(os, "geteuid", lambda: (home / "state.db").stat().st_uid + 1)

    assert found_in(home) == {"other-user": "wrong"}


def test_a_home_on_a_network_file_system_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2"""
    monkeypatch.setattr(doctor_home, "is_of_a_network", lambda _path: True)

    assert found_in(home) == {"home-on-network": "hint"}


def test_a_file_system_that_keeps_whole_seconds_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2: its times are planted, as no such file system is at hand everywhere."""
    stat = Path.stat

    def whole_seconds(path: Path, **options: bool) -> os.stat_result:
        found = stat(path, **options)
        if path.name != "state.db":
            return found
        seconds = int(found.st_mtime)
        fields = {"st_mtime_ns": seconds * 10**9, "st_ctime_ns": seconds * 10**9}
        return os.stat_result(found, fields)

    monkeypatch.setattr(Path, "stat", whole_seconds)

    assert found_in(home) == {"coarse-times": "hint"}


def test_a_gateway_leaves_to_its_reader_what_that_finds(home: Path) -> None:
    """Databases and sidecars are not read twice at a start."""
    (home / "webui" / "sessions" / "0123456789ab.json").write_bytes(b"nonsense")
    (home / "state.db").write_bytes(b"no database")

    assert [*home_findings(HermesHome(home).locations, thoroughly=False)] == []


def test_a_broken_file_is_named(home: Path) -> None:
    path = home / "webui" / "settings.json"
    path.write_text("")

    (found,) = home_findings(HermesHome(home).locations, thoroughly=True)

    assert str(path) in found.sentence


EXAMINED = """
import json, sys
from hermes_cache.doctor.home import home_findings
from hermes_cache.stores.hermes import HermesHome
found = home_findings(HermesHome(sys.argv[1]).locations, thoroughly=True)
print(json.dumps([[each.name, each.sentence] for each in found]))
"""


def found_as_nobody(path: Path) -> dict[str, str]:
    """Return the sentence of each finding, by its name, as another user sees the home."""
    command = [*AS_NOBODY, sys.executable, "-B", "-c", EXAMINED, str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=150, env=environment)  # noqa: S603 - our own
    return dict(json.loads(done.stdout))


@pytest.mark.usefixtures("two_users")
def test_what_this_user_may_not_read_is_found(open_folder: Path) -> None:
    """X8: nothing of it counts as missing."""
    home = make_sample_home(open_folder / "home", sessions=5).path
    (home / "profiles" / "work").chmod(0o700)
    (home / "webui" / "sessions").chmod(0o700)
    (home / "webui" / "settings.json").chmod(0o600)

    found = found_as_nobody(home)

    assert set(found) == {"database-unreadable", "session-folder-unreadable", "settings-unreadable"}
    assert "Permission denied" in found["settings-unreadable"]

    open_folder.chmod(0o700)
    assert set(found_as_nobody(home)) == {"home-missing"}


@pytest.mark.usefixtures("two_users")
def test_a_database_of_another_user_in_a_folder_of_this_one_is_found(open_folder: Path) -> None:
    """X2"""
    home = make_sample_home(open_folder / "home", sessions=5).path
    os.chown(home, NOBODY, NOBODY)

    assert "run this as user " in found_as_nobody(home)["other-user"]
