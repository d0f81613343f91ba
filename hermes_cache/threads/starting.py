"""How a thread is started on any thread, and what must be so before the first is. Source: rules L6 to L8."""

import _thread
import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from hermes_cache.errors import UnsupportedError
from hermes_cache.threads.gates import Gate
from hermes_cache.threads.interrupts import is_interrupt, on_main_thread


def _is_patched() -> bool:
    """Say whether gevent has replaced the threads of the standard library; gevent is not imported for that."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


_WAS_PATCHED: Final = _is_patched()
"""Whether that was so when this room got the queues and clocks of the standard library."""


def refuse_late_patch() -> None:
    """Raise `UnsupportedError` if gevent replaced the threads of the standard library after that (L8).

    Locks from before are no locks of its greenlets: one that waits stops all of them.
    """
    if _is_patched() is not _WAS_PATCHED:
        reason = "gevent patched the standard library after hermes_cache was imported"
        raise UnsupportedError("a cache", reason, "call gevent.monkey.patch_all() first")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs on this thread; None if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def started(thread: threading.Thread, refused: Callable[[], object] | None = None) -> bool:
    """Start a thread; false if the machine refuses it, or the interpreter ends.

    `Thread.start` takes an `Exception` that a signal handler raises for a refusal, and leaves a thread that fails.
    It also waits for the thread. So the main thread and event loops have it called by another one, which they
    start in one step. An event loop does not wait for that one either.

    Args:
        thread: The thread to start.
        refused: Called if the machine refuses the thread though this returned true, on an event loop.
    """
    is_on_loop = running_loop() is not None
    if not (is_on_loop or on_main_thread()):
        return _is_started(thread)
    done, outcomes = Gate(), deque[bool]()
    try:
        _thread.start_new_thread(_start_for_another, (thread, outcomes, done, refused if is_on_loop else None))
    except RuntimeError as error:
        if is_interrupt(error):
            raise
        return False
    if is_on_loop:
        return True
    done.wait()
    return outcomes.pop()


def _start_for_another(
    thread: threading.Thread, outcomes: deque[bool], done: Gate, refused: Callable[[], object] | None
) -> None:
    is_started = _is_started(thread)
    outcomes.append(is_started)
    done.open()
    if refused is not None and not is_started:
        refused()


def _is_started(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:
        return False
    return True
