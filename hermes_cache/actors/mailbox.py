"""An actor whose mailbox runs on the thread that asks.

A reply from another thread needs the interpreter lock handed over twice, up to 5 ms each beside a busy thread.
So a thread that asks does not wait for the actor's own: it puts its envelope in, takes the run lock, handles the
envelopes in their order, its own and those that came meanwhile, and gives the lock back. If another thread runs
the mailbox, that one does the work and the asker waits for its answer. It does not wait for the lock: that makes a
convoy, in which every ask is a hand-over. A thread that tells, or that bounds its wait, leaves the work to the
actor's own thread. Still one thread at a time and strict first in, first out: the idea of libdispatch's
`dispatch_sync` and of flat combining (Hendler, Incze, Shavit and Tzafrir: Flat Combining and the
Synchronization-Parallelism Tradeoff, SPAA 2010). The laws:

- The main thread runs no mailbox. Signal handlers strike there, at any bytecode, and what they raise looks like
  what a handler of a message raised. So it hands its envelope to the actor's own thread in one step and
  waits; an interrupt ends the wait and nothing else. It acts itself only if the own thread cannot run.
- The thread that runs the mailbox of a cache calls no foreign code, logs nothing and waits for nobody.
- No waiter is left without a thread that runs the mailbox. An asker puts its envelope in before it sees that the
  lock is held; the holder looks again after it gave the lock back, and wakes the own thread for what is left.
- An exception thrown into a thread that runs the mailbox costs the one call in hand: its asker gets an error.
- A message that fails for lack of stack or memory on another asker's thread goes back to the head of the queue,
  and the actor's own thread handles it.
- Closing needs no lock of its own. It is a flag, set while the lock is held. What comes before it is handled or
  refused by the own thread's last turn; what comes after it sees the flag and refuses itself.
- This module alone uses names that are pykka's own. A test says which versions of pykka that was tried with.
- The own thread is an asker like any other. Its message, a turn, runs the timer and says how long to sleep, so a
  burst of messages bounds it like everybody else. It sleeps on a queue that signal handlers may put to.
"""

import contextlib
import math
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from threading import get_ident
from types import FrameType
from typing import Any, Final, Self, TypeVar, cast

import pykka
from pykka import messages
from pykka._envelope import Envelope
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from hermes_cache.actors.reply import MailboxFuture
from hermes_cache.errors import CallBlockedError, CallLostError, MailboxReentryError
from hermes_cache.logs import QuietLogger
from hermes_cache.threads.aside import PATIENCE_S
from hermes_cache.threads.forks import after_fork_in_child
from hermes_cache.threads.interrupts import on_main_thread
from hermes_cache.threads.kept_thread import KeptThread

logger = QuietLogger(__name__)

PYKKA_MESSAGES = frozenset({messages._ActorStop, ProxyCall, ProxyGetAttr, ProxySetAttr})  # noqa: SLF001
"""What pykka itself handles; one look here is four times as fast as its own four, which every ask would pay."""

MAX_NEWCOMERS = 100
"""How many messages a runner handles for others after its own: a bound, so that a flood holds nobody captive."""

_LOOK_S: Final = 0.5
_LOOKS: Final = int(PATIENCE_S / _LOOK_S)
"""A wait is cut in parts: to see whether the own thread lives, and so that a process that was suspended for long
does not count all of that."""


class Mailbox:
    """The queue of an actor, and the right to run it."""

    def __init__(self) -> None:
        self.is_closed = False
        self._envelopes: deque[Envelope[Any]] = deque()
        self._lock = threading.Lock()
        self._runners: set[int] = set()
        self._in_hand: Envelope[Any] | None = None
        self._failures: deque[tuple[str, BaseException]] = deque()
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._sleeps_until_s = -math.inf

    def serve(self, actor: "MailboxActor") -> None:
        """Name the actor whose handlers this mailbox runs."""
        self._actor = actor
        self._handle: Callable[[Any], Any] = actor._handle_receive  # noqa: SLF001 - pykka's own loop calls it too

    def put(self, envelope: Envelope[Any], /) -> None:
        """Add an envelope for the actor's own thread; an interrupt leaves it put whole or not at all."""
        if envelope.reply_to is not None:
            envelope.reply_to.mailbox = self  # type: ignore[attr-defined] # pykka knows no MailboxFuture
        try:
            self._envelopes.append(envelope)
        finally:
            self._tokens.put(None)
        self._actor.thread.ensure_running()

    def get(self) -> Envelope[Any]:
        """Take the envelope at the head; only for the holder of the run lock."""
        return self._envelopes.popleft()

    def empty(self) -> bool:
        """Say whether there is nothing to handle."""
        return not self._envelopes

    def wake(self) -> None:
        """Have the actor's own thread take a turn; safe in a signal handler."""
        self._tokens.put(None)
        self._actor.thread.ensure_running()

    def sleep(self, wait_s: float) -> None:
        """Wait for a wake-up, at most so long; for the actor's own thread."""
        timeout_s = None if wait_s == math.inf else min(max(0.0, wait_s), threading.TIMEOUT_MAX)
        with contextlib.suppress(queue.Empty):
            self._tokens.get(timeout=timeout_s)
            while True:
                self._tokens.get_nowait()

    def ask(self, message: object, timeout: float | None) -> Any:
        """Have a message handled, and return the reply.

        Raises:
            AskTimeoutError: There was no answer in time; the message still runs.
            CallBlockedError: The main thread waited for what it holds itself.
            CallLostError: The thread that handled the message was interrupted.
            MailboxReentryError: This thread is running the mailbox now; the message runs once it is done.
            pykka.ActorDeadError: The actor stopped before it came to the message.
        """
        future = MailboxFuture()
        envelope = Envelope(message, future)
        if timeout is not None or on_main_thread():
            self.put(envelope)
        else:
            future.mailbox = self
            self._envelopes.append(envelope)
        return future.get(timeout=timeout)

    def answer(self, awaited: MailboxFuture, timeout: float | None) -> None:
        """Get an envelope of this mailbox answered: by this thread, or by one that is at it; raises as `ask`."""
        if get_ident() in self._runners and self._is_running():
            raise MailboxReentryError(str(self._actor))
        if self.is_closed:
            self.run_until(awaited)
        elif timeout is not None:
            self.wake()
            awaited.wait(timeout)
        elif on_main_thread():
            self._await(awaited, _LOOKS)
        else:
            if not self._lock.locked():
                self.run_until(awaited)
            self._await(awaited, None)

    def run_until(self, awaited: MailboxFuture) -> None:
        """Handle envelopes in their order until one is answered, and those that came meanwhile.

        It may come back earlier, if this thread has too little stack or memory; the own thread goes on then.
        """
        try:
            # Known before the lock is held, until it is not: a finalizer may ask at any bytecode between.
            self._runners.add(get_ident())
            with self._lock:
                try:
                    while not awaited.is_answered and self._handle_head(awaited):
                        pass
                    if awaited.is_answered:
                        self._handle_newcomers(awaited)
                finally:
                    if self._in_hand is not None:
                        self._settle_lost()
        finally:
            self._runners.discard(get_ident())
            if self._envelopes or self._failures or self._actor.wake_at_s < self._sleeps_until_s:
                self._sleeps_until_s = self._actor.wake_at_s
                # Before anything that needs stack.
                self._tokens.put(None)
                self._actor.thread.ensure_running()

    def _is_running(self) -> bool:
        """Say whether this thread runs the mailbox; an interrupt may have kept it from noting that it left."""
        frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no other way to one's own frames
        while frame is not None:
            if frame.f_code is Mailbox.run_until.__code__ and frame.f_locals["self"] is self:
                return True
            frame = frame.f_back
        self._runners.discard(get_ident())
        return False

    def note_sleep(self, until_s: float) -> None:
        """Remember until when the own thread sleeps; only for the holder of the run lock."""
        self._sleeps_until_s = until_s

    def log_failures(self) -> None:
        """Log what failed that nobody waits for; for the own thread, without the run lock."""
        while self._failures:
            kind, failure = self._failures.popleft()
            extra = {"hermes_cache.actor": str(self._actor), "hermes_cache.message": kind}
            logger.error("hermes_cache.handler_failed", exc_info=failure, extra=extra)

    def close(self) -> None:
        """Refuse whatever is still there or comes; only for the holder of the run lock."""
        self.is_closed = True
        self._handle = self._refuse
        self._tokens.put(None)

    def die_in_child(self) -> None:
        """Close a forked copy: nobody runs it, and the thread that locked it may not exist here."""
        self._lock = threading.Lock()
        self._runners = set()
        self.close()

    def _await(self, awaited: MailboxFuture, most_looks: int | None) -> None:
        """Wait for another thread to answer; act for the own thread if that one cannot run."""
        looks = 0
        while not awaited.is_answered:
            if looks == most_looks:
                raise CallBlockedError(PATIENCE_S)
            looks += 1
            if sys.is_finalizing() or not self._actor.thread.ensure_running():
                self.run_until(awaited)
            else:
                awaited.wait_some(_LOOK_S)

    def _refuse(self, _message: object) -> None:
        raise pykka.ActorDeadError(f"{self._actor} stopped before it handled the message")

    def _handle_newcomers(self, awaited: MailboxFuture) -> None:
        for _ in range(MAX_NEWCOMERS):
            if not (self._envelopes and self._handle_head(awaited)):
                return

    def _handle_head(self, awaited: MailboxFuture) -> bool:
        """Handle the first envelope; false if that is left to the own thread."""
        # In this order, so that an exception thrown in at any moment leaves it in the queue, or in hand.
        envelope = self._in_hand = self._envelopes[0]
        self._envelopes.popleft()
        reply_to = envelope.reply_to
        try:
            if reply_to is None:
                if not self.is_closed:
                    self._handle(envelope.message)
            elif not reply_to.is_answered:  # type: ignore[attr-defined] # pykka knows no MailboxFuture
                reply_to.set(self._handle(envelope.message))
        except Exception as failure:  # noqa: BLE001 - the asker gets it
            if self._is_for_own_thread(failure) and reply_to is not awaited:
                self._envelopes.appendleft(envelope)
                self._in_hand = None
                return False
            if reply_to is not None:
                reply_to.set_exception()
            else:
                self._failures.append((type(envelope.message).__name__, failure))
        self._in_hand = None
        return True

    def _is_for_own_thread(self, failure: Exception) -> bool:
        return isinstance(failure, RecursionError | MemoryError) and not self._actor.thread.is_current

    def _settle_lost(self) -> None:
        """Tell the asker whose message was in hand when an exception was thrown into this thread."""
        lost, self._in_hand = self._in_hand, None
        if lost is None:
            return
        if self._envelopes and self._envelopes[0] is lost:
            self._envelopes.popleft()
        reply_to = lost.reply_to
        if reply_to is not None and not reply_to.is_answered:  # type: ignore[attr-defined] # pykka knows no MailboxFuture
            reply_to.set_exception((CallLostError, CallLostError(), None))


A = TypeVar("A", bound="MailboxActor")


class MailboxRef(pykka.ActorRef[A]):
    """pykka's reference, to an actor whose mailbox runs on the caller."""

    actor_inbox: Mailbox

    def __init__(self, actor: A) -> None:
        super().__init__(actor)
        self._thread = actor.thread

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the actor's own thread to end, which it does once the actor stopped; true if it did."""
        return self._thread.join(timeout_s)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and return its reply, or the future of it if not `block`; raises as `Mailbox.ask`."""
        if block:
            return self.actor_inbox.ask(message, timeout)
        return self.send(message, MailboxFuture())

    def send(self, message: Any, reply: MailboxFuture) -> MailboxFuture:
        """Send a message without waiting for any thread; return its reply, which the actor's own thread sets."""
        self.actor_inbox.put(Envelope(message, reply))
        return reply


class MailboxActor(pykka.Actor):
    """An actor with the mailbox of this module, one daemon thread for messages without an asker, and a timer.

    A handler that fails fails its asker alone; what fails for a `tell` is logged, and the actor lives on. It is
    not in pykka's registry, so that nobody else's `stop_all` stops it. In a forked child it is dead.

    Attributes:
        thread: The actor's own, which ends once the actor stopped.
        wake_at_s: The moment of the clock at which `on_wake` is due; handlers set it, `math.inf` is never.

    Source: rules L1 to L3, L6, L7.
    """

    actor_inbox: Mailbox

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.wake_at_s = math.inf
        self._clock = clock
        self.thread = KeptThread(self._actor_loop, f"hermes_cache.{type(self).__name__}")
        self._actor_ref = MailboxRef(self)
        self.actor_inbox.serve(self)
        after_fork_in_child(self._die_in_child)

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> MailboxRef[Self]:
        """Make an actor, run its `on_start` on this thread, and start its own thread."""
        actor = cls(*args, **kwargs)
        actor.begin()
        return cast("MailboxRef[Self]", actor.actor_ref)

    def begin(self) -> None:
        """Run `on_start` on this thread, and start the actor's own thread; `start` is this, with a reference."""
        try:
            self._run_in_mailbox("_actor_loop_setup")
        except BaseException:
            self.actor_stopped.set()
            raise
        finally:
            if self.actor_stopped.is_set():
                self.actor_inbox.close()
            self.thread.ensure_running()

    def on_wake(self) -> None:
        """Do what was due at `wake_at_s`, which is `math.inf` again; under the run lock, like a handler."""

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    @staticmethod
    def _create_future() -> MailboxFuture:
        return MailboxFuture()

    def _start_actor_loop(self) -> None:
        self.begin()

    def _actor_loop(self) -> None:
        while not self.actor_inbox.is_closed:
            try:
                self.actor_inbox.log_failures()
                self.actor_inbox.sleep(self._run_in_mailbox("_turn"))
            except BaseException:
                if not self.actor_inbox.is_closed:
                    logger.exception("hermes_cache.turn_failed", extra={"hermes_cache.actor": str(self)})
        self.thread.end()
        with contextlib.suppress(pykka.ActorDeadError):
            self._run_in_mailbox("_turn")
        self.actor_inbox.log_failures()

    def _turn(self) -> float:
        """Run the timer if it is due, and return how long the own thread may sleep."""
        now_s = self._clock()
        if self.wake_at_s <= now_s:
            self.wake_at_s = math.inf
            self.on_wake()
        self.actor_inbox.note_sleep(self.wake_at_s)
        return self.wake_at_s - now_s

    def _handle_receive(self, message: Any) -> Any:
        if type(message) in PYKKA_MESSAGES:
            return super()._handle_receive(message)
        return self.on_receive(message)

    def _run_in_mailbox(self, method: str) -> Any:
        future = MailboxFuture()
        self.actor_inbox._envelopes.append(Envelope(ProxyCall(attr_path=(method,), args=(), kwargs={}), future))  # noqa: SLF001 - its own
        self.actor_inbox.run_until(future)
        return future.get()

    def _stop(self) -> None:
        try:
            super()._stop()
        finally:
            self.actor_inbox.close()

    def _die_in_child(self) -> None:
        self.thread.forget()
        self.actor_inbox.die_in_child()
        # A new event: another thread of the parent may have held the lock of the old one.
        self.actor_stopped = threading.Event()
        self.actor_stopped.set()
        self.actor_ref.actor_stopped = self.actor_stopped
