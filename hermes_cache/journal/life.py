"""One life of a process's part in a journal: the threads that follow and write it, from a start to a stop.

Whether there is something to check, and what a wait amounts to, the member's state says; `checks.py` says on which
thread. Source: rules J1, J3, J5, J8, L1.
"""

import contextlib
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, TypeVar

from hermes_cache.core.events import EventId
from hermes_cache.core.policy import Policy
from hermes_cache.errors import CacheStoppedError, JournalUnavailableError, NoThreadError
from hermes_cache.journal.checks import Checks
from hermes_cache.journal.follower import Follower
from hermes_cache.journal.member import AWAY_AFTER_S, JournalStatus, MemberState
from hermes_cache.journal.tail import Tail
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Clock, Journal
from hermes_cache.threads.aside import aside
from hermes_cache.threads.calls import Call
from hermes_cache.threads.gates import Gate
from hermes_cache.threads.kept_thread import KeptThread
from hermes_cache.threads.loops import Waker
from hermes_cache.threads.pool import Threads

logger = QuietLogger(__name__)

T = TypeVar("T")

_PATIENCE_S: Final = AWAY_AFTER_S
"""How long a read waits for the journal at most: a check takes milliseconds, and a lock is let go before."""

_LOOK_AGAIN_S: Final = 0.25
"""A journal that hangs wakes nobody, so a wait for an event looks now and then whether that may still come."""

_MOST_INQUIRIES: Final = 32
"""A journal that hangs keeps so many threads, and no more."""


class JournalWriter:
    """Appends on a thread of its own, in groups: what is put meanwhile is committed together."""

    def __init__(self, follower: Follower, clock: Clock) -> None:
        self._follower = follower
        self._clock = clock
        self._bell: SimpleQueue[Gate | None] = SimpleQueue()
        self._is_over = False
        self.thread = KeptThread(self._run, "hermes_cache.journal_writer")

    def wake(self) -> None:
        """Have what is in the buffer written, unless a failure says to pause.

        Each event rings, and no flag says that somebody did: so what is in the buffer is written, whatever happens
        to the thread that put it there.
        """
        self._bell.put(None)
        self.thread.ensure_running()

    def flush(self, timeout_s: float) -> bool:
        """Have what is in the buffer written now; say whether the writer was done in time."""
        done = Gate()
        self._bell.put(done)
        if not self.thread.ensure_running() and not self.thread.is_alive:
            # The machine refuses a thread, or the interpreter ends.
            self._write_when_rung()
        return done.wait(timeout_s)

    def end(self) -> None:
        """End the thread once it is back."""
        self._is_over = True
        self.thread.end()
        self._bell.put(None)

    def _run(self) -> None:
        while not self._is_over:
            try:
                self._write_when_rung()
            except BaseException:
                # Foreign code that ends its thread would leave all events unwritten.
                logger.warning("hermes_cache.journal_not_written", exc_info=True)

    def _write_when_rung(self) -> None:
        again_s = self._follower.state.write_at_s - self._clock.monotonic_s()
        rung: list[Gate | None] = []
        with contextlib.suppress(Empty):
            rung.append(self._bell.get(timeout=None if again_s == inf else max(0.0, again_s)))
            while True:
                rung.append(self._bell.get_nowait())
        waiting = [gate for gate in rung if gate is not None]
        try:
            self._follower.write(now=bool(waiting))
        finally:
            for gate in waiting:
                gate.open()


class _Inquiries:
    """Questions to the journal on threads of their own, as the journal may hang and its callers may not.

    Two that ask the same share one call.
    """

    def __init__(self) -> None:
        self._threads = Threads("hermes_cache.inquiry", _MOST_INQUIRIES)
        self._out: dict[Hashable, Call[Any]] = {}

    def about(self, name: Hashable, ask: Callable[[], T]) -> Call[T]:
        """Begin an inquiry, or join the one of that name that is out; it has no result if there are too many."""
        call = Call(ask)
        if len(self._out) >= _MOST_INQUIRIES and name not in self._out:
            call.fail(JournalUnavailableError("too many questions wait for the journal; try again"))
            return call
        out = self._out.setdefault(name, call)
        if out is call:
            call.when_over(lambda: self._out.pop(name, None))
            try:
                self._threads.run(call)
            except NoThreadError as refused:
                call.fail(refused)
        return out

    def stop(self) -> None:
        """End the threads, but those that hang."""
        self._threads.stop(0.0)


class JournalLife:
    """The running parts; nothing runs before `start`.

    Args:
        journal: The journal that is shared.
        follower: Knows how this process stands to it.
        policy: The bounds and spans.
        clock: The time.
        is_listening: Says whether somebody waits for what others say.
    """

    def __init__(
        self,
        journal: Journal,
        follower: Follower,
        policy: Policy,
        clock: Clock,
        *,
        is_listening: Callable[[], bool],
    ) -> None:
        self.journal = journal
        self.follower = follower
        self._clock = clock
        self._writer = JournalWriter(follower, clock)
        self._checks = Checks(follower)
        self._tail = Tail(
            journal,
            follower,
            clock,
            policy,
            check=lambda: self._checks.run_in_turn(clock.monotonic_s()),
            is_listening=lambda: follower.is_awaited or is_listening(),
        )
        self._checks_at_reads = journal.level == "host"
        self._inquiries = _Inquiries()
        self._stopped = False

    def start(self) -> None:
        """Begin to write to the journal; `follow` begins to read it."""
        self._writer.thread.ensure_running()

    def follow(self) -> None:
        """Follow the journal from now on, if it is not followed already."""
        self._tail.begin()

    def do_without_threads(self) -> None:
        """Let whoever asks do everything on its own thread, instead of `start`; for simulations."""
        self._writer.thread.end()
        self._tail.end()
        self._checks.has_threads = False

    @property
    def state(self) -> MemberState:
        """What this process knows of the journal."""
        return self.follower.state

    @property
    def status(self) -> JournalStatus:
        """How the process stands to the journal."""
        writer = self._writer.thread
        missing = self._tail.missing_threads | ({writer.name} if writer.is_missing else set())
        return replace(self.state.status(self._clock.monotonic_s()), missing_threads=missing)

    def wake_writer(self) -> None:
        """Have the writer write what is in the buffer."""
        self._writer.wake()

    def inquire_commit(self, event_id: EventId, *, own: bool, timeout_s: float) -> Call[bool | None]:
        """Do what `await_commit` does on another thread; there is a bound for those."""
        wait = partial(self.await_commit, event_id, own=own, timeout_s=timeout_s)
        return self._inquiries.about(("commit", event_id), wait)

    def await_commit(self, event_id: EventId, *, own: bool, timeout_s: float) -> bool | None:
        """Say whether an event is in the journal; wait, or ask the journal, if memory does not know (J8)."""
        ends_at_s = monotonic() + timeout_s
        commit = self.follower.commit_of(event_id) if own else None
        if commit is not None:
            commit.gate.wait(timeout_s)
        known = self.state.committed(event_id, own=own)
        if known is not None or own:
            return known
        try:
            if self.journal.seq_of(event_id) is not None:
                return True
            return self.await_event(event_id, inf, ends_at_s - monotonic()) or None
        except Exception:  # noqa: BLE001 - a user's own journal may raise anything: nothing is known
            return None

    def follow_closely(self) -> None:
        """Wait for news rather than look now and then: somebody began to listen."""
        self._tail.wake()

    def is_current(self, interval_s: float) -> bool:
        """Say whether a read that begins now needs no check; a look into memory, no more (J3).

        Args:
            interval_s: How old the last check may be.
        """
        self._tail.read_s = now_s = self._clock.monotonic_s()
        state = self.state
        if state.position is None:
            # What is built before the process has its position is missed by all that others say meanwhile.
            return False
        if not self._checks_at_reads:
            # Without the tail nobody hears of anything; `catch_up` sees to it.
            return not self._tail.missing_threads
        return state.is_current(now_s, interval_s)

    def join(self, patience_s: float = _PATIENCE_S) -> bool:
        """Wait for the process to have its position in the journal; false if it goes on without."""
        return self.follower.joined.wait(min(patience_s, _PATIENCE_S))

    def catch_up(self, interval_s: float, patience_s: float, *, bounded: bool) -> None:
        """Apply what others said before now, if that can be known at a read (J3).

        Args:
            interval_s: How old the last check may be.
            patience_s: How long the read can wait for it.
            bounded: Whether the read has a bound of its own.
        """
        self._tail.begin()
        failing = self.state.read_failure is not None
        if self.state.position is None and (failing or not self.join(patience_s)):
            aside.do(self.follower.serve_without)
            return
        if self._checks_at_reads and not self._is_away():
            self._check(self._clock.monotonic_s() - interval_s, patience_s, bounded=bounded)

    def insist(self, lease_s: float, patience_s: float, *, bounded: bool) -> None:
        """See that a read which insists on freshness may be served (J5).

        Args:
            lease_s: For how long nothing may have been heard of the journal.
            patience_s: How long the read can wait.
            bounded: Whether the read has a bound of its own.

        Raises:
            JournalUnavailableError: Nothing was heard of the journal for longer than the lease.
        """
        self._tail.begin()
        # A process that was suspended is not cut off before it has looked.
        now_s = self._clock.monotonic_s()
        is_silent = self.state.silence(now_s, lease_s) is not None
        if (self._checks_at_reads or is_silent) and not self._is_away():
            self._check(now_s, patience_s, bounded=bounded)
        self._see_to_lease(lease_s)

    def has(self, event_id: EventId, patience_s: float) -> bool:
        """Say whether another process's event is applied here; it may ask the journal (J8).

        Args:
            event_id: The event.
            patience_s: How long the read can wait for the journal's answer.
        """
        state = self.state
        if state.has(event_id):
            return True
        if state.position is None or state.read_failure is not None:
            return False
        # So many ids are remembered; the journal knows the position of all that it keeps.
        asked = self._inquiries.about(("seq", event_id), partial(self._seq_of, event_id))
        asked.wait(patience_s)
        seq = asked.found()
        return seq is not None and seq <= state.position.seq

    def await_event(self, event_id: EventId, lease_s: float, timeout_s: float) -> bool:
        """Wait until another process's event is applied here; false if it was not in time (J8).

        Raises:
            JournalUnavailableError: It cannot come: nothing was heard of the journal for longer than the lease.
        """
        # No Event: its inner lock may be held by the call that a signal handler interrupts.
        woken: SimpleQueue[None] = SimpleQueue()
        ends_at_s = monotonic() + timeout_s
        with self.follower.awaited(partial(woken.put, None)):
            self._tail.wake()
            while not self._arrived(event_id, lease_s):
                left_s = ends_at_s - monotonic()
                if left_s <= 0:
                    return False
                with contextlib.suppress(Empty):
                    woken.get(timeout=min(left_s, _LOOK_AGAIN_S))
        return True

    async def aawait_event(self, event_id: EventId, lease_s: float, timeout_s: float) -> bool:
        """Do what `await_event` does without blocking the event loop."""
        waker, ends_at_s = Waker(), monotonic() + timeout_s
        with self.follower.awaited(waker.wake):
            self._tail.wake()
            while not self._arrived(event_id, lease_s):
                left_s = ends_at_s - monotonic()
                if left_s <= 0:
                    return False
                await waker.wait(min(left_s, _LOOK_AGAIN_S))
        return True

    def flush(self, timeout_s: float) -> bool:
        """Write what is not written; say whether all was in time, and log how much was not."""
        self._writer.flush(timeout_s)
        pending = len(self.state.buffer)
        if pending:
            logger.error("hermes_cache.events_not_written", extra={"hermes_cache.pending": pending})
        return not pending

    def stop(self, timeout_s: float, *, close: bool) -> bool:
        """Write what is not written, and end all threads; say whether they ended in time.

        Args:
            timeout_s: Seconds, in all.
            close: Whether the journal is to be closed too.
        """
        ends_at_s = self._clock.monotonic_s() + timeout_s

        def left_s() -> float:
            return max(0.0, ends_at_s - self._clock.monotonic_s())

        self._stopped = True
        self.follower.wake()
        self.flush(left_s())
        self._tail.end()
        self._inquiries.stop()
        if close:
            self.journal.close()
        self._writer.end()
        ended = [self._checks.stop(left_s()), self._tail.join(left_s()), self._writer.thread.join(left_s())]
        return all(ended)

    def _seq_of(self, event_id: EventId) -> int | None:
        try:
            return self.journal.seq_of(event_id)
        except Exception:
            # A user's own may raise anything; the wait that follows finds out whether the event comes.
            logger.warning("hermes_cache.journal_not_asked", exc_info=True)
            return None

    def _check(self, since_s: float, patience_s: float, *, bounded: bool) -> None:
        until_s = self._clock.monotonic_s() + patience_s
        self._checks.run(since_s, until_s, min(patience_s, _PATIENCE_S), here=not bounded)

    def _is_away(self) -> bool:
        return self.state.is_away(self._clock.monotonic_s())

    def _arrived(self, event_id: EventId, lease_s: float) -> bool:
        if self.state.has(event_id):
            return True
        if self._stopped:
            raise CacheStoppedError
        self._see_to_lease(lease_s)
        return False

    def _see_to_lease(self, lease_s: float) -> None:
        silence = self.state.silence(self._clock.monotonic_s(), lease_s)
        if silence is not None:
            raise JournalUnavailableError(f"{silence}; read with freshness='default' or try again once it is back")
