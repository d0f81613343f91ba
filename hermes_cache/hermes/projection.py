"""The projection of one profile: its snapshot, kept true by probing all that it was read from.

The probe is taken before the reading, so that a change during it is seen by the next one. A probe that could not
be taken is unknown, and then everything is read. Source: rules X4 to X6.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from hermes_cache.hermes.file_stamps import file_stamp, inode
from hermes_cache.hermes.held_databases import BUSY_TIMEOUT_S, HeldDatabases
from hermes_cache.hermes.locations import ProfileFiles
from hermes_cache.hermes.profile_reading import ProfileReader, ProfileReading
from hermes_cache.hermes.session_index import folder_stamps
from hermes_cache.hermes.snapshot import Session, Snapshot, make_session, snapshot_of
from hermes_cache.ports import LastKnown


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
    """Give a projection as of now: the one before where nothing moved, else one that shares what stayed equal.

    Raises:
        SourceError: A file that brings rows cannot be read.
    """
    probe = _probe(files, databases)
    if before is not None and probe is not None and before.probe == probe:
        return before
    reading = reader.read(files, before.reading if before is not None else None)
    old = before.sessions if before is not None else {}
    sessions = {
        session_id: make_session(known, old.get(session_id)) for session_id, known in reading.known.items()
    }
    snapshot = snapshot_of(sessions, reading.foreign_count)
    if before is not None and snapshot_is_same(before.snapshot, snapshot):
        snapshot = before.snapshot
    return Projection(probe, reading, sessions, snapshot)


def snapshot_is_same(older: Snapshot, newer: Snapshot) -> bool:
    """Say whether two snapshots hold the same rows, the very objects."""
    if older.foreign_count != newer.foreign_count or len(older.sessions) != len(newer.sessions):
        return False
    return all(one.row is other.row for one, other in zip(older.sessions, newer.sessions, strict=True))


def _probe(files: ProfileFiles, databases: HeldDatabases) -> Hashable | None:
    content = databases.content(files.state_db, BUSY_TIMEOUT_S)
    if isinstance(content, LastKnown) or (isinstance(content, tuple) and content[0] == "unreadable"):
        return None
    others = (files.gateway_metadata, files.projects, files.cron_jobs, files.settings)
    return (content, inode(files.state_db), folder_stamps(files.session_dir), *map(file_stamp, others))
