"""What many of the integration tests begin with: a bus, a builder, readers, the URL of a journal, another user."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hermes_cache import Bus
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.ports import Journal
from hermes_cache.testing import GatedBuilder
from tests.integration.agent import AS_NOBODY


@pytest.fixture
def bus() -> Bus:
    """A bus of the test's own."""
    return Bus()


@pytest.fixture
def builder() -> Iterator[GatedBuilder]:
    """A builder whose calls go through; those that a test holds go on at its end."""
    gated = GatedBuilder(is_open=True)
    yield gated
    gated.open()


@pytest.fixture
def readers() -> Iterator[ThreadPoolExecutor]:
    """Threads that read."""
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a journal in a file that is not there yet."""
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture(params=["memory", "sqlite"])
def journals(request: pytest.FixtureRequest, url: str) -> tuple[str | Journal, str | Journal]:
    """One journal, as two processes name it."""
    store = MemoryStore()
    return (url, url) if request.param == "sqlite" else (MemoryJournal(store), MemoryJournal(store))


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """The folder that the processes of a test share."""
    folder = tmp_path / "truth"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def two_users() -> None:
    """Skip where this process cannot start a Python of another user."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to be two users")
    command = [*AS_NOBODY, sys.executable, "-B", "-c", "import hermes_cache"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    if tried.returncode:
        pytest.skip(f"another user cannot run this Python, so put it where all may read: {tried.stderr[-200:]}")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="hermes_", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
