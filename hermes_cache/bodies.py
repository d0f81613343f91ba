"""Response bodies: the bytes of one answer, its tag, and its compressed form, which is made once.

Source: rules O6, W4, W7.
"""

import gzip
import threading
from typing import Final, Literal, TypeAlias

Coding: TypeAlias = Literal["gzip"]
"""How a body may be compressed, by its name in HTTP."""

_GZIP_LEVEL: Final = 1
"""Level 6 takes three times as long for a list and saves a tenth more."""


class Body:
    """A response body and its tag.

    Attributes:
        body: The answer as JSON.
        etag: Changes exactly when the body does; without quotes.
    """

    __slots__ = ("_lock", "_packed", "body", "etag")

    def __init__(self, body: bytes, etag: str) -> None:
        self.body = body
        self.etag = etag
        self._packed: bytes | None = None
        # Re-entrant: a signal handler may ask for the same body while the main thread compresses it.
        self._lock = threading.RLock()

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, with its compressed form."""
        return len(self.body) + len(self._packed or b"")

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
                    self._packed = gzip.compress(self.body, _GZIP_LEVEL, mtime=0)
        return self._packed


def _check(coding: str) -> None:
    if coding != "gzip":
        raise ValueError(f"the coding is {coding!r}; a body can be compressed by 'gzip'")
