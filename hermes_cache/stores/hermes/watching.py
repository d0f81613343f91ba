"""Watches the files of a Hermes home, and says whose sources moved when they move.

It sleeps on the notifications of the operating system, which wake it four times a second at most. If it can have
none (a network file system, no more watches to be had, no library is installed), it says every 0.5 s that
everything may have moved: the listener looks at the files itself, which costs a few `stat`s. It opens no file.
Source: rules X10, X2.
"""

import os
from collections.abc import Collection, Hashable, Iterable, Iterator
from contextlib import closing, suppress
from math import inf
from pathlib import Path
from time import monotonic
from typing import Final, TypeAlias

from hermes_cache.distribution import install_command
from hermes_cache.file_systems import MOUNTS, network_file_system
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Moved, Scopes
from hermes_cache.stores.hermes.locations import ALL_PROFILES, Locations, ProfileFiles
from hermes_cache.stores.hermes.notifications import (
    LIBRARIES,
    WAKES_EVERY_S,
    Interrupt,
    Notifications,
    library,
    notifications,
)
from hermes_cache.stores.hermes.other_stores import OtherStores, WithStores
from hermes_cache.stores.session_store import MOVES_EVERY_S
from hermes_cache.threads.forks import after_fork_in_child
from hermes_cache.threads.gates import Gate
from hermes_cache.threads.kept_thread import KeptThread

logger = QuietLogger(__name__)

_LOOKS_EVERY_S: Final = 5.0
"""So often it looks which scopes are watched, and whether folders appeared."""

_BLIND_EVERY_S: Final = 0.5
_TRIES_AGAIN_S: Final = 60.0
"""When it tries to have notifications again after it was refused."""

Concerned: TypeAlias = dict[Path, dict[str, set[Hashable]]]
"""The folders to watch, with the names of the files there that matter, and the readers of each; "" is any name."""

_COMPANIONS: Final = ("-wal", "-journal")


class HomeWatch:
    """A watch of a home that runs, until it is closed.

    Args:
        locations: Where the files are.
        scopes: Returns the scopes to watch; called by the thread of the watch.
        moved: Called with the scopes whose sources may have moved, by that thread.
        other_stores: The stores of other agents, which get what moved of theirs.
    """

    def __init__(
        self, locations: Locations, scopes: Scopes, moved: Moved, other_stores: OtherStores | None = None
    ) -> None:
        self._locations = locations
        self._scopes = scopes
        self._moved = moved
        self._other_stores = other_stores or OtherStores()
        self._folders_of_stores: frozenset[Path] = frozenset()
        self._looked_into: frozenset[Path] = frozenset()
        self._moves_again_at_s = inf
        self._rests_until_s = -inf
        self._closed = Gate()
        self._interrupted = Interrupt()
        self._notifications: Notifications | None = None
        self._trouble: str | None = None
        after_fork_in_child(self._start_anew)
        self._thread = KeptThread(self._run, "hermes_cache.watch")
        self._thread.ensure_running()

    @property
    def trouble(self) -> str | None:
        """Why there are no notifications; None if there are."""
        if self._thread.is_missing:
            return f"the thread {self._thread.name} does not run: changes are noticed every {_LOOKS_EVERY_S:g} s"
        return self._trouble

    def scopes_changed(self) -> None:
        """Have the scopes asked for anew, and see that the thread runs."""
        self._interrupted.open()
        self._thread.ensure_running()

    def close(self) -> None:
        """End it, without waiting for its thread."""
        self._thread.end()
        self._closed.open()
        self._interrupted.open()

    def _start_anew(self) -> None:
        # No thread waits in a child, and the descriptors are those of the parent.
        inherited, self._notifications = self._notifications, None
        if inherited is not None:
            inherited.close()

    def _run(self) -> None:
        while True:
            self._interrupted = Interrupt()
            # Looked at after that: a close that comes earlier is seen here, a later one interrupts the wait.
            if self._closed.is_open:
                return
            try:
                self._watch()
            except (FileNotFoundError, NotADirectoryError):
                # A folder went before it was watched: the next look finds it no more.
                self._interrupted.wait(WAKES_EVERY_S)
            except Exception as error:  # whatever it is, the watch goes on without notifications
                logger.warning("hermes_cache.watch_failed", exc_info=True)
                self._look_blindly(f"{type(error).__name__}: {error}")

    def _watch(self) -> None:
        """Wait for notifications until the folders to watch are others, or there are none to be had."""
        concerned = self._concerned()
        folders = _identities(concerned)
        refused = _refused(concerned)
        if refused is not None:
            self._look_blindly(refused)
            return
        self._trouble = None
        # What came while nothing was watched.
        self._moved(self._scopes())
        if not concerned:
            self._interrupted.wait(_LOOKS_EVERY_S)
            return
        with closing(notifications(concerned, self._interrupted)) as self._notifications:
            self._hear(self._notifications, concerned, folders)

    def _hear(self, heard: Notifications, concerned: Concerned, folders: dict[Path, tuple[int, int]]) -> None:
        """Say what moved, until the folders to watch are others."""
        self._tell_stores(heard.begin())
        # What came before they began.
        self._moved(self._scopes())
        self._look_where_nothing_was_watched()
        began_s = monotonic()
        looks_at_s, is_over = began_s + _LOOKS_EVERY_S, False
        while not is_over:
            is_over = self._interrupted.is_open
            if is_over:
                # Scopes may change often. The stores hear of what comes meanwhile.
                self._closed.wait(began_s + WAKES_EVERY_S - monotonic())
            paths = self._next(heard, looks_at_s)
            is_other = self._tell_stores(paths)
            scopes = self._held_back()
            for path in paths or ():
                scopes |= _of(path, concerned)
            if scopes:
                self._moved(scopes)
            if paths is None or not concerned.keys().isdisjoint(paths):
                # Some were lost, or a folder was moved or removed and its notifications ended with that.
                return
            if is_other or monotonic() >= looks_at_s:
                if self._concerned() != concerned or _identities(concerned) != folders:
                    return
                looks_at_s = monotonic() + _LOOKS_EVERY_S

    def _next(self, heard: Notifications, looks_at_s: float) -> Collection[Path] | None:
        """Wait for changes until it is time for a look; after each, rest."""
        timeout_s = max(0.0, min(looks_at_s, self._moves_again_at_s) - monotonic())
        paths = heard.wait(timeout_s, rests_until_s=self._rests_until_s)
        if paths or paths is None:
            self._rests_until_s = monotonic() + WAKES_EVERY_S
        return paths

    def _look_where_nothing_was_watched(self) -> None:
        """Have the stores look into folders that came or went since the last notifications ended."""
        before, self._looked_into = self._looked_into, self._folders_of_stores
        differing = before ^ self._looked_into
        if differing:
            self._other_stores.look(sorted(differing) if before else None)

    def _tell_stores(self, paths: Collection[Path] | None) -> bool:
        """Have the stores look at what moved of theirs, and say whether a folder may be new among it."""
        theirs = None if paths is None else [path for path in paths if path.parent in self._folders_of_stores]
        if theirs == [] or not self._folders_of_stores:
            return False
        self._other_stores.look(theirs)
        # A store's stamp does not move twice within that span; what it holds back then must be asked for.
        self._moves_again_at_s = min(self._moves_again_at_s, monotonic() + MOVES_EVERY_S)
        return any(path.is_dir() and path not in self._folders_of_stores for path in theirs or ())

    def _held_back(self) -> set[Hashable]:
        """Return the scopes of stores whose stamps may move by now for what was found within the span."""
        if monotonic() < self._moves_again_at_s:
            return set()
        self._moves_again_at_s = inf
        return {each for each in self._scopes() if isinstance(each, WithStores)}

    def _look_blindly(self, why: str) -> None:
        """Say every half second that all may have moved, until it is time to try to have notifications."""
        self._trouble = f"no file notifications ({why}); it looks every {_BLIND_EVERY_S:g} s instead"
        tries_at_s = monotonic() + _TRIES_AGAIN_S
        while monotonic() < tries_at_s and not self._interrupted.wait(_BLIND_EVERY_S):
            # A failure now must not end the thread: it is reported when notifications are tried again.
            with suppress(Exception):
                self._moved(self._scopes())

    def _concerned(self) -> Concerned:
        concerned: Concerned = {}
        scopes = self._scopes()
        has_stores = any(isinstance(each, WithStores) for each in scopes)
        self._folders_of_stores = frozenset(self._other_stores.folders() if has_stores else ())
        for scope in scopes:
            for folder, name in self._files_of(scope):
                concerned.setdefault(folder, {}).setdefault(name, set()).add(scope)
        # Those that this user may not look into cannot be watched; they must not keep the others from it.
        return {folder: names for folder, names in concerned.items() if _may_be_watched(folder)}

    def _files_of(self, scope: Hashable) -> Iterator[tuple[Path, str]]:
        if isinstance(scope, WithStores):
            yield from self._files_of(scope.scope)
            yield from [(folder, "") for folder in self._folders_of_stores]
            return
        profiles: Iterable[str] = (str(scope),)
        if scope == ALL_PROFILES:
            profiles = self._locations.profiles()
            yield self._locations.home(self._locations.root_profile) / "profiles", ""
        for profile in profiles:
            yield from _files(self._locations.files(profile))


def _of(path: Path, concerned: Concerned) -> set[Hashable]:
    names = concerned.get(path.parent, {})
    return names.get(path.name, set()) | names.get("", set())


def _identities(folders: Collection[Path]) -> dict[Path, tuple[int, int]]:
    """Return what tells a folder from another one that replaced it under its name."""
    found = {}
    for folder in folders:
        with suppress(OSError):
            status = folder.stat()
            found[folder] = (status.st_dev, status.st_ino)
    return found


def _files(files: ProfileFiles) -> Iterator[tuple[Path, str]]:
    for database in (files.state_db, files.cron_runs):
        # A link is followed: the companions of a database lie beside the file itself.
        for path in {database, database.resolve()}:
            yield path.parent, path.name
            yield from [(path.parent, path.name + companion) for companion in _COMPANIONS]
    yield files.session_dir, ""
    for path in (*files.others.values(), files.settings):
        yield path.parent, path.name
    # So that a folder that appears is noticed.
    yield files.home, files.cron_jobs.parent.name
    yield files.home, files.gateway_metadata.parent.name
    yield files.home, files.session_dir.parent.name


def _may_be_watched(folder: Path) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.R_OK)  # noqa: PTH112 - that of a Path raises


def _refused(folders: Collection[Path]) -> str | None:
    """Say why notifications of those folders cannot be relied on; None if they can."""
    if library() is None:
        return f"{LIBRARIES[0]} is not installed: {install_command('watch')}"
    with suppress(OSError):
        mounts = MOUNTS.read_text()
        for folder in folders:
            kind = network_file_system(folder.resolve(), mounts)
            if kind is not None:
                return f"{folder} lies on a network file system, {kind}"
    return None
