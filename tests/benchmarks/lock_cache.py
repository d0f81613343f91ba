"""The lock cache: the classic design, against which the budgets are set.

One lock for everything, entries in order of use, a stamp of the sources at every read (a `stat` of each file and
the highest row id through a fresh read-only connection), and a deep copy on the way in and on the way out. Builds
run on the thread that reads, under the lock; one that an invalidation overtook is repeated, three times at most.
"""

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST_BUILDS = 3


@dataclass(frozen=True, slots=True)
class _Entry:
    payload: dict[str, Any]
    stamp: Hashable
    built_at_s: float


class LockCache:
    """A cache under one lock.

    Args:
        build: Gives the payload of a key.
        stamp: Says what the sources hold.
    """

    def __init__(
        self,
        build: Callable[[Hashable], Mapping[str, object]],
        stamp: Callable[[], Hashable] = tuple,
        *,
        ttl_s: float = 3_600.0,
        max_entries: int = 64,
    ) -> None:
        self._build = build
        self._stamp = stamp
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._lock = threading.RLock()
        self._generation = 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def get(self, key: Hashable) -> dict[str, Any]:
        """Return a copy of the payload that the caller may change."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or not self._is_fresh(entry):
                entry = self._built(key)
            self._entries.move_to_end(key)
            return deepcopy(entry.payload)

    def invalidate(self) -> None:
        """Forget everything; it does not wait for a build that runs."""
        self._generation += 1

    def _is_fresh(self, entry: _Entry) -> bool:
        is_young = time.monotonic() - entry.built_at_s < self._ttl_s
        return is_young and entry.stamp == (self._generation, self._stamp())

    def _built(self, key: Hashable) -> _Entry:
        for _ in range(_MOST_BUILDS):
            stamp = (self._generation, self._stamp())
            entry = _Entry(deepcopy(dict(self._build(key))), stamp, time.monotonic())
            if stamp[0] == self._generation:
                break
        self._entries[key] = entry
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
        return entry


def stamp_of_home(home: Path) -> Hashable:
    """Look at the files of a home, and ask its database for the highest row id."""
    names = (
        "state.db",
        "state.db-wal",
        "sessions/sessions.json",
        "webui/sessions/_index.json",
        "webui/settings.json",
    )
    files = tuple(_file_stamp(home / name) for name in names)
    with closing(sqlite3.connect(f"file:{home / 'state.db'}?mode=ro", uri=True)) as connection:
        return files, connection.execute("SELECT MAX(rowid) FROM messages").fetchone()


def _file_stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
