"""Rule X10: commits of other processes to a home are noticed without anybody polling."""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Hashable, Iterator
from errno import ENOSPC
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from time import monotonic
from types import FrameType
from typing import Any

import orjson
import pytest

from hermes_cache import (
    Bus,
    HermesHome,
    Interrupted,
    Patch,
    Policy,
    Rendered,
    SessionListCache,
    SessionListKey,
    freeze,
)
from hermes_cache.ports import Moved, RunningWatch, Scopes
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.samples.writer import add_message, heartbeat, rename_session, write_turns
from hermes_cache.stores.hermes import notifications, watching
from hermes_cache.stores.hermes.watching import HomeWatch
from tests.integration.agent import AS_NOBODY
from tests.waiting import PROCESS_S, WAIT_S, until

_KEY = SessionListKey(show_cli=True)
_UNPACED = Policy(max_build_duty=1.0)


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return make_sample_home(tmp_path / "home", sessions=40, profiles=())


@pytest.fixture
def cache(sample: SampleHome) -> Iterator[SessionListCache]:
    home = HermesHome(sample.path)
    watched = SessionListCache(home.builder, sources=home.sources, watch=home.watch, policy=_UNPACED, bus=Bus())
    with watched as cache:
        yield cache


@pytest.fixture(params=["inotify_simple", "watchfiles"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library that has the notifications."""
    name: str = request.param
    if name not in notifications.LIBRARIES:
        pytest.skip(f"{name} is not for this system")
    monkeypatch.setattr(notifications, "LIBRARIES", (name,))
    return name


_with_each_library = pytest.mark.usefixtures("library")


class _Watched:
    """A home that is watched by itself, and what its watch says."""

    def __init__(self, home: HermesHome, *scopes: Hashable) -> None:
        self.scopes: list[Hashable] = [*scopes]
        self.said: SimpleQueue[Collection[Hashable]] = SimpleQueue()
        self.watch = home.watch(lambda: list(self.scopes), self.said.put)
        # It says that all may have moved, at its start and once the notifications have begun.
        for _ in range(2):
            self.said.get(timeout=WAIT_S)

    def hears(self) -> set[Hashable]:
        return set(self.said.get(timeout=WAIT_S))

    def hears_nothing_more(self, within_s: float) -> bool:
        try:
            return not self.said.get(timeout=within_s)
        except Empty:
            return True


def _agent_session(view: Rendered) -> str:
    return str(next(row["session_id"] for row in _rows(view) if row["session_source"] != "webui"))


@_with_each_library
def test_a_commit_of_somebody_else_is_sent_to_who_follows(cache: SessionListCache, sample: SampleHome) -> None:
    """X10, R13"""
    with cache.follow(_KEY) as following:
        view = following.get(WAIT_S)
        assert isinstance(view, Rendered)
        session = _agent_session(view)

        rename_session(sample.path, session, "renamed by the agent")
        patch = following.get(WAIT_S)

    assert isinstance(patch, Patch)
    assert [row["title"] for row in patch.rows] == ["renamed by the agent"]


def test_who_subscribes_hears_of_rows_that_moved_though_nobody_reads(
    cache: SessionListCache, sample: SampleHome
) -> None:
    """X10, E9"""
    session = _agent_session(cache.render(_KEY))
    with cache.subscribe() as subscription:
        until(lambda: cache.stats().builds == 1)
        rename_session(sample.path, session, "renamed by the agent")

        change = subscription.get(WAIT_S)

    assert change is not None
    assert change.profile == "default"


def test_what_is_not_visible_is_not_announced(cache: SessionListCache, sample: SampleHome) -> None:
    """X10, X6"""
    session = _agent_session(cache.render(_KEY))
    with cache.subscribe() as subscription, cache.follow(_KEY) as following:
        assert following.get(WAIT_S)
        heartbeat(sample.path, session)
        rename_session(sample.path, session, "the first that is visible")

        patch = following.get(WAIT_S)
        assert isinstance(patch, Patch)
        assert patch.rows[0]["title"] == "the first that is visible"
        assert subscription.get(WAIT_S)
        assert subscription.get(0.0) is None


def test_nobody_watches_once_nobody_follows_or_subscribes(cache: SessionListCache) -> None:
    """X10"""
    following = cache.follow(_KEY)
    assert following.get(WAIT_S)
    assert _watchers() == 1

    following.close()
    cache.follow(_KEY).close()

    until(lambda: _watchers() == 0)


@_with_each_library
def test_a_stop_ends_the_watch(cache: SessionListCache) -> None:
    """X10, L1"""
    following = cache.follow(_KEY)
    assert following.get(WAIT_S)

    cache.stop()

    until(lambda: _watchers() == 0)


def _watchers() -> int:
    return sum(thread.name == "hermes_cache.watch" for thread in enumerate_threads())


@_with_each_library
def test_a_watch_names_the_scope_whose_file_moved(sample: SampleHome) -> None:
    """X10"""
    home = HermesHome(sample.path)
    watched = _Watched(home, "default")

    (sample.path / "state.db").touch()

    assert watched.hears() == {"default"}
    watched.watch.close()


@_with_each_library
def test_other_files_of_the_folder_say_nothing(sample: SampleHome) -> None:
    """X10"""
    watched = _Watched(HermesHome(sample.path), "default")

    (sample.path / "notes.txt").write_text("nothing of a list")
    (sample.path / "state.db-shm").touch()
    # In one step, so that there is one notification of it.
    (sample.path.parent / "log").touch()
    (sample.path.parent / "log").rename(sample.path / "state.db-wal")

    assert watched.hears() == {"default"}
    assert watched.hears_nothing_more(0.6)
    watched.watch.close()


@_with_each_library
def test_a_replaced_database_is_noticed(sample: SampleHome) -> None:
    """X10, X8"""
    watched = _Watched(HermesHome(sample.path), "default")
    copy = sample.path.parent / "copy.db"
    shutil.copy(sample.path / "state.db", copy)

    copy.replace(sample.path / "state.db")

    assert watched.hears() == {"default"}
    watched.watch.close()


@_with_each_library
def test_a_replaced_folder_is_watched_again(sample: SampleHome) -> None:
    """X10"""
    sessions = sample.path / "webui" / "sessions"
    sessions.mkdir(parents=True, exist_ok=True)
    watched = _Watched(HermesHome(sample.path), "default")

    sessions.rename(sessions.with_name("before"))
    sessions.mkdir()
    until(lambda: watched.hears_nothing_more(1.0))
    (sessions / "new.json").write_text("{}")

    assert watched.hears() == {"default"}
    watched.watch.close()


def test_what_is_committed_while_the_notifications_begin_is_noticed(
    sample: SampleHome, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """X10"""
    said: SimpleQueue[Collection[Hashable]] = SimpleQueue()
    has_looked = Event()
    begins = {"inotify_simple": "INotify", "watchfiles": "watch"}[library]
    begin = getattr(import_module(library), begins)

    def listen(scopes: Collection[Hashable]) -> None:
        said.put(scopes)
        has_looked.set()

    def commit_first(*arguments: Any, **options: Any) -> Any:
        assert has_looked.wait(WAIT_S)
        (sample.path / "state.db").touch()
        return begin(*arguments, **options)

    monkeypatch.setattr(f"{library}.{begins}", commit_first)

    watch = HermesHome(sample.path).watch(lambda: ["default"], listen)

    assert said.get(timeout=WAIT_S), "the look at the beginning"
    assert list(said.get(timeout=WAIT_S)) == ["default"]
    watch.close()


@pytest.mark.parametrize("times", [1, 3])
def test_a_watch_goes_on_after_a_listener_that_fails(
    sample: SampleHome, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """X10, L7"""
    monkeypatch.setattr(watching, "network_file_system", lambda *_: "nfs4")
    said: SimpleQueue[int] = SimpleQueue()
    failures = iter(range(times))

    def listen(_scopes: Collection[Hashable]) -> None:
        for number in failures:
            raise RuntimeError(number)
        said.put(1)

    watch = HermesHome(sample.path).watch(lambda: ["default"], listen)

    assert said.get(timeout=WAIT_S)
    watch.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_watch_says_that_its_thread_has_ended(sample: SampleHome) -> None:
    """X10, L4"""

    def end() -> Collection[Hashable]:
        raise SystemExit

    watch = HermesHome(sample.path).watch(end, lambda _scopes: None)

    until(lambda: "hermes_cache.watch does not run" in (watch.trouble or ""))
    watch.close()
    assert watch.trouble is None


@_with_each_library
def test_a_close_while_it_turns_round_ends_the_watch(sample: SampleHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """X10"""
    made: SimpleQueue[HomeWatch] = SimpleQueue()
    closing: list[HomeWatch] = []

    class Interrupt(notifications.Interrupt):
        def __init__(self) -> None:
            # The close comes just before another interrupt is there to be opened.
            if closing:
                closing.pop().close()
            super().__init__()

    def scopes() -> Collection[Hashable]:
        if made.empty():
            return ["default"]
        watch = made.get()
        closing.append(watch)
        watch.scopes_changed()
        return ["default"]

    monkeypatch.setattr(watching, "Interrupt", Interrupt)
    watch = HermesHome(sample.path).watch(scopes, lambda _scopes: None)

    made.put(watch)

    until(lambda: _watchers() == 0, within_s=WAIT_S)
    assert not closing


@_with_each_library
def test_a_signal_handler_may_say_that_scopes_changed_while_that_is_said(sample: SampleHome) -> None:
    """X10, L6"""
    watch = HermesHome(sample.path).watch(lambda: ["default"], lambda _scopes: None)
    is_inside = False

    def strike(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal is_inside
        if event == "line" and not is_inside:
            is_inside = True
            watch.scopes_changed()
            is_inside = False
        return strike

    def say() -> None:
        sys.settrace(strike)
        watch.scopes_changed()

    saying = Thread(target=say, daemon=True)
    saying.start()
    saying.join(WAIT_S)

    assert not saying.is_alive()
    watch.close()


def test_the_companions_of_a_linked_database_are_watched_where_they_lie(
    sample: SampleHome, tmp_path: Path
) -> None:
    """X10, S1"""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(sample.path / "state.db", elsewhere / "real.db")
    (sample.path / "state.db").symlink_to(elsewhere / "real.db")
    watched = _Watched(HermesHome(sample.path), "default")

    (elsewhere / "real.db-wal").touch()

    assert watched.hears() == {"default"}
    watched.watch.close()


@_with_each_library
def test_a_new_profile_is_noticed_by_who_watches_all(sample: SampleHome) -> None:
    """X10"""
    (sample.path / "profiles").mkdir(exist_ok=True)
    scope = HermesHome(sample.path).sources.scope(SessionListKey(all_profiles=True))
    watched = _Watched(HermesHome(sample.path), scope)

    (sample.path / "profiles" / "work").mkdir()

    assert watched.hears() == {scope}
    watched.watch.close()


@_with_each_library
def test_scopes_that_are_added_are_watched_at_once(sample: SampleHome) -> None:
    """X10"""
    (sample.path / "profiles" / "work").mkdir(parents=True)
    watched = _Watched(HermesHome(sample.path), "default")

    watched.scopes.append("work")
    watched.watch.scopes_changed()
    assert [watched.hears() for _ in range(2)] == [{"default", "work"}] * 2
    (sample.path / "profiles" / "work" / "state.db").touch()

    assert watched.hears() == {"work"}
    watched.watch.close()


_TROUBLE_OF_A_WATCH = """
import sys, threading
from hermes_cache.stores.hermes import HermesHome
from hermes_cache.stores.hermes.locations import ALL_PROFILES
moved = threading.Semaphore(0)
watch = HermesHome(sys.argv[1]).watch(lambda: [ALL_PROFILES], lambda scopes: moved.release())
for _ in range(2):
    moved.acquire()
print(watch.trouble)
"""


@pytest.mark.usefixtures("two_users")
def test_a_folder_that_this_user_may_not_enter_keeps_no_other_from_being_watched(open_folder: Path) -> None:
    """X10"""
    home = make_sample_home(open_folder / "home", sessions=5).path
    (home / "profiles" / "work").chmod(0o700)
    command = [*AS_NOBODY, sys.executable, "-B", "-c", _TROUBLE_OF_A_WATCH, str(home)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PROCESS_S, env=environment)  # noqa: S603 - our own

    assert (done.stdout, done.stderr) == ("None\n", "")


@pytest.mark.parametrize("why", ["network", "library"])
def test_without_notifications_it_looks_every_half_second_and_says_so(
    sample: SampleHome, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X10"""
    if why == "network":
        monkeypatch.setattr(watching, "network_file_system", lambda *_: "nfs4")
    else:
        monkeypatch.setattr(notifications, "LIBRARIES", ("no_library_of_this_name",))
    scopes: Scopes = lambda: ["default"]  # noqa: E731 - typed so
    said: SimpleQueue[Collection[Hashable]] = SimpleQueue()

    watch = HermesHome(sample.path).watch(scopes, said.put)

    assert [list(said.get(timeout=WAIT_S)) for _ in range(3)] == [["default"]] * 3
    assert watch.trouble is not None
    assert ("nfs4" if why == "network" else "pip install") in watch.trouble
    watch.close()


def test_health_says_that_there_are_no_notifications(sample: SampleHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """X10, L4"""
    monkeypatch.setattr(watching, "network_file_system", lambda *_: "nfs4")
    home = HermesHome(sample.path)
    with (
        SessionListCache(home.builder, sources=home.sources, watch=home.watch, bus=Bus()) as cache,
        cache.follow(_KEY) as following,
    ):
        assert following.get(WAIT_S)

        until(lambda: "nfs4" in " ".join(cache.health().notes))


def test_a_watch_that_fails_goes_on_without_notifications(
    sample: SampleHome, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """X10, L7"""

    def refuse(*_: object, **__: object) -> Iterator[set[tuple[object, str]]]:
        raise OSError(ENOSPC, "inotify watch limit reached")

    refused = "inotify_simple.INotify.add_watch" if library == "inotify_simple" else "watchfiles.watch"
    monkeypatch.setattr(refused, refuse)
    said: SimpleQueue[Collection[Hashable]] = SimpleQueue()

    watch = HermesHome(sample.path).watch(lambda: ["default"], said.put)

    assert [list(said.get(timeout=WAIT_S)) for _ in range(3)] == [["default"]] * 3
    limit = "raise fs.inotify.max_user_watches" if library == "inotify_simple" else "inotify watch limit reached"
    assert limit in (watch.trouble or "")
    watch.close()


def test_a_watch_of_ones_own_has_followed_views_built() -> None:
    """X10, K5: what a watch promises is all that it needs."""
    version = {"rows": 0}

    class Sources:
        def scope(self, _key: SessionListKey) -> str:
            return "table"

        def stamp(self, _key: SessionListKey, *, held: bool) -> dict[str, int]:
            return {} if held else dict(version)

    class Watch:
        trouble = None

        def __call__(self, scopes: Scopes, moved: Moved, /) -> RunningWatch:
            self.moved, self.scopes = moved, scopes
            return self

        def scopes_changed(self) -> None:
            pass

        def close(self) -> None:
            pass

    watch = Watch()
    rows = [{"session_id": "one", "title": "before"}]
    cache = SessionListCache(
        lambda _key: {"sessions": [dict(row) for row in rows]},
        sources=Sources(), watch=watch, policy=_UNPACED, bus=Bus(),
    )  # fmt: skip
    with cache, cache.follow(_KEY) as following:
        view = following.get(WAIT_S)
        rows[0]["title"] = "after"
        version["rows"] += 1
        until(lambda: set(watch.scopes()) == {"table"})

        watch.moved(["table"])

        patch = following.get(WAIT_S)
        assert isinstance(view, Rendered)
        assert isinstance(patch, Rendered | Patch)
        applied = view.apply(patch) if isinstance(patch, Patch) else patch
        assert orjson.loads(applied.body)["sessions"][0]["title"] == "after"


def test_beside_a_busy_writer_a_follower_gets_its_turns(cache: SessionListCache, sample: SampleHome) -> None:
    """X10, R13"""
    stop = Event()
    writer = Thread(target=write_turns, args=(sample.path,), kwargs={"commits_per_s": 50.0, "stop": stop})
    with cache.follow(_KEY) as following:
        view = following.get(WAIT_S)
        assert isinstance(view, Rendered)
        writer.start()
        ends_at_s, patches = monotonic() + WAIT_S, 0
        while patches < 3 and monotonic() < ends_at_s:
            news = following.get(WAIT_S)
            assert news is None or isinstance(news, Patch | Rendered)
            patches += news is not None
        stop.set()
        writer.join()

    assert patches == 3


def test_followers_hear_of_a_home_that_breaks_and_mends_and_never_see_it_empty(
    cache: SessionListCache, sample: SampleHome
) -> None:
    """R13, X8"""
    with cache.follow(_KEY) as following:
        view = following.get(WAIT_S)
        assert isinstance(view, Rendered)
        session, whole = _agent_session(view), sample.state_db.read_bytes()
        for companion in ("-wal", "-shm"):
            sample.state_db.with_name(f"state.db{companion}").unlink(missing_ok=True)

        sample.state_db.write_bytes(b"no database any more" * 400)
        broken = following.get(WAIT_S)
        sample.state_db.write_bytes(whole)
        rename_session(sample.path, session, "after it was mended")
        news = following.get(WAIT_S)
        while isinstance(news, Interrupted):
            news = following.get(WAIT_S)

    assert isinstance(broken, Interrupted)
    assert "state.db" in str(broken.error)
    assert isinstance(news, Patch)
    assert news.gone == []
    assert len(_rows(view.apply(news))) == len(_rows(view))


@pytest.mark.parametrize(
    "changes", [60, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3_000)])]
)
def test_no_change_is_missed_by_who_follows(cache: SessionListCache, sample: SampleHome, changes: int) -> None:
    """X10, R13: in bursts of one to fifty, and nobody reads"""
    chance, made = Random(f"{changes} changes"), 0
    direct = HermesHome(sample.path)
    with cache.follow(_KEY) as following:
        view = following.get(WAIT_S)
        assert isinstance(view, Rendered)
        sessions = [row["session_id"] for row in _rows(view) if row["session_source"] != "webui"]
        while made < changes:
            burst = chance.choice((1, 1, 5, 50))
            for number in range(made, made + burst):
                _change(sample.path, chance.choice(sessions), number, chance)
            made += burst
            wanted, ends_at_s = _shown(freeze(direct.builder(_KEY))["sessions"]), monotonic() + WAIT_S
            while _shown(_rows(view)) != wanted:
                assert monotonic() < ends_at_s, f"a change was missed after {made}"
                view = _next(view, following.get(1.0))


def _change(home: Path, session: str, number: int, chance: Random) -> None:
    way = chance.randrange(3)
    if way == 0:
        rename_session(home, session, f"title number {number}")
    elif way == 1:
        add_message(home, session)
    else:
        heartbeat(home, session)


def _next(view: Rendered, news: object) -> Rendered:
    if isinstance(news, Patch):
        return view.apply(news)
    return news if isinstance(news, Rendered) else view


def _rows(view: Rendered) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = orjson.loads(view.body)["sessions"]
    return rows


def _shown(rows: Any) -> list[tuple[object, ...]]:
    return [(row["session_id"], row["title"], row["message_count"]) for row in rows]
