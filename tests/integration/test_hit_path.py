"""What a hit may touch: memory, and nothing that gives the interpreter lock away (rules R2, S4).

A call that releases the interpreter lock, such as `os.stat` or SQLite's, can cost 5 ms beside a busy thread. So it
is counted, not timed, in two ways: which C functions a hit calls, and whether a thread that waits for the
interpreter ever gets it while a thread reads.
"""

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import pytest

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.testing import VersionedSources
from tests.integration.thrown import without_collector

_KEY = SessionListKey("work")
_CALM = Policy(ttl=3_600.0, stamp_interval=600.0)
"""No check, refresh or timer comes while a test counts."""

_MEMORY_ONLY = frozenset(
    {
        "__exit__",
        "add",
        "allocate_lock",
        "append",
        "get",
        "get_ident",
        "isinstance",
        "len",
        "locked",
        "monotonic",
        "popleft",
    }
)
"""C functions that a hit may call: none of them waits, and none gives the interpreter lock away."""

_READS = 1_000


def _build(_key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": [{"session_id": f"s{number}"} for number in range(500)]}


@pytest.fixture
def cache() -> Iterator[SessionListCache]:
    """A cache that holds the key, checked against its sources."""
    with SessionListCache(_build, sources=VersionedSources(), policy=_CALM, bus=Bus()) as running:
        running.get(_KEY)
        running.get(_KEY)
        yield running


def test_a_hit_calls_no_c_function_that_may_wait(cache: SessionListCache) -> None:
    """R2, S4"""
    called = _c_functions_called(lambda: cache.get(_KEY))

    assert set(called) <= _MEMORY_ONLY
    assert cache.stats().outcomes["hit"] >= 2


def test_a_hit_calls_no_more_than_a_dozen_c_functions(cache: SessionListCache) -> None:
    """R2"""
    called = _c_functions_called(lambda: cache.get(_KEY))

    assert 0 < called.total() <= 12


def test_the_list_of_c_functions_names_one_that_waits() -> None:
    called = _c_functions_called(lambda: os.stat("/"))  # noqa: PTH116 - the C function itself

    assert set(called) == {"stat"}


def test_a_thread_that_waits_for_the_interpreter_never_gets_it_between_hits(cache: SessionListCache) -> None:
    """R2, S4"""
    # What earlier tests left may give the lock away when it is collected.
    with without_collector(), _greedy_thread() as turns:
        before = turns()
        for _ in range(_READS):
            cache.get(_KEY)
        after = turns()

    assert after == before
    assert cache.stats().outcomes["hit"] >= _READS


def test_a_thread_that_waits_for_the_interpreter_gets_it_where_a_file_is_looked_at() -> None:
    with _greedy_thread() as turns:
        before, ends_at_s = turns(), time.monotonic() + 10.0
        while turns() == before and time.monotonic() < ends_at_s:
            os.stat("/")  # noqa: PTH116 - the C function itself
        after = turns()

    assert after > before


def _c_functions_called(call: Callable[[], object]) -> Counter[str]:
    """Count the C functions that are called by their name; entering a lock by `with` is not among them."""
    called: Counter[str] = Counter()

    def note(_frame: FrameType, event: str, function: object) -> None:
        if event == "c_call":
            called[getattr(function, "__name__", repr(function))] += 1

    with without_collector():
        sys.setprofile(note)
        try:
            call()
        finally:
            sys.setprofile(None)
    # That which ends the profile is called under it.
    return called - Counter(["setprofile"])


@contextmanager
def _greedy_thread() -> Iterator[Callable[[], int]]:
    """Run a thread that takes the interpreter whenever somebody gives it away, and is never given it by time."""
    stop, running = threading.Event(), threading.Event()
    turns = 0

    def take_turns() -> None:
        nonlocal turns
        running.set()
        while not stop.is_set():
            turns += 1
            time.sleep(0)

    interval_s = sys.getswitchinterval()
    thread = threading.Thread(target=take_turns)
    thread.start()
    assert running.wait(10.0)
    sys.setswitchinterval(30.0)
    try:
        # A wait that began before is still one of 5 ms.
        before = turns
        while turns < before + 2:
            os.sched_yield()
        yield lambda: turns
    finally:
        sys.setswitchinterval(interval_s)
        stop.set()
        thread.join()
