"""What this process applied, in the form that agrees with all others; and the wait for an event of theirs.

Noting an event must cost a publisher next to nothing, so it is folded when somebody asks. The lock is re-entrant:
a signal handler may publish and ask while its thread holds it. Source: rules J1, J2, J8.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Final

from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.journal.agreed import AgreedState

_MAX_UNFOLDED: Final = 1_000
"""Past so many the next one folds them: 2 us each."""


class Applied:
    """The agreed state of a process. Any thread may call."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._agreed = AgreedState()
        self._unfolded: deque[AppliedEvent] = deque()
        self._since_prepared: deque[AppliedEvent] = deque(maxlen=0)
        self._wakers: tuple[Callable[[], None], ...] = ()

    @property
    def agreed(self) -> AgreedState:
        """The agreed state now."""
        with self._lock:
            events = [self._unfolded.popleft() for _ in range(len(self._unfolded))]
            if events:
                self._agreed = self._agreed.after(events)
            return self._agreed

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for an event."""
        return bool(self._wakers)

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
        # Folded now, or what was noted before would come on top too.
        self.agreed  # noqa: B018 - folds

    def restart(self, agreed: AgreedState) -> None:
        """Take over what a journal amounts to; what was noted since `prepare_restart` comes on top."""
        with self._lock:
            self._agreed = agreed.after(self._since_prepared.copy())
            self._since_prepared = deque(maxlen=0)

    def tell(self) -> None:
        """Wake who waits, to look again."""
        for wake in self._wakers:
            wake()

    def has(self, event_id: EventId) -> bool:
        """Say whether an event was applied."""
        return self.agreed.has(event_id)

    @contextmanager
    def awaited(self, wake: Callable[[], None]) -> Iterator[None]:
        """Have who waits for an event woken whenever it should look again; it is called from any thread."""
        waker = partial(wake)
        with self._lock:
            self._wakers = (*self._wakers, waker)
        try:
            yield
        finally:
            with self._lock:
                self._wakers = tuple([each for each in self._wakers if each is not waker])
