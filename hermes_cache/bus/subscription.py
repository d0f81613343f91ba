"""The subscription: a bounded queue of changes for one outside component.

A reader that never takes its changes delays nobody, and its queue does not grow: past its size, changes merge. The
main thread, where signal handlers strike, holds no lock: it has each step done aside, and an interrupted `get`
puts back what it took. On an event loop, `aget` waits for no thread. Source: rules E7, E8, L6, W4.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from threading import TIMEOUT_MAX, Lock, RLock
from time import monotonic

from hermes_cache.arguments import timeout_s
from hermes_cache.bus.changes import Change, add, resume_number
from hermes_cache.bus.feed_versions import FeedVersion
from hermes_cache.closing import Iterated
from hermes_cache.threads.aside import aside
from hermes_cache.threads.interrupts import on_main_thread
from hermes_cache.threads.loops import Waker, aside_on_loop


def _shut() -> Lock:
    gate = Lock()
    gate.acquire()
    return gate


@dataclass(slots=True, eq=False)
class _Turn:
    """One call of `get` or `aget`; guarded by the lock but for its gate and its waker.

    Attributes:
        waker: Wakes the coroutine that waits; None if a thread waits.
        gate: Opened once there is something to look at, for a thread.
        queued: The change that it took, as it was queued.
        taken: The same, as it is given.
        version: The subscription's before that.
        is_over: It was interrupted, and takes nothing any more.
    """

    waker: Waker | None = None
    gate: Lock = field(default_factory=_shut)
    queued: Change | None = None
    taken: Change | None = None
    version: str = ""
    is_over: bool = False


class Subscription(Iterated[Change]):
    """Changes of one profile, or of all, oldest first; may be read and closed by any thread.

    Iterating it, with `for` or `async for`, waits for changes and ends when it is closed. Let it go or close it:
    its feed does not hold it.

    Args:
        lock: The feed's; it is held for microseconds, and by no one who waits.
        version_of: Returns the version of a subscriber that has seen all up to a number of the feed; called with
            the lock held.
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
        self._lock = lock
        self._turns: dict[_Turn, None] = {}
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
            None if none came in time, or if it is closed; `closed` tells which.

        Raises:
            TypeError: The timeout is no number.
            ValueError: It is negative or NaN.
        """
        ends_at_s = monotonic() + timeout_s(timeout)
        turn = _Turn()
        try:
            left_s = ends_at_s - monotonic()
            while not aside.do(partial(self._serve, turn, stays=left_s > 0)):
                turn.gate.acquire(timeout=min(left_s, TIMEOUT_MAX))
                left_s = max(0.0, ends_at_s - monotonic())
        except BaseException:
            aside.do(partial(self._take_back, turn))
            raise
        return turn.taken

    async def aget(self, timeout: float | None = None) -> Change | None:  # noqa: ASYNC109 - as `get` has it
        """Do what `get` does without blocking the event loop; a call that is cancelled takes nothing."""
        ends_at_s = monotonic() + timeout_s(timeout)
        waker = Waker()
        turn = _Turn(waker)
        try:
            left_s = ends_at_s - monotonic()
            while not await aside_on_loop(partial(self._serve, turn, stays=left_s > 0)):
                await waker.wait(min(left_s, TIMEOUT_MAX))
                left_s = max(0.0, ends_at_s - monotonic())
        except BaseException:
            self._leave_on_loop(turn)
            raise
        return turn.taken

    def close(self) -> None:
        """End it and wake who waits for it; what was not taken is dropped. Closing twice is no error."""
        aside.do(self._close)

    async def aclose(self) -> None:
        """Do what `close` does without blocking the event loop."""
        await aside_on_loop(self._close)

    def offer(self, change: Change) -> None:
        """Queue a change if it concerns this subscriber; the feed calls it."""
        if not change.concerns(self._profile):
            return
        with self._lock:
            if not self._closed:
                self._waiting = add(self._waiting, change, self._size)
                self._wake()

    def close_in_child(self, lock: RLock) -> None:
        """Close it after a fork, with a lock that no vanished thread holds; the feed calls it."""
        self._lock = lock
        self._close()

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            self._waiting = ()
            self._wake()

    def _serve(self, turn: _Turn, *, stays: bool) -> bool:
        """Let a turn take what waits; say whether it is at its end, or else have it woken."""
        with self._lock:
            self._turns.pop(turn, None)
            if self._waiting and not turn.is_over:
                self._take(turn)
            elif stays and not (self._closed or turn.is_over):
                turn.gate = _shut()
                self._turns[turn] = None
                return False
            return True

    def _take(self, turn: _Turn) -> None:
        turn.version, turn.queued = self._version, self._waiting[0]
        self._waiting = self._waiting[1:]
        number = resume_number(turn.queued, self._waiting)
        if number >= self._first_number:
            self._version = self._version_of(number)
        else:
            # Something waits that was missed before, so the subscriber has come no further. It may read lists here
            # that are older than those it had, so its version names no feed that thinks it knows better.
            self._version = str(FeedVersion.parse(self._version).in_journal_alone())
        turn.taken = replace(turn.queued, version=self._version)

    def _take_back(self, turn: _Turn) -> None:
        with self._lock:
            turn.is_over = True
            self._turns.pop(turn, None)
            if turn.queued is not None and not self._closed:
                self._waiting = (turn.queued, *self._waiting)
                self._version = turn.version
                self._wake()

    def _leave_on_loop(self, turn: _Turn) -> None:
        take_back = partial(self._take_back, turn)
        if on_main_thread():
            # Begun behind the step that may still take something, and not waited for: the loop goes on.
            aside.begin(take_back)
        else:
            take_back()

    def _wake(self) -> None:
        turns, self._turns = self._turns, {}
        for turn in turns:
            turn.gate.release()
            if turn.waker is not None:
                turn.waker.wake()
