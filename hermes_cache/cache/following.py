"""Following: a read that never leaves, for one consumer, which gets the whole view and then only what changes.

The core says when there is something newer (`core/following.py`) and puts it into the follower's *slot*, where a
newer payload replaces one that was not taken. The consumer's own thread, or a thread of the cache for an event
loop, makes the patch from the last edition that it got. So a slow consumer gets one patch over all that happened
meanwhile, and slows nobody. Source: rules R13, L6.
"""

import os
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from threading import TIMEOUT_MAX
from time import monotonic
from typing import Final, NamedTuple, TypeAlias

from hermes_cache.arguments import timeout_s
from hermes_cache.cache.followers import Followers, Slot
from hermes_cache.cache.life import Life
from hermes_cache.cache.lookups import Patch, Rendered
from hermes_cache.cache.reads import ReadOptions, target_on_loop
from hermes_cache.closing import Iterated
from hermes_cache.core.effects import Served
from hermes_cache.core.messages import Follow, Unfollow
from hermes_cache.core.state import Target
from hermes_cache.errors import BuildError, CacheStoppedError, HermesCacheError, LookupTimeoutError
from hermes_cache.threads.loops import Away, Waker

_READS_AGAIN_S: Final = 1.0
"""So often the first read is tried again if its view, or the event of its ticket, is not known in time."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Why a followed view cannot be kept current now. What the follower has stays as it is until the next patch.

    Attributes:
        error: What stands in the way.
        since_s: For how many seconds this has been so, whichever the errors were.
        retry_in_s: Seconds until it is tried again; None if that is not known.
    """

    error: HermesCacheError
    since_s: float
    retry_in_s: float | None


News: TypeAlias = Rendered | Patch | Interrupted
"""What a follower gets."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """What a following needs of its cache.

    Attributes:
        living: Returns the life of the cache, or raises `CacheStoppedError`.
        serve: Reads the key.
        aserve: Reads it on an event loop.
        answer: Makes what a follower gets from a payload, and from the edition that it has; None if it has none.
        may_miss_events: Whether events of other processes may be missed now.
        look_s: How often to look for what nothing tells of; infinity for never.
        watch: Has the sources of what is followed watched.
        away: Does for event loops what they must not do.
    """

    living: Callable[[], Life]
    serve: Callable[[ReadOptions], Served]
    aserve: Callable[[ReadOptions], Awaitable[Served]]
    answer: Callable[[str | None, Served], Patch | Rendered]
    may_miss_events: Callable[[], bool]
    look_s: float
    watch: Callable[[], None]
    away: Callable[[], Away]


class _Due(NamedTuple):
    """What a follower is to get next: a payload, or an error, or nothing.

    Attributes:
        served: The payload.
        error: Why there is none that is newer.
        moved: The slot's `moved` when it was looked at; None if it was not.
    """

    served: Served | None = None
    error: HermesCacheError | None = None
    moved: object = None


class Following(Iterated[News]):
    """A followed view: iterate it with `for` or `async for`, in one thread or task at a time.

    First it yields the view as `Rendered`, or a `Patch` from the edition that was given. Then it yields a `Patch`
    whenever the view changed, or the whole view if that is shorter, and `Interrupted` if the view cannot be kept
    current. It ends when it is closed, and with `CacheStoppedError` when the cache is stopped, and in a forked
    child. One that is dropped is closed.

    Source: rule R13.
    """

    def __init__(
        self, upstream: Upstream, followers: Followers, key: Hashable, since: str | None, options: ReadOptions
    ) -> None:
        self._closed, self._has_left = False, True
        self._upstream = upstream
        self._followers = followers
        self._key = key
        self._options = options
        self._pid = os.getpid()
        self._slot = Slot()
        self._edition = since
        self._life: Life | None = None
        self._target: Target | None = None
        self._settings = -1
        self._may_miss_events = False
        self._has_read = False
        self._served: Served | None = None
        self._failing_since_s: float | None = None
        self._seen_moved = self._slot.moved
        self._seen_error: HermesCacheError | None = None
        self._sent: HermesCacheError | None = None
        self._has_left = False
        followers.admit(self._slot)

    @property
    def closed(self) -> bool:
        """Whether it was closed, here or by the end of the cache."""
        return self._closed

    def get(self, timeout: float | None = None) -> News | None:
        """Wait for what is new.

        Args:
            timeout: Seconds to wait at most; None for no bound.

        Returns:
            None if nothing came in time, or if it is closed; `closed` tells which.

        Raises:
            CacheStoppedError: The cache was stopped, or this process was forked from the one that follows.
            TypeError: The timeout is no number; there is no builder.
            ValueError: The timeout is negative or NaN.
        """
        ends_at_s = monotonic() + timeout_s(timeout)
        while not self._closed:
            gate = self._slot.arm()
            try:
                self._check_life()
                due = self._first(ends_at_s) if self._must_read() else self._due()
            except CacheStoppedError:
                self.close()
                raise
            news = self._taken(due, self._made(due))
            left_s = ends_at_s - monotonic()
            if news is not None or left_s <= 0:
                return news
            if not gate.wait(min(left_s, self._looks_in_s(), TIMEOUT_MAX)):
                self._look()
        return None

    async def aget(self, timeout: float | None = None) -> News | None:  # noqa: ASYNC109 - as `get` has it
        """Do what `get` does without blocking the event loop."""
        ends_at_s = monotonic() + timeout_s(timeout)
        waker = Waker()
        self._slot.arm(waker)
        while not self._closed:
            try:
                self._check_life()
                due = await self._afirst(ends_at_s) if self._must_read() else self._due()
                made = None if due.served is None else await self._upstream.away().run(partial(self._made, due))
            except CacheStoppedError:
                self.close()
                raise
            # Only now, on the loop: a wait that is cancelled loses nothing.
            news = self._taken(due, made)
            left_s = ends_at_s - monotonic()
            if news is not None or left_s <= 0:
                return news
            looks_at_s = monotonic() + min(left_s, self._looks_in_s())
            await waker.wait(max(0.0, looks_at_s - monotonic()))
            if monotonic() >= looks_at_s:
                self._look()
        return None

    def close(self) -> None:
        """End it, and wake who waits for it; from any thread. Closing twice is no error."""
        self._closed = True
        if self._has_left:
            return
        self._followers.leave(self._slot)
        self._unfollow()
        self._slot.wake()
        # Last: one that an interrupt ends is done again, by the next call or when it is dropped.
        self._has_left = True

    async def aclose(self) -> None:
        """Do what `close` does; neither waits."""
        self.close()

    def _must_read(self) -> bool:
        """Say whether it begins, or begins anew as settings changed: its key may mean another view now."""
        life = self._life
        return life is None or not self._has_read or life.state.settings != self._settings

    def _looks_in_s(self) -> float:
        """Return how long to wait until something must be looked at of which nothing tells."""
        return min(self._upstream.look_s, _READS_AGAIN_S) if self._must_read() else self._upstream.look_s

    def _first(self, ends_at_s: float) -> _Due:
        life, settings = self._begin()
        patience_s = min(max(0.0, ends_at_s - monotonic()), life.policy.build_timeout)
        try:
            target = life.targets.find(self._key, settings, patience_s)
            if target is None:
                return _Due()
            self._follow(life, target, settings)
            served = self._upstream.serve(self._options_until(ends_at_s))
        except HermesCacheError as error:
            return self._refused(error, ends_at_s)
        return self._begun(_Due(served, moved=self._seen_moved))

    async def _afirst(self, ends_at_s: float) -> _Due:
        life, settings = self._begin() if self._life else await self._upstream.away().run(self._begin)
        patience_s = min(max(0.0, ends_at_s - monotonic()), life.policy.build_timeout)
        try:
            target = await target_on_loop(life, self._key, settings, patience_s, self._upstream.away())
            self._follow(life, target, settings)
            served = await self._upstream.aserve(self._options_until(ends_at_s))
        except TimeoutError as late:
            return self._refused(late, ends_at_s) if isinstance(late, HermesCacheError) else _Due()
        except HermesCacheError as error:
            return self._refused(error, ends_at_s)
        return self._begun(_Due(served, moved=self._seen_moved))

    def _begin(self) -> tuple[Life, int]:
        life = self._life or self._upstream.living()
        return life, life.state.settings

    def _follow(self, life: Life, target: Target, settings: int) -> None:
        known = self._target
        if known is not None and known.key != target.key:
            self._unfollow()
            self._edition = self._served = None
        self._life, self._target, self._settings = life, target, settings
        self._slot.reach = target.reach
        self._may_miss_events = self._upstream.may_miss_events()
        self._tell_core()

    def _tell_core(self) -> None:
        life, target = self._life, self._target
        if life is not None and target is not None:
            life.tell(Follow(self._slot, target, self._options.get("builder"), self._may_miss_events))
            if self._closed:
                # It was closed meanwhile, when there was nothing to undo.
                self._unfollow()

    def _unfollow(self) -> None:
        life, target = self._life, self._target
        if life is not None and target is not None:
            with suppress(CacheStoppedError):
                life.tell(Unfollow(self._slot, target))

    def _options_until(self, ends_at_s: float) -> ReadOptions:
        left_s = ends_at_s - monotonic()
        return self._options if left_s == inf else {**self._options, "timeout": max(0.0, left_s)}

    def _refused(self, error: HermesCacheError, ends_at_s: float) -> _Due:
        if isinstance(error, CacheStoppedError):
            raise error
        if isinstance(error, LookupTimeoutError) and monotonic() >= ends_at_s:
            return _Due()
        # A first answer must reflect its ticket's event: until then it is read again, now and then.
        return _Due(error=error) if self._options.get("at_least") else self._begun(_Due(error=error))

    def _begun(self, due: _Due) -> _Due:
        self._has_read = True
        # The core knows of the follower by now, as it took the read in after it.
        self._upstream.watch()
        return due

    def _due(self) -> _Due:
        """Return what the slot has that is new to the follower."""
        slot, last, target = self._slot, self._served, self._target
        moved, served, error = slot.moved, slot.served, slot.error
        is_own = served is not None and target is not None and served.entry.target.key == target.key
        if is_own and served is not None and (last is None or served.entry.build_id > last.entry.build_id):
            return _Due(served, moved=moved)
        if moved is not self._seen_moved and last is not None:
            return _Due(last, moved=moved)
        return _Due(error=None if error is self._seen_error else error, moved=moved)

    def _made(self, due: _Due) -> Patch | Rendered | None:
        return None if due.served is None else self._upstream.answer(self._edition, due.served)

    def _taken(self, due: _Due, made: Patch | Rendered | None) -> News | None:
        """Note that the follower gets something; return it, or None if it has that already."""
        self._seen_moved = due.moved or self._seen_moved
        if made is not None and due.served is not None:
            is_recovered = self._failing_since_s is not None and due.served is not self._served
            is_new = made.edition != self._edition or is_recovered
            self._served, self._edition = due.served, made.edition
            if is_recovered:
                self._failing_since_s = self._sent = None
            return made if is_new else None
        if due.error is None:
            return None
        self._seen_error = due.error
        return self._interrupted(due.error)

    def _interrupted(self, error: HermesCacheError) -> News | None:
        if isinstance(error, CacheStoppedError):
            self.close()
            raise error
        if self._sent is not None and _cause_of(self._sent) == _cause_of(error):
            return None
        now_s = monotonic()
        self._failing_since_s = now_s if self._failing_since_s is None else self._failing_since_s
        self._sent = error
        retry_in_s = error.retry_in_s if isinstance(error, BuildError) else None
        return Interrupted(error, now_s - self._failing_since_s, retry_in_s)

    def _look(self) -> None:
        """Look for what nothing tells of: what callables say is live, and whether the journal is away."""
        may_miss = self._upstream.may_miss_events()
        if may_miss != self._may_miss_events:
            self._may_miss_events = may_miss
            self._tell_core()
        self._slot.take(None)

    def _check_life(self) -> None:
        if os.getpid() != self._pid:
            self._closed = True
            raise CacheStoppedError

    def __del__(self) -> None:
        if not self._has_left and os.getpid() == self._pid:
            self.close()


def _cause_of(error: HermesCacheError) -> tuple[type, str]:
    """Return what makes one error the same as another: their texts may count the seconds."""
    return type(error.__cause__ or error), error.reason if isinstance(error, BuildError) else str(error)
