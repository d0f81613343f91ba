"""Numbers: which of one incarnation's events were applied, as ranges.

Events may come out of order, and some numbers never come, so the highest says nothing. Source: rules E1, J1.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

_MAX_RANGES: Final = 64
"""Ranges kept apart; past them the oldest hole counts as filled: what was missing there will not come any more."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A set of whole numbers.

    Attributes:
        ranges: First and last of each run, ascending, with a hole between any two.
    """

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self.ranges, (number, number))
        return any(first <= number <= last for first, last in self.ranges[max(0, at - 1) : at + 1])

    def with_number(self, number: int) -> "Numbers":
        """Return the set with one more."""
        if self.ranges and self.ranges[-1][1] == number - 1:
            return Numbers((*self.ranges[:-1], (self.ranges[-1][0], number)))
        if number in self:
            return self
        at = bisect_right(self.ranges, (number, number))
        before, after = self.ranges[:at], self.ranges[at:]
        first = last = number
        if before and before[-1][1] == number - 1:
            first, before = before[-1][0], before[:-1]
        if after and after[0][0] == number + 1:
            last, after = after[0][1], after[1:]
        return Numbers(_bounded((*before, (first, last), *after)))


def _bounded(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    if len(ranges) <= _MAX_RANGES:
        return ranges
    return ((ranges[0][0], ranges[1][1]), *ranges[2:])
