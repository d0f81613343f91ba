"""Rules X14, L2, L3: workers that a program starts before there is a cache."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from multiprocessing import active_children
from pathlib import Path

from hermes_cache import Bus, SessionListCache, SessionListKey
from hermes_cache.builders.workers import a_worker, start_ahead
from tests.waiting import PROCESS_S, until


def who_builds(_key: SessionListKey) -> Mapping[str, object]:
    """Build a payload that names the process, and says whether it had imported a module before."""
    return {"pid": os.getpid(), "has_imported": "colorsys" in sys.modules}


def test_a_cache_uses_the_worker_that_was_started_ahead() -> None:
    """X14"""
    start_ahead("colorsys")
    before = {child.pid for child in active_children()}

    with SessionListCache(who_builds, bus=Bus(), executor="processes") as cache:
        built = cache.get(SessionListKey())

    assert built["pid"] in before
    assert built["has_imported"] is True


def test_each_worker_that_was_started_ahead_is_taken_once() -> None:
    """X14"""
    start_ahead()

    workers = [a_worker(), a_worker()]

    assert workers[0] is not workers[1]
    for worker in workers:
        worker.kill(wait=True)


def test_a_forked_child_starts_a_worker_of_its_own() -> None:
    """L2"""
    said = _run("""
        import os
        from hermes_cache.builders import workers
        workers.start_ahead()
        child = os.fork()
        if child == 0:
            print("taken" if workers._ahead.take() else "none", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("taken" if workers._ahead.take() else "none")
    """)

    assert said == "none\ntaken\n"


def test_a_worker_that_nobody_takes_ends_with_its_process() -> None:
    """L3"""
    said = _run("""
        import os
        from hermes_cache.builders import workers
        workers.start_ahead()
        worker = workers._ahead._workers[0]
        print(*worker._pool._processes)
    """)

    worker = Path(f"/proc/{int(said)}")
    until(lambda: not worker.exists())
    assert not worker.exists()


def _run(script: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=PROCESS_S).stdout  # noqa: S603 - our own script


def test_the_command_starts_a_worker_before_it_imports_what_a_cache_needs() -> None:
    """X14"""
    said = _run("""
        import sys
        import hermes_cache.cli.serve
        import hermes_cache.builders.workers
        names = ("cache.list_cache", "stores.hermes", "core.state")
        print([name for name in names if f"hermes_cache.{name}" in sys.modules])
    """)

    assert said == "[]\n"
