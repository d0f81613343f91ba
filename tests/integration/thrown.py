"""Exceptions that come from outside: of alarms and task queues, and those thrown into other threads."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager


class AlarmError(Exception):
    """What an alarm raises, as the time limit of a task does."""


class EndOfTask(BaseException):
    """What a task queue raises to end a task."""


def throw_into(thread_id: int, error: type[BaseException]) -> None:
    """Have a thread raise an error at its next step in Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(error))


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep the garbage collector still.

    What an alarm raises inside its callbacks or in finalizers is lost, and their steps count like all others.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
