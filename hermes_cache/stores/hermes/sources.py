"""Says whether what was built from a home is still what the home holds.

Only `stat` and one held read-only connection per database look at it; nothing is opened for writing and no check
blocks for 50 ms. Source: rules S1, S2, H1, X1.
"""

from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Final

from hermes_cache.errors import SourceError
from hermes_cache.ports import SETTINGS_PART
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes.file_stamps import file_stamp, wal_stamp
from hermes_cache.stores.hermes.held_databases import BUSY_TIMEOUT_S, HeldDatabases
from hermes_cache.stores.hermes.locations import Locations, ProfileFiles, scope_of

_PATIENCE_S: Final = 2 * BUSY_TIMEOUT_S
"""For all databases of one check together."""

_MAX_PROFILES: Final = 256


class HomeSources:
    """The sources of a Hermes home; a `Sources`.

    The parts of an all-profiles view carry the profile behind a colon, as in `content:work`.
    """

    def __init__(self, locations: Locations, databases: HeldDatabases) -> None:
        self._locations = locations
        self._databases = databases
        # Putting paths together takes ten times as long as looking at them; a callable may change its mind.
        self._files: Callable[[str], ProfileFiles] = locations.files
        self._settings: Callable[[str], Path] = locations.settings
        if locations.are_fixed:
            self._files = lru_cache(_MAX_PROFILES)(locations.files)
            self._settings = lru_cache(_MAX_PROFILES)(locations.settings)

    def scope(self, key: SessionListKey, /) -> Hashable:
        """Return the key's profile, or one constant for all profiles."""
        return scope_of(key)

    def stamp(self, key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
        """Return the stamp's parts as of now; with `held`, the settings part alone."""
        settings = {SETTINGS_PART: file_stamp(self._settings(key.profile_name))}
        if held:
            return settings
        gives_up_at_s = monotonic() + _PATIENCE_S
        if not key.all_profiles:
            return settings | self._profile_parts(key.profile_name, "", gives_up_at_s)
        try:
            profiles = self._locations.profiles()
        except SourceError as error:
            return {**settings, "profiles": ("unreadable", error.reason)}
        parts: dict[str, Hashable] = {"profiles": profiles}
        for profile in profiles:
            parts |= self._profile_parts(profile, f":{profile}", gives_up_at_s)
        return settings | parts

    def release(self, key: SessionListKey, /) -> None:
        """Close the connections that a key's checks hold; the next check opens others, of another epoch."""
        with suppress(SourceError):  # What cannot be named or listed has no connection.
            for profile in self._locations.profiles() if key.all_profiles else (key.profile_name,):
                self._databases.release(self._files(profile).state_db)

    def _profile_parts(self, profile: str, suffix: str, gives_up_at_s: float) -> dict[str, Hashable]:
        try:
            files = self._files(profile)
        except SourceError as error:
            return {f"content{suffix}": ("unreadable", error.reason)}
        stamps = {name + suffix: stamp for name, stamp in _file_stamps(files).items()}
        content = self._databases.content(files.state_db, gives_up_at_s - monotonic())
        return {**stamps, f"content{suffix}": content}


def _file_stamps(files: ProfileFiles) -> dict[str, Hashable]:
    return {
        "state_db": file_stamp(files.state_db),
        "state_db_wal": wal_stamp(files.state_db_wal),
        "gateway_metadata": file_stamp(files.gateway_metadata),
        "session_index": file_stamp(files.session_index),
    }
