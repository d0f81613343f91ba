"""The reply of an actor whose mailbox runs on the thread that asks."""

import queue
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, TypeAlias

import pykka

ExceptionTriple: TypeAlias = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class AskTimeoutError(pykka.Timeout, TimeoutError):
    """A reply did not come within the asker's own bound."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(f"no reply within {timeout_s:g} s; the message stays in the mailbox and still runs")


class Answerer(Protocol):
    """A mailbox, as its replies see it."""

    def answer(self, awaited: "MailboxFuture", timeout: float | None) -> None:
        """Get a reply answered within so many seconds, or raise why not."""


class MailboxFuture(pykka.Future[Any]):
    """A reply; getting it without a bound runs the mailbox on the calling thread.

    `get(timeout=...)` waits for the actor's own thread instead, and so costs two hand-overs. To `await` it blocks
    the event loop, as all of pykka's futures do; use a thread or a callback there.
    """

    __slots__ = ("_error", "_gate", "_is_hooked", "_value", "is_answered", "mailbox")

    def __init__(self) -> None:
        """Start unanswered; pykka's part is left to `set_get_hook`, which alone needs it."""
        self.mailbox: Answerer | None = None
        self.is_answered = False
        self._is_hooked = False
        self._error: BaseException | None = None
        self._gate: threading.Lock | None = None

    def get(self, *, timeout: float | None = None) -> Any:
        """Return the reply, or raise what the handler raised.

        Args:
            timeout: Seconds; None for no bound.

        Raises:
            AskTimeoutError: There was no reply in time; the message still runs.
            MailboxReentryError: This thread is running the mailbox now; the message runs once it is done.
            pykka.ActorDeadError: The actor stopped before it came to the message.
        """
        if not self.is_answered:
            if self._is_hooked:
                return super().get(timeout=timeout)
            if self.mailbox is None:
                self.wait(timeout)
            else:
                self.mailbox.answer(self, timeout)
        if self._error is not None:
            raise self._error
        return self._value

    def set(self, value: Any = None) -> None:
        """Answer with a value; `queue.Full` if there is an answer already."""
        if self.is_answered or self._is_hooked:
            raise queue.Full
        self._value = value
        self.is_answered = True
        if self._gate is not None:
            self._gate.release()

    def set_exception(self, exc_info: ExceptionTriple | None = None) -> None:
        """Answer with an exception: the given one, else the one being handled."""
        _, self._error, _ = exc_info or sys.exc_info()
        self.set()

    def set_get_hook(self, func: Callable[[float | None], Any]) -> None:
        """Answer with what a function returns at the first `get`; `map` and its like are made of this."""
        if self.is_answered:
            raise queue.Full
        super().__init__()
        super().set_get_hook(func)
        self._is_hooked = True

    def wait(self, timeout: float | None) -> None:
        """Wait until another thread has answered; `AskTimeoutError` if it does not in time."""
        wait_s = -1 if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX)
        if not self.wait_some(wait_s):
            raise AskTimeoutError(timeout or 0.0)

    def wait_some(self, wait_s: float) -> bool:
        """Wait for at most so many seconds, or without a bound if negative; say whether it is answered."""
        gate = self._shared_gate()
        if not self.is_answered:
            if not gate.acquire(timeout=wait_s):
                return False
            gate.release()
        return True

    def _shared_gate(self) -> threading.Lock:
        """Return the lock that the answer opens: no Event, whose own lock is not safe in a signal handler."""
        gate = threading.Lock()
        gate.acquire()
        # No call between the look and the store: no other thread and no signal handler comes in between.
        if self._gate is None:
            self._gate = gate
        return self._gate
