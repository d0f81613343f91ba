"""Tells living objects that they woke up in a forked child; no thread and no held lock came along with them."""

import os
import weakref
from collections.abc import Callable


def after_fork_in_child(method: Callable[[], None]) -> None:
    """Call a bound method in each forked child for as long as its object lives.

    It runs on the child's only thread, before `os.fork` returns there.
    """
    reference = weakref.WeakMethod(method)

    def call() -> None:
        living = reference()
        if living is not None:
            living()

    os.register_at_fork(after_in_child=call)
