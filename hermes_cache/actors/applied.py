"""What this process applied, in the form that agrees with all others; and the wait for an event of theirs.

Noting an event must cost a publisher next to nothing, so it is folded when somebody asks. The lock is re-entrant:
a signal handler may publish and ask while its thread holds it. Source: rules J1, J2, J8.
"""

from collections import deque
from collections.abc import Callable
from threading import Condition
from typing import Final

from hermes_cache.core.agreed import AgreedState
from hermes_cache.core.events import AppliedEvent, EventId

_MAX_UNFOLDED: Final = 1_000
"""Past so many the next one folds them: 2 us each."""


class Applied:
    """The agreed state of a process. Any thread may call."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._agreed = AgreedState()
        self._unfolded: deque[AppliedEvent] = deque()
        self._since_prepared: deque[AppliedEvent] = deque(maxlen=0)
        self._waiting = 0

    @property
    def agreed(self) -> AgreedState:
        """The agreed state now."""
        with self._changed:
            events = [self._unfolded.popleft() for _ in range(len(self._unfolded))]
            if events:
                self._agreed = self._agreed.after(events)
            return self._agreed

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for an event."""
        return self._waiting > 0

    def note(self, event: AppliedEvent) -> None:
        """Note an event; who waits for one is woken by `tell`."""
        # In this order: a restart between the two must find it in one of them.
        self._since_prepared.append(event)
        self._unfolded.append(event)
        if len(self._unfolded) > _MAX_UNFOLDED:
            self.agreed  # noqa: B018 - folds

    def prepare_restart(self) -> None:
        """Remember what is noted from now on, for `restart`: it may be said while the journal is read."""
        self._since_prepared = deque(maxlen=_MAX_UNFOLDED)

    def restart(self, agreed: AgreedState) -> None:
        """Take over what a journal amounts to; what was noted since `prepare_restart` comes on top."""
        with self._changed:
            self._agreed = agreed.after(self._since_prepared.copy())
            self._since_prepared = deque(maxlen=0)
            self._changed.notify_all()

    def tell(self) -> None:
        """Wake who waits, to look again."""
        with self._changed:
            self._changed.notify_all()

    def has(self, event_id: EventId) -> bool:
        """Say whether an event was applied."""
        return self.agreed.has(event_id)

    def wait_for(
        self, event_id: EventId, timeout_s: float, *, unless: Callable[[], bool], began: Callable[[], None]
    ) -> bool:
        """Wait until an event was applied.

        Args:
            event_id: Which.
            timeout_s: Seconds that it may take.
            unless: Ends the wait early: it cannot come any more.
            began: Called once `is_awaited` tells of this wait.
        """
        with self._changed:
            self._waiting += 1
            try:
                began()
                self._changed.wait_for(lambda: self.has(event_id) or unless(), timeout_s)
            finally:
                self._waiting -= 1
            return self.has(event_id)
