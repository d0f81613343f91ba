"""Keeps, from one start of a program to the next, how many messages users wrote in each session.

To count them, a reader reads all messages once, which takes seconds in a home of gigabytes. A count stays true as
long as the session has as many messages as before, and the same last one; within one process this holds, too.
A file has ids, numbers and times of one database, and no text. A file that is broken, or of another version or
database, counts as missing. Nothing here raises. Source: rule X14.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

import orjson

from hermes_cache.file_systems import replace_file
from hermes_cache.logs import QuietLogger
from hermes_cache.stores.hermes.state_db import SessionRecord

_logger: Final = QuietLogger(__name__)

_VERSION: Final = 1
_KINDS: Final = (int, float, str, type(None))
"""What a damaged time may be, and JSON can hold."""


class KeptCounts:
    """The counts of the databases of a home. Any thread may call.

    Args:
        folder: Where they are kept; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def of(self, database: Path) -> dict[str, SessionRecord]:
        """Return what is kept of a database, as records of which nothing but the counts is known."""
        if self._folder is None:
            return {}
        try:
            content = orjson.loads(self._file(database).read_bytes())
            if (content["version"], content["database"]) != (_VERSION, str(database)):
                return {}
            kept = [(session_id, *counted) for session_id, counted in content["counts"].items()]
            return {sid: _record(sid, messages, moved_at, users) for sid, messages, moved_at, users in kept}
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return {}

    def keep(self, database: Path, sessions: Mapping[str, SessionRecord]) -> None:
        """Keep the counts of a database for the next start."""
        if self._folder is None:
            return
        counts = {
            session_id: (record.message_count, record.moved_at, record.user_message_count)
            for session_id, record in sessions.items()
            if record.user_message_count is not None and isinstance(record.moved_at, _KINDS)
        }
        try:
            content = orjson.dumps({"version": _VERSION, "database": str(database), "counts": counts})
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._file(database), content)
        except (OSError, TypeError) as error:
            extra = {"hermes_cache.path": str(self._folder), "hermes_cache.reason": str(error)}
            _logger.warning("hermes_cache.counts_not_kept", extra=extra)

    def _file(self, database: Path) -> Path:
        name = blake2b(os.fsencode(database), digest_size=16).hexdigest()
        return (self._folder or Path()) / f"counts-{name}.json"


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Return where this package keeps what can be made again (XDG); None if the user has no home folder."""
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # the specification says to ignore a relative path
        return given / "hermes_cache"
    with suppress(RuntimeError):
        return Path.home() / ".cache" / "hermes_cache"
    return None


def _record(session_id: str, messages: object, moved_at: object, users: object) -> SessionRecord:
    if type(users) is not int:
        raise TypeError(f"{users!r} is no count")
    return SessionRecord(session_id, message_count=messages, moved_at=moved_at, user_message_count=users)
