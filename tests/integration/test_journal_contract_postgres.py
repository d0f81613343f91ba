"""The journal in a PostgreSQL database keeps the contract, and skips nothing (rules J1 to J6)."""

import multiprocessing
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

import pytest
from sqlalchemy import URL, Connection, create_engine, text

from hermes_cache.adapters.journal_tables import append_events
from hermes_cache.adapters.sqlalchemy_journal import journal_at
from hermes_cache.core.events import AppliedEvent
from hermes_cache.errors import JournalUnavailableError
from hermes_cache.ports import Journal
from hermes_cache.testing.journal_contract import JournalContract, numbered

_WAIT_S = 20.0
_INSTALL = "install it with: apt-get install postgresql; pip install 'psycopg[binary]'"

pytest.importorskip("psycopg", reason=f"psycopg is not here; {_INSTALL}")


class _Server:
    """A PostgreSQL server of this machine's own binaries, reached by a Unix socket in its folder."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.folder = folder
        self._binaries = binaries
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user, self._user)
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "hermes", "-N")

    def start(self) -> None:
        told = f"-c listen_addresses= -c unix_socket_directories={self.folder}"
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), "-o", told, "start"
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def url(self, schema: str) -> URL:
        query = {"host": str(self.folder), "options": f"-csearch_path={schema}"}
        return URL.create("postgresql+psycopg", username="hermes", database="postgres", query=query)

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(  # noqa: S603  # the machine's own binaries
            [str(self._binaries / name), *arguments],
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_WAIT_S,
        )


@pytest.fixture(scope="session")
def server() -> Iterator[_Server]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        pytest.skip(f"no PostgreSQL server is here; {_INSTALL}")
    with tempfile.TemporaryDirectory(prefix="hermes_pg_", ignore_cleanup_errors=True) as folder:
        started = _Server(found[-1], Path(folder))
        started.start()
        try:
            yield started
        finally:
            started.stop()


@pytest.fixture
def url(server: _Server) -> URL:
    """A schema of the test's own."""
    schema = f"t{uuid4().hex}"
    engine = create_engine(server.url("public"))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    return server.url(schema)


class TestPostgresJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def _database(self, url: URL) -> None:
        self.url = url

    def open_journal(self) -> Journal:
        return journal_at(self.url)


def test_a_transaction_held_open_lets_no_later_one_pass(url: URL) -> None:
    """J4: the second writer's event has the greater number, and is visible only after the first's."""
    first, second = numbered([1, 2])
    done = Event()
    with closing(journal_at(url)) as slow, closing(journal_at(url)) as quick, closing(journal_at(url)) as reader:
        start = reader.end()
        quick.end()

        def append() -> None:
            quick.append([second])
            done.set()

        writer = Thread(target=append)
        with slow._database.writing() as connection:
            append_events(connection, [first])
            writer.start()
            overtook = done.wait(0.5)
            seen_meanwhile = reader.read(start)
        writer.join(_WAIT_S)

        assert not overtook
        assert seen_meanwhile == []
        assert [recorded.event for recorded in reader.read(start)] == [first, second]


def _append_and_fail(connection: Connection, event: AppliedEvent) -> None:
    raise ZeroDivisionError(append_events(connection, [event]))


def test_a_transaction_rolled_back_leaves_no_hole(url: URL) -> None:
    """J4"""
    first, second = numbered([1, 2])
    with closing(journal_at(url)) as journal:
        with pytest.raises(ZeroDivisionError), journal._database.writing() as connection:
            _append_and_fail(connection, first)

        assert journal.append([second]) == [1]


def test_a_server_that_went_away_is_told_and_found_again(server: _Server, url: URL) -> None:
    """J5"""
    with closing(journal_at(url)) as journal:
        journal.append(numbered([1]))
        server.stop()
        with pytest.raises(JournalUnavailableError):
            journal.append(numbered([2]))
        server.start()

        assert journal.append(numbered([1, 2])) == [1, 2]


def test_a_forked_child_has_connections_of_its_own(url: URL) -> None:
    """L2: the child appends, and the parent's connections still work."""
    with closing(journal_at(url)) as journal:
        journal.append(numbered([1]))
        journal.wait(None, timeout_s=0.0)
        child = multiprocessing.get_context("fork").Process(target=journal.append, args=(numbered([1, 2]),))
        child.start()
        child.join(_WAIT_S)

        assert child.exitcode == 0
        assert journal.append(numbered([3, 2])) == [3, 2]
