"""The places of a feed: how far in its journal it was, at which of its numbers.

No lock: guarded by who holds it. Source: rule E8.
"""

from collections import deque

from hermes_cache.bus.feed_versions import FeedVersion
from hermes_cache.ports import Place


class Places:
    """Remembers the places that a feed came to, the newest of them.

    Args:
        remembered: Numbers of the feed that can be looked up, counted from its newest.
    """

    def __init__(self, remembered: int) -> None:
        # One more than the numbers: the oldest of these may have its place from before.
        self._noted: deque[tuple[int, Place]] = deque(maxlen=remembered + 1)

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return bool(self._noted)

    def note(self, place: Place, number: int) -> None:
        """Remember that all events up to a place were told at a feed's number, its newest.

        Another journal, or one that went back, forgets what came before.
        """
        last_number, last = self._noted[-1] if self._noted else (-1, place)
        if place.journal != last.journal or place.seq < last.seq:
            self._noted.clear()
        elif last_number == number:
            self._noted.pop()
        self._noted.append((number, place))

    def version(self, feed: str, number: int) -> FeedVersion:
        """Give the version of who has handled all up to a feed's number."""
        # From the newest: who asks is near it.
        for noted_number, place in reversed(self._noted):
            if noted_number <= number:
                return FeedVersion(feed, number, place.journal, place.seq, place.mark)
        return FeedVersion(feed, number)

    def number_behind(self, version: FeedVersion) -> int | None:
        """Give the feed's number at its last place, where a version's is one before it in the same journal."""
        if not self._noted:
            return None
        number, place = self._noted[-1]
        return number if version.journal == place.journal and version.seq <= place.seq else None
