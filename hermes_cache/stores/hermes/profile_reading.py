"""Reads everything that a home holds about the sessions of one profile.

A session that the front end keeps belongs to the profile that it names there, whichever database has it too. If it
names none, an alias of the root profile, or what no profile can be named, it belongs to the root profile.
Source: rules K3, X1, X7, X8.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hermes_cache.errors import SourceError
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import IsRootProfile
from hermes_cache.sessions.keys import DEFAULT_PROFILE
from hermes_cache.stores.hermes.file_stamps import ABSENT, file_stamp, log_stamp
from hermes_cache.stores.hermes.front_end_records import without_dead_turns, without_deleted
from hermes_cache.stores.hermes.joining import ProfileRecords, records_of
from hermes_cache.stores.hermes.json_files import JsonFiles
from hermes_cache.stores.hermes.locations import ProfileFiles, is_named_profile
from hermes_cache.stores.hermes.looks import Looks, wal_of
from hermes_cache.stores.hermes.session_folder import IndexRecord, SessionFolders
from hermes_cache.stores.hermes.side_files import job_names, projects_by_tag, redacts_secrets, routing_by_session
from hermes_cache.stores.hermes.state_db import SessionRecord, StateReading, read_state_db
from hermes_cache.stores.hermes.values import text

_logger = QuietLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProfileReading:
    """What was read of one profile.

    Attributes:
        records: What the sources hold of its sessions.
        has_database: Whether a `state.db` was there.
        foreign_count: How many sessions the front end keeps for other profiles.
        in_database: All sessions of the `state.db` by id; `records` lacks those that belong to other profiles or
            were deleted in the front end.
        turns_until_s: Until when the turns that it shows are believed, in epoch seconds.
    """

    records: ProfileRecords
    has_database: bool
    foreign_count: int
    in_database: Mapping[str, SessionRecord]
    turns_until_s: float


class ProfileReader:
    """Reads profiles, remembering files that did not move. Any thread may call."""

    def __init__(self, is_root_profile: IsRootProfile | None = None, looks: Looks | None = None) -> None:
        self._is_root_profile = is_root_profile
        self._looks = looks or Looks()
        self._json_files = JsonFiles(self._looks)
        self._folders = SessionFolders(self._json_files, self._looks)

    def read(self, files: ProfileFiles, before: ProfileReading | None = None) -> ProfileReading:
        """Read a profile.

        Args:
            before: The reading before; what did not change stays the same objects, and a `state.db` that was there
                must still be.

        Raises:
            SourceError: A file that brings rows is missing or cannot be read; it names the file and the reason.
        """
        folder = self._folders.read(files.session_dir)
        index = {sid: record for sid, record in folder.records.items() if sid not in folder.tombstones}
        own = self._of_profile(files.profile, index)
        is_indexed = folder.has_index and (bool(own) or files.profile == DEFAULT_PROFILE)
        state, has_database = _state(files, before, self._looks, is_indexed=is_indexed)
        left_out = (index.keys() - own.keys()) | _deleted(state, folder.tombstones)
        shown, turns_until_s = without_dead_turns(without_deleted(own, state.sessions), time.time())
        records = records_of(
            {sid: record for sid, record in state.sessions.items() if sid not in left_out},
            shown,
            routing=routing_by_session(self._json_files.content(files.gateway_metadata), state.routing),
            jobs=job_names(self._json_files.content(files.cron_jobs)),
            projects=projects_by_tag(self._json_files.content(files.projects), files.profile),
            marks_delegates=state.marks_delegates,
        )
        records = replace(records, redacts=redacts_secrets(self._json_files.content(files.settings)))
        foreign_count = len(index) - len(own)
        return ProfileReading(records, has_database, foreign_count, state.sessions, turns_until_s)

    def indexed_profiles(self, files: ProfileFiles) -> frozenset[str]:
        """Name the profiles for which the front end keeps sessions.

        Raises:
            SourceError: The index cannot be read.
        """
        return frozenset(self._owners(self._folders.read(files.session_dir).records).values())

    def _of_profile(self, profile: str, index: Mapping[str, IndexRecord]) -> dict[str, IndexRecord]:
        owners = self._owners(index)
        return {sid: record for sid, record in index.items() if owners[text(record.profile)] == profile}

    def _owners(self, index: Mapping[str, IndexRecord]) -> dict[str | None, str]:
        """Return the profile that each name in the index means."""
        names = {text(record.profile) for record in index.values()}
        return {name: name if name and self._is_named(name) else DEFAULT_PROFILE for name in names}

    def _is_named(self, name: str) -> bool:
        return is_named_profile(name) and not self._is_alias(name)

    def _is_alias(self, name: str) -> bool:
        if self._is_root_profile is None:
            return False
        try:
            return bool(self._is_root_profile(name))
        except Exception:
            _logger.exception("hermes_cache.is_root_profile_failed", extra={"hermes_cache.profile": name})
            return False


def _state(
    files: ProfileFiles, before: ProfileReading | None, looks: Looks, *, is_indexed: bool
) -> tuple[StateReading, bool]:
    if file_stamp(files.state_db) != ABSENT:
        return read_state_db(files.state_db, before.in_database if before else None, looks), True
    # A missing database is a sign of damage, unless the front end alone may have made this list.
    is_gone = (before is not None and before.has_database) or log_stamp(wal_of(files.state_db)) != ABSENT
    if is_gone or not is_indexed:
        raise SourceError(files.state_db, "is missing")
    return StateReading({}, {}), False


def _deleted(state: StateReading, tombstones: frozenset[str]) -> set[str]:
    """Name what was deleted in the front end, which the agent still keeps."""
    return {sid for sid in tombstones if sid in state.sessions and state.sessions[sid].source == "webui"}
