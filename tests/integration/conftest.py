"""What many of the integration tests begin with: a bus, a builder, threads that read, the URL of a journal."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hermes_cache import Bus
from hermes_cache.journal.memory import MemoryJournal, MemoryStore
from hermes_cache.ports import Journal
from hermes_cache.testing import GatedBuilder


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
