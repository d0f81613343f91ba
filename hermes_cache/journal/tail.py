"""The tail: a thread that waits for news of the journal, and has it checked.

While somebody listens it waits for the journal to wake it, which with some journals means to look very often. Else
it looks now and then; while reads are dense often enough that no reader has to. Now and then it compacts.
What a journal or a log handler raises ends nothing here. Source: rules J3, J6, L7.
"""

import contextlib
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from hermes_cache.core.policy import Policy
from hermes_cache.errors import JournalUnavailableError
from hermes_cache.journal.follower import Follower
from hermes_cache.journal.snapshots import fold_snapshot
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Clock, Journal
from hermes_cache.threads.kept_thread import KeptThread

logger = QuietLogger(__name__)

_POLL_S: Final = 0.25
"""How long a lost notification may stay unnoticed, and how long a stop may have to wait."""

_FIRST_PAUSE_S: Final = 0.05
_MAX_PAUSE_S: Final = 1.0
"""The pauses while the journal cannot be reached."""

_DENSE_S: Final = 1.0
"""A process that read within it will read again."""

_COMPACT_EVERY_S: Final = 600.0
_SURPLUS: Final = 10
"""A journal over its bound is compacted once it grew by a tenth of it, not at each event."""


class _Bell:
    """Wakes the one that waits for it; may be rung anywhere, in a signal handler too: no lock of ours is held."""

    def __init__(self) -> None:
        self._rings: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        if self._rings.empty():
            self._rings.put(None)

    def wait(self, timeout_s: float) -> None:
        with contextlib.suppress(Empty):
            self._rings.get(timeout=timeout_s)

    def hush(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._rings.get_nowait()


class Tail:
    """Follows a journal from its start to its stop.

    Args:
        journal: The journal that is followed.
        follower: Knows how far it was read.
        clock: The time.
        policy: How often, and what is compacted.
        check: Has the journal checked.
        is_listening: Says whether somebody waits for news now.

    Attributes:
        read_s: When the journal was last read through; whoever does notes it.
    """

    def __init__(
        self,
        journal: Journal,
        follower: Follower,
        clock: Clock,
        policy: Policy,
        *,
        check: Callable[[], None],
        is_listening: Callable[[], bool],
    ) -> None:
        self.read_s = clock.monotonic_s()
        self._journal = journal
        self._follower = follower
        self._clock = clock
        self._policy = policy
        self._check = check
        self._is_listening = is_listening
        self._stopping = False
        self._ended = _Bell()
        self._woken = _Bell()
        self._pause_s = 0.0
        self._compacted_s = self.read_s
        self._compacted_seq: int | None = None
        self._thread = KeptThread(self._run, "hermes_cache.tail")

    @property
    def missing_threads(self) -> frozenset[str]:
        """The name of its thread, if that should run and does not."""
        return frozenset({self._thread.name} if self._thread.is_missing else ())

    def begin(self) -> None:
        """Begin to follow, or go on if the thread ended."""
        self._thread.ensure_running()

    def end(self) -> None:
        """Follow no longer than the journal makes it wait."""
        self._thread.end()
        self._stopping = True
        self._ended.ring()
        self._woken.ring()

    def wake(self) -> None:
        """Look now, and see whether somebody listens."""
        self._woken.ring()
        self._thread.ensure_running()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; say whether it did in time."""
        return self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping:
            try:
                if self._go_on():
                    self._pause_s = 0.0
                    continue
            except JournalUnavailableError:
                # The check that comes next tells of it, or finds the journal back.
                pass
            except BaseException:
                # Foreign code that ends its thread would end all news here, for everybody.
                logger.warning("hermes_cache.journal_not_followed", exc_info=True)
            self._pause_s = min(max(_FIRST_PAUSE_S, 2 * self._pause_s), _MAX_PAUSE_S)
            self._ended.wait(self._pause_s)

    def _go_on(self) -> bool:
        """Have the journal checked and wait for news; false if it cannot be read."""
        self._check()
        if self._follower.state.read_failure is not None:
            return False
        self._compact_when_due()
        self._wait()
        return True

    def _wait(self) -> None:
        patience_s = self._patience_s()
        if self._journal.level == "host" and not self._is_listening():
            self._woken.wait(patience_s)
        else:
            self._journal.wait(self._follower.state.seen, timeout_s=patience_s)
        self._woken.hush()

    def _patience_s(self) -> float:
        """Return the time to wait: while it is read densely, so short that no reader has to check (J3)."""
        interval_s = self._policy.journal_interval
        if self._journal.level != "host" or not interval_s:
            return _POLL_S
        dense = self._clock.monotonic_s() - self.read_s < _DENSE_S
        return min(interval_s / 2, _POLL_S) if dense else _POLL_S

    def _compact_when_due(self) -> None:
        position = self._follower.state.position
        now_s, seq = self._clock.monotonic_s(), position.seq if position else 0
        if self._compacted_seq is None:
            self._compacted_seq = seq
        grown = (seq - self._compacted_seq) * _SURPLUS > self._policy.journal_max_events
        if not grown and now_s - self._compacted_s < _COMPACT_EVERY_S:
            return
        self._compacted_s, self._compacted_seq = now_s, seq
        before_s = self._clock.wall_s() - self._policy.journal_max_age
        dropped = self._journal.compact(
            fold_snapshot, before_s=before_s, max_events=self._policy.journal_max_events
        )
        if dropped:
            logger.info("hermes_cache.journal_compacted", extra={"hermes_cache.dropped": dropped})
