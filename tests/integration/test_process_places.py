"""Rules B6 and B8 where builds of several worker processes meet: shares, kills and positions."""

import os
import signal
import threading
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path

import pytest

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.builders.desk import Desk
from hermes_cache.builders.parcels import Parcel
from hermes_cache.builders.process_executor import ProcessExecutor, pickled
from hermes_cache.core.state import Target
from hermes_cache.errors import BuildError, BuildTimeoutError, WorkerError
from hermes_cache.sessions.rows import SESSION_LIST
from tests.waiting import WAIT_S, answered, until

ALL = SessionListKey(all_profiles=True)
PARTS = ("one", "two", "three")


class Folder:
    """A joining builder whose scopes are files: a text to show, or `broken`, or `hangs`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._adopted: dict[Hashable, str] = {}

    def __call__(self, key: SessionListKey, /) -> Mapping[str, object]:
        return self.view(None, key)

    def refresh(self, scope: Hashable, /) -> str:
        with (self._folder / "calls").open("a") as calls:
            calls.write(f"{scope}\n")
        (self._folder / f"{scope}.pid").write_text(str(os.getpid()))
        text = (self._folder / str(scope)).read_text()
        if text == "broken":
            raise OSError(f"{scope} is broken")
        if text == "hangs":
            (self._folder / "hanging").write_text(str(os.getpid()))
            threading.Event().wait()
        return text

    def view(self, _snapshot: object, key: SessionListKey, /) -> Mapping[str, object]:
        parts = PARTS if key.all_profiles else (key.profile_name,)
        return {"sessions": [], "told": [self._adopted.get(part) or self.refresh(part) for part in parts]}

    def parts(self, key: SessionListKey, /) -> tuple[Hashable, ...]:
        return PARTS if key.all_profiles else ()

    def share(self, scope: Hashable, seen: Hashable, /) -> tuple[Hashable, bytes]:
        text = self.refresh(scope)
        return text, b"" if seen == text else text.encode()

    def adopt(self, scope: Hashable, share: bytes, /) -> None:
        if share:
            self._adopted[scope] = share.decode()


class Rows:
    """As many rows as the key's `archived_limit` says."""

    def __call__(self, key: SessionListKey, /) -> Mapping[str, object]:
        return {"sessions": [{"session_id": f"s{number}"} for number in range(key.archived_limit or 0)]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in PARTS:
        (tmp_path / part).write_text("first")
    return tmp_path


@pytest.fixture
def cache(folder: Path) -> Iterator[SessionListCache]:
    policy = Policy(ttl=60.0, pool_size=3, build_timeout=15.0)
    with SessionListCache(Folder(folder), bus=Bus(), executor="processes", policy=policy) as running:
        answered(lambda: running.get(ALL))
        yield running


def test_a_share_that_was_lost_comes_again(cache: SessionListCache, folder: Path) -> None:
    """R1, B8"""
    (folder / "one").write_text("second")
    (folder / "three").write_text("broken")
    (folder / "two").write_text("broken")
    cache.invalidate()
    with pytest.raises(BuildError, match="is broken"):
        cache.get(ALL)
    (folder / "two").write_text("second")
    (folder / "three").write_text("second")
    cache.invalidate()

    assert answered(lambda: cache.get(ALL))["told"] == ["second", "second", "second"]


def test_a_worker_that_hangs_over_its_share_is_killed(cache: SessionListCache, folder: Path) -> None:
    """B6, B8"""
    (folder / "one").write_text("hangs")
    cache.invalidate()
    with pytest.raises(BuildTimeoutError):
        cache.get(ALL)
    (folder / "one").write_text("second")
    cache.invalidate()

    assert answered(lambda: cache.get(ALL))["told"] == ["second", "first", "first"]


def test_workers_that_died_all_at_once_cost_no_error(cache: SessionListCache, folder: Path) -> None:
    """B8: as for a lack of memory; a build that joins them meets one after the other."""
    for part in PARTS:
        os.kill(int((folder / f"{part}.pid").read_text()), signal.SIGKILL)
        (folder / part).write_text("second")
    cache.invalidate()

    assert answered(lambda: cache.get(ALL))["told"] == ["second", "second", "second"]


def test_a_build_that_was_given_up_in_its_queue_never_runs(folder: Path) -> None:
    """B6"""
    (folder / "one").write_text("hangs")
    executor = ProcessExecutor(pickled(Folder(folder), SESSION_LIST), 1, SESSION_LIST, builder=Folder(folder))
    target = Target(SessionListKey("one"), None, "one", watched=False)
    failures: list[Exception] = []

    def build(build_id: int) -> None:
        try:
            executor.build(build_id, target, None)
        except WorkerError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=build, args=[build_id], daemon=True) for build_id in (1, 2)]
    threads[0].start()
    until((folder / "hanging").exists)
    threads[1].start()

    executor.give_up(2)
    executor.give_up(1)
    for thread in threads:
        thread.join(WAIT_S)

    executor.stop()
    assert len(failures) == 2
    assert (folder / "calls").read_text() == "one\n"


def test_nothing_starts_after_a_stop(folder: Path) -> None:
    """L1, B8"""
    executor = ProcessExecutor(pickled(Folder(folder), SESSION_LIST), 2, SESSION_LIST, builder=Folder(folder))
    executor.stop()

    executor.start()

    with pytest.raises(WorkerError):
        executor.build(1, Target(SessionListKey("one"), None, "one", watched=False), None)


def test_a_narrow_view_does_not_make_the_rows_of_a_wide_one_unsent() -> None:
    """B8"""
    desk = Desk(Rows(), SESSION_LIST)
    wide, narrow = SessionListKey(archived_limit=100), SessionListKey(archived_limit=2)
    parcels = [desk.build(key, {}) for key in (wide, narrow, wide)]

    assert [len(parcel.rows) for parcel in parcels if isinstance(parcel, Parcel)] == [100, 0, 0]


def test_a_builder_that_the_worker_forgot_is_given_all_again(folder: Path) -> None:
    """B8: a worker keeps a bounded number of builders."""
    forgetful, fresh = Desk(Folder(folder), SESSION_LIST), Desk(Folder(folder), SESSION_LIST)
    forgetful.build(ALL, {"one": ("first", b"first")})

    assert forgetful.parts(ALL) == {"one": "first", "two": None, "three": None}
    assert fresh.parts(ALL) == {"one": None, "two": None, "three": None}
