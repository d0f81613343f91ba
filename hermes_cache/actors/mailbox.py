"""An actor whose mailbox runs on the thread that asks.

A reply from another thread needs the interpreter lock handed over twice, up to 5 ms each beside a busy thread.
So a thread that asks does not wait for the actor's own: it puts its envelope in, takes the run lock, handles the
envelopes in their order, its own and those that came meanwhile, and gives the lock back. Where another thread
runs, that one does the work, and the asker waits for its answer, not for the lock: waiting for the lock makes a
convoy, in which every ask is a hand-over. Only a thread that tells, or that bounds its wait, leaves the work to
the actor's own thread. Still one thread at a time and strict first in, first out: the idea of libdispatch's
`dispatch_sync` and of flat combining (Hendler, Incze, Shavit and Tzafrir: Flat Combining and the
Synchronization-Parallelism Tradeoff, SPAA 2010). The laws:

- An envelope leaves the head of the queue only after it was answered, so whoever runs next repeats what an
  interrupt (any `BaseException`) cut short. The interrupted thread alone hears of it, and the own thread is woken.
  What is interrupted twice is dropped, and its asker told. Hence every message must be safe to run twice.
- The run lock is only ever taken by `with`. Signals are handled between certain bytecodes, after a call and at a
  jump back, never between the lock's entry and a plain store. So `_owner` names the holder wherever a signal
  handler can look, and an ask from inside the mailbox is told rather than left to wait for itself.
- Nobody waits for nobody. Who waits for an answer put the envelope in before it saw that the lock is held; who
  holds it looks again after giving it back, and wakes the own thread for what is left. That one waits for the
  lock itself, so it always comes.
- A look is a message that changes nothing. Where nobody is before it, it needs no envelope: holding the lock with
  an empty queue is being first in it.
- Closing needs no lock of its own. It is a flag, set while the lock is held. Who comes before it is handled or
  refused by the own thread's last turn; who comes after it sees the flag and refuses itself.
- The own thread is an asker like any other. Its message, a turn, runs the timer and tells how long to sleep, so a
  burst of messages bounds it like everybody else. It sleeps on a queue that signal handlers may put to.
"""

import contextlib
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any, Self, TypeVar, cast

import pykka
from pykka import messages
from pykka._envelope import Envelope
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from hermes_cache.actors.reply import MailboxFuture
from hermes_cache.errors import MailboxReentryError
from hermes_cache.forks import after_fork_in_child
from hermes_cache.logs import QuietLogger

logger = QuietLogger(__name__)

PYKKA_MESSAGES = frozenset({messages._ActorStop, ProxyCall, ProxyGetAttr, ProxySetAttr})  # noqa: SLF001
"""What pykka itself handles; one look here is four times as fast as its own four, which every ask would pay."""

MAX_NEWCOMERS = 100
"""How many messages a runner handles for others after its own: a bound, so that a flood holds nobody captive."""


class Mailbox:
    """The queue of an actor, and the right to run it."""

    def __init__(self) -> None:
        self.is_closed = False
        self._envelopes: deque[Envelope[Any]] = deque()
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._interrupted: Envelope[Any] | None = None
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._sleeps_until_s = -math.inf

    def serve(self, actor: "MailboxActor") -> None:
        """Name the actor whose handlers this mailbox runs."""
        self._actor = actor
        self._handle: Callable[[Any], Any] = actor._handle_receive  # noqa: SLF001 - pykka's own loop calls it too

    def put(self, envelope: Envelope[Any], /) -> None:
        """Add an envelope; one without a reply is left to the actor's own thread."""
        if envelope.reply_to is None:
            self._envelopes.append(envelope)
            self.wake()
            return
        envelope.reply_to.mailbox = self  # type: ignore[attr-defined] # pykka knows no MailboxFuture
        self._envelopes.append(envelope)

    def get(self) -> Envelope[Any]:
        """Take the envelope at the head; only for who holds the run lock."""
        return self._envelopes.popleft()

    def empty(self) -> bool:
        """Say whether there is nothing to handle."""
        return not self._envelopes

    def wake(self) -> None:
        """Have the actor's own thread take a turn; safe in a signal handler."""
        if self._tokens.empty():
            self._tokens.put(None)

    def sleep(self, wait_s: float) -> None:
        """Wait for a wake-up, at most so long; for the actor's own thread."""
        timeout_s = None if wait_s == math.inf else min(max(0.0, wait_s), threading.TIMEOUT_MAX)
        with contextlib.suppress(queue.Empty):
            self._tokens.get(timeout=timeout_s)

    def answer(self, awaited: MailboxFuture, timeout: float | None) -> None:
        """Get an envelope of this mailbox answered: by this thread, or by one that is at it.

        Raises:
            AskTimeoutError: There was no answer in time.
            MailboxReentryError: This thread is running the mailbox now.
        """
        if self._owner == get_ident():
            raise MailboxReentryError(str(self._actor))
        if self.is_closed or (timeout is None and not self._lock.locked()):
            self.run_until(awaited)
            return
        if timeout is not None:
            self.wake()
        awaited.wait(timeout)

    def run_until(self, awaited: MailboxFuture) -> None:
        """Handle envelopes in their order until one is answered, and those that came meanwhile."""
        runner = get_ident()
        try:
            with self._lock:
                self._owner = runner
                try:
                    while not awaited.is_answered:
                        self._handle_head()
                    self._handle_newcomers()
                finally:
                    self._owner = None
        finally:
            # Unanswered means interrupted. Nothing can come between the look and the token.
            if not awaited.is_answered or self._envelopes or self._actor.wake_at_s < self._sleeps_until_s:
                self._sleeps_until_s = self._actor.wake_at_s
                self._tokens.put(None)

    def is_free(self) -> bool:
        """Say whether a message that comes now has nobody before it."""
        return not (self._envelopes or self._lock.locked() or self.is_closed)

    def look(self, message: Any) -> Any:
        """Handle a message on this thread without an envelope, after those that came before it.

        For messages that change nothing: one that is interrupted is not repeated.
        """
        try:
            with self._lock:
                self._owner = get_ident()
                try:
                    if self._envelopes:
                        self._handle_newcomers()
                    return self._handle(message)
                finally:
                    self._owner = None
        finally:
            if self._envelopes:
                self._tokens.put(None)

    def note_sleep(self, until_s: float) -> None:
        """Remember until when the own thread sleeps; only for who holds the run lock."""
        self._sleeps_until_s = until_s

    def close(self) -> None:
        """Refuse whatever is still there or comes; only for who holds the run lock."""
        self.is_closed = True
        self._handle = self._refuse
        self.wake()

    def die_in_child(self) -> None:
        """Close a forked copy: nobody runs it, and who locked it may not exist here."""
        self._lock = threading.Lock()
        self._owner = None
        self.close()

    def _refuse(self, _message: object) -> None:
        raise pykka.ActorDeadError(f"{self._actor} stopped before it handled the message")

    def _handle_newcomers(self) -> None:
        for _ in range(MAX_NEWCOMERS):
            if not self._envelopes:
                return
            self._handle_head()

    def _handle_head(self) -> None:
        envelope = self._envelopes[0]
        reply_to = envelope.reply_to
        try:
            if reply_to is None:
                self._handle_tell(envelope.message)
            elif not reply_to.is_answered:  # type: ignore[attr-defined] # pykka knows no MailboxFuture
                reply_to.set(self._handle(envelope.message))
        except Exception:  # noqa: BLE001 - the asker is told
            if reply_to is not None:
                reply_to.set_exception()
        except BaseException:
            self._survive(envelope)
            raise
        self._envelopes.popleft()

    def _handle_tell(self, message: Any) -> None:
        if self.is_closed:
            return
        try:
            self._handle(message)
        except Exception:
            told = {"hermes_cache.actor": str(self._actor), "hermes_cache.message": type(message).__name__}
            logger.exception("hermes_cache.handler_failed", extra=told)

    def _survive(self, envelope: Envelope[Any]) -> None:
        """Keep an envelope that was interrupted once; drop it the second time."""
        if self._interrupted is not envelope:
            self._interrupted = envelope
            return
        if envelope.reply_to is not None:
            with contextlib.suppress(queue.Full):
                envelope.reply_to.set_exception()
        self._envelopes.popleft()


A = TypeVar("A", bound="MailboxActor")


class MailboxRef(pykka.ActorRef[A]):
    """pykka's reference, to an actor whose mailbox runs on the caller."""

    actor_inbox: Mailbox

    def __init__(self, actor: A) -> None:
        super().__init__(actor)
        self._thread = actor.thread

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the actor's own thread to end, which it does once the actor stopped; true if it did."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def look(self, message: Any) -> Any:
        """Ask what changes nothing: where nobody else is at the mailbox, it costs no more than its lock."""
        inbox = self.actor_inbox
        return inbox.look(message) if inbox.is_free() else self.ask(message)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and give its reply, or the future of it where not `block`."""
        future = MailboxFuture()
        self.actor_inbox.put(Envelope(message, future))
        if block:
            return future.get(timeout=timeout)
        self.actor_inbox.wake()
        return future


class MailboxActor(pykka.Actor):
    """An actor with the mailbox of this module, one daemon thread for what is told, and a timer.

    A handler that fails fails its asker alone; what fails for a `tell` is logged, and the actor lives on. It is
    not in pykka's registry, so that nobody else's `stop_all` stops it. In a forked child it is dead.

    Attributes:
        thread: The actor's own, which ends once the actor stopped.
        wake_at_s: The moment of the clock at which `on_wake` is due; handlers set it, `math.inf` is never.

    Source: rules L1 to L3.
    """

    actor_inbox: Mailbox

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.wake_at_s = math.inf
        self._clock = clock
        self.thread = threading.Thread(
            target=self._actor_loop, name=f"hermes_cache.{type(self).__name__}", daemon=True
        )
        self._actor_ref = MailboxRef(self)
        self.actor_inbox.serve(self)
        after_fork_in_child(self._die_in_child)

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> MailboxRef[Self]:
        """Make an actor, run its `on_start` on this thread, and start its own thread."""
        actor = cls(*args, **kwargs)
        actor._start_actor_loop()
        return cast("MailboxRef[Self]", actor.actor_ref)

    def on_wake(self) -> None:
        """Do what was due at `wake_at_s`, which is `math.inf` again; under the run lock, like a handler."""

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    @staticmethod
    def _create_future() -> MailboxFuture:
        return MailboxFuture()

    def _start_actor_loop(self) -> None:
        try:
            self._run_in_mailbox("_actor_loop_setup")
        except BaseException:
            self.actor_stopped.set()
            raise
        finally:
            if self.actor_stopped.is_set():
                self.actor_inbox.close()
            self.thread.start()

    def _actor_loop(self) -> None:
        while not self.actor_inbox.is_closed:
            try:
                self.actor_inbox.sleep(self._run_in_mailbox("_turn"))
            except BaseException:
                if not self.actor_inbox.is_closed:
                    logger.exception("hermes_cache.turn_failed", extra={"hermes_cache.actor": str(self)})
        with contextlib.suppress(pykka.ActorDeadError):
            self._run_in_mailbox("_turn")

    def _turn(self) -> float:
        """Run the timer where it is due, and tell how long the own thread may sleep."""
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
        self.actor_inbox.put(Envelope(ProxyCall(attr_path=(method,), args=(), kwargs={}), future))
        self.actor_inbox.run_until(future)
        return future.get()

    def _stop(self) -> None:
        try:
            super()._stop()
        finally:
            self.actor_inbox.close()

    def _die_in_child(self) -> None:
        self.actor_inbox.die_in_child()
        # A new event: another thread of the parent may have held the lock of the old one.
        self.actor_stopped = threading.Event()
        self.actor_stopped.set()
        self.actor_ref.actor_stopped = self.actor_stopped
