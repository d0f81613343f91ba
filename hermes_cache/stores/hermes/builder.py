"""Builds payloads from a home: one projection per scope, and every key a view of it.

Source: rules X4, B8, R11.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from pathlib import Path
from threading import Lock
from typing import Final

from hermes_cache.errors import ProfileNotFoundError, SourceError
from hermes_cache.payload.content import Content
from hermes_cache.sessions.keys import DEFAULT_PROFILE, SessionListKey
from hermes_cache.stores.hermes.file_stamps import ABSENT, file_stamp
from hermes_cache.stores.hermes.kept_counts import KeptCounts
from hermes_cache.stores.hermes.locations import ALL_PROFILES, Locations
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.other_stores import OtherStores, WithStores
from hermes_cache.stores.hermes.profile_reading import ProfileReader
from hermes_cache.stores.hermes.projection import Projection, Snapshot, newest_first, refreshed
from hermes_cache.stores.hermes.sharing import Sharing
from hermes_cache.stores.hermes.views import view
from hermes_cache.threads.forks import after_fork_in_child

_MAX_VIEWS: Final = 16
"""Views that are remembered of the snapshot that a scope has now; past it all are forgotten."""

_MAX_SCOPES: Final = 256
"""Past it the least recently used is forgotten. A view of all profiles needs the projections of all of them."""


class _Held:
    """What is held for one scope: its lock, how many refreshes began and which was the last to succeed."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.begun = 0
        self.succeeded = 0
        self.projection: Projection | None = None
        self.joined: tuple[tuple[Snapshot, ...], Snapshot] | None = None
        self.snapshot = Snapshot(())
        self._viewed: tuple[Snapshot, dict[SessionListKey, Content]] = (self.snapshot, {})

    def view(self, snapshot: Snapshot, key: SessionListKey) -> Content:
        """Return the content of a key from a snapshot; the same one as before if the snapshot is."""
        of, contents = self._viewed
        if of is not snapshot or len(contents) >= _MAX_VIEWS:
            of, contents = self._viewed = (snapshot, {})
        content = contents.get(key)
        if content is None:
            content = contents[key] = view(snapshot, key)
        return content


class HomeBuilder:
    """Builds the payloads of a Hermes home; a `JoiningBuilder`. Any thread may call.

    It can be pickled: the copy reads the same home on its own.
    """

    def __init__(
        self, locations: Locations, looks: Looks | None = None, other_stores: OtherStores | None = None
    ) -> None:
        self._locations = locations
        self._looks = looks or Looks()
        self._other_stores = other_stores or OtherStores()
        self._start_anew()
        after_fork_in_child(self._start_anew)

    def __reduce__(self) -> tuple[type["HomeBuilder"], tuple[Locations, None, OtherStores]]:
        return HomeBuilder, (self._locations, None, self._other_stores)

    def __call__(self, key: SessionListKey, /) -> Mapping[str, object]:
        """Return the payload of a key as of now.

        Raises:
            ProfileNotFoundError: The home has no such profile.
            SourceError: A file that brings rows cannot be read; it names the file and the reason.
        """
        return self.content(key).decoded()

    def content(self, key: SessionListKey, /) -> Content:
        """Return the same with its rows encoded.

        Raises:
            ProfileNotFoundError: The home has no such profile.
            SourceError: A file that brings rows cannot be read; it names the file and the reason.
        """
        scope = self._other_stores.scope_of(key, self._locations)
        snapshot = self.refresh(scope)
        return self._held_for(scope).view(snapshot, key)

    def refresh(self, scope: Hashable, /) -> Snapshot:
        """Probe a scope's sources, read them if they moved, and return its snapshot.

        Callers at one time share one refresh only if it began after they called.

        Raises:
            ProfileNotFoundError: The home has no such profile, or has it no more.
            SourceError: A file that brings rows cannot be read; it names the file and the reason.
        """
        self._must_be_there(scope)
        try:
            return self._refreshed(scope)
        except SourceError:
            self._must_be_there(scope)  # It may have been renamed or deleted meanwhile.
            raise

    def _refreshed(self, scope: Hashable) -> Snapshot:
        held = self._held_for(scope)
        begun_before = held.begun
        with held.lock:
            if held.succeeded > begun_before:
                return held.snapshot
            held.begun += 1
            try:
                held.snapshot = self._read(held, scope)
            except SourceError:
                self._forget_if_never_read(scope, held)
                raise
            held.succeeded = held.begun
            return held.snapshot

    def view(self, snapshot: object, key: SessionListKey, /) -> Mapping[str, object]:
        """Return the payload of a key from a snapshot of its scope.

        Raises:
            TypeError: `refresh` did not return this snapshot.
        """
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"snapshot is a {type(snapshot).__name__}; pass what refresh() returned")
        return view(snapshot, key).decoded()

    def parts(self, key: SessionListKey, /) -> tuple[Hashable, ...]:
        """Name the profiles that an all-profiles key joins."""
        return tuple(self._listed_profiles()) if key.all_profiles else ()

    def share(self, scope: Hashable, seen: Hashable, /) -> tuple[Hashable, bytes]:
        """Refresh a profile and return what changed of it, for the process that joins it."""
        return self._sharing.share(scope, self._refreshed(scope), seen)

    def adopt(self, scope: Hashable, share: bytes, /) -> None:
        """Take in what another process shared of a profile, and join that from now on."""
        self._sharing.adopt(scope, share)

    def noticed(self, seen: Hashable, /) -> tuple[Hashable, object]:
        """Return what moved in other agents' stores, for the copy of this builder in another process."""
        return self._other_stores.noticed(seen)

    def notice(self, news: object, /) -> None:
        """Look at what moved in other agents' stores, as the process that sends the keys found it."""
        self._other_stores.notice(news)

    def _held_for(self, scope: Hashable) -> _Held:
        with self._lock:
            held = self._held.setdefault(scope, _Held())
            self._held.move_to_end(scope)
            while len(self._held) > _MAX_SCOPES:
                self._held.popitem(last=False)
            return held

    def _forget_if_never_read(self, scope: Hashable, held: _Held) -> None:
        # Names that no profile has must not push out projections.
        with self._lock:
            if not held.succeeded and self._held.get(scope) is held:
                del self._held[scope]

    def _must_be_there(self, scope: Hashable) -> None:
        """See that the folder of a profile is there; what is held of one that was renamed or deleted goes."""
        scope = scope.scope if isinstance(scope, WithStores) else scope
        profile = self._locations.root_profile if scope == ALL_PROFILES else str(scope)
        files, root = self._locations.files(profile), self._locations.home(profile)
        if not _is_absent(files.home) or files.state_db.parent != files.home:
            return
        if files.home == root or _is_absent(root):
            raise SourceError(root, "is missing: no Hermes home lies there")
        with self._lock:
            self._held.pop(scope, None)
        self._sharing.forget(scope)
        self._reader.forget(files)
        raise ProfileNotFoundError(files.home, profile)

    def _read(self, held: _Held, scope: Hashable) -> Snapshot:
        if isinstance(scope, WithStores):
            return self._other_stores.listed_beside(self._refreshed(scope.scope), scope)
        if scope == ALL_PROFILES:
            return self._joined(held)
        held.projection = refreshed(held.projection, self._locations.files(str(scope)), self._reader, self._looks)
        return held.projection.snapshot

    def _joined(self, held: _Held) -> Snapshot:
        snapshots = tuple([self._part(profile) for profile in self._listed_profiles()])
        if held.joined is None or not _are_same(held.joined[0], snapshots):
            sessions = newest_first([each for one in snapshots for each in one.sessions])
            held.joined = (snapshots, Snapshot(tuple(sessions)))
        return held.joined[1]

    def _part(self, profile: str) -> Snapshot:
        return self._sharing.adopted(profile) or self._refreshed(profile)

    def _listed_profiles(self) -> list[str]:
        """Name the profiles that an all-profiles view joins; one broken profile fails the view, which names it.

        A profile that has no folder, but sessions in the index, is among them.
        """
        root = self._locations.root_profile
        indexed = self._reader.indexed_profiles(self._locations.files(root))
        named = {*self._locations.profiles(), *indexed} - {root, DEFAULT_PROFILE}
        return [root, *sorted(named)]

    def _start_anew(self) -> None:
        # Locks that another thread held at a fork stay held in the child, so nothing is taken over.
        self._lock = Lock()
        self._held: OrderedDict[Hashable, _Held] = OrderedDict()
        self._sharing = Sharing()
        kept_counts = KeptCounts(self._locations.kept_in)
        self._reader = ProfileReader(self._locations.is_root_profile, self._looks, kept_counts)


def _is_absent(path: Path) -> bool:
    return file_stamp(path) == ABSENT


def _are_same(older: tuple[Snapshot, ...], newer: tuple[Snapshot, ...]) -> bool:
    return len(older) == len(newer) and all(map(lambda one, other: one is other, older, newer))
