"""Looks at the files of a store from outside, and says which moved: nothing is opened, no symlink is followed.

The files are those with one suffix in the folders of a root folder. A folder that cannot be listed keeps what was
known of it. Files are named by text: a look at 10,000 files has no time for more. Source: rules X11, S2.
"""

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from hermes_cache.logs import QuietLogger
from hermes_cache.stores.growing_files import stamp_of
from hermes_cache.stores.hermes.file_stamps import FileStamp

_logger = QuietLogger(__name__)

_TICK_S: Final = 0.05
"""Within one tick of the system's clock, a file can be written twice and bear the same times."""


class FileLooks:
    """What the files of a store looked like at the last look. For one thread at a time.

    Args:
        root: The folder of folders.
        suffix: How the files' names end, in lower case.
    """

    def __init__(self, root: str, suffix: str) -> None:
        self._root = root
        self._suffix = suffix
        self._stamps: dict[str, FileStamp] = {}
        self._fresh: dict[str, float] = {}

    def __contains__(self, path: str) -> bool:
        """Say whether the last look found a file."""
        return path in self._stamps

    def look(self, paths: Collection[str] | None, *, now_s: float, wall_s: float) -> set[str]:
        """Look now, and return the files that moved, came or went since the last look.

        Args:
            paths: The files to look at, and folders of such; None for all.
            now_s: Monotonic seconds.
            wall_s: Epoch seconds, by the clock that the file system goes by.
        """
        # What was written just before a look is said to have moved once more, after a tick of the clock.
        before = self._stamps
        self._stamps = found = self._all() if paths is None else self._these(paths)
        moved = {path for path, stamp in found.items() if before.get(path) != stamp}
        gone = before.keys() - found.keys()
        settled = {path for path, since_s in self._fresh.items() if now_s - since_s >= _TICK_S}
        for path in settled | gone:
            self._fresh.pop(path, None)
        self._fresh.update((path, now_s) for path in moved if found[path].ctime_ns / 1e9 > wall_s - _TICK_S)
        return moved | settled | gone

    def _all(self) -> dict[str, FileStamp]:
        found: dict[str, FileStamp] = {}
        for folder in self._folders():
            try:
                self._list_into(found, folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                warn_of(folder, error)
                found |= {path: each for path, each in self._stamps.items() if os.path.dirname(path) == folder}  # noqa: PTH120 - text
        return found

    def _these(self, paths: Collection[str]) -> dict[str, FileStamp]:
        folders = {path for path in paths if os.path.dirname(path) == self._root}  # noqa: PTH120 - text
        found = dict(self._stamps)
        if folders:
            found = {path: stamp for path, stamp in found.items() if os.path.dirname(path) not in folders}  # noqa: PTH120 - text
        for folder in folders:
            if _is_folder(folder):
                with suppress(OSError):
                    self._list_into(found, folder)
        for path in {*paths} - folders:
            found.pop(path, None)
            folder = os.path.dirname(path)  # noqa: PTH120 - text
            is_ours = os.path.dirname(folder) == self._root and path.lower().endswith(self._suffix)  # noqa: PTH120 - text
            stamp = _file_stamp(path) if is_ours and _is_folder(folder) and _is_folder(self._root) else None
            if stamp is not None:
                found[path] = stamp
        return found

    def folders(self) -> list[str]:
        """Return the root and the folders in it; none if there is no root."""
        return [self._root, *self._folders()] if _is_folder(self._root) else []

    def _folders(self) -> list[str]:
        if not _is_folder(self._root):
            return []
        try:
            with os.scandir(self._root) as entries:
                return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            warn_of(self._root, error)
            return list({os.path.dirname(path) for path in self._stamps})  # noqa: PTH120 - text

    def _list_into(self, found: dict[str, FileStamp], folder: str) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower().endswith(self._suffix) and entry.is_file(follow_symlinks=False):
                    stamp = _file_stamp(entry.path)
                    if stamp is not None:
                        found[entry.path] = stamp


def warn_of(path: str, error: OSError) -> None:
    """Log that a file or folder is passed over."""
    _logger.warning(
        "hermes_cache.file_ignored",
        extra={"hermes_cache.path": path, "hermes_cache.reason": error.strerror or str(error)},
    )


def _file_stamp(path: str) -> FileStamp | None:
    """Return the stamp of a regular file, or None if there is none."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    return stamp_of(found) if stat.S_ISREG(found.st_mode) else None


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
