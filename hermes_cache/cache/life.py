"""One life of a cache: its actor and its threads, from a start to a stop, in one process.

A fork or a restart begins another. Source: rules L1 to L3, L5.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from threading import TIMEOUT_MAX
from typing import Any, Final, cast

import pykka

from hermes_cache.actors.mailbox import MailboxRef
from hermes_cache.actors.notifier import Notifier
from hermes_cache.actors.reply import ExceptionTriple, MailboxFuture
from hermes_cache.cache.cache_actor import AGAIN, CacheActor
from hermes_cache.cache.effect_runner import EffectRunner, one_line_of
from hermes_cache.cache.stamper import Stamper
from hermes_cache.cache.targets import Targets
from hermes_cache.core.answering import timeout_error
from hermes_cache.core.effects import Served
from hermes_cache.core.events import AppliedEvent
from hermes_cache.core.freshness import CHECK_WAIT_S
from hermes_cache.core.messages import Checked, CheckFailed, Leave, Mark, Message, Publish, Put, Stop, Tick
from hermes_cache.core.policy import Policy
from hermes_cache.core.record import Tally
from hermes_cache.core.state import Read, State, Target
from hermes_cache.errors import (
    BuildError,
    CacheStoppedError,
    CallLostError,
    HermesCacheError,
    MailboxReentryError,
)
from hermes_cache.payload.content import Content
from hermes_cache.payload.frozen import Payload
from hermes_cache.ports import Clock, Executor
from hermes_cache.threads.gates import Gate
from hermes_cache.threads.interrupts import belongs_to_caller
from hermes_cache.threads.loops import Away
from hermes_cache.threads.starting import running_loop

ALIAS_WAIT_S: Final = 1.0
"""How long an event waits for the alias of its profile; past it, it touches all."""

BLOCKS: Final = "to wait would block the event loop of its builder or its sources; await cache.aget, or the like"
"""Why a read on that loop is refused (L5)."""

_GRACE_S: Final = 0.05
"""After its deadline a reader does not rely on the actor's own thread any more, and lets time pass itself."""

_MOST_LOOKS: Final = 10
"""An answer that was due so many looks ago is lost; half a second, for a machine that is busy."""


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


@dataclass(frozen=True, slots=True)
class Prior:
    """What a life begins with.

    Attributes:
        state: What is known from before.
        targets: Finds what keys mean.
        away: Does for event loops what they must not do.
        publishing: Publishes for them: apart, as a receiver may take its time.
        tally: What the last life counted.
    """

    state: State
    targets: Targets
    away: Away
    publishing: Away
    tally: Tally = field(default_factory=Tally)


class Life:
    """The running parts of a cache, made whole at a start.

    Args:
        prior: What it begins with.
        policy: The bounds and spans.
        clock: The time.
        stamper: Takes checks.
        executor: Runs builders.
        notifier: Announces.
        owner: The field of a row that names its profile; None if rows have none.
    """

    def __init__(  # noqa: PLR0913 - the parts of a life, each once
        self,
        prior: Prior,
        policy: Policy,
        clock: Clock,
        *,
        stamper: Stamper,
        executor: Executor,
        notifier: Notifier,
        owner: str | None,
    ) -> None:
        self.identity = object()
        self.targets = prior.targets
        self.away = prior.away
        self.stamper = stamper
        self.notifier = notifier
        self.runner = EffectRunner(
            clock, stamper, executor, notifier, max_bytes=policy.max_bytes, owner_field=owner
        )
        self.policy = policy
        self.clock = clock
        self.actor = CacheActor(policy, clock, self.runner, prior.state)
        self.actor.begin()
        self._ref = cast("MailboxRef[CacheActor]", self.actor.actor_ref)
        self._ask = self._ref.ask
        self.hit = self.actor.hit
        self.runner.start()

    @property
    def state(self) -> State:
        """The state as of the last message."""
        return self.actor.state

    @property
    def missing_threads(self) -> frozenset[str]:
        """The names of the threads that should run and do not (L7)."""
        own = self.actor.thread
        return self.notifier.missing_threads | ({own.name} if own.is_missing else frozenset())

    def ask(self, message: Message) -> object:
        """Have a message handled, and return the reply.

        Raises:
            CacheStoppedError: This life is over.
        """
        try:
            return self._ask(message)
        except pykka.ActorDeadError:
            raise CacheStoppedError from None

    def tell(self, message: Message) -> None:
        """Have a message handled without waiting for that.

        Raises:
            CacheStoppedError: This life is over.
        """
        try:
            self.actor.actor_ref.tell(message)
        except pykka.ActorDeadError:
            raise CacheStoppedError from None

    def decoded(self, content: Content) -> Payload:
        """Return a content's payload, decoded on this thread if it came as bytes (P4)."""
        return content.payload or self.runner.decoded(content, self.actor.send)

    def begin(self, read: Read) -> bool:
        """Hand in a read; false if its profile's alias must be asked for again."""
        return self.ask(read) != AGAIN

    def publish(self, event: AppliedEvent, profile: str | None) -> None:
        """Apply an event; the answer of an alias that settings outdated meanwhile is asked for anew.

        Args:
            event: The event to apply.
            profile: As published; None or blank for all.
        """
        is_applied, ends_at_s = False, time.monotonic() + ALIAS_WAIT_S
        while not is_applied:
            settings, left_s = self.state.settings, ends_at_s - time.monotonic()
            named = profile and profile.strip() and left_s > 0
            # An alias that is not known in time may be any: the event is everybody's.
            canonical = self.targets.canonical(profile, settings, left_s) if named else None
            asked = settings if self.targets.asks and canonical is not None else None
            is_applied = self._apply(Publish.at(event, canonical, self.clock.wall_s(), asked))

    def put(self, mark: Mark, content: Content) -> bool:
        """Hand in a payload that the gateway made; say whether it is held now."""
        held = self.state.entry_of(mark.target)
        moved = self.runner.moved(held.content, content, mark.target.reach) if held else frozenset[str | None]()
        return self.ask(Put(mark, content, self.runner.weigh(content), moved)) is True

    def check_for(self, target: Target, patience_s: float) -> None:
        """Check the sources for a reader who wants one at every read (S4).

        Args:
            target: What is read.
            patience_s: How long the reader can wait. With a bound it is not on its own thread, which may hang; nor
                is it if coroutines look, and that thread runs an event loop.

        Raises:
            BuildError: To wait would block the event loop on which these run (L5).
        """
        state = self.state
        if not target.watched or state.entry_of(target) is None:
            return
        if self.stamper.blocks_here:
            raise BuildError(target.key, BLOCKS)
        if patience_s < inf or self._looks_elsewhere():
            self.runner.check_now(target, state.streams, state.settings, self.actor.send, patience_s)
            return
        try:
            check = self.stamper.take(target, state.streams, state.settings, patience_s=CHECK_WAIT_S)
        except BaseException as failure:
            if belongs_to_caller(failure):
                raise
            if self._looks_elsewhere():
                # Known by now: this was the first look.
                self.check_for(target, patience_s)
            else:
                self.ask(CheckFailed(target, one_line_of(failure), by_build=True))
            return
        if check is not None:
            self.ask(Checked(target, check, by_build=True))

    def send(self, read: Read, reader: Reader) -> None:
        """Hand in a read without waiting for another thread; its reader hears what comes of it."""
        self._ref.send(read, _ReadReply(reader))
        if self.actor.actor_inbox.is_closed:
            reader.set(CacheStoppedError())

    def wait(self, read: Read, reader: Reader) -> None:
        """Wait for the answer to a read that was handed in.

        Raises:
            HermesCacheError: It did not come though it was due: it was lost for lack of memory.
        """
        looks = 0
        while not reader.wait(self.patience_s(read)):
            looks = self.looks_past_due(read, looks)
            # There was no memory for it, and may be at the next look.
            with suppress(MemoryError, RecursionError):
                self.ask(Tick())

    def looks_past_due(self, read: Read, looks: int) -> int:
        """Count a look at a read that is due and not answered; raise the error of its bound once it is in vain."""
        if self.clock.monotonic_s() < self._deadline_s(read):
            return 0
        if looks < _MOST_LOOKS:
            return looks + 1
        raise timeout_error(read.target.key, read.request, self.policy.build_timeout, "its answer")

    def nudge(self) -> None:
        """Have time pass, without waiting for that: a read is not answered though it is due."""
        self._ask(Tick(), block=False)

    def leave(self, reader: Reader) -> None:
        """End a read, whatever ended it: one that was not answered waits no more."""
        read, reader.read = reader.read, None
        if read is not None and reader.answer is None:
            self._ask(Leave(read), block=False)

    def stop(self, timeout_s: float) -> bool:
        """Let readers go and end all threads but those of abandoned builds; say whether they ended in time."""
        ends_at_s = self.clock.monotonic_s() + timeout_s

        def left_s() -> float:
            return max(0.0, ends_at_s - self.clock.monotonic_s())

        try:
            self.ask(Stop())
        except CacheStoppedError:
            # A stop before this one came so far, and may have been interrupted: the rest is done again.
            pass
        except MailboxReentryError:
            # A signal handler on the thread that runs the mailbox: whoever it waits for would wait for it.
            self.actor.actor_ref.tell(Stop())
            ends_at_s = -inf
        worked = self.runner.stop(left_s())
        self.actor.actor_ref.stop(block=left_s() > 0)
        self.notifier.stop(left_s())
        return self.actor.thread.join(left_s()) and worked

    def _looks_elsewhere(self) -> bool:
        return self.stamper.awaits and running_loop() is not None

    def _apply(self, message: Publish) -> bool:
        try:
            return self.ask(message) != AGAIN
        except MailboxReentryError:
            # A signal handler on the thread that runs the mailbox: it is applied once that is done.
            self.actor.actor_ref.tell(replace(message, settings=None))
            return True
        except CallLostError:
            # Applied or not: twice does no harm, not at all would.
            return False

    def patience_s(self, read: Read) -> float:
        """Return how long to wait for the answer to a read until the next look."""
        patience_s = max(0.0, self._deadline_s(read) - self.clock.monotonic_s()) + _GRACE_S
        return min(patience_s, TIMEOUT_MAX)

    def _deadline_s(self, read: Read) -> float:
        return read.request.until_s(self.policy.build_timeout)


class _ReadReply(MailboxFuture):
    """The reply to a read that was sent: its reader hears of it if the read did not reach the core."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader

    def set(self, value: Any = None) -> None:
        super().set(value)
        if value == AGAIN:
            self._reader.set(ReadLostError())

    def set_exception(self, exc_info: ExceptionTriple | None = None) -> None:
        super().set_exception(exc_info)
        stopped = isinstance(self._error, pykka.ActorDeadError)
        self._reader.set(CacheStoppedError() if stopped else ReadLostError())
