"""A `state.db` that is a link: SQLite keeps the logs beside the file that it leads to (rules S2, X2, X8)."""

from pathlib import Path
from time import monotonic_ns, time_ns
from typing import Any, Final

import pytest

from hermes_cache.errors import SourceError
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes import HermesHome
from hermes_cache.stores.hermes.file_stamps import file_stamp
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.stillness import Moment, Stillness
from tests.integration.agent import Agent

KEY: Final = SessionListKey(show_cli=True, show_cron=True)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the agent keeps its database; the home has a link to it, by way of another link."""
    database = tmp_path / "disk" / "agent.db"
    database.parent.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "way.db").symlink_to("disk/agent.db")
    (home / "state.db").symlink_to("../way.db")
    return database


@pytest.fixture
def folder(database: Path) -> Path:
    """The home."""
    return database.parents[1] / "home"


def _titles(home: HermesHome) -> dict[str, str]:
    rows: Any = home.builder(KEY)["sessions"]
    return {row["session_id"]: row["title"] for row in rows}


def test_each_commit_to_a_linked_database_is_seen_at_once(database: Path, folder: Path) -> None:
    """S2: the commits are in the log, and the file itself does not move."""
    home = HermesHome(folder)
    with Agent(database) as agent:
        agent.do("open")
        agent.do("fill", sessions=5)
        contents = [home.sources.stamp(KEY, held=False)["content"]]
        for _ in range(5):
            expected = agent.do("commits", count=1)["titles"]
            contents.append(home.sources.stamp(KEY, held=False)["content"])
            assert _titles(home) == expected
        agent.do("close")

    assert len(set(contents)) == 6
    assert [path.name for path in database.parent.iterdir()] == ["agent.db"]
    assert [path.name for path in folder.iterdir()] == ["state.db"]


def test_a_link_that_leads_elsewhere_is_seen(database: Path, folder: Path, tmp_path: Path) -> None:
    """S2"""
    home = HermesHome(folder)
    found: dict[Path, dict[str, str]] = {}
    for name in (database, tmp_path / "other.db"):
        with Agent(name) as agent:
            agent.do("open", seed=len(found))
            found[name] = agent.do("fill", sessions=2)["titles"]
            agent.do("close")
    before = _titles(home)
    (tmp_path / "new.db").symlink_to(tmp_path / "other.db")

    (tmp_path / "new.db").rename(folder / "state.db")

    assert [before, _titles(home)] == list(found.values())


@pytest.mark.parametrize("left", ["log without shm", "empty database"])
def test_what_a_crash_left_beside_a_linked_database_is_reported_and_not_touched(
    database: Path, folder: Path, left: str
) -> None:
    """X2"""
    with Agent(database) as agent:
        agent.do("open")
        agent.do("fill", sessions=2)
        agent.die("killed")
    if left == "empty database":
        database.write_bytes(b"")
    else:
        database.with_name("agent.db-shm").unlink()
    before = {path.name: path.stat().st_size for path in database.parent.iterdir()}

    with pytest.raises(SourceError, match=r"agent\.db.* log,? agent\.db-wal"):
        HermesHome(folder).builder(KEY)

    assert {path.name: path.stat().st_size for path in database.parent.iterdir()} == before


def test_a_link_to_a_database_that_is_gone_but_left_its_log_is_no_empty_home(database: Path, folder: Path) -> None:
    """X8"""
    database.with_name("agent.db-wal").write_bytes(b"frames")

    with pytest.raises(SourceError, match="missing"):
        HermesHome(folder).builder(KEY)


def test_links_in_a_circle_fail_by_name(tmp_path: Path) -> None:
    """X8"""
    (tmp_path / "state.db").symlink_to("state.db")

    assert Looks().content(tmp_path / "state.db")[0] == ("unreadable", "OSError")
    with pytest.raises(SourceError, match="symbolic links"):
        HermesHome(tmp_path).builder(KEY)


def test_the_file_system_is_that_of_the_file_behind_a_link(tmp_path: Path) -> None:
    """S2: the times of a network file system are another clock's."""
    mounts, remote, link = tmp_path / "mounts", tmp_path / "remote", tmp_path / "state.db"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {remote} nfs rw 0 0\n")
    remote.mkdir()
    (remote / "agent.db").write_bytes(b"x")
    link.symlink_to(remote / "agent.db")
    a_minute_later = Moment(time_ns() + 60 * 10**9, monotonic_ns())

    still_in_s = Stillness(mounts).still_in_s(link, file_stamp(link), a_minute_later)

    assert still_in_s
    mounts.write_text("/dev/vda / ext4 rw 0 0\n")
    assert not Stillness(mounts).still_in_s(link, file_stamp(link), a_minute_later)
