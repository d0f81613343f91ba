"""Stamps and checks: what a payload was built from, and what the sources hold now.

Source: rules S1, S4, B3, V3.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from math import inf
from typing import Final, Self, TypeAlias

from hermes_cache.core.streams import Marker

SETTINGS_PART: Final = "settings"
"""Stamp parts whose names start so belong to settings: live under hold-down, never held back (H1, B9)."""

Parts: TypeAlias = tuple[tuple[str, Hashable], ...]
"""Part names and values, sorted by name."""


class Doubted(int):
    """A number that grows if a source moved, or may have moved without a sign.

    Attributes:
        seen: A number that grows only if the source was seen to move.
    """

    seen: int

    def __new__(cls, number: int, seen: int) -> Self:
        """Make the number."""
        made = super().__new__(cls, number)
        made.seen = seen
        return made


_UNKNOWN: Final[Parts] = (("sources", "unknown"),)
"""What a failed check found: no check that succeeds finds the same."""


@dataclass(frozen=True, slots=True)
class Check:
    """One look at the sources of a scope. Times in monotonic seconds.

    Attributes:
        began_s: When it began; checks are ordered by it.
        took_s: How long it took.
        parts: What it found.
        listed: The stream ids that the gateway's callable listed.
        held: Whether the parts that a stream moves were left out.
        verified: Whether all parts could be read, and are not merely the last known.
    """

    began_s: float
    took_s: float = 0.0
    parts: Parts = ()
    listed: frozenset[str] = field(default_factory=frozenset)
    held: bool = False
    verified: bool = True

    @classmethod
    def failed(cls, began_s: float) -> "Check":
        """Return the stamp of a build whose own check failed: the next check that succeeds differs (S4)."""
        return cls(began_s, parts=_UNKNOWN, verified=False)

    @classmethod
    def missing(cls) -> "Check":
        """Return the stamp of what a gateway put: nobody checked its sources, so it counts as moved (V2)."""
        return cls.failed(-inf)

    @property
    def is_missing(self) -> bool:
        """Whether there was none."""
        return self.began_s == -inf

    @property
    def is_failed(self) -> bool:
        """Whether it found nothing at all."""
        return self.parts == _UNKNOWN


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a payload was built from.

    Attributes:
        marker: The streams, as of the build's start.
        check: The sources, as the build itself checked them.
    """

    marker: Marker
    check: Check

    @property
    def settings(self) -> Parts:
        """The parts that belong to settings."""
        return tuple([part for part in self.check.parts if part[0].startswith(SETTINGS_PART)])

    def as_mapping(self) -> dict[str, Hashable]:
        """Return the parts by name, the marker as `streams`."""
        return {**dict(self.check.parts), "streams": self.marker}


def moved_parts(older: Parts, newer: Parts) -> tuple[str, ...]:
    """Name the parts that differ."""
    if older == newer:
        return ()
    old, new = dict(older), dict(newer)
    missing = object()
    return tuple(sorted(name for name in old | new if old.get(name, missing) != new.get(name, missing)))


def may_only_have_moved(older: Parts, newer: Parts) -> bool:
    """Say whether parts differ, but nothing was seen to move (S2)."""
    old, new = dict(older), dict(newer)
    pairs = [(old.get(name), new.get(name)) for name in moved_parts(older, newer)]
    are_doubts = (isinstance(a, Doubted) and isinstance(b, Doubted) and a.seen == b.seen for a, b in pairs)
    return bool(pairs) and all(are_doubts)
