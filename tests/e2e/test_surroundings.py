"""Rule L8: a cache runs where people run it, or says at once that it cannot. Each test is a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from hermes_cache.samples.home import make_sample_home
from tests.waiting import PROCESS_S

_WITHOUT_FORK = """
import os

import logging, random, threading  # the standard library itself asks for it
del os.register_at_fork
if hasattr(os, "fork"):
    del os.fork

from hermes_cache import Bus, ListCache, SessionListCache, SessionListKey


def build(key):
    return {"key": key}


if __name__ == "__main__":
    with SessionListCache(lambda key: {"sessions": []}, bus=Bus(), journal="sqlite:///" + JOURNAL) as cache:
        cache.get(SessionListKey())
        cache.invalidate()
        print(cache.lookup(SessionListKey()).reason)
    with ListCache(build, executor="processes") as cache:
        print(cache.get(1))
"""

_FROZEN = """
import pathlib, sys

started = pathlib.Path(NOTE)
with started.open("a") as note:
    note.write("started\\n")
# A frozen program's executable is the program: whatever it is asked to run, it runs itself.
sys.frozen, sys.executable = True, PROGRAM

from hermes_cache import ListCache, UnsupportedError


def build(key):
    return {"key": key}


if __name__ == "__main__":
    try:
        ListCache(build, executor="processes").get(1)
    except UnsupportedError as told:
        print(told.what, "|", told)
    with ListCache(build) as cache:
        print(cache.get(1))
"""

_FROZEN_COMMAND = """
import sys

sys.frozen = True

if __name__ == "__main__":
    from hermes_cache.cli.main import main

    sys.argv = ["hermes-cache", "serve", "--home", HOME, "--port", "0"]
    try:
        main()
    except SystemExit as ended:
        print(ended.code)
"""

_CLOSED = """
import os, sys

for number in (0, 1, 2):
    os.close(number)
sys.stdin = sys.stdout = sys.stderr = None

from hermes_cache import ListCache, Policy


def build(key):
    return {"key": key}


if __name__ == "__main__":
    found = []
    for executor in ("threads", "processes"):
        with ListCache(build, executor=executor, policy=Policy(build_timeout=60)) as cache:
            found.append(cache.get(1))
            cache.invalidate()
            found.append(cache.get(1))
    with open(NOTE, "w") as note:
        print(found, file=note)
"""

_GEVENT_FIRST = """
from gevent import monkey

monkey.patch_all()

import time

import gevent

from hermes_cache import Bus, ListCache, Policy

builds = []


def build(key):
    builds.append(key)
    enough = len(ticks) + 5
    while len(ticks) < enough:
        time.sleep(0.01)
    return {"key": key}


def count():
    while True:
        gevent.sleep(0.01)
        ticks.append(1)


if __name__ == "__main__":
    ticks, bus = [], Bus()
    counting = gevent.spawn(count)
    with ListCache(build, bus=bus, policy=Policy(build_timeout=60, ttl=60)) as cache:
        reads = [gevent.spawn(cache.get, number % 3) for number in range(30)]
        gevent.joinall(reads, timeout=60)
        print(sorted({read.value["key"] for read in reads}), len(builds))
        cache.invalidate()
        print(cache.lookup(1).reason)
"""

_GEVENT_LATE = """
import hermes_cache
from hermes_cache import ListCache, UnsupportedError

cache = ListCache(lambda key: {"key": key})
if START:
    cache.get(1)

from gevent import monkey

monkey.patch_all()

calls = {
    "get": lambda: cache.get(2), "start": cache.start, "invalidate": cache.invalidate,
    "new": lambda: ListCache(lambda key: {"key": key}),
}
for name, call in calls.items():
    try:
        call()
        print(name, "works")
    except UnsupportedError as told:
        print(name, "told", "patch_all() first" in str(told))
"""

_GEVENT_BEFORE_USE = """
import hermes_cache

from gevent import monkey

monkey.patch_all()

with hermes_cache.ListCache(lambda key: {"key": key}) as cache:
    print(cache.get(1))
"""

_AFTER_MAIN = """
import threading

from hermes_cache import ListCache, Policy


def build(key):
    return {"key": key}


def work():
    threading.main_thread().join()
    for _ in range(3):
        cache.invalidate()
        try:
            print(cache.get(1, timeout=60))
        except Exception as error:
            print(type(error.__cause__).__name__, "the main thread ended" in str(error))
    cache.stop()
    print("stopped")


if __name__ == "__main__":
    cache = ListCache(build, executor=EXECUTOR, policy=Policy(build_timeout=60))
    cache.start()
    print(cache.get(1))
    threading.Thread(target=work).start()
"""

_FORKED = """
import os

from hermes_cache import Bus, ListCache, Policy

bus = Bus()


def build(key):
    return {"key": key, "pid": os.getpid()}


if __name__ == "__main__":
    policy = Policy(journal_interval=0)
    with ListCache(build, bus=bus, executor=EXECUTOR, journal="sqlite:///" + JOURNAL, policy=policy) as cache:
        cache.get(1)
        child = os.fork()
        if child == 0:
            first = cache.lookup(1)
            cache.invalidate()
            print(first.reason, cache.lookup(1).reason, flush=True)
            cache.stop()
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(cache.lookup(1).reason)
"""

_OPTIMISED = """
from hermes_cache import Bus, HermesHome, ListCache, SessionListCache, SessionListKey
from hermes_cache.samples.home import make_sample_home


def build(key):
    return {"key": key}


if __name__ == "__main__":
    home = HermesHome(make_sample_home(HOME, sessions=20, seed=1).path)
    with SessionListCache(home.builder, sources=home.sources, bus=Bus(), journal="sqlite:///" + JOURNAL) as cache:
        key = SessionListKey(show_cli=True)
        before = cache.render(key)
        cache.invalidate("default")
        print(__debug__, len(cache.get(key)["sessions"]) > 0, cache.patch(key, since=before.edition).body[:1])
    home.close()
    with ListCache(build, executor="processes") as cache:
        print(cache.get(1))
"""

_SUBINTERPRETER = """
import sys

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

program = '''
import sys
sys.path[:0] = PATH
try:
    from hermes_cache import ListCache
    print("works", flush=True)
except RuntimeError as told:
    print(type(told).__name__, "subinterpreter" in str(told), flush=True)
'''.replace("PATH", repr(sys.path))
interpreters.run_string(interpreters.create(), program)
"""


def _printed(folder: Path, program: str, *options: str, **names: object) -> list[str]:
    """Run a program in a process of its own, and return the lines that it printed."""
    file = folder / "program.py"
    given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    file.write_text(given + program)
    command = [sys.executable, *options, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PROCESS_S)  # noqa: S603 - our own program
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout.splitlines()


def test_a_system_that_cannot_fork_runs_a_cache(tmp_path: Path) -> None:
    """L2, L8"""
    printed = _printed(tmp_path, _WITHOUT_FORK, JOURNAL=str(tmp_path / "journal.db"))

    assert printed == ["event", "{'key': 1}"]


def test_a_frozen_program_is_told_that_it_has_no_worker_processes_and_starts_itself_once(tmp_path: Path) -> None:
    """L8"""
    program, note = tmp_path / "frozen", tmp_path / "note"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/program.py"\n')
    program.chmod(0o755)

    told, built = _printed(tmp_path, _FROZEN, NOTE=str(note), PROGRAM=str(program))

    assert told.startswith("executor='processes' | executor='processes' cannot work here: this program is frozen")
    assert built == "{'key': 1}"
    assert note.read_text() == "started\n"


def test_a_frozen_command_says_so_in_one_line(tmp_path: Path) -> None:
    """L8, W3"""
    home = make_sample_home(tmp_path / "home", sessions=5, seed=1).path
    file = tmp_path / "command.py"
    file.write_text(f"HOME = {str(home)!r}\n{_FROZEN_COMMAND}")

    done = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, str(file)], capture_output=True, text=True, check=False, timeout=PROCESS_S
    )

    assert done.stdout == "1\n"
    assert [line[:50] for line in done.stderr.splitlines() if line.startswith("Error")] == [
        "Error: executor='processes' cannot work here: this"
    ]
    assert "Traceback" not in done.stderr


def test_without_standard_streams_threads_and_worker_processes_build(tmp_path: Path) -> None:
    """L8"""
    note = tmp_path / "note"

    assert _printed(tmp_path, _CLOSED, NOTE=str(note)) == []
    assert note.read_text() == f"{[{'key': 1}] * 4}\n"


def test_under_gevent_that_patched_first_greenlets_share_builds_and_none_stands_still(tmp_path: Path) -> None:
    """L8, R5"""
    pytest.importorskip("gevent")

    assert _printed(tmp_path, _GEVENT_FIRST) == ["[0, 1, 2] 3", "event"]


@pytest.mark.parametrize("start", [False, True])
def test_gevent_that_patches_too_late_is_refused_at_once(tmp_path: Path, *, start: bool) -> None:
    """L8"""
    pytest.importorskip("gevent")

    printed = _printed(tmp_path, _GEVENT_LATE, START=start)

    assert printed == [f"{name} told True" for name in ("get", "start", "invalidate", "new")]


def test_gevent_that_patches_before_the_first_name_is_used_is_in_time(tmp_path: Path) -> None:
    """L8"""
    pytest.importorskip("gevent")

    assert _printed(tmp_path, _GEVENT_BEFORE_USE) == ["{'key': 1}"]


def test_threads_that_outlive_the_main_thread_read_on(tmp_path: Path) -> None:
    """L3, L8"""
    assert _printed(tmp_path, _AFTER_MAIN, EXECUTOR="threads") == [*["{'key': 1}"] * 4, "stopped"]


def test_threads_that_outlive_the_main_thread_are_told_that_no_worker_process_does(tmp_path: Path) -> None:
    """L3, L8"""
    printed = _printed(tmp_path, _AFTER_MAIN, EXECUTOR="processes")

    assert printed == ["{'key': 1}", *["UnsupportedError True"] * 3, "stopped"]


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_forked_child_has_a_cache_of_its_own_and_its_events_reach_the_parent(
    tmp_path: Path, executor: str
) -> None:
    """L2, J3"""
    printed = _printed(tmp_path, _FORKED, EXECUTOR=executor, JOURNAL=str(tmp_path / "journal.db"))

    assert printed == ["miss event", "0", "event"]


def test_without_assertions_and_docstrings_it_is_the_same(tmp_path: Path) -> None:
    """L8: python -OO"""
    names = {"HOME": str(tmp_path / "home"), "JOURNAL": str(tmp_path / "journal.db")}

    assert _printed(tmp_path, _OPTIMISED, "-OO", **names) == ["False True b'{'", "{'key': 1}"]


def test_a_subinterpreter_is_told_that_it_cannot(tmp_path: Path) -> None:
    """L8"""
    assert _printed(tmp_path, _SUBINTERPRETER) == ["UnsupportedError True"]
