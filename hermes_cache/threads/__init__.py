"""Threads, event loops, signal handlers and forks: how the other rooms live with them.

A signal handler may strike the main thread at any bytecode, and raise (`aside.py`). A finalizer may strike any
thread at any bytecode, and publish or read. So no lock here guards values: each change is one operation of a
deque, a dict or a simple queue. The locks of `Gate` and of `Call.wait` only put a thread to sleep.
Source: rules E4, L1, L5 to L8.
"""
