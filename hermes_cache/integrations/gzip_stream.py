"""A gzip stream that is put together of pieces, so that a body is compressed once for all streams that send it.

A compressed body is a run of blocks that refer to nothing before them and end at a byte, so blocks of different
makers can follow each other. The reader of the stream can decode each piece when it arrives. No I/O.
Source: rule D4; RFC 1951, section 2.3; RFC 1952.
"""

from typing import Final
from zlib import crc32

from hermes_cache.rendering.bodies import GZIP_HEADER, Body, gzip_end

_FINAL: Final = b"\x03\0"
"""An empty block that is the last one."""

_MOST_IN_A_BLOCK: Final = 65_535


class GzipStream:
    """What was sent of one stream so far."""

    def __init__(self) -> None:
        self._checksum = 0
        self._size_bytes = 0

    def begin(self) -> bytes:
        """Return the first bytes of the stream."""
        return GZIP_HEADER

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
        return _FINAL + gzip_end(self._checksum, self._size_bytes)

    def _note(self, sent: bytes | memoryview) -> None:
        self._checksum = crc32(sent, self._checksum)
        self._size_bytes += len(sent)


def _in_two(number: int) -> bytes:
    return number.to_bytes(2, "little")
