"""What holds for every test: it leaves no thread and no actor behind; and the servers that tests share."""

import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pykka
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import URL

from hermes_cache.stores.hermes import other_sqlite
from hermes_cache.threads.aside import aside
from tests.integration.postgres_server import MISSING, PostgresServer, find_binaries

_GRACE_S = 20.0
"""Of threads that end just now; a busy machine may give them nothing for seconds."""

# How long an example takes, and how long it takes to make one, depends on the machine's other work.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Keep the 300,000 objects of pytest and its tests, which live to the end, out of each garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread or an actor alive; those of wider fixtures were there before.

    And one after which the interpreter still handles an exception: it would be the context of all later ones.
    """
    threads_before = set(threading.enumerate())
    actors_before = set(pykka.ActorRegistry.get_all())

    yield

    handled = sys.exc_info()[1]
    if handled is not None:
        pytest.fail(f"after the test, {handled!r} is still being handled", pytrace=False)
    aside.end_threads()
    if request.node.get_closest_marker("leaves_threads"):
        return
    ends_at_s = time.monotonic() + _GRACE_S
    left = [
        *_actors_left(set(pykka.ActorRegistry.get_all()) - actors_before, ends_at_s),
        *_threads_left(set(threading.enumerate()) - threads_before, ends_at_s),
    ]
    if left:
        pytest.fail(f"the test left alive: {', '.join(left)}; stop what it started", pytrace=False)


@pytest.fixture(autouse=True)
def _only_the_test_itself_loads_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let homes be read, though a test of the journal has loaded another SQLite library into this process."""
    monkeypatch.setattr(other_sqlite, "_LIBRARIES", ())


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that runs; a test that stops it starts it again."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(MISSING)
    with TemporaryDirectory(prefix="hermes_pg_", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(binaries, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> URL:
    """A schema of the test's own, empty."""
    schema = f"t{uuid4().hex}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    return postgres.url(schema)


def _actors_left(actors: set[pykka.ActorRef[pykka.Actor]], ends_at_s: float) -> list[str]:
    return [str(actor) for actor in actors if not actor.actor_stopped.wait(max(0.0, ends_at_s - time.monotonic()))]


def _threads_left(threads: set[threading.Thread], ends_at_s: float) -> list[str]:
    ours = [thread for thread in threads if not thread.daemon or thread.name.startswith("hermes_cache")]
    for thread in ours:
        with suppress(RuntimeError):  # it is being started by another one
            thread.join(max(0.0, ends_at_s - time.monotonic()))
    return [f"thread {thread.name}" for thread in ours if thread.is_alive()]
