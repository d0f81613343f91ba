"""Where a tracer hooks in: reads that are no hits, builds, and the calls of worker processes.

Nobody traces unless a tracer is set, as `hermes_cache.integrations.opentelemetry` does. Without one, each of these
costs one look at `tracing.tracer`, and a remembered hit not even that. A tracer raises nothing and never waits.
"""

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import Final, Protocol


class ReadTrace(Protocol):
    """One read on its way."""

    def end(self, answer: object) -> None:
        """Note the answer.

        Args:
            answer: A `Served`, the error that is raised, or None if the reader left without an answer.
        """


class Tracer(Protocol):
    """Notes what happens."""

    def read(self, key: Hashable) -> ReadTrace:
        """Begin a read on this thread; it is no remembered hit."""

    def build(self, key: Hashable, build_id: int, reason: str, read: object) -> AbstractContextManager[object]:
        """Run a build inside what this returns.

        Args:
            key: What is built.
            build_id: The number of the build.
            reason: Why it was asked for.
            read: What `read` returned for the read with which it began; None if it began without one.
        """

    def carried(self, call: Callable[..., object]) -> Callable[..., object]:
        """Return a function to run in a worker process instead of a given one; both can be pickled.

        It calls the given one inside of what runs on this thread now.
        """


class Tracing:
    """The tracer of this process.

    Attributes:
        tracer: The tracer; None if nobody traces.
    """

    tracer: Tracer | None = None


tracing: Final = Tracing()
