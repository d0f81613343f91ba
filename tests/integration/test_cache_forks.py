"""A cache beside `os.fork` and at interpreter exit, in processes of their own (rules L2, L3)."""

import os
import subprocess
import sys

import pytest

from tests.waiting import PROCESS_S

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


_HEAD = """
import os, select, signal, sys, threading
from hermes_cache import *
from hermes_cache.testing import GatedBuilder, VersionedSources
from tests.waiting import threads_left

KEY, OTHER = SessionListKey("work"), SessionListKey("home")
builder = GatedBuilder(is_open=True, patience_s=60)
bus = Bus()
cache = SessionListCache(builder, bus=bus, sources=VersionedSources(), policy=Policy(ttl=60.0))

def in_child(tell):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, repr(tell()).encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], 60)
    told = os.read(reading, 65536).decode() if ready else "the child hangs"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return told

def use():
    began = (cache.peek(KEY), cache.health().running, cache.stats().entries)
    found = cache.lookup(KEY)
    again = cache.lookup(KEY).outcome
    cache.invalidate("work")
    after = cache.lookup(KEY)
    body = cache.render(KEY).body
    cache.subscribe().close()
    cache.explain(KEY)
    cache.stop()
    return began, found.outcome, found.reason, again, after.outcome, after.reason, body[:14], threads_left()
"""

_USED = "((None, False, 0), 'built', 'miss', 'hit', 'built', 'event', b'{\"sessions\":[]', [])"


def _run(script: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _HEAD + script],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_a_child_of_an_idle_cache_begins_anew_and_the_parent_goes_on() -> None:
    """L2: empty, its own threads, its own incarnation."""
    printed = _run("""
cache.get(KEY)
here = bus.incarnation
print(in_child(use))
print(in_child(lambda: bus.incarnation) != repr(here), cache.lookup(KEY).outcome, builder.calls())
cache.stop()
""")

    assert printed.splitlines() == [_USED, "True hit 1"]


def test_a_child_of_a_cache_that_was_never_started_starts_one() -> None:
    """L2"""
    assert _run("print(in_child(use))") == _USED


def test_a_child_of_a_stopped_cache_has_a_stopped_cache_that_can_start() -> None:
    """L2, L1"""
    printed = _run("""
cache.start()
cache.stop()
def restart():
    try:
        cache.get(KEY)
    except CacheStoppedError:
        cache.start()
        return use()[1:]
print(in_child(restart))
""")

    assert printed == "('built', 'miss', 'hit', 'built', 'event', b'{\"sessions\":[]', [])"


def test_a_child_that_a_builder_forks_is_not_inside_of_it() -> None:
    """L2, L5: its reads wait for builds of its own."""
    printed = _run("""
def build(key):
    if key == OTHER:
        print(in_child(lambda: cache.lookup(KEY).outcome))
    return {"sessions": []}
print(cache.lookup(OTHER, builder=build).outcome)
cache.stop()
""")

    assert printed.splitlines() == ["'built'", "built"]


def test_a_child_born_while_a_build_runs_builds_for_itself() -> None:
    """L2: the reader and the builder's thread are the parent's alone."""
    printed = _run("""
entered, go = threading.Event(), threading.Event()
def slow(key):
    entered.set()
    go.wait(60)
    return {"sessions": [], "by": os.getpid()}
reader = threading.Thread(target=cache.get, args=(KEY,), kwargs={"builder": slow})
reader.start()
entered.wait(30)
print(in_child(use))
go.set()
reader.join()
print(cache.get(KEY)["by"] == os.getpid())
cache.stop()
""")

    assert printed.splitlines() == [_USED, "True"]


def test_a_child_waits_for_no_lock_that_the_parent_held() -> None:
    """L2: every lock that any part takes is held by another thread at the moment of the fork."""
    printed = _run("""
import gc
cache.get(KEY)
cache.render(KEY)
subscription = cache.subscribe()
kinds = (type(threading.Lock()), type(threading.RLock()))
def locks_of(thing):
    values = dict(getattr(thing, "__dict__", {}))
    for kind in type(thing).__mro__:
        for name in getattr(kind, "__slots__", ()):
            values[name] = getattr(thing, name, None)
    return [value for value in values.values() if isinstance(value, kinds)]
ours = [t for t in gc.get_objects() if str(type(t).__module__).startswith("hermes_cache.")
        and not str(type(t).__module__).startswith("hermes_cache.testing")]
locks = [lock for thing in ours for lock in locks_of(thing)]
held, go = threading.Event(), threading.Event()
def hold():
    taken = [lock for lock in locks if lock.acquire(blocking=False)]
    print(len(taken) >= 8)
    held.set()
    go.wait(60)
    for lock in taken:
        lock.release()
holder = threading.Thread(target=hold)
holder.start()
held.wait(30)
print(in_child(use))
go.set()
holder.join()
print(cache.lookup(KEY).outcome)
cache.stop()
""")

    assert printed.splitlines() == ["True", _USED, "hit"]


def test_a_child_of_a_child_begins_anew_too() -> None:
    """L2"""
    printed = _run("""
cache.get(KEY)
def grandchild():
    cache.get(KEY)
    return in_child(use)
print(in_child(grandchild) == repr(in_child(use)))
cache.stop()
""")

    assert printed == "True"


def test_subscriptions_of_the_parent_are_closed_in_the_child() -> None:
    """L2, E7"""
    printed = _run("""
subscription = cache.subscribe()
print(in_child(lambda: list(subscription)))
cache.invalidate("work")
print(subscription.get(timeout=30).profile)
cache.stop()
""")

    assert printed.splitlines() == ["[]", "work"]


@pytest.mark.parametrize(
    "script",
    [
        "cache.get(KEY); print('ended')",
        "cache.start(); print('ended')",
        "cache.subscribe(); cache.get(KEY); bus.stream_started.send(stream_id='s'); print('ended')",
        "import atexit; atexit.register(cache.stop); cache.get(KEY); print('ended')",
    ],
)
def test_a_process_with_a_running_cache_ends_by_itself(script: str) -> None:
    """L3"""
    assert _run(script) == "ended"


def test_a_process_ends_although_a_builder_hangs_and_a_reader_waits() -> None:
    """L3"""
    printed = _run("""
builder.close()
threading.Thread(target=cache.get, args=(KEY,), daemon=True).start()
builder.wait_for_calls(1)
try:
    cache.get(KEY, timeout=0.05)
except LookupTimeoutError:
    print('ended')
""")

    assert printed == "ended"


def test_a_process_ends_although_its_default_bus_has_a_cache() -> None:
    """L3"""
    printed = _run("""
running = SessionListCache(builder)
running.get(KEY)
default_bus.session_list_changed.send(profile="work")
print(running.lookup(KEY).reason)
""")

    assert printed == "event"
