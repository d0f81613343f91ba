"""Notifications of the operating system: which paths in some folders changed.

On Linux `inotify_simple` has them: a thread sleeps in the system until something changes. It hears of the first
change after a calm within 60 ms, and of later ones a quarter of a second after that. Elsewhere `watchfiles` has
them, which wakes up four times a second to look. Neither opens a file, and a read of a file is no change to them.
Source: rules X10, X11, X2.
"""

import os
import select
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from errno import EMFILE, ENOSPC
from importlib import import_module
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

from hermes_cache.threads.gates import Gate

LIBRARIES: Final = ("inotify_simple", "watchfiles") if sys.platform == "linux" else ("watchfiles",)
"""The libraries that have notifications on this system; the extra `watch` installs the first."""

WAKES_EVERY_S: Final = 0.25
_COMPANIONS_S: Final = 0.055
"""After a calm it waits so long for changes of the same commit, and until the files stand still (S2): a store
looks at younger ones twice, and the second look would hold back what it says of the next change (X11)."""

_WATCHFILES_WAITS_S: Final = 0.5

_EXHAUSTED: Final = {
    ENOSPC: "this user has all watches of files that it may have: raise fs.inotify.max_user_watches",
    EMFILE: "no more can be opened: raise fs.inotify.max_user_instances, or the limit of open files (ulimit -n)",
}


class Interrupt(Gate):
    """Ends waits for notifications; any thread and a signal handler may open it, as it has no lock to wait for.

    Attributes:
        alarm: Wakes up the thread that waits in the system; None if no thread does.
    """

    __slots__ = ("alarm",)

    def __init__(self) -> None:
        super().__init__()
        self.alarm: _Alarm | None = None

    def open(self) -> None:
        """End the wait that is under way, and each later one."""
        super().open()
        # After that: a thread has its alarm here before it looks whether this is open.
        alarm = self.alarm
        if alarm is not None:
            alarm.ring()

    def is_set(self) -> bool:
        """Return whether it was opened; watchfiles asks so."""
        return self.is_open


class _Alarm:
    """A file descriptor that wakes up a thread.

    It is closed with the last reference to this, so no thread writes to a descriptor that is another file by then.
    """

    descriptor = -1

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __del__(self) -> None:
        # A program that becomes a daemon may have closed all descriptors.
        with suppress(OSError):
            os.close(self.descriptor)

    def ring(self) -> None:
        """Wake up the thread that waits, or that will."""
        with suppress(OSError):
            os.eventfd_write(self.descriptor, 1)


class Notifications(Protocol):
    """Notifications of changes in some folders, not in the folders there. One thread waits for them."""

    def begin(self) -> Collection[Path]:
        """Return once no change is missed any more, with the paths of those that were heard of until then."""

    def wait(self, timeout_s: float, *, rests_until_s: float) -> Collection[Path] | None:
        """Wait for changes.

        Args:
            timeout_s: How long to wait at most; it may return sooner.
            rests_until_s: No change ends the wait before that moment, on the monotonic clock.

        Returns:
            The paths that changed, and a folder if it was moved or removed; None if any path may have changed.
        """

    def close(self) -> None:
        """Release what the system holds for it, without a wait. It may be called twice, and in a forked child."""


def library() -> str | None:
    """Return the first library that is installed; None if there is none."""
    for name in LIBRARIES:
        with suppress(ImportError):
            import_module(name)
            return name
    return None


def notifications(folders: Collection[Path], interrupt: Interrupt) -> Notifications:
    """Begin to have notifications.

    Args:
        folders: The folders, which exist.
        interrupt: Ends a wait.

    Raises:
        FileNotFoundError, NotADirectoryError: A folder is gone.
        OSError: The system gives no more notifications.
    """
    return Inotify(folders, interrupt) if library() == "inotify_simple" else Watchfiles(folders, interrupt)


class Inotify:
    """Notifications of Linux, by `inotify_simple`; see `notifications` and `Notifications`."""

    def __init__(self, folders: Collection[Path], interrupt: Interrupt) -> None:
        from inotify_simple import INotify, flags  # noqa: PLC0415 - only some have it

        self._overflow = int(flags.Q_OVERFLOW)
        self._interrupt = interrupt
        # The system knows a folder by one number, however many paths lead to it.
        self._folders: dict[int, list[Path]] = {}
        with _limits_explained():
            self._inotify = _opened(INotify)
            try:
                for folder in folders:
                    self._folders.setdefault(self._inotify.add_watch(folder, _changes(flags)), []).append(folder)
                interrupt.alarm = _Alarm()
            except BaseException:
                self.close()
                raise
        self._poll = select.poll()
        self._poll.register(self._inotify.fileno(), select.POLLIN)
        self._poll.register(interrupt.alarm.descriptor, select.POLLIN)

    def begin(self) -> Collection[Path]:
        """Return at once: they have begun."""
        return ()

    def wait(self, timeout_s: float, *, rests_until_s: float) -> Collection[Path] | None:
        """Wait for changes; the thread sleeps in the system."""
        rest_s = rests_until_s - monotonic()
        is_interrupted = self._interrupt.wait(rest_s)
        # After a rest, what came in it is old enough.
        if not is_interrupted and (rest_s < _COMPANIONS_S or not self._poll.poll(0)):
            if not self._poll.poll(ceil(timeout_s * 1_000)):
                return ()
            self._interrupt.wait(_COMPANIONS_S)
        # Also at an interrupt: what came until then is not lost.
        return self._changed()

    def _changed(self) -> Collection[Path] | None:
        happened = {(event.wd, event.name): event.mask for event in self._inotify.read(timeout=0)}
        if any(mask & self._overflow for mask in happened.values()):
            return None
        folders = [(folder, name) for number, name in happened for folder in self._folders.get(number, ())]
        return {folder / name if name else folder for folder, name in folders}

    def close(self) -> None:
        """Close the descriptors. A parent keeps its own."""
        self._interrupt.alarm = None
        self._inotify.close()


class Watchfiles:
    """Notifications by `watchfiles`, which also knows other systems; see `notifications` and `Notifications`."""

    def __init__(self, folders: Collection[Path], interrupt: Interrupt) -> None:
        from watchfiles import watch  # noqa: PLC0415 - only some have it, and it takes its time to import

        step_ms = round(WAKES_EVERY_S * 1_000)
        self._changes: Iterator[set[tuple[Any, str]]] = watch(
            *folders,
            watch_filter=None,
            debounce=step_ms,
            step=step_ms,
            rust_timeout=round(_WATCHFILES_WAITS_S * 1_000),
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=False,
            recursive=False,
            stop_event=interrupt,
        )

    def begin(self) -> Collection[Path]:
        """Wait for half a second: the library says only so that it has begun."""
        return self.wait(_WATCHFILES_WAITS_S, rests_until_s=0.0)

    def wait(self, timeout_s: float, *, rests_until_s: float) -> Collection[Path]:  # noqa: ARG002 - it has its own
        """Wait for changes, for half a second."""
        return {Path(path) for _, path in next(self._changes, ())}

    def close(self) -> None:
        """Let the library end."""
        self._changes = iter(())


def _opened(kind: Any) -> Any:
    try:
        return kind(nonblocking=True)
    except FileNotFoundError as error:
        # No folder is gone: it looks for the system's library with the help of programs and temporary files.
        raise RuntimeError(f"inotify_simple found no C library: {error}") from error


def _changes(flags: Any) -> int:
    """Return which kinds of changes matter: all but opening, reading and closing.

    A file that was written is closed later. But SQLite also opens a log for writing when it reads it, so a build
    would notify its own watch.
    """
    of_files = flags.MODIFY | flags.ATTRIB | flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO
    of_the_folder = flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR | flags.EXCL_UNLINK
    return int(of_files | of_the_folder)


@contextmanager
def _limits_explained() -> Iterator[None]:
    """Have an error say which limit was reached."""
    try:
        yield
    except OSError as error:
        if error.errno not in _EXHAUSTED:
            raise
        raise OSError(error.errno, _EXHAUSTED[error.errno]) from error
