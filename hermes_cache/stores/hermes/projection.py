"""The projection of one profile: its snapshot, kept true by probing all that it was read from.

The probe is taken before the reading, so that a change during it is seen by the next one. A probe that could not
be taken is unknown, and then everything is read. Source: rules X4 to X6.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from hermes_cache.ports import LastKnown
from hermes_cache.stores.hermes.file_stamps import file_stamp, inode
from hermes_cache.stores.hermes.held_databases import BUSY_TIMEOUT_S, HeldDatabases
from hermes_cache.stores.hermes.joining import moved
from hermes_cache.stores.hermes.locations import ProfileFiles
from hermes_cache.stores.hermes.profile_reading import ProfileReader, ProfileReading
from hermes_cache.stores.hermes.session_index import folder_stamps
from hermes_cache.stores.hermes.session_rows import Known
from hermes_cache.stores.hermes.snapshot import Session, Snapshot, make_session, snapshot_of


@dataclass(frozen=True, slots=True)
class Projection:
    """What was made of a profile, and from what.

    Attributes:
        probe: The sources as they looked before they were read; None where that could not be told.
        reading: What was read of them.
        sessions: The sessions by id.
        snapshot: The same, sorted.
    """

    probe: Hashable | None
    reading: ProfileReading
    sessions: Mapping[str, Session]
    snapshot: Snapshot


def refreshed(
    before: Projection | None, files: ProfileFiles, reader: ProfileReader, databases: HeldDatabases
) -> Projection:
    """Return a projection as of now: the one before where nothing moved, else one that shares what stayed equal.

    Raises:
        SourceError: A file that brings rows cannot be read.
    """
    probe = _probe(files, databases)
    if before is not None and probe is not None and before.probe == probe:
        return before
    reading = reader.read(files, before.reading if before is not None else None)
    sessions = _sessions(reading.known, before)
    return Projection(probe, reading, sessions, _snapshot(sessions, reading.foreign_count, before))


def _sessions(known: Mapping[str, Known], before: Projection | None) -> dict[str, Session]:
    sessions = dict(before.sessions) if before is not None else {}
    for session_id in moved(before.reading.known if before is not None else {}, known):
        if session_id in known:
            sessions[session_id] = make_session(known[session_id], sessions.get(session_id))
        else:
            del sessions[session_id]
    return sessions


def _snapshot(sessions: Mapping[str, Session], foreign_count: int, before: Projection | None) -> Snapshot:
    if before is None or before.snapshot.foreign_count != foreign_count or moved(before.sessions, sessions):
        return snapshot_of(sessions, foreign_count)
    return before.snapshot


def _probe(files: ProfileFiles, databases: HeldDatabases) -> Hashable | None:
    content = databases.content(files.state_db, BUSY_TIMEOUT_S)
    if isinstance(content, LastKnown) or (isinstance(content, tuple) and content[0] == "unreadable"):
        return None
    others = (files.gateway_metadata, files.projects, files.cron_jobs, files.settings)
    return (content, inode(files.state_db), folder_stamps(files.session_dir), *map(file_stamp, others))
