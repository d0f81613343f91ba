"""Versions: which applied event last touched a reach.

A *reach* is what an event can touch at once: one profile's keys, or all keys that show every profile.
Source: rules V1 and V2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

ALL_PROFILES: Final = ""
"""The reach of the keys that show all profiles; no profile has a blank name (rule K3)."""

MOST_PROFILES: Final = 10_000
"""Profiles remembered one by one; past them the one whose last event is oldest is forgotten (rule V2)."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Numbers, in this process's order of applied events, of the last event that touched each reach.

    Attributes:
        everything: The number of the last that touched all; if profiles were forgotten since, the newest of
            their numbers.
        all_profiles: The number of the last that touched the keys that show all profiles, which every event does.
        profiles: The number of the last that touched a profile, by its name, if it came later than `everything`;
            oldest first.
    """

    everything: int = 0
    all_profiles: int = 0
    profiles: Mapping[str, int] = field(default_factory=dict)

    def of(self, reach: str) -> int:
        """Return the version of a reach."""
        return self.all_profiles if reach == ALL_PROFILES else self.profiles.get(reach, self.everything)

    def touched(self, profile: str | None, position: int) -> "Versions":
        """Return the versions after an event at `position` that touched a profile, or all (None)."""
        if profile is None:
            return Versions(position, position)
        profiles = dict(self.profiles)
        # Taken out first: the one that was touched last stands last, and is forgotten last.
        profiles.pop(profile, None)
        profiles[profile] = position
        if len(profiles) <= MOST_PROFILES:
            return Versions(self.everything, position, profiles)
        oldest = next(iter(profiles))
        # A profile that is not known may be the one that is forgotten: its version must not go down.
        return Versions(profiles.pop(oldest), position, profiles)
