"""A receiver that keeps what it hears, so that a test waits for an event and not for a span of time."""

from collections.abc import Callable
from threading import Condition
from typing import Any, Protocol


class Connectable(Protocol):
    """A topic of a bus."""

    def connect(self, receiver: Callable[..., Any], /) -> object:
        """Call a receiver as `receiver(sender, event=...)` for everything that is sent from now on."""


class Listener:
    """Keeps what is sent on topics, in the order in which it hears it. Any thread may call."""

    def __init__(self, *topics: Connectable) -> None:
        self._came = Condition()
        self._heard: list[Any] = []
        for topic in topics:
            topic.connect(self._hear)

    @property
    def heard(self) -> list[Any]:
        """What it has heard so far. The type is Any, because topics send events and notices of many kinds."""
        with self._came:
            return list(self._heard)

    def wait_for(self, count: int, *, timeout_s: float = 30.0) -> list[Any]:
        """Wait until it has heard so many, and return them.

        Raises:
            TimeoutError: It has not heard so many in time.
        """
        with self._came:
            if not self._came.wait_for(lambda: len(self._heard) >= count, timeout_s):
                raise TimeoutError(f"{len(self._heard)} of {count} were heard within {timeout_s:g} s")
            return self._heard[:count]

    def _hear(self, _sender: object, *, event: object) -> None:
        with self._came:
            self._heard.append(event)
            self._came.notify_all()
