"""A Hermes home, as a builder and sources for a cache.

Source: rules X1, S3.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from hermes_cache.arguments import check_port
from hermes_cache.ports import IsRootProfile, Moved, Scopes
from hermes_cache.sessions.keys import DEFAULT_PROFILE, SessionListKey
from hermes_cache.stores.hermes.builder import HomeBuilder
from hermes_cache.stores.hermes.locations import (
    Location,
    Locations,
    check_location,
    made_absolute,
    root_and_own_profile,
)
from hermes_cache.stores.hermes.looks import Looks
from hermes_cache.stores.hermes.other_stores import OtherStores
from hermes_cache.stores.hermes.side_files import ViewSettings, read_view_settings
from hermes_cache.stores.hermes.sources import HomeSources
from hermes_cache.stores.hermes.watching import HomeWatch
from hermes_cache.stores.session_store import SessionStore


class HermesHome:
    """Reads a Hermes home: strictly read-only, safe beside live writers.

    Each location is a path, or a callable of the key that looks at its profile alone. A plain path for `state_db`
    or `gateway_metadata` is the root profile's. Pickling keeps the locations.

    Args:
        path: The root home; None for `HERMES_HOME`, else `~/.hermes`. If it is the folder of a profile of a home,
            `default` is that profile, the others are its siblings, and a view of all profiles shows the same root.
        session_dir: None for `sessions` in `HERMES_WEBUI_STATE_DIR`, else in `webui` of the root home.
        settings_file: None for `settings.json` beside it.
        state_db: None for `state.db` in each profile's home.
        gateway_metadata: None for `sessions/sessions.json` in each profile's home.
        stores: The stores of other agents, such as `hermes_cache.stores.ClaudeCode()`, whose sessions the root
            profile lists too if a view has `show_claude_code`.
        kept_in: A folder of the user, in which the counts of users' messages are kept for the next start, so that
            a home of gigabytes is read in a fraction of the time. None keeps nothing.
        is_root_profile: As given to the cache: says whether a name is an alias of the root profile, so that what
            the front end noted under a renamed root is found.

    Attributes:
        builder: Builds the payload of a key.
        sources: Tells whether a payload is still true.

    Raises:
        SourceError: No path was given, and this user has no home folder.
        TypeError: A location is neither a path nor a callable, or a store is none.
    """

    def __init__(  # noqa: PLR0913 - each is a location of its own
        self,
        path: Location | None = None,
        *,
        session_dir: Location | None = None,
        settings_file: Location | None = None,
        state_db: Location | None = None,
        gateway_metadata: Location | None = None,
        is_root_profile: IsRootProfile | None = None,
        stores: Sequence[SessionStore] = (),
        kept_in: str | Path | None = None,
    ) -> None:
        given = {
            "session_dir": session_dir,
            "settings_file": settings_file,
            "state_db": state_db,
            "gateway_metadata": gateway_metadata,
            "state_dir": os.environ.get("HERMES_WEBUI_STATE_DIR") or None,
        }
        for name, location in {"path": path, **given, "kept_in": kept_in}.items():
            check_location(name, location)
        for store in stores:
            check_port("one of stores", store, SessionStore, "a SessionStore")
        home = made_absolute(path or os.environ.get("HERMES_HOME") or Path("~/.hermes"))
        root, own_profile = root_and_own_profile(home)
        self._locations = Locations(
            root=root,
            own_profile=own_profile,
            folder=_current_folder(),
            is_root_profile=is_root_profile,
            kept_in=None if kept_in is None else Path(kept_in).expanduser().absolute(),
            **{name: made_absolute(location) for name, location in given.items() if location is not None},
        )
        self._stores = tuple(stores)
        self._open()

    @property
    def locations(self) -> Locations:
        """Where its files are."""
        return self._locations

    def profiles(self) -> tuple[str, ...]:
        """List the profiles that have a folder, the root profile, `default`, first.

        Raises:
            SourceError: The folder of the profiles cannot be listed.
        """
        return (DEFAULT_PROFILE, *self._locations.profiles()[1:])

    def view_settings(self, profile: str | None = None) -> ViewSettings:
        """Read what the settings file says of the fields that a request leaves open."""
        key = SessionListKey(profile=profile)
        return read_view_settings(self._locations.files(key.profile_name).settings)

    def watch(self, scopes: Scopes, moved: Moved, /) -> HomeWatch:
        """Watch the files of the home; to be given to a cache: `SessionListCache(..., watch=home.watch)` (X10).

        Args:
            scopes: Returns the scopes to watch.
            moved: Called with those whose sources may have moved.
        """
        return HomeWatch(self._locations, scopes, moved, self._other_stores)

    def close(self) -> None:
        """Do nothing: a home holds neither connections nor files open (X2). It is here for those who call it."""

    def _open(self) -> None:
        looks = Looks()
        self._other_stores = other_stores = OtherStores(self._stores, self._locations)
        self.builder = HomeBuilder(self._locations, looks, other_stores)
        self.sources = HomeSources(self._locations, looks, other_stores)

    def __getstate__(self) -> tuple[Locations, tuple[SessionStore, ...]]:
        return self._locations, self._stores

    def __setstate__(self, given: tuple[Locations, tuple[SessionStore, ...]]) -> None:
        self._locations, self._stores = given
        self._open()


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError:
        # It is gone; only a relative path that a callable returns would need it.
        return Path("/")
