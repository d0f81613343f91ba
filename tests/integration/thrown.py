"""Exceptions that come from outside: of alarms and task queues, and those thrown into other threads."""

import ctypes


class AlarmError(Exception):
    """What an alarm raises, as the time limit of a task does."""


class EndOfTask(BaseException):
    """What a task queue raises to end a task."""


def throw_into(thread_id: int, error: type[BaseException]) -> None:
    """Have a thread raise an error at its next step in Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(error))
