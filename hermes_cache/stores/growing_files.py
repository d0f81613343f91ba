"""Reads files that grow at their end, such as transcripts: what was read is not read again.

A file is read on from where it was read to, if it grew and still holds what it held at the offsets that are
compared (its head, the end of what was read, and samples between). If it shrank, was replaced, or was written
without growing, it is read whole. A small file always is: that costs no more, and misses nothing.

Only regular files are opened, no symlink is followed, nothing is written. Source: rule X11.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from hermes_cache.stores.hermes.file_stamps import FileStamp

SMALL_BYTES: Final = 32 * 2**10
"""A file up to this size is read whole each time; so is a last line that has no end yet."""

LONGEST_LINE_BYTES: Final = 64 * 2**20
"""A longer line counts as none."""

_CHUNK_BYTES: Final = 2**20
_TAIL_BYTES: Final = 4 * 2**10
_SAMPLE_BYTES: Final = 256
_SAMPLES: Final = 8


def stamp_of(found: os.stat_result) -> FileStamp:
    """Return the stamp of what `stat` found."""
    return FileStamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)


@dataclass(frozen=True, slots=True)
class Read:
    """How far a file was read.

    Attributes:
        stamp: The file's, from before it was read.
        end: Where the last whole line ends.
        searched: Up to here, the line that begins at `end` has no end.
        digest: The digest of what stands at the compared offsets before `searched`; empty for a small file.
    """

    stamp: FileStamp
    end: int
    searched: int
    digest: bytes


@contextmanager
def opened(path: str, before: Read | None) -> Iterator["GrowingFile"]:
    """Open a file to be read on.

    Args:
        path: The file.
        before: How far it was read; None to read it whole.

    Raises:
        OSError: It is gone, unreadable or no regular file.
    """
    # A pipe would block for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is no regular file")
        yield GrowingFile(descriptor, stamp_of(found), before)
    finally:
        os.close(descriptor)


class GrowingFile:
    """An open file; for one thread.

    Attributes:
        stamp: The file's, as it was opened.
        goes_on: Whether what was read before still stands, so that `lines` are those behind it.
        open_line: After `lines`: the last line if it has no end and is not long.
        bytes_read: How many bytes were read, those that were compared included.
    """

    def __init__(self, descriptor: int, stamp: FileStamp, before: Read | None) -> None:
        self._descriptor = descriptor
        self._last_read = (0, b"")
        self.stamp = stamp
        self.bytes_read = 0
        self.goes_on = before is not None and self._goes_on(before)
        self.open_line = b""
        self._end, self._searched = (before.end, before.searched) if before and self.goes_on else (0, 0)

    def lines(self) -> Iterator[bytes]:
        """Yield each whole line that was not read before, without its end."""
        if self._searched > self._end and self._line_end(self._searched) is None:
            self._searched = size = self.stamp.size
            self.open_line = self._bytes(self._end, size) if size - self._end <= SMALL_BYTES else b""
            return
        at, rest = self._end, b""
        while at < self.stamp.size:
            chunk = self._bytes(at, max(_CHUNK_BYTES, len(rest)))
            if not chunk:
                break
            at += len(chunk)
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
            self._end = at - len(rest)
            if len(rest) > LONGEST_LINE_BYTES:
                end = self._line_end(at)
                if end is None:
                    self._searched = self.stamp.size
                    return
                self._end, at, rest = end, end, b""
        self._searched = at
        self.open_line = rest if len(rest) <= SMALL_BYTES else b""

    def read(self) -> Read:
        """Return how far the file was read, after `lines`."""
        return Read(self.stamp, self._end, self._searched, self._digest(self._searched))

    def _goes_on(self, before: Read) -> bool:
        now, then = self.stamp, before.stamp
        is_same_file = (now.device, now.inode) == (then.device, then.inode)
        has_grown = now.size > then.size or now == then
        return (
            is_same_file and has_grown and bool(before.digest) and self._digest(before.searched) == before.digest
        )

    def _digest(self, end: int) -> bytes:
        if self.stamp.size <= SMALL_BYTES:
            return b""
        digest = blake2b(self._bytes(max(0, end - _TAIL_BYTES), min(end, _TAIL_BYTES)), digest_size=16)
        for number in range(_SAMPLES):
            at = number * end // _SAMPLES
            digest.update(self._bytes(at, min(end - at, _SAMPLE_BYTES)))
        return digest.digest()

    def _line_end(self, at: int) -> int | None:
        """Return the offset behind the line that an offset lies in; None if the line has no end."""
        while chunk := self._bytes(at, _CHUNK_BYTES):
            found = chunk.find(b"\n")
            if found >= 0:
                return at + found + 1
            at += len(chunk)
        return None

    def _bytes(self, at: int, size: int) -> bytes:
        # Not past the size it had when it was opened: a file that is written as fast as it is read has no end.
        size = max(0, min(size, self.stamp.size - at))
        began, last = self._last_read
        if began <= at and at + size <= began + len(last):
            return last[at - began : at - began + size]
        # Each call gives the interpreter away, and beside a busy thread it is long in coming back.
        found = os.pread(self._descriptor, size, at)
        self._last_read = (at, found)
        self.bytes_read += len(found)
        return found
