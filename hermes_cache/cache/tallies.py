"""Tallies: what the reads of each key got since the payload that it holds was built.

Written by whoever runs the mailbox, and read from any thread. Source: rule J7.
"""

from collections import Counter
from collections.abc import Hashable
from typing import Final

_MOST: Final = 1_024
"""Keys come from outside: past so many, the one that was counted first is forgotten."""


class Tallies:
    """Counts outcomes by key; another payload begins another count."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, tuple[int, Counter[str]]] = {}

    def add(self, key: Hashable, build_id: int, outcome: str, times: int = 1) -> None:
        """Count reads of a key.

        Args:
            key: Which.
            build_id: Of the payload that is held; 0 where none is.
            outcome: What they got.
            times: How many they were.
        """
        counted_for, counts = self._counts.get(key, (build_id, None))
        if counts is None or counted_for != build_id:
            counts = Counter()
            self._counts[key] = build_id, counts
        counts[outcome] += times
        if len(self._counts) > _MOST:
            del self._counts[next(iter(self._counts))]

    def of(self, key: Hashable, build_id: int) -> Counter[str]:
        """Return a copy of what was counted for a key and a payload."""
        counted_for, counts = self._counts.get(key, (build_id, None))
        return Counter(counts) if counts and counted_for == build_id else Counter()
