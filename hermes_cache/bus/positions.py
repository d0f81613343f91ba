"""The positions of a feed: how far in its journal it was, at which of its numbers.

It has no lock: the feed that holds it guards it. Source: rule E8.
"""

from collections import deque

from hermes_cache.bus.feed_versions import FeedVersion
from hermes_cache.ports import Position


class Positions:
    """Remembers the positions that a feed came to, the newest of them.

    Args:
        remembered: Numbers of the feed that can be looked up, counted from its newest.
    """

    def __init__(self, remembered: int) -> None:
        # One more than the numbers: the oldest of these may have its position from before.
        self._noted: deque[tuple[int, Position]] = deque(maxlen=remembered + 1)

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return bool(self._noted)

    def note(self, position: Position, number: int) -> None:
        """Remember that all events up to a position were handed out at a feed's number, its newest.

        Another journal, or one that went back, forgets what came before.
        """
        last_number, last = self._noted[-1] if self._noted else (-1, position)
        if position.journal != last.journal or position.seq < last.seq:
            self._noted.clear()
        elif last_number == number:
            self._noted.pop()
        self._noted.append((number, position))

    def version(self, feed: str, number: int) -> FeedVersion:
        """Return the version of a subscriber that has handled all up to a feed's number."""
        # From the newest: most subscribers are near it.
        for noted_number, position in reversed(self._noted):
            if noted_number <= number:
                return FeedVersion(feed, number, position.journal, position.seq, position.mark)
        return FeedVersion(feed, number)

    def number_behind(self, version: FeedVersion) -> int | None:
        """Return the feed's number at its last position, if a version is an earlier one of the same journal."""
        if not self._noted:
            return None
        number, position = self._noted[-1]
        return number if version.journal == position.journal and version.seq <= position.seq else None
