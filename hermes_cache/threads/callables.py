"""Callables of others: which are refused, and which threads and tasks run one for a cache.

Those that can only be awaited are refused where they are given, but for builders and sources (`coroutines.py`).
Nobody awaits what a receiver or another callable of the cache returns. A coroutine is true, so an `async def` that
answers yes or no would always say yes. No I/O here.
Source: rules E4, B2, L5.
"""

import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Final, TypeVar

from hermes_cache.errors import shown
from hermes_cache.threads.interrupts import ForeignCode

T = TypeVar("T")

_ASYNC_FLAGS: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE

_INSIDE: Final[ContextVar[tuple["Inside", ...]]] = ContextVar("hermes_cache.inside", default=())
"""Those whose foreign code the present task runs; a task that it starts runs it, too."""

_MOST_LAYERS: Final = 100
"""A proxy may have any attribute, its own wrapper included: the walk through wrappers is bounded."""


def check_callable(function: object, what: str) -> None:
    """Raise `TypeError` if an argument is neither None nor a plain callable.

    Args:
        function: What was given.
        what: The name of the argument, for the message.

    Raises:
        TypeError: It cannot be called, or is a coroutine function (`refuse_coroutine`).
    """
    if function is not None and not callable(function):
        raise TypeError(f"{what} is {shown(function)}; it must be callable, or None")
    refuse_coroutine(function, what)


def refuse_coroutine(function: object, what: str) -> None:
    """Raise `TypeError` if a callable is a coroutine function, or wraps one.

    It looks behind `functools.partial`, `functools.wraps`, bound methods and an object's `__call__`. A wrapper
    that runs the coroutine itself to its end is refused, too, unless it does without `__wrapped__`.

    Args:
        function: What was given; anything that is no coroutine function passes.
        what: The name of the argument, for the message.

    Raises:
        TypeError: It is one.
    """
    if is_coroutine_function(function):
        raise TypeError(
            f"{what} is {shown(function)}, a coroutine function, which nobody awaits; give a plain function"
        )


def refuse_async_generator(function: object, what: str) -> None:
    """Raise `TypeError` if a builder or a source is an asynchronous generator function; see `refuse_coroutine`.

    Raises:
        TypeError: It is one.
    """
    if any(map(_is_async_generator, _layers(function))):
        raise TypeError(
            f"{what} is {shown(function)}, an asynchronous generator function; it must return one value"
        )


def no_builder() -> TypeError:
    """Return the error of a read that brings no builder to a cache without one."""
    return TypeError("there is no builder; give one to the cache, or to the read")


def is_coroutine_function(function: object) -> bool:
    """Say whether a callable is a coroutine function, or wraps one, as far as that can be seen from outside."""
    return any(map(_is_async, _layers(function)))


def is_awaitable(result: object) -> bool:
    """Say whether a result can only be awaited, or iterated asynchronously."""
    return inspect.isawaitable(result) or isinstance(result, AsyncGenerator)


def settle(result: T, what: str) -> T:
    """Return what a callable returned.

    Args:
        result: What it returned.
        what: The name of the callable, for the message.

    Raises:
        TypeError: It returned an awaitable, which is closed: that call failed.
    """
    if not is_awaitable(result):
        return result
    close_awaitable(result)
    raise TypeError(f"{what} returned {result!r}, which nobody awaits; give a plain function")


def close_awaitable(awaitable: Awaitable[object] | object) -> None:
    """See that nothing warns of a coroutine that nobody awaits."""
    close = _attribute(awaitable, "close")
    if callable(close):
        # A coroutine that was not begun closes in silence; for any other one, the failure was raised already.
        with ForeignCode():
            close()


class _Depth(threading.local):
    depth = 0


class Inside:
    """Knows which threads and tasks run foreign code for one cache: a read from there waits for nobody (L5).

    A builder, a stamp or another callable that reads its own cache may be what that read would wait for. A child
    that one of them forks is not inside: the child's cache begins anew.
    """

    def __init__(self) -> None:
        self._here = _Depth()

    def is_here(self) -> bool:
        """Return whether the calling thread, or the present task, does."""
        return self._here.depth > 0 or self in _INSIDE.get()

    def note_task(self) -> None:
        """Know that the present task does, from now on to its end."""
        _INSIDE.set((*_INSIDE.get(), self))

    def call(self, function: Callable[[], T]) -> T:
        """Call foreign code."""
        here = self._here
        # Plain steps, because a signal handler may raise right after any call: the result is stored within the
        # block, so that what was added is always taken away.
        here.depth += 1
        try:
            result = function()
        finally:
            here.depth -= 1
        return result


def _layers(function: object) -> Iterator[object]:
    """Return a callable, and what it calls as far as that can be seen from outside."""
    layers = [function]
    for _ in range(_MOST_LAYERS):
        if not layers:
            return
        layer = layers.pop()
        yield layer
        if isinstance(layer, partial):
            layers.append(layer.func)
        layers += [inner for name in ("__wrapped__", "__func__") if (inner := _attribute(layer, name)) is not None]
        call = _attribute(type(layer), "__call__")
        if inspect.isfunction(call):
            layers.append(call)


def _is_async(layer: object) -> bool:
    # A proxy may raise anything while it stands for nothing.
    with ForeignCode():
        if inspect.iscoroutinefunction(layer) or inspect.isasyncgenfunction(layer):
            return True
    return _has_flags(layer, _ASYNC_FLAGS)


def _is_async_generator(layer: object) -> bool:
    return _has_flags(layer, inspect.CO_ASYNC_GENERATOR)


def _has_flags(layer: object, wanted: int) -> bool:
    flags = _attribute(_attribute(layer, "__code__"), "co_flags")
    return isinstance(flags, int) and bool(flags & wanted)


def _attribute(layer: object, name: str) -> object:
    with ForeignCode():
        return getattr(layer, name, None)
    return None
