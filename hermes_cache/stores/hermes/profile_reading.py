"""Reads everything that a home holds about the sessions of one profile.

A session that the front end keeps belongs to the profile that it names there, whichever database has it too. If it
names none, an alias of the root profile, or what no profile can be named, it belongs to the root profile.
Source: rules K3, X1, X7, X8.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hermes_cache.errors import SourceError
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import IsRootProfile
from hermes_cache.sessions.keys import DEFAULT_PROFILE
from hermes_cache.stores.hermes.cron_runs import CronRuns, running
from hermes_cache.stores.hermes.file_stamps import ABSENT, file_stamp
from hermes_cache.stores.hermes.front_end_records import (
    ForeignCounts,
    foreign_counts,
    without_dead_turns,
    without_deleted,
)
from hermes_cache.stores.hermes.joining import ProfileRecords, records_of
from hermes_cache.stores.hermes.json_files import JsonFiles
from hermes_cache.stores.hermes.kept_counts import KeptCounts
from hermes_cache.stores.hermes.locations import ProfileFiles, is_named_profile
from hermes_cache.stores.hermes.looks import Looks, database_file, journal_of, shm_of, wal_of
from hermes_cache.stores.hermes.session_folder import IndexRecord, SessionFolders
from hermes_cache.stores.hermes.side_files import job_names, projects_by_tag, redacts_secrets, routing_by_session
from hermes_cache.stores.hermes.state_db import SessionRecord, StateReading, named_anew, read_state_db
from hermes_cache.stores.hermes.values import flag, text

_logger = QuietLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProfileReading:
    """What was read of one profile.

    Attributes:
        records: What the sources hold of its sessions.
        foreign: How many sessions the front end keeps for other profiles.
        in_database: All sessions of the `state.db` by id; `records` lacks those that belong to other profiles or
            were deleted in the front end.
        holds_until_s: Until when the turns and runs that it shows are believed, in epoch seconds.
    """

    records: ProfileRecords
    foreign: ForeignCounts
    in_database: Mapping[str, SessionRecord]
    holds_until_s: float


class ProfileReader:
    """Reads profiles, remembering files that did not move. Any thread may call."""

    def __init__(
        self,
        is_root_profile: IsRootProfile | None = None,
        looks: Looks | None = None,
        kept_counts: KeptCounts | None = None,
    ) -> None:
        self._is_root_profile = is_root_profile
        self._looks = looks or Looks()
        self._kept_counts = kept_counts or KeptCounts(None)
        self._json_files = JsonFiles(self._looks)
        self._folders = SessionFolders(self._json_files, self._looks)
        self._cron_runs = CronRuns(self._looks)
        self._seen: set[Path] = set()

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
        jobs = job_names(self._json_files.content(files.cron_jobs))
        state = self._state(files, before, own, jobs)
        left_out = (index.keys() - own.keys()) | _deleted(state, folder.tombstones)
        now_s = time.time()
        shown, turns_until_s = without_dead_turns(without_deleted(own, state.sessions), now_s)
        runs, runs_until_s = running(self._cron_runs.open_runs(files.cron_runs), state.sessions, now_s)
        records = records_of(
            {sid: record for sid, record in state.sessions.items() if sid not in left_out},
            shown,
            routing=routing_by_session(self._json_files.content(files.gateway_metadata), state.routing),
            jobs=jobs,
            projects=projects_by_tag(self._json_files.content(files.projects), files.profile, self._owner),
            marks_delegates=state.marks_delegates,
        )
        redacts = redacts_secrets(self._json_files.content(files.settings))
        records = replace(records, redacts=redacts, running=runs)
        holds_until_s = min(turns_until_s, runs_until_s)
        foreign = foreign_counts([record for sid, record in index.items() if sid not in own])
        return ProfileReading(records, foreign, state.sessions, holds_until_s)

    def indexed_profiles(self, files: ProfileFiles) -> frozenset[str]:
        """Name the profiles for which the front end keeps sessions.

        Raises:
            SourceError: The index cannot be read.
        """
        return frozenset(self._owners(self._folders.read(files.session_dir).records).values())

    def forget(self, files: ProfileFiles) -> None:
        """Forget that a profile ever had a database."""
        self._seen.discard(files.state_db)

    def _state(
        self,
        files: ProfileFiles,
        before: ProfileReading | None,
        own: Mapping[str, IndexRecord],
        jobs: Mapping[str, str],
    ) -> StateReading:
        """Read the database; one that is missing has no sessions, unless something tells of an earlier one."""
        path = files.state_db
        if file_stamp(path) != ABSENT:
            self._seen.add(path)
            if before is not None:
                is_named = before.records.jobs.keys() <= jobs.keys()
                known = before.in_database if is_named else named_anew(before.in_database)
                return read_state_db(path, known, self._looks, jobs=jobs)
            reading = read_state_db(path, self._kept_counts.of(path), self._looks, jobs=jobs)
            self._kept_counts.keep(path, reading.sessions)
            return reading
        if path in self._seen or _has_companion(path) or any(map(_is_of_the_agent, own.values())):
            raise SourceError(path, "is missing")
        return StateReading({}, {})

    def _of_profile(self, profile: str, index: Mapping[str, IndexRecord]) -> dict[str, IndexRecord]:
        owners = self._owners(index)
        return {sid: record for sid, record in index.items() if owners[text(record.profile)] == profile}

    def _owners(self, index: Mapping[str, IndexRecord]) -> dict[str | None, str]:
        """Return the profile that each name in the index means."""
        return {name: self._owner(name) for name in {text(record.profile) for record in index.values()}}

    def _owner(self, name: str | None) -> str:
        return name if name and self._is_named(name) else DEFAULT_PROFILE

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


def _has_companion(path: Path) -> bool:
    path = database_file(path)
    return any(file_stamp(each) != ABSENT for each in (wal_of(path), shm_of(path), journal_of(path)))


def _is_of_the_agent(record: IndexRecord) -> bool:
    source = text(record.raw_source) or text(record.source_tag) or "webui"
    return flag(record.is_cli_session) or source != "webui"


def _deleted(state: StateReading, tombstones: frozenset[str]) -> set[str]:
    """Name what was deleted in the front end, which the agent still keeps."""
    return {sid for sid in tombstones if sid in state.sessions and state.sessions[sid].source == "webui"}
