"""The sessions of Claude Code, read from its transcripts: `~/.claude/projects/<folder>/<id>.jsonl`.

A look asks what the files look like from outside. Only files that moved are opened, and of those only what is new
is read. So a process can ask for the stamp and never read a transcript. Symlinks are passed over. Nothing is
written. Source: rules X11, X12.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from threading import Lock, Thread
from time import monotonic, thread_time, time
from typing import Final, NamedTuple
from uuid import uuid4

from hermes_cache.errors import SourceError
from hermes_cache.ports import Clock
from hermes_cache.stores.file_looks import FileLooks, warn_of
from hermes_cache.stores.growing_files import Read, opened
from hermes_cache.stores.row_log import RowLog
from hermes_cache.stores.session_store import LOOK_EVERY_S, MOVES_EVERY_S, Changes, Row
from hermes_cache.stores.transcripts import Transcript
from hermes_cache.threads.forks import after_fork_in_child
from hermes_cache.threads.starting import started

_QUICK_S: Final = 0.005
"""A look at everything that takes longer is made by a thread of its own, so that a stamp is returned at once."""

_MOST_OF_A_CORE: Final = 0.002
"""What looks at everything may take of a processor: those of 10,000 files take 45 ms each."""


_MOST_MOVES: Final = 256
"""Files that are remembered as moved, for a process that must hear of them; past it, it looks at all."""


class _Stamp(NamedTuple):
    store: str
    number: int


@dataclass(frozen=True, slots=True)
class _Session:
    """What is held of a transcript: how far it was read, what it says up to there, and what is shown of all."""

    read: Read
    transcript: Transcript
    shown: Transcript


class _MachineClock:
    monotonic_s = staticmethod(monotonic)
    wall_s = staticmethod(time)


class ClaudeCode:
    """The sessions of Claude Code; a `NotifiedStore`. Any thread may call.

    Args:
        path: The folder of its projects; None for `HERMES_WEBUI_CLAUDE_PROJECTS_DIR`, else `~/.claude/projects`.
        redacts: Says whether secrets are masked; None for always, unless a home says it (`redact_when`).
        clock: Tells the time; None for the machine's.

    Raises:
        SourceError: No path was given, and the user has no home folder.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        redacts: Callable[[], bool] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.path: Final = _projects_folder(path)
        self._redacts = redacts
        self._home_redacts: Callable[[], bool] | None = None
        self._clock = clock or _MachineClock()
        self._start_anew()
        after_fork_in_child(self._start_anew)

    def _start_anew(self) -> None:
        # Locks that another thread held at a fork stay held in the child, so nothing is taken over.
        self._scanning, self._looking, self._reading = Lock(), Lock(), Lock()
        # Guarded by the first lock.
        self._files = FileLooks(str(self.path), ".jsonl")
        # Guarded by the second: what was found by looks.
        self._moved: set[str] = set()
        self._moves: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0
        self._is_redacted = True
        self._look_took_s = 0.0
        self._looked_at_s = self._looks_at_s = self._stamped_at_s = float("-inf")
        self._number = 0
        self._stamp = _Stamp(uuid4().hex, 0)
        # Guarded by the third: what was read.
        self._sessions: dict[str, _Session] = {}
        self._log = RowLog()
        self._was_redacted = True
        self._read_number = 0
        self._bytes_read = 0

    def __reduce__(self) -> tuple[object, ...]:
        return _made_again, (self.path, self._redacts)

    @property
    def is_read(self) -> bool:
        """Whether the transcripts were read once, so that `rows` takes no time."""
        return self._read_number > 0

    @property
    def bytes_read(self) -> int:
        """How many bytes of transcripts were read so far."""
        return self._bytes_read

    def rows(self) -> tuple[Row, ...]:
        """Return all rows, newest first; the first call reads all transcripts."""
        self._note_setting()
        self._look_if_due()
        self._read_what_moved()
        return self._log.rows

    def stamp(self) -> Hashable:
        """Return what equals an earlier stamp as long as no transcript moved; none is read for it.

        A look that is due and takes long is begun, and a later stamp has what it found.
        """
        self._note_setting()
        if self._look_took_s < _QUICK_S:
            self._look_if_due()
        elif self._is_due() and not self._scanning.locked():
            started(Thread(target=self._look_if_due, name="hermes_cache look at a store", daemon=True))
        with self._looking:
            return self._stamp_now()

    def changes(self, since: Hashable, /) -> Changes | None:
        """Return what changed since a stamp; None if it is of another store or too old."""
        self._note_setting()
        self._look_if_due()
        self._read_what_moved()
        with self._reading, self._looking:
            if not isinstance(since, _Stamp) or since.store != self._stamp.store:
                return None
            found = self._log.since(since.number)
            return None if found is None else Changes(self._stamp_now(), *found)

    def look(self, paths: Iterable[str | Path] | None = None) -> bool:
        """Look at the files now, and say whether any moved.

        Args:
            paths: The files and folders to look at, as notifications name them; None for all.
        """
        with self._scanning:
            return self._look(None if paths is None else [os.path.abspath(path) for path in paths])  # noqa: PTH100 - text

    def folders(self) -> Collection[Path]:
        """Return the folder of the projects, and their own."""
        with self._scanning:
            return [Path(each) for each in self._files.folders()]

    def moved(self, since: Hashable, /) -> tuple[Hashable, Sequence[str] | None]:
        """Return which files the looks found moved after an earlier call; see `NotifiedStore`."""
        with self._looking:
            now = _Stamp(self._stamp.store, self._number)
            if not isinstance(since, _Stamp) or since.store != now.store or since.number < self._forgotten:
                return now, None
            return now, [path for path, number in self._moves.items() if number > since.number]

    def redact_when(self, says: Callable[[], bool]) -> None:
        """Have a home say whether secrets are masked, if nothing else was given to say it."""
        self._home_redacts = says

    def _look_if_due(self) -> None:
        if self._is_due():
            with self._scanning:
                if self._is_due():
                    self._look(None)

    def _is_due(self) -> bool:
        return self._clock.monotonic_s() >= self._looks_at_s

    def _look(self, paths: list[str] | None) -> bool:
        now_s, began_s = self._clock.monotonic_s(), thread_time()
        if self._looked_at_s == float("-inf"):
            paths = None
        moved = self._files.look(paths, now_s=now_s, wall_s=self._clock.wall_s())
        took_s = thread_time() - began_s
        with self._looking:
            if paths is None:
                self._look_took_s, self._looked_at_s = took_s, now_s
                self._looks_at_s = now_s + max(LOOK_EVERY_S, took_s / _MOST_OF_A_CORE)
            if moved or not self._number:
                self._moved |= moved
                self._number += 1
                self._note_moves(moved)
        return bool(moved)

    def _note_moves(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._moves[path] = self._number
            self._moves.move_to_end(path)
        while len(self._moves) > _MOST_MOVES:
            _, self._forgotten = self._moves.popitem(last=False)

    def _note_setting(self) -> None:
        says = self._redacts or self._home_redacts
        redacts = says is None or says()
        with self._looking:
            if redacts != self._is_redacted:
                self._is_redacted = redacts
                self._number += 1

    def _stamp_now(self) -> _Stamp:
        now_s = self._clock.monotonic_s()
        if self._stamp.number != self._number and now_s - self._stamped_at_s >= MOVES_EVERY_S:
            self._stamp, self._stamped_at_s = self._stamp._replace(number=self._number), now_s
        return self._stamp

    def _read_what_moved(self) -> None:
        if self._read_number == self._number:
            return
        with self._reading:
            with self._looking:
                number, redacts = self._number, self._is_redacted
                moved, self._moved = self._moved, set()
            for path in moved:
                self._read(path)
            if redacts != self._was_redacted:
                self._was_redacted = redacts
                moved |= self._sessions.keys()
            changed = [self._log.put(_session_id(path), self._row(path), number) for path in moved]
            if any(changed):
                self._log.sort()
            if not self._read_number:
                # The first reading may take longer than the span between two looks.
                self._looks_at_s += self._clock.monotonic_s() - self._looked_at_s
            self._read_number = number

    def _read(self, path: str) -> None:
        """Read a transcript on; one that is gone is forgotten, one that cannot be read stays as it was."""
        held = self._sessions.get(path)
        try:
            with opened(path, held.read if held else None) as file:
                transcript = replace(held.transcript) if held and file.goes_on else Transcript()
                for line in file.lines():
                    transcript.take(line)
                shown = replace(transcript)
                shown.take(file.open_line)
                self._sessions[path] = _Session(file.read(), transcript, shown)
                self._bytes_read += file.bytes_read
        except OSError as error:
            if path in self._files:
                warn_of(path, error)
            else:
                self._sessions.pop(path, None)

    def _row(self, path: str) -> Row | None:
        session = self._sessions.get(path)
        if session is None or not session.shown.messages:
            return None
        seconds, nanoseconds = divmod(session.read.stamp.mtime_ns, 10**9)
        modified_s = seconds + 1e-9 * nanoseconds  # Rounded as `st_mtime` is.
        return session.shown.row(_session_id(path), modified_s, redacts=self._was_redacted)


def _made_again(path: Path, redacts: Callable[[], bool] | None) -> ClaudeCode:
    return ClaudeCode(path, redacts=redacts)


def _projects_folder(path: str | Path | None) -> Path:
    named = path or os.environ.get("HERMES_WEBUI_CLAUDE_PROJECTS_DIR") or "~/.claude/projects"
    try:
        folder = Path(named).expanduser().absolute()
    except RuntimeError as error:
        raise SourceError(str(named), "the user has no home folder; name the folder of the projects") from error
    # The id of a session is made of its resolved path; a symlink at the end itself is passed over.
    return folder.parent.resolve() / folder.name


def _session_id(path: str) -> str:
    return f"claude_code_{sha256(os.fsencode(path)).hexdigest()[:24]}"
