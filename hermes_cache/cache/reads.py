"""Reads: how a read goes through a life of a cache, on a thread that waits or on an event loop that must not.

Source: rules R1, R8, R10, R11, L5.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final, NamedTuple, TypedDict

from hermes_cache.arguments import timeout_s
from hermes_cache.cache.away import Away, finish
from hermes_cache.cache.life import Life
from hermes_cache.cache.reader import Reader, ReadLostError
from hermes_cache.callables import refuse_coroutine
from hermes_cache.core.effects import Served
from hermes_cache.core.freshness import Verdict, judge
from hermes_cache.core.state import Freshness, Outcome, Read, Reason, Target
from hermes_cache.errors import BuildError, BuildTimeoutError, HermesCacheError, LookupTimeoutError
from hermes_cache.ports import Builder
from hermes_cache.sessions.keys import SessionListKey

_GRACE_S: Final = 0.1
"""A callable that answers at once is heard though the read has no time: a read may return 0.25 s late (R6)."""


class ReadOptions(TypedDict, total=False):
    """How a read wants its answer.

    Attributes:
        timeout: Seconds that it waits at most; absent or None for as long as the rules let it (R6).
        freshness: "default"; "fresh" for a check or a build begun after the read began; "any" for what is held,
            even outdated (R8).
        builder: Its own builder, used if it starts the build (R11).
        at_least: A ticket: the payload reflects that event (J8).
    """

    timeout: float | None
    freshness: Freshness
    builder: Builder | None
    at_least: str | None


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of a read, checked.

    Attributes:
        timeout_s: Its own bound; infinity for none.
        freshness: How fresh.
        builder: Its own builder; None for the cache's.
        at_least: The ticket that it brought.
        began_s: When it began, where it waited for something already; None where it begins now.
    """

    timeout_s: float
    freshness: Freshness
    builder: Builder | None
    at_least: str | None
    began_s: float | None = None

    @classmethod
    def of(cls, options: ReadOptions) -> "Wish":
        """Check options.

        Raises:
            TypeError: There is no such option, or a value is of a wrong type.
            ValueError: The timeout is no span, or there is no such freshness.
        """
        unknown = sorted(set(options) - ReadOptions.__annotations__.keys())
        if unknown:
            raise TypeError(f"a read takes no {unknown[0]!r}; it takes {', '.join(ReadOptions.__annotations__)}")
        freshness, builder = options.get("freshness", "default"), options.get("builder")
        at_least = options.get("at_least")
        if freshness not in ("default", "fresh", "any"):
            raise ValueError(f"freshness is {freshness!r}; it must be 'default', 'fresh' or 'any'")
        if builder is not None:
            if not callable(builder):
                raise TypeError(f"builder is {builder!r}; it must be callable, or None for the cache's own")
            refuse_coroutine(builder, "builder")
        if at_least is not None and not isinstance(at_least, str):
            raise TypeError(f"at_least is {at_least!r}; it must be a ticket, or None")
        return cls(timeout_s(options.get("timeout")), freshness, builder, at_least)

    @property
    def insists_on_nothing(self) -> bool:
        """Whether any answer will do that the rules allow."""
        return self.freshness != "fresh" and self.at_least is None

    def takes(self, outcome: Outcome) -> bool:
        """Say whether what lies in memory, which nobody looks at again, would do (R8)."""
        if self.freshness != "default":
            return self.freshness == "any"
        return outcome == "hit" or (outcome == "stale" and self.at_least is None)

    def read(self, reader: Reader, target: Target, began_s: float, settings: int | None) -> Read:
        """Return the read to hand in."""
        strict = self.freshness == "fresh" or self.at_least is not None
        return Read(reader, target, began_s, self.freshness, strict, self.timeout_s, self.builder, settings)


def serve(life: Life, key: SessionListKey, wish: Wish) -> Served:
    """Read, and wait for the answer.

    Raises:
        HermesCacheError: There is no answer but that.
    """
    if life.works.is_inside():
        return _from_memory(life, key, wish)
    bound = _Bound.of(life, wish)
    reader = Reader()
    try:
        life.wait(_begin(life, key, wish, reader, bound), reader)
    finally:
        life.leave(reader)
    return reader.served()


async def aserve(life: Life, key: SessionListKey, wish: Wish, away: Away) -> Served:
    """Read without blocking the event loop; a read that is cancelled waits no more."""
    if life.works.is_inside():
        return _from_memory(life, key, wish)
    bound = _Bound.of(life, wish)
    while True:
        settings = life.state.settings
        target = await _target_on_loop(life, key, settings, bound, away)
        reader = _LoopReader()
        read = wish.read(reader, target, bound.handed_in_s(), settings if life.targets.asks else None)
        try:
            reader.read = read
            life.send(read, reader)
            await reader.wait_on_loop(life, read)
        finally:
            life.leave(reader)
        if not isinstance(reader.answer, ReadLostError):
            return reader.served()
        bound.check(key)


def remembered(life: Life, key: SessionListKey) -> Served | None:
    """Return what is held for a key, and how a read would find it, from memory alone."""
    state = life.state
    target = life.targets.known(key, state.settings)
    if target is None and not isinstance(key, SessionListKey):
        raise TypeError(f"key is {key!r}; it must be a SessionListKey")
    # An entry knows its own target: nobody is asked for it.
    canonical = target.key if target else None if life.targets.asks else key.with_profile(key.profile_name)
    entry = state.entries.get(canonical) if canonical else None
    if entry is None:
        return None
    now_s = life.clock.monotonic_s()
    verdict = judge(state, life.policy, Read(None, entry.target, now_s), now_s, check_by_s=-inf)
    outcome, reason = _OUTCOMES[verdict]
    return Served(entry, outcome, reason, failure=state.failures.get(entry.target.key))


_OUTCOMES: dict[Verdict, tuple[Outcome, Reason | None]] = {
    Verdict.FRESH: ("hit", None),
    Verdict.AGED: ("stale", "age"),
    Verdict.MOVED: ("stale", "source"),
    Verdict.UNCHECKED: ("stale", "source"),
    Verdict.OUTDATED: ("outdated", "event"),
    Verdict.MISSING: ("outdated", "miss"),
}


class _Bound(NamedTuple):
    """How long a read may take, in all (R5, R6)."""

    life: Life
    began_s: float
    longest_s: float
    is_own: bool
    counts: bool

    @classmethod
    def of(cls, life: Life, wish: Wish) -> "_Bound":
        began_s = life.clock.monotonic_s() if wish.began_s is None else wish.began_s
        longest_s = min(wish.timeout_s, life.policy.build_timeout)
        is_own = wish.timeout_s <= longest_s
        return cls(life, began_s, longest_s, is_own, is_own or wish.began_s is not None)

    def handed_in_s(self) -> float:
        """Return the moment from which the core counts: of a bounded read the beginning of the call."""
        return self.began_s if self.counts else max(self.began_s, self.life.clock.monotonic_s())

    def left_s(self, grace_s: float = 0.0) -> float:
        return max(0.0, self.began_s + self.longest_s + grace_s - self.life.clock.monotonic_s())

    def check(self, key: SessionListKey) -> None:
        if self.left_s() <= 0:
            raise self.error(key)

    def error(self, key: SessionListKey) -> HermesCacheError:
        waited_for = "the answer of is_root_profile or of sources.scope"
        if self.is_own:
            return LookupTimeoutError(key, self.longest_s, waited_for)
        told = f"a reader waited {self.longest_s:g} s, Policy.build_timeout, for {waited_for}"
        return BuildTimeoutError(key, told)


class _LoopReader(Reader):
    """A reader on an event loop."""

    __slots__ = ("_loop", "_told")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Future[None] = self._loop.create_future()
        super().__init__(self._wake)

    async def wait_on_loop(self, life: Life, read: Read) -> None:
        looks = 0
        # The answer may be there though there was no memory to tell the loop.
        while self.answer is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(life.patience_s(read)):
                    await asyncio.shield(self._told)
                return
            looks = life.looks_past_due(read, looks) if self.answer is None else 0
            life.nudge()

    def _wake(self, _reader: Reader) -> None:
        # The loop may be closed by now: nobody waits there any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(finish, self._told)


async def _target_on_loop(life: Life, key: SessionListKey, settings: int, bound: _Bound, away: Away) -> Target:
    target = life.targets.known(key, settings)
    if target is None and not life.targets.asks_others:
        target = life.targets.find(key, settings)
    if target is not None:
        return target
    try:
        return await away.ask(partial(life.targets.question, key, settings), bound.left_s(_GRACE_S))
    except TimeoutError:
        raise bound.error(key) from None


def _begin(life: Life, key: SessionListKey, wish: Wish, reader: Reader, bound: _Bound) -> Read:
    while True:
        settings = life.state.settings
        target = life.targets.find(key, settings, bound.left_s(_GRACE_S))
        if target is not None:
            began_s = bound.handed_in_s()
            if life.policy.stamp_interval == 0 and wish.freshness != "any":
                life.check_for(target, bound.left_s(_GRACE_S) if wish.timeout_s < inf else inf)
            read = wish.read(reader, target, began_s, settings if life.targets.asks else None)
            # Noted first: an interrupt may come at any moment from now on.
            reader.read = read
            if life.begin(read):
                return read
        bound.check(key)


def _from_memory(life: Life, key: SessionListKey, wish: Wish) -> Served:
    served = remembered(life, key)
    if served is None or not wish.takes(served.outcome):
        reason = "a callable or a builder asked the cache for what is not held as fresh; it waits for nobody"
        raise BuildError(key, reason)
    return served
