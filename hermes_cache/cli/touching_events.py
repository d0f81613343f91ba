"""Which events of a journal touched a profile, from the journal alone."""

from collections import deque
from dataclasses import dataclass, field

from hermes_cache.core.events import (
    AppliedEvent,
    SessionListChanged,
    SettingsChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.errors import JournalDamagedError
from hermes_cache.journal.replaying import parts_after
from hermes_cache.ports import Journal, Position, Recorded


@dataclass(slots=True)
class _Streams:
    """Whose the streams are that have begun; a stop tells no profile."""

    profiles: dict[str, str | None] = field(default_factory=dict)

    def profile_of(self, event: AppliedEvent) -> str | None:
        """Return the profile that an event touches, as published; None for all."""
        match event:
            case SettingsChanged():
                return None
            case SessionListChanged(profile=profile):
                return _named(profile)
            case StreamStarted(stream_id=stream_id, profile=profile):
                self.profiles[stream_id] = known = self.profiles.get(stream_id) or _named(profile)
                return known
            case StreamStopped(stream_id=stream_id):
                return self.profiles.pop(stream_id, None)


def events_touching(
    journal: Journal, profile: str | None, *, limit: int
) -> tuple[list[Recorded], list[JournalDamagedError]]:
    """Return the last events that touched a profile, oldest first, and what was told of rows that are damaged.

    Args:
        journal: Which; it is read from what is left of its start.
        profile: Which; None for every event.
        limit: How many at most.

    Raises:
        JournalError: The journal cannot be read.

    Source: rules J7, V1, H5.
    """
    snapshot = journal.snapshot()
    start = snapshot.position if snapshot else Position(journal.end().journal)
    streams = _Streams()
    found: deque[Recorded] = deque(maxlen=limit)
    damaged: list[JournalDamagedError] = []
    for part in parts_after(journal, start):
        touched = [(each, streams.profile_of(each.event)) for each in part.recorded]
        found.extend(each for each, whose in touched if profile is None or whose in (None, profile))
        if part.damaged:
            damaged.append(part.damaged)
    return list(found), damaged


def _named(profile: str | None) -> str | None:
    return profile if profile and profile.strip() else None
