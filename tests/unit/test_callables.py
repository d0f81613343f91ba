"""Callables that can only be awaited, and what is said of them (E4, B2)."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from types import coroutine
from unittest.mock import AsyncMock

import pytest

from hermes_cache.threads.callables import is_awaitable, refuse_coroutine, settle


async def _answer(*_args: object) -> bool:
    return True


async def _stream() -> AsyncIterator[str]:
    yield "a turn"


@coroutine
def _old_style() -> Iterator[None]:
    yield


@functools.wraps(_answer)
def _wrapped(*args: object) -> object:
    return _answer(*args)


class _AsyncCall:
    async def __call__(self, _name: str) -> bool:
        return True

    async def ask(self, _name: str) -> bool:
        return True

    @classmethod
    async def ask_all(cls) -> bool:
        return True


class _PlainCall:
    def __call__(self, _name: str) -> bool:
        return True


class _UnboundProxy:
    """As of a web framework: it stands for nothing outside of a request."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"{name} outside of a request")

    def __call__(self) -> tuple[str, ...]:
        return ()


_REFUSED: dict[str, object] = {
    "function": _answer,
    "async generator": _stream,
    "generator-based": _old_style,
    "partial": functools.partial(_answer, 1),
    "partial of partial": functools.partial(functools.partial(_AsyncCall(), "work")),
    "wrapper": _wrapped,
    "partial of wrapper": functools.partial(_wrapped),
    "bound method": _AsyncCall().ask,
    "class method": _AsyncCall.ask_all,
    "callable object": _AsyncCall(),
    "method of callable object": _AsyncCall().__call__,
    "mock": AsyncMock(),
}


@pytest.mark.parametrize("function", _REFUSED.values(), ids=_REFUSED)
def test_a_coroutine_function_is_refused_in_every_guise(function: object) -> None:
    """E4"""
    with pytest.raises(TypeError, match=r"^is_root_profile is .*plain function"):
        refuse_coroutine(function, "is_root_profile")


@pytest.mark.parametrize(
    "function",
    [None, print, dict, _PlainCall, _PlainCall(), _UnboundProxy(), functools.partial(print, 1), lambda: len("")],
    ids=range(8),
)
def test_anything_else_passes(function: object) -> None:
    """E4"""
    refuse: Callable[..., object] = refuse_coroutine

    assert refuse(function, "is_root_profile") is None


def test_an_awaitable_that_was_returned_is_closed_and_counts_as_failed() -> None:
    """E4: nothing warns that it was never awaited; warnings are errors here."""
    returned: list[Callable[[], object]] = [_answer, _stream, _old_style]
    for function in returned:
        result = function()
        assert is_awaitable(result)

        with pytest.raises(TypeError, match=r"^is_root_profile returned .*plain function"):
            settle(result, "is_root_profile")


def test_a_future_that_was_returned_counts_as_failed() -> None:
    """E4"""
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    loop.close()

    with pytest.raises(TypeError):
        settle(future, "is_root_profile")


@pytest.mark.parametrize("result", [None, True, "work", (), {}, iter(())])
def test_a_value_is_given_on(result: object) -> None:
    """E4"""
    assert settle(result, "is_root_profile") is result
