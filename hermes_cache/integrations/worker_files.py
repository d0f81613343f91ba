"""Readings of several processes, joined over files: each writes its own, and whichever is asked reads all.

A process holds a lock on a file of its own for as long as it lives, so that the others know whether it does. What
a process had counted when it ended is added to one file for all that ended, once, by the next process that begins.
So there are as many files as processes, and no count is lost, but for the last second of one that was killed. The
asked process's own values are those of now; those of the others are a second old at most.

It needs a system that has `fcntl`, as all have whose servers fork workers.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from hermes_cache.file_systems import replace_file
from hermes_cache.integrations.measures import MEASURES, Measured, Readings, joined, readings_of
from hermes_cache.logs import QuietLogger
from hermes_cache.threads.forks import after_fork_in_child, before_exit
from hermes_cache.threads.kept_thread import KeptThread

_logger: Final = QuietLogger(__name__)

_INTERVAL_S: Final = 1.0
"""Servers of metrics ask every 10 s or so."""

_STOP_S: Final = 2.0
_ENDED: Final = "hermes_cache_ended"
_COUNTS: Final = frozenset(measure.name for measure in MEASURES if measure.kind != "gauge")
"""What outlives its process."""


class WorkerFiles:
    """This process's file among those of the others.

    A thread writes it, from the first build of this process on: a process that forks workers and serves nothing
    has neither.

    Args:
        folder: Where the files lie.
        caches: What is measured, by name.

    Raises:
        OSError: There is no such folder, or this user may not write there.
    """

    _written: Readings | None

    def __init__(self, folder: Path, caches: Mapping[str, Measured]) -> None:
        if not os.access(folder, os.W_OK):
            raise PermissionError(
                f"PROMETHEUS_MULTIPROC_DIR names {folder}: make that folder, for this user to write to"
            )
        self._folder = folder
        self._caches = caches
        self._thread = KeptThread(self._run, "hermes_cache.metrics")
        self._lock: int | None = None
        self._begin()
        for cache in caches.values():
            cache.bus.build_started.connect(self._keep)
        after_fork_in_child(self._start_anew)
        before_exit(self.close)

    def readings(self) -> Readings:
        """Return what is measured in all processes."""
        with self._locked(fcntl.LOCK_SH):
            ended = _read(self._folder / f"{_ENDED}.json")
            others = [
                readings if _is_alive(path) else _counts_of(readings)
                for path, readings in self._files()
                if path.stem not in ended.get("names", ())
            ]
        return joined([readings_of(self._caches), *others, _readings(ended)])

    def close(self) -> None:
        """Write the file for the last time, and count as ended."""
        for cache in self._caches.values():
            cache.bus.build_started.disconnect(self._keep)
        self._thread.end()
        self._is_ending.set()
        self._thread.join(_STOP_S)
        # A process may end before the thread came so far.
        if self._lock is None and any(cache.stats().outcomes for cache in self._caches.values()):
            self._begin_file()
        if self._lock is not None:
            self._write()
            os.close(self._lock)
            self._lock = None

    def _keep(self, _sender: object, *, event: object) -> None:  # noqa: ARG002 - as receivers are called
        self._thread.ensure_running()

    def _begin_file(self) -> None:
        try:
            self._gather_ended()
            self._lock = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            self._report(error)

    def _run(self) -> None:
        if self._lock is None:
            self._begin_file()
        while self._lock is not None:
            self._write()
            if self._is_ending.wait(_INTERVAL_S):
                return

    def _write(self) -> None:
        readings = readings_of(self._caches)
        if readings == self._written:
            return
        try:
            replace_file(self._path, _dumped(readings))
        except OSError as error:
            self._report(error)
        else:
            self._written, self._is_reported = readings, False

    def _report(self, error: OSError) -> None:
        if not self._is_reported:
            self._is_reported = True
            _logger.warning("hermes_cache.metrics_not_written", extra={"hermes_cache.error": str(error)})

    def _gather_ended(self) -> None:
        """Add the counts of processes that ended to the file for those, and remove their own files."""
        with self._locked(fcntl.LOCK_EX):
            path = self._folder / f"{_ENDED}.json"
            ended = _read(path)
            done = set(ended.get("names", ()))
            found = {each: readings for each, readings in self._files() if not _is_alive(each)}
            new = [_counts_of(readings) for each, readings in found.items() if each.stem not in done]
            # Their names first: whoever is interrupted before the files are gone leaves nothing that counts twice.
            if new:
                replace_file(path, _dumped(joined([_readings(ended), *new]), [each.stem for each in found]))
            for each in found:
                each.unlink(missing_ok=True)
                each.with_suffix(".lock").unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, Readings]]:
        """Yield the files of the other processes."""
        for path in sorted(self._folder.glob("hermes_cache_*.json")):
            if path not in (self._path, self._folder / f"{_ENDED}.json"):
                yield path, _readings(_read(path))

    @contextmanager
    def _locked(self, operation: int) -> Iterator[None]:
        """Keep processes apart: files are gathered while nobody reads them."""
        lock = os.open(self._folder / f"{_ENDED}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, operation)
            yield
        finally:
            os.close(lock)

    def _begin(self) -> None:
        # Another process may have had the same number.
        self._path = self._folder / f"hermes_cache_{os.getpid()}_{uuid4().hex[:8]}.json"
        self._is_ending = threading.Event()
        self._written = None
        self._is_reported = False

    def _start_anew(self) -> None:
        """Begin anew in a forked child, which inherited the descriptor, and with it the lock, of its parent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._thread.forget()
        self._begin()


def _is_alive(path: Path) -> bool:
    """Say whether the process lives that writes a file."""
    try:
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _counts_of(readings: Readings) -> Readings:
    return {name: values for name, values in readings.items() if name in _COUNTS}


def _dumped(readings: Readings, names: list[str] | None = None) -> bytes:
    lists = {name: [[*labels, value] for labels, value in values.items()] for name, values in readings.items()}
    return json.dumps({"names": names or [], "readings": lists}).encode()


def _read(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return read


def _readings(read: Mapping[str, Any]) -> Readings:
    return {
        name: {tuple(labels): value for *labels, value in lists}
        for name, lists in read.get("readings", {}).items()
    }
