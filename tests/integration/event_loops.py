"""The kinds of event loops that tests run on."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import pytest
import uvloop

from tests.waiting import WAIT_S

T = TypeVar("T")


class Run(Protocol):
    """Runs a coroutine to its end on a loop of its own."""

    def __call__(self, main: Coroutine[Any, Any, T], /) -> T: ...


def on_asyncio(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


def on_uvloop(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def on_another_thread(main: Coroutine[Any, Any, T]) -> T:
    results: list[Callable[[], T]] = []

    def run() -> None:
        try:
            value = asyncio.run(main)
        except BaseException as error:  # noqa: BLE001 - raised where the test sees it
            results.append(lambda error=error: _raise(error))  # type: ignore[misc]  # bound early
        else:
            results.append(lambda: value)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(WAIT_S)
    return results[0]()


def _raise(error: BaseException) -> Any:
    raise error


every_loop = pytest.mark.parametrize("run", [on_asyncio, on_uvloop, on_another_thread])
"""On the main thread, where signal handlers strike, with both kinds of loops, and on another thread."""
