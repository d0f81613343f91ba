"""Reads JSON files of a home, and remembers the small ones that only add to rows.

A file that brings rows (the index) must be whole, or the list fails. A file that only adds to rows (tombstones,
projects, cron jobs, the gateway's metadata, a sidecar) costs what it adds when it is broken.
Source: rules X3, X8.
"""

from collections import OrderedDict
from collections.abc import Hashable
from json import JSONDecoder
from math import inf
from pathlib import Path
from threading import Lock
from typing import Final

import orjson

from hermes_cache.errors import SourceError
from hermes_cache.logs import QuietLogger
from hermes_cache.stores.hermes.file_stamps import ABSENT, must_be_a_file
from hermes_cache.stores.hermes.looks import Looks

_logger = QuietLogger(__name__)

_MAX_FILES: Final = 1_024
"""Four files each of as many profiles as one home is likely to have."""


SMALL_BYTES: Final = 64 * 2**20
"""What only adds to rows is smaller: the peers of a gateway's 50,000 chats take as much."""


def _nothing(_constant: str) -> None:
    return None


def _whole_number(digits: str) -> int | None:
    try:
        return int(digits)
    except ValueError:
        return None


TOLERANT: Final = JSONDecoder(parse_constant=_nothing, parse_int=_whole_number)
"""NaN, infinity and numbers of more digits than Python reads become None."""


def read_json(path: Path, *, most_bytes: float = inf) -> object:
    """Read a JSON file; NaN and infinity read as None, broken UTF-8 as replacement characters.

    Raises:
        SourceError: It is missing, unreadable, no JSON, or larger than `most_bytes` or the memory.
    """
    if must_be_a_file(path).st_size > most_bytes:
        raise SourceError(path, "is too large to be such a file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(path, error.strerror or str(error)) from error
    except MemoryError as error:
        raise SourceError(path, "is larger than the memory") from error
    return _decoded(content, path)


def _decoded(content: bytes, path: Path) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        pass
    # What Python's own json writes may hold NaN, lone surrogates or a byte order mark, which orjson refuses.
    try:
        return TOLERANT.decode(content.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        raise SourceError(path, f"is no whole JSON ({error})") from error


class JsonFiles:
    """Returns the content of small JSON files, read again only if they may have moved. Any thread may call.

    A broken file is logged once each time it changes, and counts as missing.
    """

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._lock = Lock()
        self._held: OrderedDict[Path, tuple[Hashable, bool, object]] = OrderedDict()

    def content(self, path: Path) -> object:
        """Return what the file holds; None if it is missing or broken."""
        (stamp,), still_in_s = self._looks.files((path,))
        with self._lock:
            held_stamp, was_still, content = self._held.get(path, (None, False, None))
            # What did not stand still may have changed, though its stamp did not.
            if held_stamp != stamp or not was_still:
                content = _content_or_none(path, is_new=held_stamp != stamp) if stamp != ABSENT else None
            self._held[path] = (stamp, not still_in_s, content)
            self._held.move_to_end(path)
            while len(self._held) > _MAX_FILES:
                self._held.popitem(last=False)
        return content


def _content_or_none(path: Path, *, is_new: bool) -> object:
    try:
        return read_json(path, most_bytes=SMALL_BYTES)
    except SourceError as error:
        if is_new:
            _logger.warning(
                "hermes_cache.file_ignored",
                extra={"hermes_cache.path": str(path), "hermes_cache.reason": error.reason},
            )
        return None
