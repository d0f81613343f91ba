"""Exceptions that are thrown into other threads, as some task queues and debuggers do."""

import ctypes


def throw_into(thread_id: int, error: type[BaseException]) -> None:
    """Have a thread raise an error at its next step in Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(error))
