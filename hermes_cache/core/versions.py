"""Versions: which applied event last touched a reach.

A *reach* is what an event can touch at once: one profile's keys, or all keys that show every profile.
Source: rules V1 and V2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hermes_cache.core.keys import SessionListKey

ALL_PROFILES: Final = ""
"""The reach of the keys that show all profiles; no profile has a blank name (rule K3)."""

_MAX_REACHES: Final = 1_000
"""Profiles remembered one by one; past them all count as touched (rule V2)."""


def reach_of(key: SessionListKey) -> str:
    """Give the reach that a key with a canonical profile belongs to."""
    return ALL_PROFILES if key.all_profiles else key.profile_name


@dataclass(frozen=True, slots=True)
class Versions:
    """Positions, in this process's order of applied events, of the last that touched each reach.

    Attributes:
        everything: Of the last that touched all.
        reaches: Of the last that touched a reach by name, where it came later than that.
    """

    everything: int = 0
    reaches: Mapping[str, int] = field(default_factory=dict)

    def of(self, reach: str) -> int:
        """Give the version of a reach."""
        return self.reaches.get(reach, self.everything)

    def touched(self, profile: str | None, position: int) -> "Versions":
        """Give the versions after an event at `position` that touched a profile, or all (None)."""
        if profile is None:
            return Versions(everything=position)
        reaches = {**self.reaches, profile: position, ALL_PROFILES: position}
        if len(reaches) > _MAX_REACHES + 1:
            return Versions(everything=position)
        return Versions(self.everything, reaches)
