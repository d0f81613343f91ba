"""Reads: how a read goes through a life of a cache, on a thread that waits or on an event loop that must not.

Source: rules R1, R8, R10, R11, L5.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TypedDict

from hermes_cache.actors.life import Life
from hermes_cache.actors.reader import Reader
from hermes_cache.callables import refuse_coroutine
from hermes_cache.core.arguments import timeout_s
from hermes_cache.core.effects import Served
from hermes_cache.core.freshness import Verdict, judge
from hermes_cache.core.keys import SessionListKey
from hermes_cache.core.state import Freshness, Outcome, Read, Reason, Target
from hermes_cache.errors import BuildError
from hermes_cache.ports import Builder


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
        """Give the read to hand in."""
        strict = self.freshness == "fresh" or self.at_least is not None
        return Read(reader, target, began_s, self.freshness, strict, self.timeout_s, self.builder, settings)


def serve(life: Life, key: SessionListKey, wish: Wish) -> Served:
    """Read, and wait for the answer.

    Raises:
        HermesCacheError: There is no answer but that.
    """
    if life.works.is_inside():
        return _from_memory(life, key, wish)
    reader = Reader()
    try:
        life.wait(_begin(life, key, wish, reader, check=life.check_for), reader)
    finally:
        life.leave(reader)
    return reader.served()


async def aserve(life: Life, key: SessionListKey, wish: Wish) -> Served:
    """Read without blocking the event loop; a read that is cancelled waits no more."""
    if life.works.is_inside():
        return _from_memory(life, key, wish)
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()

    def wake(_reader: Reader) -> None:
        # The loop may be closed by now: nobody waits there any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_finish, answered)

    settings = life.state.settings
    if life.targets.asks and life.targets.known(key, settings) is None:
        await loop.run_in_executor(None, life.targets.find, key, settings)
    reader = Reader(wake)
    try:
        _begin(life, key, wish, reader, check=_leave_to_checkers)
        await answered
    finally:
        life.leave(reader)
    return reader.served()


def remembered(life: Life, key: SessionListKey) -> Served | None:
    """Give what is held for a key, and how a read would find it, from memory alone."""
    state = life.state
    target = life.targets.known(key, state.settings)
    if target is None and not life.targets.asks:
        target = life.targets.find(key, state.settings)
    entry = state.entry_of(target) if target else None
    if target is None or entry is None:
        return None
    now_s = life.clock.monotonic_s()
    verdict = judge(state, life.policy, Read(None, target, now_s), now_s, check_by_s=-inf)
    outcome, reason = _OUTCOMES[verdict]
    return Served(entry, outcome, reason, failure=state.failures.get(target.key))


_OUTCOMES: dict[Verdict, tuple[Outcome, Reason | None]] = {
    Verdict.FRESH: ("hit", None),
    Verdict.AGED: ("stale", "age"),
    Verdict.MOVED: ("stale", "source"),
    Verdict.UNCHECKED: ("stale", "source"),
    Verdict.OUTDATED: ("outdated", "event"),
    Verdict.MISSING: ("outdated", "miss"),
}


def _begin(
    life: Life, key: SessionListKey, wish: Wish, reader: Reader, *, check: Callable[[Target, float], None]
) -> Read:
    while True:
        settings = life.state.settings
        target = life.targets.find(key, settings)
        began_s = life.clock.monotonic_s() if wish.began_s is None else wish.began_s
        if life.policy.stamp_interval == 0 and wish.freshness != "any":
            check(target, began_s + wish.timeout_s - life.clock.monotonic_s())
        read = wish.read(reader, target, began_s, settings if life.targets.asks else None)
        # Noted first: an interrupt may come at any moment from now on.
        reader.read = read
        if life.begin(read):
            return read


def _from_memory(life: Life, key: SessionListKey, wish: Wish) -> Served:
    served = remembered(life, key)
    if served is None or not wish.takes(served.outcome):
        reason = "a builder asked the cache for what is not held as fresh; a build never waits for another"
        raise BuildError(key, reason)
    return served


def _leave_to_checkers(_target: Target, _patience_s: float) -> None:
    """Let the read wait for a check: an event loop must not do I/O."""


def _finish(answered: asyncio.Future[None]) -> None:
    if not answered.done():
        answered.set_result(None)
