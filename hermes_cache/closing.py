"""What can be closed, and what can be iterated until it is closed; on threads and on event loops.

No I/O here.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Closing(ABC):
    """Is closed at the end of a `with` or an `async with` block."""

    @abstractmethod
    def close(self) -> None:
        """End it."""

    @abstractmethod
    async def aclose(self) -> None:
        """Do what `close` does without blocking the event loop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Iterated(Closing, Generic[T]):
    """Yields what it gets, with `for` or `async for`, until it is closed."""

    @abstractmethod
    def get(self, timeout: float | None = None) -> T | None:
        """Wait for one more; None if none came in time, or once it is closed."""

    @abstractmethod
    async def aget(self, timeout: float | None = None) -> T | None:  # noqa: ASYNC109 - as `get` has it
        """Do what `get` does without blocking the event loop."""

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        found = self.get()
        if found is None:
            raise StopIteration
        return found

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        found = await self.aget()
        if found is None:
            raise StopAsyncIteration
        return found
