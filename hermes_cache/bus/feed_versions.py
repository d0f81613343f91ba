"""The versions that subscribers resume with, and the positions of a feed in its journal, which they name.

No I/O, no clock. Source: rule E8.
"""

import re
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from hermes_cache.ports import Position

_DIGITS: Final = 19
"""A longer number does not fit the 64 bits of a journal's column."""

_NO_FEED: Final = "-"
"""Stands for a feed in a version that tells of its journal alone."""

_PLAIN_MARK: Final = re.compile(r"([\w-]{1,64}/)?[\w-]{1,32}:\d{1,18}", re.ASCII)
"""The ids of this library's events: a version stays so short that gateways take it, and has no signs to escape."""


@dataclass(frozen=True, slots=True)
class FeedVersion:
    """How far a subscriber has come: in one feed, and in the journal behind it.

    Attributes:
        feed: The name of the feed.
        number: Up to and with this one, all changes of the feed are handled.
        journal: The name of the journal; blank if there is none, or the feed's position in it is not known.
        seq: Up to and with this one, all events of that journal are handled.
        mark: The id of the event there, by which a restored journal is recognised; blank if it is not known. One
            that is long or odd, which another program wrote, is not written.
    """

    feed: str
    number: int
    journal: str = ""
    seq: int = 0
    mark: str = ""

    def __str__(self) -> str:
        in_feed = f"{self.feed}:{self.number}"
        if not self.journal:
            return in_feed
        mark = f".{self.mark.replace(':', '.')}" if _PLAIN_MARK.fullmatch(self.mark) else ""
        return f"{self.journal}:{self.seq}{mark}:{in_feed}"

    def in_journal_alone(self) -> "FeedVersion":
        """Return how far the subscriber has come in the journal, whatever feed it read."""
        return replace(self, feed=_NO_FEED, number=0)

    @classmethod
    def parse(cls, text: str) -> "FeedVersion":
        """Read what `str` wrote.

        Raises:
            ValueError: `text` is no version.
        """
        match text.rsplit(":", 3):
            case [feed, number] if feed:
                return cls(feed, _number(number))
            case [journal, position, feed, number] if journal and feed:
                seq, dot, mark = position.partition(".")
                return cls(feed, _number(number), journal, _number(seq), _mark(mark) if dot else "")
        raise ValueError(f"{text!r} is no version; it must look like 'feed:7' or 'journal:5.life.3:feed:7'")


class Positions:
    """Remembers how far in its journal a feed was at which of its numbers, for the newest of them.

    It has no lock: the feed that holds it guards it.

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


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _DIGITS):
        raise ValueError(f"{text!r} is no number of a version; it must have 1 to {_DIGITS - 1} digits")
    return int(text)


def _mark(text: str) -> str:
    mark = text.replace(".", ":")
    if not _PLAIN_MARK.fullmatch(mark):
        raise ValueError(f"{text!r} is no mark of a version; it must look like 'life.3'")
    return mark
