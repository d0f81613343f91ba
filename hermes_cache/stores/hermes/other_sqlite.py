"""Whether another SQLite library of this process may have a database open.

Each library knows only its own connections: when one of them closes a file, the system drops the locks that the
other one has on it, and the host's data is lost. Source: rule X2; https://sqlite.org/howtocorrupt.html.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final

from hermes_cache.errors import SourceError
from hermes_cache.forks import after_fork_in_child

_LIBRARIES: Final = ("pysqlite3", "apsw", "sqlcipher3", "pysqlcipher3", "sqlean", "pysqlite2", "libsql")
"""The packages that bring an SQLite of their own."""

_OPEN_FILES: Final = Path("/dev/fd")

_File = tuple[int, int]


class OwnFiles:
    """Counts the databases that this module's callers have open, as those are no other's. Any thread may call."""

    def __init__(self) -> None:
        after_fork_in_child(self._start_anew)
        self._start_anew()

    @contextmanager
    def opening(self, path: Path) -> Iterator[None]:
        """Count a database as open.

        Raises:
            SourceError: Another SQLite library is loaded in this process, which has the database open.
        """
        found = path.stat()
        file = (found.st_dev, found.st_ino)
        with self._lock:
            own = self._open[file]
            library = _loaded_library()
            if library is not None and _open_count(file) > own:
                reason = (
                    f"may be open in this process by {library}, whose locks a second SQLite library would drop"
                )
                raise SourceError(path, f'{reason}; read it in worker processes: executor="processes"')
            self._open[file] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[file] -= 1
                if not self._open[file]:
                    del self._open[file]

    def _start_anew(self) -> None:
        self._lock = Lock()
        self._open: Counter[_File] = Counter()


def _loaded_library() -> str | None:
    return next((name for name in _LIBRARIES if name in sys.modules), None)


def _open_count(file: _File) -> int:
    count = 0
    try:
        numbers = [int(name) for name in os.listdir(_OPEN_FILES)]  # noqa: PTH208 - numbers are wanted, not paths
    except (OSError, ValueError):
        return sys.maxsize
    for number in numbers:
        with suppress(OSError):
            found = os.fstat(number)
            count += (found.st_dev, found.st_ino) == file
    return count
