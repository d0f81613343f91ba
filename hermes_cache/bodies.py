"""Response bodies: the bytes of one answer, its tag, and its compressed form, which is made once.

Source: rules O6, W4, W7.
"""

import threading
import zlib
from typing import Final, Literal, NamedTuple, TypeAlias

Coding: TypeAlias = Literal["gzip"]
"""How a body may be compressed, by its name in HTTP."""

_GZIP_LEVEL: Final = 1
"""Level 6 takes three times as long for a list and saves a tenth more."""

GZIP_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
"""Deflate, no name, no time, the fastest level, an unknown system, as `gzip.compress` writes it (RFC 1952)."""


class Opening(NamedTuple):
    """A body without its last byte, compressed so that another end can follow.

    Attributes:
        deflated: Its blocks; the last of them ends at a whole byte and is not marked as final.
        checksum: Its CRC-32, with which that of the whole is computed.
        size_bytes: Its size before it was compressed.
    """

    deflated: bytes
    checksum: int
    size_bytes: int


class Body:
    """A response body and its tag.

    Attributes:
        body: The answer as JSON.
        etag: Changes exactly when the body does; without quotes.
    """

    __slots__ = ("_lock", "_opening", "_packed", "body", "etag")

    def __init__(self, body: bytes, etag: str) -> None:
        self.body = body
        self.etag = etag
        self._packed: bytes | None = None
        self._opening: Opening | None = None
        # Re-entrant: a signal handler may ask for the same body while the main thread compresses it.
        self._lock = threading.RLock()

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, with its compressed form."""
        return len(self.body) + len(self._packed or b"") + (len(self._opening.deflated) if self._opening else 0)

    def made(self, coding: Coding) -> bytes | None:
        """Return the compressed form if it was made already; quick.

        Raises:
            ValueError: There is no such coding.
        """
        _check(coding)
        return self._packed

    def encoded(self, coding: Coding) -> bytes:
        """Return the compressed form; the first call makes it, and others wait for that one.

        Raises:
            ValueError: There is no such coding.
        """
        _check(coding)
        if self._packed is None:
            with self._lock:
                if self._packed is None:
                    self._packed = self._compressed()
        return self._packed

    def ending_in(self, ending: bytes) -> "Body":
        """Return this body with another ending in the place of its last byte; its tag stays.

        Compressing it costs the ending alone, once another such body was compressed.
        """
        return _EndedBody(self, ending)

    @property
    def is_opened(self) -> bool:
        """Whether all but the last byte was compressed already."""
        return self._opening is not None

    def opening(self) -> Opening:
        """Return all but the last byte, compressed; the first call does that, and others wait for that one."""
        if self._opening is None:
            with self._lock:
                if self._opening is None:
                    self._opening = _opened(memoryview(self.body)[:-1])
        return self._opening

    def _compressed(self) -> bytes:
        return _closed(self.opening(), self.body[-1:])


class _EndedBody(Body):
    """A body that is another one but for its ending."""

    __slots__ = ("_ending", "_other")

    def __init__(self, other: Body, ending: bytes) -> None:
        super().__init__(b"".join([memoryview(other.body)[:-1], ending]), other.etag)
        self._other = other
        self._ending = ending

    def made(self, coding: Coding) -> bytes | None:
        """Return the compressed form if it is quickly made: the rest of it was compressed before."""
        return self.encoded(coding) if self._other.is_opened else super().made(coding)

    def _compressed(self) -> bytes:
        return _closed(self._other.opening(), self._ending)


def _opened(part: memoryview) -> Opening:
    compressor = _deflater()
    deflated = compressor.compress(part) + compressor.flush(zlib.Z_FULL_FLUSH)
    return Opening(deflated, zlib.crc32(part), len(part))


def _closed(opening: Opening, ending: bytes) -> bytes:
    """Put two parts together: the blocks of each stand alone, and the end covers both."""
    compressor = _deflater()
    blocks = [opening.deflated, compressor.compress(ending), compressor.flush()]
    end = gzip_end(zlib.crc32(ending, opening.checksum), opening.size_bytes + len(ending))
    return b"".join([GZIP_HEADER, *blocks, end])


def gzip_end(checksum: int, size_bytes: int) -> bytes:
    """Return what ends a gzip stream whose last block was marked as final (RFC 1952)."""
    return checksum.to_bytes(4, "little") + (size_bytes % 2**32).to_bytes(4, "little")


def _deflater() -> "zlib._Compress":
    return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def _check(coding: str) -> None:
    if coding != "gzip":
        raise ValueError(f"the coding is {coding!r}; a body can be compressed by 'gzip'")
