"""Response bodies: the bytes of one answer, its tag, and its compressed form, which is made once.

Source: rules O6, D4, W4, W7.
"""

import sys
import threading
import zlib
from functools import cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

Coding: TypeAlias = Literal["gzip", "zstd"]
"""How a body may be compressed, by its name in HTTP."""

_ZSTD_LEVEL: Final = 1
"""A third of the time of gzip, and a fifth smaller; level 3 is no smaller for a list."""

_GZIP_LEVEL: Final = 1
"""Level 6 takes three times as long for a list and saves a tenth more."""

_GZIP_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
"""Deflate, no name, no time, the fastest level, an unknown system, as `gzip.compress` writes it (RFC 1952)."""

_LAST_BLOCK: Final = b"\x03\0"
"""An empty block that is the last one."""

_MOST_IN_A_BLOCK: Final = 65_535


class Opening(NamedTuple):
    """A body without its last byte, compressed so that another end can follow.

    Attributes:
        deflated: Its blocks, or its frame of zstd; the last block ends at a whole byte and is not marked as final.
        checksum: Its CRC-32, with which that of the whole is computed; 0 for zstd, whose frames stand alone.
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

    __slots__ = ("_lock", "_openings", "_packed", "body", "etag")

    def __init__(self, body: bytes, etag: str) -> None:
        self.body = body
        self.etag = etag
        self._packed: dict[Coding, bytes] = {}
        self._openings: dict[Coding, Opening] = {}
        # Re-entrant: a signal handler may ask for the same body while the main thread compresses it.
        self._lock = threading.RLock()

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, with its compressed forms."""
        packed = [*self._packed.values(), *(opening.deflated for opening in self._openings.values())]
        return len(self.body) + sum(map(len, packed))

    def made(self, coding: Coding) -> bytes | None:
        """Return the compressed form if it was made already; quick.

        Raises:
            ValueError: There is no such coding.
        """
        _check(coding)
        return self._packed.get(coding)

    def encoded(self, coding: Coding) -> bytes:
        """Return the compressed form; the first call makes it, and others wait for that one.

        Raises:
            ValueError: There is no such coding.
        """
        _check(coding)
        if coding not in self._packed:
            with self._lock:
                if coding not in self._packed:
                    self._packed[coding] = self._compressed(coding)
        return self._packed[coding]

    def ending_in(self, ending: bytes) -> "Body":
        """Return this body with another ending instead of its last byte; its tag stays.

        Compressing it costs the ending alone, once another such body was compressed.
        """
        return _EndedBody(self, ending)

    def is_opened(self, coding: Coding = "gzip") -> bool:
        """Return whether all but the last byte was compressed already."""
        return coding in self._openings

    def opening(self, coding: Coding = "gzip") -> Opening:
        """Return all but the last byte, compressed; the first call does that, and others wait for that one."""
        if coding not in self._openings:
            with self._lock:
                if coding not in self._openings:
                    self._openings[coding] = _opened(memoryview(self.body)[:-1], coding)
        return self._openings[coding]

    def _compressed(self, coding: Coding) -> bytes:
        return _closed(self.opening(coding), self.body[-1:], coding)


class _EndedBody(Body):
    """A body that is another one but for its ending."""

    __slots__ = ("_ending", "_other")

    def __init__(self, other: Body, ending: bytes) -> None:
        super().__init__(b"".join([memoryview(other.body)[:-1], ending]), other.etag)
        self._other = other
        self._ending = ending

    def made(self, coding: Coding) -> bytes | None:
        """Return the compressed form if it is quickly made: the rest of it was compressed before."""
        return self.encoded(coding) if self._other.is_opened(coding) else super().made(coding)

    def _compressed(self, coding: Coding) -> bytes:
        return _closed(self._other.opening(coding), self._ending, coding)


class GzipStream:
    """A gzip stream made of pieces, so that a body is compressed once for all streams that send it.

    A compressed body is a run of blocks that refer to nothing before them and end at a byte, so blocks of
    different bodies can follow each other. The reader of the stream can decode each piece when it arrives. Source:
    rule D4; RFC 1951, section 2.3; RFC 1952.
    """

    def __init__(self) -> None:
        self._checksum = 0
        self._size_bytes = 0

    def begin(self) -> bytes:
        """Return the first bytes of the stream."""
        return _GZIP_HEADER

    def text(self, text: bytes) -> bytes:
        """Return a short text as blocks that are not compressed."""
        self._note(text)
        parts = [text[at : at + _MOST_IN_A_BLOCK] for at in range(0, len(text), _MOST_IN_A_BLOCK)]
        return b"".join(b"\0%b%b%b" % (_in_two(len(part)), _in_two(~len(part) & 0xFFFF), part) for part in parts)

    def body(self, body: Body) -> list[bytes]:
        """Return the blocks of a body, which are made once."""
        opening, last = body.opening(), body.body[-1:]
        self._note(memoryview(body.body)[: opening.size_bytes])
        return [opening.deflated, self.text(last)]

    def end(self) -> bytes:
        """Return the last bytes of the stream."""
        return _LAST_BLOCK + _gzip_end(self._checksum, self._size_bytes)

    def _note(self, sent: bytes | memoryview) -> None:
        self._checksum = zlib.crc32(sent, self._checksum)
        self._size_bytes += len(sent)


@cache
def codings() -> tuple[Coding, ...]:
    """Return how bodies can be compressed here, the quickest first; zstd needs Python 3.14 or the extra `zstd`."""
    return ("gzip",) if _zstd() is None else ("zstd", "gzip")


@cache
def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415 - few clients read it
        else:
            from backports import zstd  # noqa: PLC0415 - likewise, and it may not be there
    except ImportError:
        return None
    return zstd


def _opened(part: memoryview, coding: Coding) -> Opening:
    if coding == "zstd":
        return Opening(_zstd().compress(part, _ZSTD_LEVEL), 0, len(part))
    compressor = _deflater()
    deflated = compressor.compress(part) + compressor.flush(zlib.Z_FULL_FLUSH)
    return Opening(deflated, zlib.crc32(part), len(part))


def _closed(opening: Opening, ending: bytes, coding: Coding) -> bytes:
    """Put two parts together: the blocks of each stand alone, and the end covers both; or frame follows frame."""
    if coding == "zstd":
        return opening.deflated + _opened(memoryview(ending), coding).deflated
    compressor = _deflater()
    blocks = [opening.deflated, compressor.compress(ending), compressor.flush()]
    end = _gzip_end(zlib.crc32(ending, opening.checksum), opening.size_bytes + len(ending))
    return b"".join([_GZIP_HEADER, *blocks, end])


def _gzip_end(checksum: int, size_bytes: int) -> bytes:
    """Return what ends a gzip stream whose last block was marked as final (RFC 1952)."""
    return checksum.to_bytes(4, "little") + (size_bytes % 2**32).to_bytes(4, "little")


def _deflater() -> "zlib._Compress":
    return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def _check(coding: str) -> None:
    if coding not in codings():
        todo = "; install the extra zstd" if coding == "zstd" else ""
        raise ValueError(f"the coding is {coding!r}; a body can be compressed by {' or '.join(codings())}{todo}")


def _in_two(number: int) -> bytes:
    return number.to_bytes(2, "little")
