"""The scheduled sessions that run now, as the scheduler's own database says: `cron/executions.db`.

An agent keeps it since its version 0.19. It only adds to rows, so one that cannot be read counts as empty. If the
scheduler was killed, its runs stay open there until it starts again; so a run is believed for an hour after its
session's last sign. Source: rules O3, X2, X7, X8.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from sqlite3 import Connection, Error
from threading import Lock
from typing import Final, NamedTuple

from hermes_cache.errors import SourceError
from hermes_cache.logs import QuietLogger
from hermes_cache.stores.hermes.file_stamps import ABSENT
from hermes_cache.stores.hermes.looks import DatabaseLook, Looks
from hermes_cache.stores.hermes.read_only import read_database
from hermes_cache.stores.hermes.source_tags import cron_job_id
from hermes_cache.stores.hermes.state_db import SessionRecord
from hermes_cache.stores.hermes.values import greatest, moment_s, text

_logger = QuietLogger(__name__)

_LONGEST_SILENCE_S: Final = 3_600.0
"""As for a turn of the front end: the longest tool calls and answers take some minutes."""

_OPEN_RUNS: Final = "SELECT job_id, claimed_at FROM executions WHERE status IN ('claimed', 'running')"

_MAX_PROFILES: Final = 256


class OpenRun(NamedTuple):
    """A run that the scheduler began and did not end.

    Attributes:
        job_id: The job that it is of.
        since_s: When it was begun, in epoch seconds.
    """

    job_id: str
    since_s: float


class CronRuns:
    """Reads the schedulers' databases, again only if they may have moved. Any thread may call."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._lock = Lock()
        self._held: OrderedDict[Path, tuple[DatabaseLook, bool, tuple[OpenRun, ...]]] = OrderedDict()

    def open_runs(self, path: Path) -> tuple[OpenRun, ...]:
        """Return the runs that are not over; none if the database is missing or cannot be read."""
        look, still_in_s = self._looks.database(path)
        if look.database == ABSENT:
            return ()
        with self._lock:
            held = self._held.get(path)
            if held is None or held[0] != look or not held[1]:
                held = (look, not still_in_s, self._read(path))
            self._held[path] = held
            self._held.move_to_end(path)
            while len(self._held) > _MAX_PROFILES:
                self._held.popitem(last=False)
            return held[2]

    def _read(self, path: Path) -> tuple[OpenRun, ...]:
        try:
            return read_database(path, _open_runs, self._looks)
        except SourceError as error:
            _logger.warning(
                "hermes_cache.file_ignored",
                extra={"hermes_cache.path": str(path), "hermes_cache.reason": error.reason},
            )
            return ()


def running(
    runs: Iterable[OpenRun], sessions: Mapping[str, SessionRecord], now_s: float
) -> tuple[frozenset[str], float]:
    """Name the sessions in which the runs go on, and the moment when this must be asked again."""
    since = {run.job_id: run.since_s for run in sorted(runs, key=lambda run: run.since_s, reverse=True)}
    found: set[str] = set()
    until_s = inf
    for session_id, record in sessions.items() if since else ():
        started_s = moment_s(record.started_at)
        run_since_s = since.get(cron_job_id(session_id) or "")
        if run_since_s is None or started_s is None or started_s < run_since_s or record.ended_at is not None:
            continue
        believed_until_s = (greatest(started_s, moment_s(record.moved_at)) or 0.0) + _LONGEST_SILENCE_S
        if believed_until_s > now_s:
            found.add(session_id)
            until_s = min(until_s, believed_until_s)
    return frozenset(found), until_s


def _open_runs(connection: Connection) -> tuple[OpenRun, ...]:
    try:
        rows = connection.execute(_OPEN_RUNS).fetchall()
    except Error as error:
        if "no such" in str(error):
            return ()  # Another program's file, or one that was not filled yet.
        raise
    # Times bear a zone; one without is local.
    runs = [(text(job_id), moment_s(claimed_at, naive_zone=None)) for job_id, claimed_at in rows]
    return tuple([OpenRun(job_id, since_s) for job_id, since_s in runs if job_id and since_s])
