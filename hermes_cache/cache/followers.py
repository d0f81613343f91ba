"""The followers of a cache, and the slot in which each finds what was delivered to it.

Source: rules R13, L6.
"""

from hermes_cache.core.effects import Served
from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.errors import CacheBusyError, HermesCacheError
from hermes_cache.threads.gates import Gate
from hermes_cache.threads.loops import Waker


class Slot:
    """Where what is delivered to a follower lies; the core knows a follower by it.

    Nothing is taken out, so an interrupt of the consumer loses nothing. Each change is one store of an attribute:
    any thread may deliver at any moment, and so may a finalizer.

    Attributes:
        served: The newest payload; None before the first.
        error: Why there is none that is newer; None if the newest payload came later.
        moved: Another object for each time that what is live moved.
        reach: The reach of the view.
    """

    __slots__ = ("_gate", "_waker", "error", "moved", "reach", "served")

    def __init__(self) -> None:
        self.served: Served | None = None
        self.error: HermesCacheError | None = None
        self.moved = object()
        self.reach: str | None = None
        self._gate = Gate()
        self._waker: Waker | None = None

    def take(self, answer: Served | HermesCacheError | None) -> None:
        """Keep what is delivered, and wake the consumer."""
        if isinstance(answer, Served):
            self.error = None
            self.served = answer
        elif isinstance(answer, HermesCacheError):
            self.error = answer
        else:
            self.moved = object()
        self.wake()

    def wake(self) -> None:
        """Let the consumer look."""
        self._gate.open()
        waker = self._waker
        if waker is not None:
            waker.wake()

    def arm(self, waker: Waker | None = None) -> Gate:
        """Return the gate that opens with the next delivery; to be called before the slot is looked at.

        Args:
            waker: Wakes the consumer if it is a coroutine.
        """
        self._waker = waker
        self._gate = gate = Gate()
        return gate


class Followers:
    """The followings of a cache that are open.

    Args:
        most: How many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._slots: dict[Slot, None] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def admit(self, slot: Slot) -> None:
        """Count one more.

        Raises:
            CacheBusyError: There are too many.
        """
        if len(self._slots) >= self._most:
            raise CacheBusyError("max_followers", self._most)
        self._slots[slot] = None

    def leave(self, slot: Slot) -> None:
        """Count one less; leaving twice is no error."""
        self._slots.pop(slot, None)

    def forget(self) -> None:
        """Count none any more: they belong to the process that this one was forked from."""
        self._slots.clear()

    def overlay_changed(self, profile: str | None) -> None:
        """Wake the followers of a profile's views, or of all (None), because what is live there changed."""
        for slot in list(self._slots):
            if profile is None or slot.reach in (profile, ALL_PROFILES):
                slot.take(None)
