"""Rules B8, L3, L6, W6: what signals and kills do to worker processes, at moments that a builder does not see."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from tests.e2e.demo_process import outlives
from tests.waiting import PROCESS_S, answered, until

KEY = SessionListKey()
BUILDER = """
    from hermes_cache import Bus, SessionListCache, SessionListKey

    def build(key):
        return {"sessions": []}

    cache = SessionListCache(build, bus=Bus(), executor="processes")
"""


class FallsAtSecond:
    """Ends its worker at the second build, and leaves a note of each build."""

    def __init__(self, note: Path) -> None:
        self._note = note

    def __call__(self, _key: SessionListKey) -> Mapping[str, object]:
        with self._note.open("a") as note:
            note.write("x")
        if self._note.stat().st_size == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"sessions": [], "pid": os.getpid()}


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not show what a process blocks"
)
def test_the_first_worker_of_a_process_never_ends_by_a_signal_either() -> None:
    """B8, W6: before it has handlers, the signals wait. Only the first worker starts after the trackers."""
    said = _run("""
        import pathlib, signal
        from hermes_cache.builders.workers import Worker
        worker = Worker()
        status = pathlib.Path(f"/proc/{next(iter(worker._pool._processes))}/status").read_text()
        masks = dict(line.split(":") for line in status.splitlines())
        harmless = int(masks["SigBlk"], 16) | int(masks["SigCgt"], 16)
        print(*(harmless >> number - 1 & 1 for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)))
        worker.kill(wait=True)
    """)

    assert said.stdout == "1 1 1\n"


def test_a_worker_whose_process_is_killed_before_its_first_call_ends_with_it() -> None:
    """L3"""
    said = _run(
        """
        import os, signal, sys
        from hermes_cache.builders.workers import Worker
        sys.setswitchinterval(60.0)
        worker = Worker()
        os.write(1, str(*worker._pool._processes).encode())
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )

    assert not outlives(int(said.stdout))


def test_a_worker_that_died_while_it_had_nothing_to_do_counts_for_no_build(tmp_path: Path) -> None:
    """B8"""
    policy = Policy(ttl=600.0, pool_size=1)
    with SessionListCache(
        FallsAtSecond(tmp_path / "note"), bus=Bus(), executor="processes", policy=policy
    ) as cache:
        first = answered(lambda: cache.get(KEY))["pid"]
        os.kill(int(str(first)), signal.SIGKILL)
        until(lambda: not Path(f"/proc/{first}").exists())
        cache.invalidate()

        assert answered(lambda: cache.get(KEY))["pid"] != first


def test_an_interrupt_never_leaves_the_signals_of_a_thread_blocked() -> None:
    """L6"""
    said = _run("""
        import signal
        from hermes_cache.builders.workers import _left_to_parent

        class Struck(Exception):
            pass

        def strike(number, frame):
            global may_raise
            if may_raise:
                may_raise = False
                raise Struck

        may_raise = False
        struck = blocked = 0
        signal.signal(signal.SIGALRM, strike)
        for round in range(20_000):
            try:
                may_raise = True
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + round % 20))
                with _left_to_parent():
                    pass
                may_raise = False
            except Struck:
                struck += 1
            blocked += bool(signal.pthread_sigmask(signal.SIG_SETMASK, ()))
        print(struck > 0, blocked)
    """)

    assert said.stdout == "True 0\n"


def test_workers_can_be_killed_where_no_program_lists_processes(tmp_path: Path) -> None:
    """B6, L1: small images of systems have no `pgrep`."""
    script = (
        BUILDER
        + """
    with cache:
        print(cache.get(SessionListKey()))
    """
    )
    said = _run(script, PATH=str(tmp_path))

    assert (said.returncode, said.stdout, said.stderr) == (0, "{'sessions': []}\n", "")


def test_killed_trackers_fail_no_build() -> None:
    """B8: a lack of memory may have the kernel kill them, and users may have warnings raised."""
    script = (
        BUILDER
        + """
    import os, signal, warnings
    from loky.backend import resource_tracker as loky
    from multiprocessing import resource_tracker as python

    warnings.simplefilter("error", UserWarning)
    with cache:
        cache.get(SessionListKey())
        for tracker in (loky, python):
            os.kill(tracker._resource_tracker._pid, signal.SIGKILL)
            os.waitid(os.P_PID, tracker._resource_tracker._pid, os.WEXITED | os.WNOWAIT)
        cache.get(SessionListKey("other"), builder=build)
        print(cache.get(SessionListKey("work"), freshness="fresh"))
    """
    )

    assert _run(script).stdout == "{'sessions': []}\n"


def test_a_signal_handler_that_raises_at_the_exit_leaves_no_worker_to_wait_for() -> None:
    """L3, L6: gunicorn tells its workers so to end, and once more while they end."""
    script = (
        BUILDER
        + """
    import sys
    from loky.process_executor import ProcessPoolExecutor

    shutdown, struck = ProcessPoolExecutor.shutdown, []

    def strike(pool, **options):
        if not struck:
            struck.append(pool)
            sys.exit()
        shutdown(pool, **options)

    cache.get(SessionListKey())
    ProcessPoolExecutor.shutdown = strike
    """
    )

    assert _run(script).returncode == 0


def _run(script: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
        env={**os.environ, **variables},
    )
