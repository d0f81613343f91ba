"""A reader: whoever waits for the answer to a read."""

from collections.abc import Callable

from hermes_cache.core.effects import Served
from hermes_cache.core.state import Read
from hermes_cache.errors import HermesCacheError
from hermes_cache.threads import Gate


class ReadLostError(HermesCacheError):
    """A read that was sent must be sent anew: settings changed since its alias was asked for, or it was lost."""


class Reader:
    """How one read gets its answer: a thread that waits, or a callback.

    Args:
        on_answer: Called on the thread that answers; it must be quick.

    Attributes:
        answer: What came; None before.
        read: What was handed in for it; None before, and after it was left.
    """

    __slots__ = ("_answered", "_on_answer", "answer", "read")

    def __init__(self, on_answer: Callable[[], None] | None = None) -> None:
        self.answer: Served | HermesCacheError | None = None
        self.read: Read | None = None
        self._answered = Gate()
        self._on_answer = on_answer

    def set(self, answer: Served | HermesCacheError) -> None:
        """Answer; a second answer changes nothing."""
        if self.answer is None:
            self.answer = answer
        self._answered.open()
        if self._on_answer:
            self._on_answer()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the answer; say whether it came."""
        return self._answered.wait(timeout_s)

    def served(self) -> Served:
        """Return the answer.

        Raises:
            HermesCacheError: The answer is an error.
        """
        if isinstance(self.answer, Served):
            return self.answer
        if self.answer is None:
            raise RuntimeError("a reader was looked at before it was answered")
        raise self.answer
