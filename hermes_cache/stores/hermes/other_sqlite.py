"""Whether another SQLite library is loaded in this process.

Each library knows only its own connections. If one of them closes a file, the system drops the locks that the
other one has on it, and the host's data is lost. The host may open its database at any moment, also during a read,
so it does not matter whether the database is open now. Source: rule X2; https://sqlite.org/howtocorrupt.html.
"""

import sqlite3
import sys
from pathlib import Path
from typing import Final

from hermes_cache.errors import SourceError

_LIBRARIES: Final = (
    "_sqlite3", "pysqlite3", "apsw", "sqlcipher3", "pysqlcipher3", "pysqlcipher", "sqlean", "pysqlite2",
    "cysqlite", "libsql", "libsql_experimental", "turso", "adbc_driver_sqlite",
)  # fmt: skip
"""The packages that bring an SQLite of their own, or a library that locks the same files in the same way."""


def refuse_other_library(path: Path) -> None:
    """See that the library that opens databases here is the only one in this process.

    Raises:
        SourceError: There is another one, which might have the database open.
    """
    library = other_library()
    if library is not None:
        reason = f"is not read in this process, which has loaded {library}: of two SQLite libraries each drops the"
        raise SourceError(path, f'{reason} locks of the other; read it in worker processes: executor="processes"')


def other_library() -> str | None:
    """Return the name of the other SQLite library that is loaded; None if there is none."""
    # Programs put one library under the name of another: `sqlite3` may be one of the others, which is then ours.
    name = sqlite3.__name__.partition(".")[0]
    own = "_sqlite3" if name == "sqlite3" else name
    loaded = (each for each in _LIBRARIES if each in sys.modules or f"{each}.dbapi2" in sys.modules)
    return next((each for each in loaded if each != own), None)
