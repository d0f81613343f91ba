"""Callables of others: those that can only be awaited are refused where they are given.

Nobody awaits what a receiver or a callable of the cache returns. A coroutine is true, so an `async def` that
answers yes or no would always say yes. No I/O here. Source: rules E4, B2.
"""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Iterator
from functools import partial
from typing import Final, TypeVar

from hermes_cache.interrupts import ForeignCode

T = TypeVar("T")

_ASYNC_FLAGS: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE

_MOST_LAYERS: Final = 100
"""A proxy may have any attribute, its own wrapper included: the walk through wrappers is bounded."""


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
    if any(map(_is_async, _layers(function))):
        raise TypeError(
            f"{what} is {function!r}, a coroutine function, which nobody awaits; give a plain function"
        )


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
    _close(result)
    raise TypeError(f"{what} returned {result!r}, which nobody awaits; give a plain function")


def _layers(function: object) -> Iterator[object]:
    """Return a callable, and what it calls as far as that can be told from outside."""
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
    flags = _attribute(_attribute(layer, "__code__"), "co_flags")
    return isinstance(flags, int) and bool(flags & _ASYNC_FLAGS)


def _attribute(layer: object, name: str) -> object:
    with ForeignCode():
        return getattr(layer, name, None)
    return None


def _close(awaitable: Awaitable[object] | object) -> None:
    close = _attribute(awaitable, "close")
    if callable(close):
        # A coroutine that was not begun closes in silence; of any other the failure was told already.
        with ForeignCode():
            close()
