"""Calls: functions that one thread runs and others wait for. Source: rules L1, L6."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Call(Generic[T_co]):
    """A function that is called once, by the thread that claims it first, and its result for all who wait.

    Attributes:
        is_over: It returned, raised or was given up; it has a result.
        is_unwanted: Nobody waits for it any more; it is not begun.
    """

    def __init__(self, do: Callable[[], T_co]) -> None:
        self._do = do
        self._owner: dict[None, object] = {}
        self._waiters: deque[Callable[[], object]] = deque()
        self._value: T_co | None = None
        self._error: BaseException | None = None
        self.is_over = False
        self.is_unwanted = False

    @property
    def is_begun(self) -> bool:
        """Whether a thread has claimed it."""
        return bool(self._owner)

    @property
    def error(self) -> BaseException | None:
        """What the function raised, or why it was not called; None before, and if it returned."""
        return self._error

    def claim(self, owner: object) -> bool:
        """Take the right to call the function for an owner, unless another has it; say whether this one has it."""
        return self._owner.setdefault(None, owner) is owner

    def run(self, owner: object = None) -> None:
        """Call the function on this thread, unless another owner has claimed it; by default the run is its own."""
        owner = owner or object()
        try:
            if self.claim(owner) and not (self.is_unwanted or self.is_over):
                self._value = self._do()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
            # Something thrown into the thread may have come before the claim.
            if self.claim(owner):
                self._error = self._error or error
        finally:
            if self.claim(owner):
                self._end()

    def fail(self, error: BaseException) -> None:
        """Let those who wait go with an error; a call that runs goes on, and its result is dropped."""
        if not self.is_over:
            self._error = error
            self._end()

    def when_over(self, wake: Callable[[], object]) -> None:
        """Have something called once it is over, at once if it is; maybe twice. It must be quick."""
        self._waiters.append(wake)
        # Looked at after `wake` was added: the thread that ends the call finds `wake`, or this look finds the end.
        if self.is_over:
            wake()

    def leave(self, wake: Callable[[], object]) -> None:
        """Take back what `when_over` was given; it is not called any more, unless it is being called just now."""
        with suppress(ValueError):
            self._waiters.remove(wake)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is over; return whether it is. Any number of threads may wait."""
        gate = threading.Lock()
        gate.acquire()
        release = gate.release
        self._waiters.append(release)
        if not self.is_over:
            gate.acquire(timeout=min(max(0.0, timeout_s), threading.TIMEOUT_MAX))
        self.leave(release)
        return self.is_over

    def result(self) -> T_co:
        """Return what the function returned, or raise what it raised; only once the call is over."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set by `run`

    def found(self) -> T_co | None:
        """Return what the function returned; None before the call is over, and if it failed."""
        return self._value if self.is_over and self._error is None else None

    def _end(self) -> None:
        self.is_over = True
        while self._waiters:
            # If one wake-up fails, for lack of memory, the others must still come. The thread that was not woken
            # goes on at its timeout.
            with suppress(Exception):
                self._waiters.popleft()()
