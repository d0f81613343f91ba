"""Splices: where two lists of rows differ, if the rows that stayed are the same objects.

No row is looked into. What is the same costs about 20 ns a row; only what differs costs more. No I/O here.
Source: rules O6, D3, E9.
"""

from collections import deque
from collections.abc import Sequence
from operator import is_
from typing import Final, NamedTuple

_MOST: Final = 16
"""Past so many splices the rest is one; each costs a copy of what is left."""

_MOST_AHEAD: Final = 8
"""Rows, in both lists together, within which a splice is looked for to end."""


class Splice(NamedTuple):
    """The rows of the older list from `start` to `end` became those of the newer one from `came` to `till`."""

    start: int
    end: int
    came: int
    till: int


def splices_between(older: Sequence[object], newer: Sequence[object]) -> list[Splice]:
    """Return the splices that turn one list into another, in order."""
    found: list[Splice] = []
    start = came = same_in_front(older, newer)
    while start < len(older) or came < len(newer):
        ahead = _ahead(older, newer, start, came) if len(found) < _MOST else None
        if ahead is None:
            behind = same_in_front(older[start:][::-1], newer[came:][::-1])
            return [*found, Splice(start, len(older) - behind, came, len(newer) - behind)]
        found.append(Splice(start, start + ahead[0], came, came + ahead[1]))
        start, came = start + ahead[0], came + ahead[1]
        same = same_in_front(older[start:], newer[came:])
        start, came = start + same, came + same
    return found


def splices_of(gone: Sequence[int], come: Sequence[int]) -> list[Splice]:
    """Return the splices of a list from which rows go and to which others come.

    Args:
        gone: Where the rows stand that go, in the older list; ascending.
        come: Where the new rows stand, in the newer list; ascending.
    """
    found: list[Splice] = []
    start = came = 0
    leaving, arriving = deque(gone), deque(come)
    while leaving or arriving:
        same = min([at[0] - now for at, now in ((leaving, start), (arriving, came)) if at])
        start, came = start + same, came + same
        end, till = _run_from(start, leaving), _run_from(came, arriving)
        found.append(Splice(start, end, came, till))
        start, came = end, till
    return found


def _run_from(at: int, indexes: deque[int]) -> int:
    while indexes and indexes[0] == at:
        indexes.popleft()
        at += 1
    return at


def same_in_front(older: Sequence[object], newer: Sequence[object]) -> int:
    """Return how many items both begin with that are the same objects."""
    same = list(map(is_, older, newer))
    return same.index(False) if False in same else len(same)


def _ahead(older: Sequence[object], newer: Sequence[object], start: int, came: int) -> tuple[int, int] | None:
    for total in range(1, _MOST_AHEAD + 1):
        for of_older in range(total + 1):
            at, other = start + of_older, came + total - of_older
            if at < len(older) and other < len(newer) and older[at] is newer[other]:
                return of_older, total - of_older
    return None
