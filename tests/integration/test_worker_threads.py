"""Rules L3, B8: the threads that the pool of a worker has in this process."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from hermes_cache.builders.workers import WorkerGoneError, a_worker
from tests.waiting import PROCESS_S, answered, until

STALLED = """
    import os, signal, sys, threading, time
    import loky.backend.synchronize, loky.process_executor
    from loky.backend import queues
    from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
    from hermes_cache.errors import BuildError

    def stalled(do, seconds):
        # As a busy machine may do: a thread stands still before it ends, and between two lines of a finalizer.
        def late(*arguments):
            do(*arguments)
            if threading.current_thread() is not threading.main_thread():
                time.sleep(seconds)
        return late

    queues.Queue._feed = staticmethod(stalled(queues.Queue._feed, 0.1))
    loky.backend.synchronize.sem_unlink = stalled(loky.backend.synchronize.sem_unlink, 0.5)

    def build(key):
        if key.profile == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if key.profile == "hangs":
            threading.Event().wait()
        return {"sessions": []}

    policy = Policy(build_timeout=3.0 if sys.argv[1] == "hangs" else 60.0, pool_size=2)
    cache = SessionListCache(build, bus=Bus(), executor="processes", policy=policy)

    def failure(profile):
        try:
            cache.get(SessionListKey(profile), freshness="fresh")
        except BuildError as failed:
            return type(failed).__name__

    # On a busy machine a worker may take longer to start than a build may take.
    while failure("builds") == "BuildTimeoutError":
        pass
    # With the second build the second worker starts.
    print(failure(sys.argv[1]))
"""
"""Builds twice, and ends; each semaphore must be freed whole, or the tracker of the pool complains."""


@pytest.mark.parametrize(
    ("profile", "said"),
    [("builds", "None\n"), ("dies", "BuildError\n"), ("hangs", "BuildTimeoutError\n")],
)
def test_an_end_in_the_middle_of_a_threads_cleanup_leaves_no_semaphore(profile: str, said: str) -> None:
    """L3"""
    ended = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", textwrap.dedent(STALLED), profile],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, said, "")


def test_a_call_that_a_dead_worker_did_not_read_leaves_no_thread() -> None:
    """L3, B8"""
    before = set(threading.enumerate())
    worker = a_worker()
    (pid,) = worker._pool._processes
    # It has read its first call by then, however late this thread goes on.
    worker._pool.submit(int).result(PROCESS_S)
    os.kill(pid, signal.SIGSTOP)
    failures: list[BaseException] = []

    def call() -> None:
        try:
            worker.call(b"x" * 10_000_000, "build")
        except WorkerGoneError as gone:
            failures.append(gone)

    caller = threading.Thread(target=call)
    caller.start()
    calls = worker._pool._call_queue
    until(lambda: calls.qsize() == 1)

    worker.kill(wait=True)
    answered(caller.join)

    assert len(failures) == 1
    until(lambda: set(threading.enumerate()) <= before)
