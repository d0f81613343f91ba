"""Tells living objects that they woke up in a forked child, or that the interpreter ends.

No thread and no held lock comes along into a child.
"""

import os
import threading
import weakref
from collections.abc import Callable


def after_fork_in_child(method: Callable[[], None]) -> None:
    """Call a bound method in each forked child for as long as its object lives.

    It runs on the child's only thread, before `os.fork` returns there.
    """
    os.register_at_fork(after_in_child=_weakly(method))


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
