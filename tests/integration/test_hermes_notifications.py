"""Rule X10: what the system tells of changed files, and what a thread that waits for that costs."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import closing, contextmanager, suppress
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic

import pytest

from hermes_cache import HermesHome, SessionListKey
from hermes_cache.samples.claude_code import append_message
from hermes_cache.samples.home import SampleHome, make_sample_home
from hermes_cache.stores import ClaudeCode
from hermes_cache.stores.hermes.notifications import LIBRARIES, Inotify, Interrupt, Notifications, Watchfiles
from tests.waiting import PROCESS_S, WAIT_S, at_its_best, until

pytestmark = [
    # Python warns of forks beside threads; such a fork is what is tested.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
_on_linux = pytest.mark.skipif("inotify_simple" not in LIBRARIES, reason="only Linux has inotify")
_KEY = SessionListKey()
_MOST_QUEUED = Path("/proc/sys/fs/inotify/max_queued_events")
_queue_is_small = pytest.mark.skipif(
    not _MOST_QUEUED.exists() or int(_MOST_QUEUED.read_text()) > 65_536, reason="the system keeps too many"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.fixture
def interrupt() -> Interrupt:
    return Interrupt()


@pytest.fixture(params=[pytest.param(Inotify, marks=_on_linux), Watchfiles])
def heard(request: pytest.FixtureRequest, folder: Path, interrupt: Interrupt) -> Iterator[Notifications]:
    kind: type[Inotify | Watchfiles] = request.param
    with closing(kind([folder], interrupt)) as begun:
        begun.begin()
        yield begun


@pytest.fixture
def inotify(folder: Path, interrupt: Interrupt) -> Iterator[Inotify]:
    with closing(Inotify([folder], interrupt)) as begun:
        yield begun


def _next(heard: Notifications) -> Collection[Path] | None:
    ends_at_s = monotonic() + WAIT_S
    while monotonic() < ends_at_s:
        paths = heard.wait(WAIT_S, rests_until_s=-inf)
        if paths or paths is None:
            return paths
    raise AssertionError("nothing was notified")


def _now(heard: Notifications) -> Collection[Path] | None:
    return heard.wait(0.0, rests_until_s=-inf)


def test_what_is_made_written_renamed_or_removed_in_a_folder_is_named(heard: Notifications, folder: Path) -> None:
    """X10"""
    (folder / "one").write_text("made")
    assert folder / "one" in (_next(heard) or ())

    (folder / "one").rename(folder / "two")
    assert folder / "two" in (_next(heard) or ())

    (folder / "two").unlink()
    assert folder / "two" in (_next(heard) or ())


def test_what_happens_below_is_not_named(heard: Notifications, folder: Path) -> None:
    """X10"""
    (folder / "below").mkdir()
    assert folder / "below" in (_next(heard) or ())

    (folder / "below" / "file").write_text("not heard of")
    (folder / "last").write_text("heard of")

    assert folder / "below" / "file" not in (_next(heard) or ())


def test_an_interrupt_ends_a_wait(heard: Notifications, interrupt: Interrupt) -> None:
    """X10, L6"""
    waiting = threading.Thread(target=heard.wait, args=(3_600.0,), kwargs={"rests_until_s": -inf}, daemon=True)
    waiting.start()

    interrupt.open()

    waiting.join(WAIT_S)
    assert not waiting.is_alive()


@_on_linux
def test_an_interrupt_ends_a_rest_and_what_came_until_then_is_not_lost(
    inotify: Inotify, interrupt: Interrupt, folder: Path
) -> None:
    """X10"""
    (folder / "file").touch()
    interrupt.open()

    paths = inotify.wait(3_600.0, rests_until_s=inf)

    assert paths == {folder / "file"}


@_on_linux
def test_what_came_before_the_wait_began_is_named_once_it_stands_still(inotify: Inotify, folder: Path) -> None:
    """X10, X11"""
    began_s = monotonic()
    (folder / "file").touch()

    assert _next(inotify) == {folder / "file"}
    assert monotonic() - began_s >= 0.05


@_on_linux
def test_opening_and_reading_is_no_change(inotify: Inotify, folder: Path) -> None:
    """X10"""
    (folder / "file").write_text("content")
    _next(inotify)

    (folder / "file").read_text()
    with (folder / "file").open("rb+") as as_sqlite_opens_a_log:
        as_sqlite_opens_a_log.read()
    sorted(folder.iterdir())

    assert _now(inotify) == ()


@_on_linux
@pytest.mark.parametrize("way", ["moved", "removed"])
def test_a_folder_that_goes_is_named_itself(inotify: Inotify, folder: Path, way: str) -> None:
    """X10"""
    if way == "moved":
        folder.rename(folder.with_name("elsewhere"))
    else:
        folder.rmdir()

    assert folder in (_next(inotify) or ())


@_on_linux
def test_a_folder_is_named_by_each_path_that_leads_to_it(folder: Path, interrupt: Interrupt) -> None:
    """X10, S1"""
    link = folder.with_name("link")
    link.symlink_to(folder)

    with closing(Inotify([folder, link], interrupt)) as inotify:
        (folder / "file").touch()

        assert _next(inotify) == {folder / "file", link / "file"}


@_on_linux
@_queue_is_small
def test_if_the_system_lost_some_any_path_may_have_changed(inotify: Inotify, folder: Path) -> None:
    """X10"""
    _change_more_than_the_system_keeps(folder)

    assert _next(inotify) is None
    (folder / "later").touch()
    assert _next(inotify) == {folder / "later"}


def _change_more_than_the_system_keeps(folder: Path) -> None:
    names = [os.fspath(folder / f"noise {number}") for number in (1, 2)]
    for _ in range(int(_MOST_QUEUED.read_text()) // 4 + 100):
        # Of two files by turns: equal ones after another are kept as one.
        for name in names:
            os.close(os.open(name, os.O_CREAT))
            os.unlink(name)  # noqa: PTH108 - many


@_on_linux
def test_who_is_about_to_ring_when_the_wait_is_over_writes_to_no_other_file(
    folder: Path, interrupt: Interrupt
) -> None:
    """X10: another file may have the number of the descriptor by then."""
    with closing(Inotify([folder], interrupt)):
        alarm = interrupt.alarm
    others = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(8)]

    assert alarm is not None
    alarm.ring()
    interrupt.open()

    for other in others:
        with pytest.raises(BlockingIOError):
            os.eventfd_read(other)
        os.close(other)


class _Watched:
    """The watch of a home, and what it says."""

    def __init__(self, home: HermesHome, key: SessionListKey = _KEY) -> None:
        self.said: SimpleQueue[Collection[Hashable]] = SimpleQueue()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.watch = home.watch(lambda: [home.sources.scope(key)], self._listen)
        self.await_begin()

    def await_begin(self) -> None:
        """Wait until it has said that all may have moved, at its start and once the notifications have begun."""
        for _ in range(2):
            self.hear()

    def hear(self) -> None:
        self.said.get(timeout=WAIT_S)

    def _listen(self, scopes: Collection[Hashable]) -> None:
        self.said.put(scopes)
        assert self.may_go_on.wait(WAIT_S)


@pytest.fixture
def sample(tmp_path: Path) -> SampleHome:
    return make_sample_home(tmp_path / "home", sessions=5, profiles=())


@pytest.fixture
def watched(sample: SampleHome) -> Iterator[_Watched]:
    watched = _Watched(HermesHome(sample.path))
    yield watched
    watched.watch.close()


@_on_linux
def test_a_watch_that_hears_nothing_sleeps(watched: _Watched) -> None:
    """X10: it wakes up every 5 s to look for folders."""
    thread = next(each for each in threading.enumerate() if each.name == "hermes_cache.watch")
    status = Path(f"/proc/self/task/{thread.native_id}/status")

    # At first it may still be on its way to sleep.
    until(lambda: _wake_ups_while_nothing_is_said(watched, status) <= 1)


def _wake_ups_while_nothing_is_said(watched: _Watched, status: Path) -> int:
    before = _wake_ups(status)
    with pytest.raises(Empty):
        watched.said.get(timeout=2.0)
    return _wake_ups(status) - before


def _wake_ups(status: Path) -> int:
    return int(status.read_text().split("voluntary_ctxt_switches:")[1].split()[0])


@_on_linux
def test_a_writer_wakes_a_watch_at_most_four_times_a_second(watched: _Watched, sample: SampleHome) -> None:
    """X10"""
    with _done_often(sample.state_db.touch) as began_s:
        for _ in range(7):
            watched.hear()

        assert monotonic() - began_s >= 6 * 0.25


@_on_linux
def test_a_folder_that_changes_all_the_time_wakes_a_watch_at_most_four_times_a_second(
    watched: _Watched, sample: SampleHome
) -> None:
    """X10: the watch begins anew each time."""
    with _done_often(sample.path.touch) as began_s:
        for _ in range(6):
            watched.await_begin()

        assert monotonic() - began_s >= 5 * 0.25


@_on_linux
def test_scopes_that_change_all_the_time_have_it_begin_anew_at_most_four_times_a_second(watched: _Watched) -> None:
    """X10"""
    with _done_often(watched.watch.scopes_changed) as began_s:
        for _ in range(6):
            watched.await_begin()

        assert monotonic() - began_s >= 5 * 0.25


@contextmanager
def _done_often(act: Callable[[], object]) -> Iterator[float]:
    stop = threading.Event()

    def do() -> None:
        while not stop.wait(0.005):
            act()

    thread = threading.Thread(target=do)
    began_s = monotonic()
    thread.start()
    try:
        yield began_s
    finally:
        stop.set()
        thread.join()


@_on_linux
@at_its_best(under_s=0.1)
def test_the_first_change_after_a_calm_is_said_within_a_tenth_of_a_second(
    watched: _Watched, sample: SampleHome
) -> float:
    """X10, X11"""
    with suppress(Empty):
        # Longer than it rests after a change.
        watched.said.get(timeout=0.3)

    began_s = monotonic()
    sample.state_db.touch()
    watched.hear()

    return monotonic() - began_s


@_on_linux
def test_a_store_that_was_told_of_an_append_finds_no_more_of_it_at_its_next_look(tmp_path: Path) -> None:
    """X11: else it would move its stamp again, and hold back what it says of the next append."""
    transcript = tmp_path.resolve() / "projects" / "folder" / "a.jsonl"
    transcript.parent.mkdir(parents=True)
    append_message(transcript, "First")
    store = ClaudeCode(transcript.parent.parent)
    home = HermesHome(make_sample_home(tmp_path / "home", sessions=5, profiles=()).path, stores=[store])
    watched = _Watched(home, SessionListKey(show_claude_code=True))
    # What is as young as the last tick of the clock is looked at twice.
    until(lambda: store.look([transcript]) is False and not store._files._fresh)

    append_message(transcript, "Second")
    watched.hear()

    assert not store._files._fresh
    watched.watch.close()


@_on_linux
@_queue_is_small
def test_all_may_have_moved_if_the_system_lost_notifications(watched: _Watched, sample: SampleHome) -> None:
    """X10"""
    watched.may_go_on.clear()
    sample.state_db.touch()
    watched.hear()

    _change_more_than_the_system_keeps(sample.path)
    watched.may_go_on.set()

    watched.await_begin()


@pytest.fixture
def before() -> list[str]:
    """The descriptors that there are before a watch; those of earlier tests close a moment after their end."""
    until(lambda: "hermes_cache.watch" not in {thread.name for thread in threading.enumerate()})
    gc.collect()
    # `watchfiles` has a thread that Python does not know, and does not wait for its end.
    until(lambda: not any(name.startswith("notify-rs") for name in _names_of_system_threads()))
    return _descriptors()


def _names_of_system_threads() -> Iterator[str]:
    for task in Path("/proc/self/task").iterdir():
        # It may have ended by now.
        with suppress(OSError):
            yield (task / "comm").read_text()


@_on_linux
def test_a_closed_watch_has_no_descriptor_left(before: list[str], watched: _Watched) -> None:
    """X10, L1"""
    while_it_watches = _descriptors()

    watched.watch.scopes_changed()
    watched.await_begin()
    after_it_began_anew = _descriptors()
    watched.watch.close()

    assert while_it_watches == after_it_began_anew
    assert len(while_it_watches) == len(before) + 2
    until(lambda: _descriptors() == before)


def _descriptors() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        # The folder's own descriptor is gone by now.
        with suppress(OSError):
            found.append(os.fspath(entry.readlink()))
    return sorted(each for each in found if each in {"anon_inode:inotify", "anon_inode:[eventfd]"})


@_on_linux
def test_a_forked_child_lets_go_what_its_parent_watches_and_the_parent_watches_on(
    before: list[str], watched: _Watched, sample: SampleHome, tmp_path: Path
) -> None:
    """X10, L2"""
    there = tmp_path / "descriptors"

    child = os.fork()
    if child == 0:
        try:
            there.write_text("\n".join(_descriptors()))
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert there.read_text().split() == before
    sample.state_db.touch()
    watched.hear()


_WITHOUT_DESCRIPTORS = """
import os, resource, sys, threading
from hermes_cache import HermesHome
from inotify_simple import INotify
INotify().close()
moved = threading.Semaphore(0)
held = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
watch = HermesHome(sys.argv[1]).watch(lambda: ["default"], lambda scopes: moved.release())
for _ in range(3):
    moved.acquire()
for each in held:
    os.close(each)
print(watch.trouble)
"""


@_on_linux
def test_a_process_that_may_open_no_more_files_looks_every_half_second_and_says_so(sample: SampleHome) -> None:
    """X10, L4"""
    command = [sys.executable, "-B", "-c", _WITHOUT_DESCRIPTORS, str(sample.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PROCESS_S, env=environment)  # noqa: S603 - our own

    assert "raise fs.inotify.max_user_instances, or the limit of open files" in done.stdout, done.stderr
