"""What the doctor finds in real journals (W3, J9)."""

import re
import shutil
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from time import time

import pytest
from sqlalchemy import URL

from hermes_cache.core.events import EventId, SettingsChanged
from hermes_cache.core.policy import Policy
from hermes_cache.doctor.journal import journal_findings, read_file_facts
from hermes_cache.journal.sqlalchemy_journal import journal_at
from tests.integration.postgres_server import PostgresServer
from tests.integration.silent_proxy import SilentProxy


def found_in(url: str, home: Path | None = None) -> dict[str, str]:
    """Return the gravity of each finding, by its name."""
    found = journal_findings(url, home=home, policy=Policy(), now_s=time(), thoroughly=True)
    return {each.name: each.gravity for each in found}


@pytest.fixture
def kept(tmp_path: Path) -> str:
    """The URL of a journal with three events."""
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    with closing(journal_at(url)) as journal:
        journal.append([SettingsChanged(id=EventId("a", number), at_s=time()) for number in (1, 2, 3)])
    return url


def test_nothing_is_found_in_a_sound_journal(kept: str) -> None:
    assert found_in(kept) == {}


def test_a_journal_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    assert found_in(f"sqlite:///{tmp_path / 'journal.db'}") == {}
    assert [*tmp_path.iterdir()] == []


def test_damaged_rows_are_found(kept: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection, connection:
        connection.execute("DELETE FROM hermes_cache_events WHERE seq = 2")

    assert found_in(kept) == {"journal-damaged": "wrong"}


def test_a_file_that_is_no_database_is_found(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database, but long enough to look like one" * 30)

    assert found_in(f"sqlite:///{tmp_path / 'journal.db'}") == {"journal-damaged": "wrong"}


def test_events_from_the_future_are_found(kept: str) -> None:
    with closing(journal_at(kept)) as journal:
        journal.append([SettingsChanged(id=EventId("b", 1), at_s=time() + 3_600)])

    assert found_in(kept) == {"journal-from-future": "wrong"}


def test_a_folder_that_is_missing_or_open_to_all_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)

    assert found_in(f"sqlite:///{tmp_path / 'none' / 'journal.db'}") == {"journal-folder-missing": "wrong"}
    assert found_in(f"sqlite:///{folder / 'journal.db'}") == {"journal-folder-open": "wrong"}
    assert found_in(f"sqlite:///{folder / 'journal.db'}?shared=true") == {}


def test_a_journal_inside_the_home_is_found(kept: str, tmp_path: Path) -> None:
    assert found_in(kept, home=tmp_path) == {"journal-in-home": "wrong"}


def test_a_journal_on_a_network_file_system_is_found(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/export {tmp_path.resolve()} nfs4 rw 0 0\n")

    assert read_file_facts(tmp_path / "journal.db", "", None, mounts).is_remote


def test_how_much_of_the_disk_is_free_is_known(tmp_path: Path) -> None:
    free = read_file_facts(tmp_path / "journal.db", "", None).free_bytes

    assert free is not None
    assert abs(free - shutil.disk_usage(tmp_path).free) < 2**30


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("nowhere", "journal-unusable"),
        ("mysql://me:secret@localhost/x", "journal-unusable"),
        ("sqlite://", "journal-unusable"),
        ("postgresql://me:secret@127.0.0.1:1/x?password=secret", "journal-unreachable"),
    ],
)
def test_a_journal_that_cannot_be_used_is_found_without_its_password(url: str, name: str) -> None:
    found = [*journal_findings(url, home=None, policy=Policy(), now_s=time(), thoroughly=True)]

    assert [each.name for each in found] == [name]
    assert "secret" not in found[0].sentence


def test_a_driver_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hermes_cache.journal.postgres", None)

    (found,) = journal_findings(
        "postgresql://127.0.0.1:1/x", home=None, policy=Policy(), now_s=time(), thoroughly=True
    )

    assert (found.name, found.todo) == (
        "journal-driver-missing",
        'run: pip install "hermes-session-cache[postgres]"',
    )


class Pooler(SilentProxy):
    """Tells its clients another process than the one that answers, as poolers do."""

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        if target.family is not socket.AF_UNIX:
            target = _Renaming(target)  # type: ignore[assignment]
        super()._pass_on(source, target)


class _Renaming:
    def __init__(self, target: socket.socket) -> None:
        self._target = target

    def sendall(self, content: bytes) -> None:
        self._target.sendall(
            re.sub(rb"K\x00\x00\x00\x0c....", b"K\x00\x00\x00\x0c\x00\x00\x00\x07", content, flags=re.DOTALL)
        )

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)


def test_a_pooler_before_the_server_is_found(postgres: PostgresServer, postgres_url: URL) -> None:
    """J3: it passes no notifications."""
    with closing(Pooler(postgres.socket)) as pooler:
        query = {**postgres_url.query, "host": "127.0.0.1", "port": str(pooler.port)}
        pooled = postgres_url.set(query=query).render_as_string(hide_password=False)
        through = found_in(pooled)

    assert found_in(postgres_url.render_as_string(hide_password=False)) == {}
    assert through == {"journal-behind-pooler": "hint"}
