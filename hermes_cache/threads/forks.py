"""Tells living objects that they woke up in a forked child, or that the interpreter ends.

No thread and no held lock comes along into a child. The interpreter takes no hook back, so it is given one of each
kind, which calls what lives by then.
"""

import logging  # noqa: F401 - its hook must stand before ours: a thread inside a gate may log
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from time import monotonic, sleep
from types import MethodType
from typing import Final, TypeAlias, cast

_GATE_WAIT_S: Final = 3.0
_LOOK_S: Final = 0.001

_Hook: TypeAlias = Callable[[], None]
_WeakMethod: TypeAlias = tuple[weakref.ref[object], Callable[[object], None]]


def after_fork_in_child(method: _Hook) -> None:
    """Call a bound method in each forked child for as long as its object lives.

    It runs on the child's only thread, before `os.fork` returns there. By convention it is called `_start_anew`:
    it makes what each process has of its own, such as locks, threads and connections. An object that
    is itself made anew in the child needs no hook. An actor does not start anew: in a child it is dead
    (`_die_in_child`).
    """
    _registry.in_child.add(method)


class ForkGate:
    """Keeps forks out of what they must not cut in two.

    Threads that are inside come out first, and no thread enters meanwhile. Both waits end after some seconds, and
    no thread waits for itself. There is no lock, which a signal handler might meet in the middle: each change is
    one operation of a dict, and a thread that waits looks every millisecond. If one enters while another forks,
    each says so before it looks for the other.
    """

    _inside: dict[int, None]
    _forks: dict[int, float]

    def __init__(self) -> None:
        self._begin()
        _registry.before.add(self._shut)
        _registry.in_parent.add(self._open)
        _registry.in_child.add(self._begin)

    def __enter__(self) -> None:
        thread = threading.get_ident()
        self._inside[thread] = None
        while self._is_shut(thread):
            self._inside.pop(thread, None)
            sleep(_LOOK_S)
            self._inside[thread] = None

    def __exit__(self, *_: object) -> None:
        self._inside.pop(threading.get_ident(), None)

    def _is_shut(self, thread: int) -> bool:
        # By its time: a fork whose end was interrupted holds nobody up for longer.
        since_s = monotonic() - _GATE_WAIT_S
        return any(shut_s > since_s and forking != thread for forking, shut_s in self._forks.copy().items())

    def _shut(self) -> None:
        thread = threading.get_ident()
        self._forks[thread] = began_s = monotonic()
        while any(each != thread for each in self._inside.copy()) and monotonic() - began_s < _GATE_WAIT_S:
            sleep(_LOOK_S)

    def _open(self) -> None:
        self._forks.pop(threading.get_ident(), None)

    def _begin(self) -> None:
        self._inside = {}
        self._forks = {}


def before_exit(method: _Hook) -> None:
    """Call a bound method when the interpreter ends, before it waits for threads, if its object lives then."""
    _registry.at_exit.add(method)


def ending_for_s() -> float:
    """Return for how long the interpreter has been at what `before_exit` knows; 0 until then."""
    began_s = _registry.exit_began_s
    return 0.0 if began_s is None else monotonic() - began_s


def come_first_at_exit() -> None:
    """Have what `before_exit` knows called before all hooks that anybody gave the interpreter until now."""
    _registry.register_exit()


class _Holder(weakref.ref[object]):
    """A weak reference that equals itself alone: an object may have several methods here."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class _Hooks:
    """Bound methods, in the order in which they came, of those objects that live.

    There is no lock, which a vanished thread might hold, or the thread that a signal handler or a finalizer came
    upon: each change is one operation of a dict. An object that goes is taken out by that operation itself, since
    what an interrupt raises in a callback written in Python is lost.
    """

    def __init__(self) -> None:
        self._methods: dict[_Holder, Callable[[object], None]] = {}

    def __len__(self) -> int:
        return len(self._methods)

    def add(self, method: _Hook) -> None:
        bound = cast("MethodType", method)
        # No `weakref.WeakMethod`: its callback fails where it is itself let go at the same time.
        self._methods[_Holder(bound.__self__, self._methods.pop)] = bound.__func__

    def call(self) -> None:
        _call_last_first(reversed(self._methods.copy().items()))

    def call_backwards(self) -> None:
        _call_last_first(self._methods.copy().items())


class _Registry:
    """What is called at forks and at the end, by kind."""

    def __init__(self) -> None:
        self.before = _Hooks()
        self.in_parent = _Hooks()
        self.in_child = _Hooks()
        self.at_exit = _Hooks()
        self.exit_began_s: float | None = None
        # Not every system can fork.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self.before.call_backwards,
                after_in_parent=self.in_parent.call,
                after_in_child=self.in_child.call,
            )
        self.register_exit()

    def __len__(self) -> int:
        return sum(map(len, (self.before, self.in_parent, self.in_child, self.at_exit)))

    def register_exit(self) -> None:
        # `atexit` comes after the wait for threads, which a hung worker would make endless.
        threading._register_atexit(self._end)  # type: ignore[attr-defined]  # noqa: SLF001

    def _end(self) -> None:
        # Registered more than once, it calls each hook once.
        hooks, self.at_exit = self.at_exit, _Hooks()
        if self.exit_began_s is None:
            self.exit_began_s = monotonic()
        hooks.call_backwards()


def _call_last_first(methods: Iterable[_WeakMethod]) -> None:
    # One that fails keeps none of the others from being called.
    with ExitStack() as stack:
        for method in methods:
            stack.callback(_call, *method)


def _call(holder: weakref.ref[object], method: Callable[[object], None]) -> None:
    living = holder()
    if living is not None:
        method(living)


_registry: Final = _Registry()
