"""The port through which the sessions of any agent are read.

A store is one module: it reads an agent's own files, never writes to them, and gives rows. What it must promise:

- `rows` are those of the last look at the files. A look at everything happens at most every `LOOK_EVERY_S`, less
  often if it takes long, unless a notification asks for one. A look that finds nothing new costs no reading.
- `stamp` moves after rows moved, at most every `MOVES_EVERY_S`. It reads no content, so that a process can ask for
  it and never for rows.
- What is broken costs the session that it breaks, or a value of it, never the others.
- Titles and free text are masked before they are cut (X12).

Any thread may call. `hermes_cache.testing.SessionStoreContract` proves a store. Source: rule X11.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeAlias, runtime_checkable

Row: TypeAlias = Mapping[str, object]

LOOK_EVERY_S: Final = 5.0
MOVES_EVERY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What turns the rows of one stamp into those of now.

    Attributes:
        stamp: The store's stamp now.
        rows: The rows that are new or differ, whole.
        gone: The ids of the sessions that are gone.
    """

    stamp: Hashable
    rows: Sequence[Row] = field(default=())
    gone: frozenset[str] = frozenset()


@runtime_checkable
class SessionStore(Protocol):
    """The sessions of one agent, in no profile.

    A row is a mapping of JSON values with at least `session_id` (unique), `title`, `message_count`, `created_at`,
    `updated_at` and `last_message_at` (epoch seconds), `source_tag`, `raw_source`, `session_source` and
    `source_label`. The caller does not change it.
    """

    def rows(self) -> Sequence[Row]:
        """Return all rows, newest first; the first call reads the store and may take seconds."""

    def stamp(self) -> Hashable:
        """Return what equals an earlier stamp as long as no row moved."""

    def changes(self, since: Hashable, /) -> Changes | None:
        """Return what changed since a stamp; None if that is no longer known: then take `rows`."""


@runtime_checkable
class NotifiedStore(SessionStore, Protocol):
    """A store whose files are watched: it gets those that moved, and need not wait for its next look.

    Promise: neither method reads content.
    """

    def folders(self) -> Collection[Path]:
        """Return the folders in which its files lie, and those in which such folders appear; none that is gone."""

    def look(self, paths: Iterable[str | Path] | None = None, /) -> bool:
        """Look at the files now, and say whether any moved.

        Args:
            paths: The files and folders to look at, which may be those of others; None for all.
        """

    def moved(self, since: Hashable, /) -> tuple[Hashable, Sequence[str] | None]:
        """Return which files moved after an earlier call.

        Args:
            since: The first value that the earlier call returned; None at the first call.

        Returns:
            The value to give at the next call; and the paths, None if they are not known any more.
        """
