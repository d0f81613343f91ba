"""Reads: how a read goes through a life of a cache, on a thread that waits or on an event loop that must not.

Source: rules R1, R8, R10, R11, L5.
"""

from collections.abc import Hashable
from contextlib import suppress
from copy import copy
from functools import partial
from inspect import ismemberdescriptor
from math import inf
from typing import Final, Literal, Self, TypedDict, cast

from hermes_cache.arguments import timeout_s
from hermes_cache.cache.life import BLOCKS, Life, Reader, ReadLostError
from hermes_cache.core.answering import timeout_error
from hermes_cache.core.effects import Served
from hermes_cache.core.events import EventId
from hermes_cache.core.freshness import judge, reason_of
from hermes_cache.core.messages import Mark
from hermes_cache.core.requests import Freshness, Request
from hermes_cache.core.state import Outcome, Read, Target
from hermes_cache.errors import (
    BuildError,
    CacheStoppedError,
    CoroutineCancelledError,
    HermesCacheError,
    NoThreadError,
    PayloadError,
    UnsupportedError,
    WorkerError,
    shown,
)
from hermes_cache.ports import Builder
from hermes_cache.threads.callables import refuse_async_generator
from hermes_cache.threads.coroutines import Coroutines
from hermes_cache.threads.interrupts import ForeignCode, belongs_to_caller
from hermes_cache.threads.loops import Away, Waker
from hermes_cache.tracing import ReadTrace

_GRACE_S: Final = 0.1
"""A callable that answers at once is heard though the read has no time: a read may return 0.25 s late (R6)."""


_INSIDE: Final = "a callable or a builder asked the cache for what is not held as fresh; it waits for nobody"

_OF_THE_CACHE: Final = (
    PayloadError, WorkerError, CoroutineCancelledError, NoThreadError, UnsupportedError, CacheStoppedError,
)  # fmt: skip
"""What the cache itself says of a build, and no builder raised (R7)."""


class FollowOptions(TypedDict, total=False):
    """How somebody wants to follow a view.

    Attributes:
        builder: Its own builder, used for the builds that only it waits for (R11).
        at_least: A ticket: the first answer reflects that event (J8).
    """

    builder: Builder | None
    at_least: str | None


class ReadOptions(FollowOptions, total=False):
    """How a read wants its answer.

    Attributes:
        timeout: Seconds that it waits at most; absent or None for as long as the rules let it (R6).
        freshness: "default"; "fresh" for a check or a build begun after the read began; "any" for what is held,
            even outdated (R8).
        builder: Its own builder, used if it starts the build (R11).
        at_least: A ticket: the payload reflects that event, so "any" is the same as "default" (J8).
    """

    timeout: float | None
    freshness: Literal["default", "fresh", "any"]


def request_of(options: ReadOptions, began_s: float) -> Request:
    """Check the options of a read, and return what they ask for.

    Args:
        options: As the caller gave them.
        began_s: When it called, in monotonic seconds.

    Raises:
        TypeError: There is no such option, or a value is of a wrong type.
        ValueError: The timeout is no span, there is no such freshness, or `at_least` is no ticket.
    """
    unknown = sorted(set(options) - ReadOptions.__annotations__.keys())
    if unknown:
        raise TypeError(f"a read takes no {unknown[0]!r}; it takes {', '.join(ReadOptions.__annotations__)}")
    builder, at_least = options.get("builder"), options.get("at_least")
    if builder is not None:
        if not callable(builder):
            raise TypeError(f"builder is {shown(builder)}; it must be callable, or None for the cache's own")
        refuse_async_generator(builder, "builder")
    if at_least is not None and not isinstance(at_least, str):
        raise TypeError(f"at_least is {shown(at_least)}; it must be a ticket, or None")
    event_id = None if at_least is None else EventId.parse(at_least)
    freshness = _freshness_of(options["freshness"]) if "freshness" in options else Freshness.DEFAULT
    if event_id is not None and freshness is Freshness.ANY:
        # What is outdated or stale may lack the event of the ticket.
        freshness = Freshness.DEFAULT
    return Request(began_s, freshness, timeout_s(options.get("timeout")), builder, event_id)


def follow_options(options: FollowOptions) -> ReadOptions:
    """Check how somebody wants to follow, and return the options of the first read.

    Raises:
        TypeError: There is no such option, or a value is of a wrong type.
        ValueError: `at_least` is no ticket.
    """
    unknown = sorted(set(options) - FollowOptions.__annotations__.keys())
    if unknown:
        raise TypeError(
            f"follow takes no {unknown[0]!r}; it takes since, {', '.join(FollowOptions.__annotations__)}"
        )
    given = cast("ReadOptions", options)
    request_of(given, 0.0)
    return given


def _freshness_of(word: object) -> Freshness:
    try:
        return Freshness(word)
    except ValueError:
        *most, last = [repr(freshness.value) for freshness in Freshness]
        raise ValueError(f"freshness is {shown(word)}; it must be {', '.join(most)} or {last}") from None


def serve(
    life: Life,
    key: Hashable,
    request: Request,
    coroutines: Coroutines,
    *,
    reraises: bool = False,
    blocks: bool = False,
) -> Served:
    """Read, and wait for the answer.

    Args:
        life: The life of the cache.
        key: The key to read.
        request: How the read wants its answer.
        coroutines: Those of builders; one may turn out to need the event loop that waits here.
        reraises: Whether it raises a copy of the builder's own error.
        blocks: Whether to wait would block what it waits for, so that memory answers, or nobody (L5).

    Raises:
        HermesCacheError: There is no answer but that.
        Exception: A copy of the builder's own error, if it `reraises`.
    """
    if blocks or life.runner.is_inside():
        return _from_memory(life, key, request, BLOCKS if blocks else _INSIDE)
    with _Traced(request) as traced:
        reader = Reader()
        try:
            with coroutines.held_up(lambda: reader.set(BuildError(key, BLOCKS))):
                life.wait(_begin(life, key, request, reader), reader)
        finally:
            life.leave(reader)
        return traced.answer(_answer_of(reader, reraises=reraises))


async def aserve(life: Life, key: Hashable, request: Request, away: Away, *, reraises: bool = False) -> Served:
    """Read without blocking the event loop; a read that is cancelled waits no more."""
    if life.runner.is_inside():
        return _from_memory(life, key, request, _INSIDE)
    with _Traced(request) as traced:
        return traced.answer(await _aserve(life, key, request, away, reraises=reraises))


async def _aserve(life: Life, key: Hashable, request: Request, away: Away, *, reraises: bool) -> Served:
    while True:
        settings = life.state.settings
        try:
            target = await target_on_loop(life, key, settings, _left_s(life, request), away)
        except TimeoutError:
            raise _too_late(life, key, request) from None
        waker = Waker()
        reader = Reader(waker.wake)
        read = Read(reader, target, request, settings if life.targets.asks else None)
        try:
            reader.read = read
            life.send(read, reader)
            await _wait_on_loop(life, read, reader, waker)
        finally:
            life.leave(reader)
        if not isinstance(reader.answer, ReadLostError):
            return _answer_of(reader, reraises=reraises)
        _check_time(life, key, request)


class _Traced:
    """Tells the tracer of a read, if there is one, how it ended."""

    __slots__ = ("_served", "_trace")

    def __init__(self, request: Request) -> None:
        self._trace: ReadTrace | None = request.trace  # type: ignore[assignment]  # the core knows it as any value
        self._served: Served | None = None

    def answer(self, served: Served) -> Served:
        """Note the answer, and return it."""
        self._served = served
        return served

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._trace is not None:
            self._trace.end(error or self._served)


def remembered(life: Life, key: Hashable) -> Served | None:
    """Return what is held for a key, and how a read would find it, from memory alone."""
    state = life.state
    # An entry knows its own target: nobody is asked for it.
    entry = state.entries.get(life.targets.held_key(key, state.settings))
    if entry is None:
        return None
    now_s = life.clock.monotonic_s()
    verdict = judge(state, life.policy, entry.target, Request(now_s), now_s, check_by_s=-inf)
    reason = reason_of(verdict)
    outcome: Outcome = "hit" if reason is None else "stale" if reason in ("age", "source") else "outdated"
    return Served(entry, outcome, reason, failure=state.failures.get(entry.target.key))


def _answer_of(reader: Reader, *, reraises: bool) -> Served:
    if reraises and isinstance(reader.answer, BuildError):
        raise own_error_of(reader.answer)
    return reader.served()


def own_error_of(error: BuildError) -> Exception:
    """Return a copy of the error that a builder raised; the error itself if there is none, or no copy (R7).

    What would end a thread, such as `SystemExit`, is no error of a read. Each call makes another copy, and raising
    it changes no other: readers share what a build raised.
    """
    cause = error.__cause__
    if not isinstance(cause, Exception) or isinstance(cause, _OF_THE_CACHE):
        return error
    try:
        copied = _copied(cause)
        if str(copied) != str(cause):
            # Its class keeps what it says where nobody finds it.
            return error
    except BaseException as failure:
        if belongs_to_caller(failure):
            raise
        return error
    copied.__cause__, copied.__context__ = cause.__cause__, cause.__context__
    copied.__suppress_context__ = cause.__suppress_context__
    if hasattr(cause, "__notes__"):
        copied.__notes__ = list(cause.__notes__)
    return copied.with_traceback(cause.__traceback__)


def _copied(cause: Exception) -> Exception:
    kind = type(cause)
    copied: Exception | None = None
    with ForeignCode():
        copied = copy(cause)
    if type(copied) is not kind or copied.args != cause.args:
        # Its class takes other arguments than it keeps: the object is made anew without them.
        copied = kind.__new__(kind, *cause.args)
        copied.args = cause.args
        copied.__dict__.update(cause.__dict__)
    _copy_members(cause, copied)
    return copied


def _copy_members(cause: Exception, copied: Exception) -> None:
    """Copy what lies outside `__dict__`: slots, and what the interpreter keeps, as an `OSError` has it."""
    for kind in type(cause).__mro__:
        for member in filter(ismemberdescriptor, vars(kind).values()):
            # Some may only be read, or are not set; to set None is not the same as to set nothing.
            with suppress(AttributeError, TypeError):
                if (value := member.__get__(cause)) is not None:
                    member.__set__(copied, value)


def mark_of(life: Life, key: Hashable, cache: Hashable) -> Mark:
    """Note how things stand for a key, and for which cache that is."""
    request = Request(life.clock.monotonic_s())
    is_inside = life.runner.is_inside()
    while True:
        at_s, settings = life.clock.monotonic_s(), life.state.settings
        target = life.targets.find(key, settings, 0.0 if is_inside else _left_s(life, request))
        state = life.state
        if target is not None and (state.settings == settings or not life.targets.asks):
            marker = state.marker_of(target)
            return Mark(key, state.version_of(target), target, marker, at_s, cache, life.identity)
        if is_inside:
            raise BuildError(
                key, "a callable or a builder marked a key whose scope is not known; it waits for nobody"
            )
        _check_time(life, key, request)


async def _wait_on_loop(life: Life, read: Read, reader: Reader, waker: Waker) -> None:
    looks = 0
    # The answer may be there though there was no memory to tell the loop.
    while reader.answer is None:
        await waker.wait(life.patience_s(read))
        if reader.answer is None:
            looks = life.looks_past_due(read, looks)
            life.nudge()


async def target_on_loop(life: Life, key: Hashable, settings: int, patience_s: float, away: Away) -> Target:
    """Return the target of a key without blocking the event loop.

    Raises:
        TimeoutError: The callables did not answer in time.
    """
    target = life.targets.known(key, settings)
    if target is None and not life.targets.asks_others:
        target = life.targets.find(key, settings)
    if target is not None:
        return target
    return await away.ask(partial(life.targets.question, key, settings), patience_s)


def _begin(life: Life, key: Hashable, request: Request, reader: Reader) -> Read:
    while True:
        settings = life.state.settings
        target = life.targets.find(key, settings, _left_s(life, request))
        if target is not None:
            if life.policy.stamp_interval == 0 and request.freshness.waits:
                life.check_for(target, _left_s(life, request) if request.timeout_s < inf else inf)
            read = Read(reader, target, request, settings if life.targets.asks else None)
            # Noted first: an interrupt may come at any moment from now on.
            reader.read = read
            if life.begin(read):
                return read
        _check_time(life, key, request)


def _left_s(life: Life, request: Request) -> float:
    """Return how long a read may still wait for callables."""
    return max(0.0, request.until_s(life.policy.build_timeout) + _GRACE_S - life.clock.monotonic_s())


def _check_time(life: Life, key: Hashable, request: Request) -> None:
    if life.clock.monotonic_s() >= request.until_s(life.policy.build_timeout):
        raise _too_late(life, key, request)


def _too_late(life: Life, key: Hashable, request: Request) -> HermesCacheError:
    waited_for = "the answer of is_root_profile or of sources.scope"
    return timeout_error(key, request, life.policy.build_timeout, waited_for)


def _from_memory(life: Life, key: Hashable, request: Request, reason: str) -> Served:
    served = remembered(life, key)
    if served is None or not _will_do(served, request):
        raise BuildError(key, reason)
    return served


def _will_do(served: Served, request: Request) -> bool:
    """Say whether what lies in memory, which nobody looks at again, answers a read (R8)."""
    if request.freshness.takes_outdated:
        return True
    is_hit, is_stale = served.outcome == "hit", served.outcome == "stale"
    return (is_hit and not request.freshness.insists) or (is_stale and request.takes_stale)
