"""The versions that subscribers resume with.

No I/O, no clock. Source: rule E8.
"""

from dataclasses import dataclass
from typing import Final

_DIGITS: Final = 19
"""A longer number does not fit the 64 bits of a journal's column."""


@dataclass(frozen=True, slots=True)
class FeedVersion:
    """How far a subscriber has come: in one feed, and in the journal behind it.

    Attributes:
        feed: Names the feed.
        number: Up to and with this one, all that the feed told is handled.
        journal: Names the journal; blank where there is none, or the feed's place in it is not known.
        seq: Up to and with this one, all events of that journal are handled.
    """

    feed: str
    number: int
    journal: str = ""
    seq: int = 0

    def __str__(self) -> str:
        in_feed = f"{self.feed}:{self.number}"
        return f"{self.journal}:{self.seq}:{in_feed}" if self.journal else in_feed

    @classmethod
    def parse(cls, text: str) -> "FeedVersion":
        """Read what `str` wrote.

        Raises:
            ValueError: `text` is no version.
        """
        match text.rsplit(":", 3):
            case [feed, number] if feed:
                return cls(feed, _number(number))
            case [journal, seq, feed, number] if journal and feed:
                return cls(feed, _number(number), journal, _number(seq))
        raise ValueError(f"{text!r} is no version; it must look like 'feed:number' or 'journal:seq:feed:number'")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _DIGITS):
        raise ValueError(f"{text!r} is no number of a version; it must have 1 to {_DIGITS - 1} digits")
    return int(text)
