"""Runs the effects that the core decided.

Builders and checks run on threads of the cache, announcements go to the notifier, contents are weighed and freed.
The results go back to the cache actor as messages. Source: rules B2, B3, B6, E6, E9, L5, P4.
"""

import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from math import inf
from typing import Final, NamedTuple, Protocol, TypeAlias, assert_never

from hermes_cache.cache.ledger import Ledger
from hermes_cache.cache.lines import Lines
from hermes_cache.cache.stamper import Stamper
from hermes_cache.core.effects import (
    Abandon,
    Answer,
    Deliver,
    Effect,
    Release,
    RunBuild,
    Served,
    TakeCheck,
    Tell,
)
from hermes_cache.core.messages import Built, Checked, CheckFailed, Failed, Message, Weighed
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import CHECK_TIMEOUT_S, Build, Target
from hermes_cache.core.streams import Streams
from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.errors import BuildError, HermesCacheError, NoThreadError
from hermes_cache.explain.wording import one_line
from hermes_cache.logs import QuietLogger
from hermes_cache.payload.content import Content, owners_that_differ, rows_differ
from hermes_cache.payload.frozen import Payload
from hermes_cache.ports import Builder, Clock, Executor
from hermes_cache.threads.calls import Call
from hermes_cache.threads.interrupts import belongs_to_caller
from hermes_cache.threads.pool import Threads
from hermes_cache.tracing import tracing

logger = QuietLogger(__name__)

_CHECKERS: Final = 16
"""Threads that checks share, started when needed: a scope on a dead network drive keeps one of them (S4)."""

_LONGEST_TEXT: Final = 1_000
"""A builder's error may quote all that it read; its readers get the error itself as the cause."""

_MOST_THAT_LED: Final = 16
"""Exceptions may lead to one another in a ring."""

Send: TypeAlias = Callable[[Message], object]
"""Sends a message to the cache actor, and runs its mailbox on this thread."""


class Announcer(Protocol):
    """Takes what is to be announced; never waits, runs no foreign code."""

    def put(self, item: object, /) -> None:
        """Announce what a `Tell` holds, or a failure."""


class Answerable(Protocol):
    """A reader, as those see it that answer it."""

    def set(self, answer: Served | HermesCacheError, /) -> None:
        """Answer it."""


class Deliverable(Protocol):
    """A follower, as those see it that deliver to it."""

    def take(self, answer: Served | HermesCacheError | None, /) -> None:
        """Keep what is delivered until it is asked for; never waits, runs no foreign code."""


class _Ordered(NamedTuple):
    """A build that was ordered and is not over; `previous` is what its key held then."""

    build: Build
    call: Call[None]
    previous: Content | None


class EffectRunner:
    """Runs effects. `run` never waits: it answers readers at once, and hands everything else to other threads.

    Args:
        clock: The time, to measure builds.
        stamper: Takes the checks.
        executor: Runs builders.
        announcer: Takes the notices.
        max_bytes: The size past which a content is not held, and so not counted (P4).
        owner_field: The field of a row that names its profile; None if rows have none (E9).
    """

    def __init__(
        self,
        clock: Clock,
        stamper: Stamper,
        executor: Executor,
        announcer: Announcer,
        *,
        max_bytes: int,
        owner_field: str | None,
    ) -> None:
        self._owner_field = owner_field
        self._clock = clock
        self._stamper = stamper
        self._executor = executor
        self._announcer = announcer
        self._max_bytes = max_bytes
        self._ledger = Ledger()
        # How many builds run at once is bounded by the core.
        self._builders = Threads("hermes_cache.builder")
        self._builds: dict[int, _Ordered] = {}
        self._checkers = Lines("hermes_cache.checker", _CHECKERS)
        # A thread of its own: if all checkers hang, memory must still be freed.
        self._weigher = Threads("hermes_cache.weigher", 1)
        self._leaving: deque[Content] = deque()
        # Re-entrant: a finalizer that reads may strike the thread that decodes.
        self._decoding = threading.RLock()

    @property
    def held_bytes(self) -> int:
        """The encoded size of all contents that are held."""
        return self._ledger.held_bytes

    def is_inside(self) -> bool:
        """Return whether this thread runs a builder, or another callable of the cache (L5)."""
        return self._stamper.inside.is_here()

    def start(self) -> None:
        """Let what runs builders get ready, without waiting for it."""
        self._builders.run(Call(partial(_run_logging_failure, self._executor.start)))

    def check(self, builder: Builder) -> None:
        """Raise `TypeError` if a reader's own builder cannot run here."""
        self._executor.check(builder)

    def decoded(self, content: Content, send: Send) -> Payload:
        """Return a content's payload; one that came as bytes is decoded here, by one thread, once."""
        if content.payload is None:
            with self._decoding:
                is_first = content.payload is None
                payload = content.decoded()
            if is_first:
                send(Weighed(self._ledger.note_decoded(content)))
            return payload
        return content.payload

    def run(self, effect: Effect, send: Send) -> None:
        """Run an effect."""
        match effect:
            case Answer():
                _answer(effect)
            case Deliver():
                _deliver(effect)
            case TakeCheck():
                self._order_check(effect, send)
            case RunBuild():
                self._order_build(effect, send)
            case Abandon():
                self._abandon(effect.build_id, send)
            case Tell():
                self._announcer.put(effect)
            case Release():
                self._leaving.append(effect.content)
                self._weigher.run(Call(partial(_run_logging_failure, partial(self._release, send))))
            case _:
                assert_never(effect)

    def tell_lost(self, effect: Answer, failure: Exception) -> None:
        """Tell a reader that its answer was lost; if that fails too, do nothing."""
        reader: Answerable = effect.reader  # type: ignore[assignment]  # the core knows it as any value
        with suppress(Exception):
            reader.set(BuildError(effect.key, f"its answer was lost: {one_line_of(failure)}"))

    def report(self, failure: Exception) -> None:
        """Have it logged that an effect failed; the thread that runs a mailbox logs nothing."""
        self._announcer.put(failure)

    def stop(self, timeout_s: float) -> bool:
        """End the executor and the threads; say whether the threads ended in time."""
        ends_at_s = self._clock.monotonic_s() + timeout_s
        self._executor.stop()
        ended = [
            threads.stop(max(0.0, ends_at_s - self._clock.monotonic_s()))
            for threads in (self._weigher, self._checkers, self._builders)
        ]
        return all(ended)

    def check_now(
        self, target: Target, streams: Streams, settings: int, send: Send, patience_s: float = inf
    ) -> Check | None:
        """Have the sources checked on a checker's thread, for a build or a reader, and say what came of it.

        Args:
            target: What is built or read.
            streams: The streams of the bus.
            settings: The number of `SettingsChanged` so far.
            send: Sends what came of it to the cache actor.
            patience_s: How long to wait at most. A check that takes longer has not failed by that.

        Returns:
            The check; None if it failed, or was not back in time. A late one still counts (S4).
        """

        def take() -> Check:
            check = self._taken(target, streams, settings)
            send(Checked(target, check, by_build=True))
            return check

        if not self._stamper.watches:
            return take()

        why = "another one hangs"
        if not self._checkers.hangs(target.scope):
            try:
                call = self._checkers.call(target.scope, take)
                if self._checkers.wait(target.scope, call, patience_s):
                    return call.result()
                call.is_unwanted = True
                if patience_s < inf and not self._checkers.hangs(target.scope):
                    return None
                why = f"it was not back after {CHECK_TIMEOUT_S:g} s"
            except BaseException as failure:
                if belongs_to_caller(failure):
                    raise
                why = one_line_of(failure)
        send(CheckFailed(target, why, by_build=True))
        return None

    def _order_check(self, effect: TakeCheck, send: Send) -> None:
        call = self._checkers.call(effect.target.scope, lambda: self._check(effect, send))

        def tell_refused() -> None:
            if call.error is not None:
                send(CheckFailed(effect.target, one_line_of(call.error), asked_s=effect.asked_s))

        call.when_over(tell_refused)

    def _abandon(self, build_id: int, send: Send) -> None:
        self._executor.give_up(build_id)
        given_up = self._builds.pop(build_id, None)
        if given_up is None:
            return
        build = given_up.build
        if given_up.call.claim(build):
            # It never began, so no thread will report its end.
            send(_failed(build, BuildError(build.target.key, "it was given up before it began")))
        else:
            self._builders.give_up(given_up.call)

    def _order_build(self, effect: RunBuild, send: Send) -> None:
        build = effect.build
        # Without what the key holds: a failure is kept, and its traceback has what its frames were given.
        call = Call(partial(_run_logging_failure, partial(self._build, build, effect.settings, send)))

        def tell_lost() -> None:
            if call.error is not None and self._builds.pop(build.id, None) is not None:
                send(_failed(build, BuildError(build.target.key, one_line_of(call.error))))

        self._builds[build.id] = _Ordered(build, call, effect.previous)
        call.when_over(tell_lost)
        try:
            self._builders.run(call)
        except NoThreadError:
            del self._builds[build.id]
            raise

    def _check(self, effect: TakeCheck, send: Send) -> None:
        target, asked_s = effect.target, effect.asked_s
        try:
            check = self._taken(target, effect.streams, effect.settings)
            message: Message = Checked(target, check, asked_s=asked_s)
        except BaseException as failure:  # noqa: BLE001 - whatever it is, the check failed
            message = CheckFailed(target, one_line_of(failure), asked_s=asked_s)
        send(message)

    def _taken(self, target: Target, streams: Streams, settings: int) -> Check:
        check = self._stamper.take(target, streams, settings)
        if check is None:
            raise TimeoutError("another check of the scope is still running")
        return check

    def _release(self, send: Send) -> None:
        """Free all contents that wait for it. One may be queued twice, or be left from a time without a thread."""
        while self._leaving:
            held_bytes = self._ledger.drop(self._leaving[0])
            self._leaving.popleft()
            send(Weighed(held_bytes, leaving=bool(self._leaving)))

    def _build(self, build: Build, settings: int, send: Send) -> None:
        try:
            with _traced(build):
                message = self._built(build, settings, send)
        except BaseException as cause:  # noqa: BLE001 - a SystemExit fails its own build alone
            _clear_frames(cause)
            message = _failed(build, cause)
        self._builds.pop(build.id, None)
        send(message)

    def _built(self, build: Build, settings: int, send: Send) -> Message:
        self._stamper.settle(build.target, build.streams)
        began_s = self._clock.monotonic_s()
        check = self.check_now(build.target, build.streams, settings, send) or Check.failed(began_s)
        began_s = self._clock.monotonic_s()
        content = self._call_builder(build)
        ordered = self._builds.get(build.id)
        previous = ordered.previous if ordered is not None else None
        moved = frozenset() if previous is None else self.moved(previous, content, build.target.reach)
        took_s = self._clock.monotonic_s() - began_s
        return Built(build, content, check, took_s, self.weigh(content, previous), moved)

    def moved(self, previous: Content, content: Content, reach: str) -> frozenset[str | None]:
        """Return the profiles whose rows differ from what a key holds; for one profile's key, that profile."""
        if reach == ALL_PROFILES:
            return owners_that_differ(previous, content, self._owner_field)
        return frozenset({reach}) if rows_differ(previous, content) else frozenset()

    def weigh(self, content: Content, previous: Content | None = None) -> int:
        """Count a content in if it may be held, and return the size of all that is counted (P4).

        Args:
            content: The content.
            previous: What it is to replace; None if nothing is known of that.
        """
        fits = content.size_bytes <= self._max_bytes
        return self._ledger.add(content, previous) if fits else self._ledger.held_bytes

    def _call_builder(self, build: Build) -> Content:
        own: Builder | None = build.builder  # type: ignore[assignment]  # the core knows it as any value
        return self._stamper.inside.call(lambda: self._executor.build(build.id, build.target, own))


def _traced(build: Build) -> AbstractContextManager[object]:
    tracer = tracing.tracer
    if tracer is None:
        return nullcontext()
    return tracer.build(build.target.key, build.id, build.reason, build.trace)


def _run_logging_failure(do: Callable[[], object]) -> None:
    """Run something whose result nobody waits for; log what it raises."""
    try:
        do()
    except BaseException:  # whatever it is, it ends this call alone
        logger.exception("hermes_cache.job_failed")


def one_line_of(failure: BaseException) -> str:
    """Return in one line what was raised."""
    return one_line(f"{type(failure).__name__}: {text_of(failure)}")


def text_of(failure: BaseException) -> str:
    """Return the beginning of what an exception says, also if its own code fails to say it."""
    try:
        return str(failure)[:_LONGEST_TEXT]
    except BaseException as another:
        if belongs_to_caller(another):
            raise
        return "it cannot say what went wrong"


def _clear_frames(failure: BaseException) -> None:
    """Let go of what the builder had in hand: a failure is kept, with those that led to it."""
    led_to_it: BaseException | None = failure
    for _ in range(_MOST_THAT_LED):
        if led_to_it is None:
            return
        traceback.clear_frames(led_to_it.__traceback__)
        led_to_it = led_to_it.__cause__ or led_to_it.__context__


def _failed(build: Build, cause: BaseException) -> Failed:
    return Failed(build, cause, text_of(cause))


def _answer(effect: Answer) -> None:
    reader: Answerable = effect.reader  # type: ignore[assignment]  # the core knows it as any value
    reader.set(effect.answer)


def _deliver(effect: Deliver) -> None:
    for each in effect.followers:
        follower: Deliverable = each  # type: ignore[assignment]  # the core knows it as any value
        follower.take(effect.answer)
