"""The subscription: a bounded queue of changes for one outside component.

Who never reads it delays nobody and lets nothing grow: past its size, changes merge. Source: rules E7, E8.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import TIMEOUT_MAX, Condition, RLock
from types import TracebackType
from typing import Self

from hermes_cache.core.arguments import timeout_s
from hermes_cache.core.changes import Change, add, resume_number


class Subscription:
    """Changes of one profile, or of all, oldest first; may be read and closed by any thread.

    Iterating it waits for changes and ends when it is closed. Let it go or close it: its feed does not hold it.

    Args:
        lock: The feed's; it is held for microseconds, and by no one who waits.
        version_of: Gives the version of who has seen all up to a number of the feed; called with the lock held.
        version: Where a subscriber resumes that has taken nothing yet.
        number: The feed's number that this version amounts to, once what is offered first was taken.
    """

    def __init__(
        self,
        lock: RLock,
        *,
        version_of: Callable[[int], str],
        profile: str | None,
        size: int,
        version: str,
        number: int,
    ) -> None:
        self._changed = Condition(lock)
        self._version_of = version_of
        self._profile = profile
        self._size = size
        self._version = version
        self._first_number = number
        self._waiting: tuple[Change, ...] = ()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it was closed: here, by the cache, or by a fork."""
        return self._closed

    @property
    def version(self) -> str:
        """The version of the change that was taken last; before that, the one that was resumed from."""
        return self._version

    def get(self, timeout: float | None = None) -> Change | None:
        """Take the oldest change, and wait for one if need be.

        Args:
            timeout: Seconds to wait at most; None for no bound.

        Returns:
            None where none came in time, or where it is closed; `closed` tells which.

        Raises:
            TypeError: The timeout is no number.
            ValueError: It is negative or NaN.
        """
        wait_s = timeout_s(timeout)
        with self._changed:
            bound_s = wait_s if wait_s < TIMEOUT_MAX else None
            self._changed.wait_for(lambda: self._waiting or self._closed, bound_s)
            return self._take() if self._waiting else None

    def close(self) -> None:
        """End it and wake who waits for it; what was not taken is dropped. Closing twice is no error."""
        with self._changed:
            self._closed = True
            self._waiting = ()
            self._changed.notify_all()

    def offer(self, change: Change) -> None:
        """Queue a change if it concerns this subscriber; the feed calls it."""
        if not change.concerns(self._profile):
            return
        with self._changed:
            if not self._closed:
                self._waiting = add(self._waiting, change, self._size)
                self._changed.notify()

    def close_in_child(self, lock: RLock) -> None:
        """Close it after a fork, with a lock that no vanished thread holds; the feed calls it."""
        self._changed = Condition(lock)
        self.close()

    def _take(self) -> Change:
        taken, self._waiting = self._waiting[0], self._waiting[1:]
        number = resume_number(taken, self._waiting)
        # Below it, something waits that was missed before: who leaves now has come no further than it was.
        if number >= self._first_number:
            self._version = self._version_of(number)
        return replace(taken, version=self._version)

    def __iter__(self) -> Iterator[Change]:
        return self

    def __next__(self) -> Change:
        change = self.get()
        if change is None:
            raise StopIteration
        return change

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
