"""The journal's writer: commits what was published, in groups, on a thread of its own.

A publisher puts its event in and may wait until it is committed; whoever put theirs in meanwhile is committed in
the same transaction. A journal that cannot be reached makes nobody wait: events stay in a bounded buffer and are
written when it is back. What did not fit is told as lost, once, by who owns the writer. An append whose outcome
is not known is done again, since a journal keeps each event once. Source: rules J3, J5.
"""

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Final, TypeAlias

import pykka

from hermes_cache.actors.mailbox import MailboxActor
from hermes_cache.core.events import AppliedEvent, EventId, SettingsChanged, StreamStarted, StreamStopped
from hermes_cache.errors import JournalDamagedError, JournalError, JournalSetupError, JournalUnavailableError
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Clock, Journal
from hermes_cache.threads import Gate

logger = QuietLogger(__name__)

_GROUP: Final = 500
"""Events in one transaction: past it there is nothing more to gain, and the others wait."""

_MAX_BUFFERED: Final = 10_000
_MAX_BUFFERED_STREAMS: Final = 20_000
"""Events that wait for a journal that is away. One unscoped event stands for lost ones later, but for no stop."""

_MAX_GIVEN_UP: Final = 10_000
"""Numbers of events that are remembered as given up; whether an older one was is not known any more."""

_FIRST_PAUSE_S: Final = 0.05
_MAX_PAUSE_S: Final = 1.0
"""After a failure: who waits for the journal's return hears of it soon, and it is not hammered meanwhile."""


class Commit:
    """What becomes of one event, and the wait for it.

    Attributes:
        outcome: True, false, or None while that is not known.
    """

    __slots__ = ("_settled", "outcome")

    def __init__(self) -> None:
        self.outcome: bool | None = None
        self._settled = Gate()

    def settle(self, *, outcome: bool | None) -> None:
        """Let the publisher go on, with what is known now; for the writer's thread alone."""
        self.outcome = outcome
        self._settled.open()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the publisher may go on; say whether it may."""
        return self._settled.wait(timeout_s)


_Buffered: TypeAlias = tuple[AppliedEvent, Commit]


@dataclass(frozen=True, slots=True)
class Flush:
    """Write what is in the buffer; `now`: also where a failure says to pause."""

    now: bool = False


class JournalWriter(MailboxActor):
    """Writes events to a journal.

    Args:
        journal: Where.
        clock: For the pauses after failures.
        wait_s: How long a publisher waits for its commit at most.
        on_loss: Called on the writer's thread once the journal is back, where events did not fit meanwhile; told
            whether settings changed among them.

    Attributes:
        failure: Why the last append failed; None where it did not.
        pending: How many events are not committed.
    """

    def __init__(self, journal: Journal, *, clock: Clock, wait_s: float, on_loss: Callable[[bool], None]) -> None:
        super().__init__(clock=clock.monotonic_s)
        self.failure: str | None = None
        self._journal = journal
        self._wait_s = wait_s
        self._on_loss = on_loss
        self._buffer: deque[_Buffered] = deque()
        self._lost_events = False
        self._lost_settings = False
        self._late = False
        self._pause_s = 0.0
        self._given_up: deque[EventId] = deque(maxlen=_MAX_GIVEN_UP)

    @property
    def pending(self) -> int:
        """How many events wait to be committed."""
        return len(self._buffer)

    def uncommitted(self) -> list[AppliedEvent]:
        """Return the events that wait to be committed, oldest first."""
        return [event for event, _ in self._buffer.copy()]

    def commit_of(self, event_id: EventId) -> Commit | None:
        """Return what becomes of an event that waits to be committed; None if it does not wait."""
        return next((commit for event, commit in self._buffer.copy() if event.id == event_id), None)

    def gave_up(self, event_id: EventId) -> bool | None:
        """Say whether an event is lost to the journal; None if that is not remembered."""
        given_up = self._given_up.copy()
        if len(given_up) == _MAX_GIVEN_UP and event_id.number < given_up[0].number:
            return None
        return event_id in given_up

    def put(self, event: AppliedEvent) -> Callable[[], bool | None]:
        """Take an event; what this gives waits for its commit and says whether it came. Neither raises."""
        commit = Commit()
        is_stream = isinstance(event, StreamStarted | StreamStopped)
        if len(self._buffer) >= (_MAX_BUFFERED_STREAMS if is_stream else _MAX_BUFFERED):
            self._lose(event, commit)
            return lambda: False
        self._buffer.append((event, commit))
        # One for each event, and no flag that says that one is on its way: what is in the buffer is flushed,
        # whatever happens to the thread that put it there. Stopped meanwhile: the last flush may still take it.
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_ref.tell(_FLUSH)
        # Once somebody waited in vain, a journal that hangs is known to be away before it says so.
        if is_stream or not self._wait_s or self._late:
            return lambda: commit.outcome
        return lambda: self._wait(commit)

    def on_receive(self, message: object) -> None:
        """Write, unless a failure says to pause."""
        if isinstance(message, Flush) and (message.now or self.failure is None):
            self._flush()

    def on_wake(self) -> None:
        """Try again."""
        self._flush()

    def _wait(self, commit: Commit) -> bool | None:
        if self.failure is None:
            self._late = not commit.wait(self._wait_s)
        return commit.outcome

    def _flush(self) -> None:
        while self._write() and (self._lost_events or self._lost_settings):
            settings, self._lost_settings = self._lost_settings, False
            self._lost_events = False
            self._on_loss(settings)

    def _write(self) -> bool:
        """Write what is in the buffer; false where the journal cannot be reached now."""
        while self._buffer:
            group = list(islice(self._buffer, _GROUP))
            if not self._append(group):
                return False
            for _ in group:
                self._buffer.popleft()
        return True

    def _append(self, group: list[_Buffered]) -> bool:
        """Write a group; false where the journal cannot be reached now."""
        try:
            self._journal.append([event for event, _ in group])
        except (JournalUnavailableError, JournalDamagedError, JournalSetupError) as failure:
            self._fail(failure)
            return False
        except JournalError as refusal:
            if len(group) > 1:
                return all(self._append([one]) for one in group)
            self._refuse(*group[0], refusal)
            # It answered, so it is there: what comes next is written at once.
            self._succeed([])
            return True
        except Exception as failure:  # noqa: BLE001 - a user's journal; logged by `_fail`
            self._fail(failure)
            return False
        self._succeed(group)
        return True

    def _succeed(self, group: list[_Buffered]) -> None:
        if self.failure is not None:
            logger.info("hermes_cache.journal_written_again", extra={"hermes_cache.pending": self.pending})
        self.failure, self._pause_s = None, 0.0
        self.wake_at_s = inf
        self._late = False
        for _, commit in group:
            commit.settle(outcome=True)

    def _fail(self, failure: Exception) -> None:
        if self.failure is None:
            logger.warning("hermes_cache.journal_not_written", exc_info=failure)
        self._pause_s = min(max(_FIRST_PAUSE_S, 2 * self._pause_s), _MAX_PAUSE_S)
        self.wake_at_s = self._clock() + self._pause_s
        self.failure = str(failure)
        for _, commit in self._buffer.copy():
            commit.settle(outcome=None)

    def _refuse(self, event: AppliedEvent, commit: Commit, refusal: JournalError) -> None:
        extra = {"hermes_cache.event_id": str(event.id)}
        logger.error("hermes_cache.event_not_kept", exc_info=refusal, extra=extra)
        self._lose(event, commit)

    def _lose(self, event: AppliedEvent, commit: Commit) -> None:
        self._given_up.append(event.id)
        commit.settle(outcome=False)
        # Each is only ever set here, so that of two publishers neither undoes what the other says.
        if isinstance(event, SettingsChanged):
            self._lost_settings = True
        else:
            self._lost_events = True


_FLUSH: Final = Flush()
