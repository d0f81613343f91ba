"""Tells living objects that they woke up in a forked child, or that the interpreter ends.

No thread and no held lock comes along into a child.
"""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Final

_GATE_WAIT_S: Final = 3.0


def after_fork_in_child(method: Callable[[], None]) -> None:
    """Call a bound method in each forked child for as long as its object lives.

    It runs on the child's only thread, before `os.fork` returns there.
    """
    os.register_at_fork(after_in_child=_weakly(method))


class ForkGate:
    """Keeps forks out of what they must not cut in two: who is inside comes out first, and none enter meanwhile.

    Both waits end after some seconds, for a thread that forks while it is inside itself.
    """

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(
            before=_weakly(self._shut), after_in_parent=_weakly(self._open), after_in_child=_weakly(self._begin)
        )

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._forks, _GATE_WAIT_S)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def _shut(self) -> None:
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: not self._inside, _GATE_WAIT_S)

    def _open(self) -> None:
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def _begin(self) -> None:
        # Re-entrant: a signal handler may enter while its thread does.
        self._changed = threading.Condition()
        self._inside = 0
        self._forks = 0


def before_exit(method: Callable[[], None]) -> None:
    """Call a bound method when the interpreter ends, before it waits for threads, if its object lives then."""
    # `atexit` comes after the wait for threads, which a hung worker would make endless.
    threading._register_atexit(_weakly(method))  # type: ignore[attr-defined]  # noqa: SLF001


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    reference = weakref.WeakMethod(method)

    def call() -> None:
        living = reference()
        if living is not None:
            living()

    return call
