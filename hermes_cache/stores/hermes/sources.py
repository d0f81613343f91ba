"""Says whether what was built from a home is still what the home holds.

Only `stat` looks at it: nothing is opened, and no check waits. Source: rules S1, S2, H1, X1.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Final

from hermes_cache.errors import SourceError
from hermes_cache.ports import SETTINGS_PART
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes.file_stamps import file_stamp
from hermes_cache.stores.hermes.left_logs import LeftLogs
from hermes_cache.stores.hermes.locations import Locations, ProfileFiles
from hermes_cache.stores.hermes.looks import STILL_WAIT_S, Looks, slept
from hermes_cache.stores.hermes.other_stores import OtherStores, WithStores

_MAX_PROFILES: Final = 256


class HomeSources:
    """The sources of a Hermes home; `Sources` that say when they stand still.

    The parts of an all-profiles view carry the profile behind a colon, as in `content:work`.
    """

    def __init__(self, locations: Locations, looks: Looks, other_stores: OtherStores | None = None) -> None:
        self._locations = locations
        self._looks = looks
        self._logs = LeftLogs()
        self._other_stores = other_stores or OtherStores()
        # Putting paths together takes ten times as long as looking at them; a callable may change its mind.
        self._files: Callable[[str], ProfileFiles] = locations.files
        self._settings: Callable[[str], Path] = locations.settings
        if locations.are_fixed:
            self._files = lru_cache(_MAX_PROFILES)(locations.files)
            self._settings = lru_cache(_MAX_PROFILES)(locations.settings)

    @property
    def notes(self) -> tuple[str, ...]:
        """Name the logs that nobody holds, or of which that cannot be known, and what to do (X2)."""
        return self._logs.notes

    def scope(self, key: SessionListKey, /) -> Hashable:
        """Return the key's profile, or one constant for all profiles."""
        return self._other_stores.scope_of(key, self._locations)

    def stamp(self, key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
        """Return the stamp's parts as of now; with `held`, the settings part alone."""
        common: dict[str, Hashable] = {SETTINGS_PART: file_stamp(self._settings(key.profile_name))}
        if held:
            return common
        if isinstance(self.scope(key), WithStores):
            common |= self._other_stores.stamp_parts()
        if not key.all_profiles:
            return common | self._profile_parts(key.profile_name, "")
        try:
            profiles = self._locations.profiles()
        except SourceError as error:
            return {**common, "profiles": ("unreadable", error.reason)}
        parts: dict[str, Hashable] = {"profiles": profiles}
        for profile in profiles:
            parts |= self._profile_parts(profile, f":{profile}")
        return common | parts

    def settle(self, key: SessionListKey, /) -> None:
        """Wait until all that a stamp of the key tells of stands still, at most 60 ms (S2)."""
        gives_up_at_s = monotonic() + STILL_WAIT_S
        try:
            profiles = self._locations.profiles() if key.all_profiles else (key.profile_name,)
            files = [self._files(profile) for profile in profiles]
        except SourceError:
            return
        while still_in_s := max(map(self._still_in_s, files)):
            if not slept(gives_up_at_s, still_in_s):
                return

    def _profile_parts(self, profile: str, suffix: str) -> dict[str, Hashable]:
        try:
            files = self._files(profile)
        except SourceError as error:
            return {f"content{suffix}": ("unreadable", error.reason)}
        stamps, still_in_s = self._looks.files(_beside_databases(files))
        content, look = self._looks.content(files.state_db)
        runs, runs_look = self._looks.content(files.cron_runs)
        self._logs.note(files.state_db, look)
        self._logs.note(files.cron_runs, runs_look)
        parts: dict[str, Hashable] = {
            "state_db": look.database,
            "state_db_wal": look.wal,
            "content": content,
            "cron_runs": runs,
            "unsettled": self._looks.number(("others", profile), None, is_still=not still_in_s),
            **dict(zip(files.others, stamps, strict=False)),  # The settings have a part of their own.
        }
        return {name + suffix: part for name, part in parts.items()}

    def _still_in_s(self, files: ProfileFiles) -> float:
        databases = [self._looks.database(path)[1] for path in (files.state_db, files.cron_runs)]
        return max(*databases, self._looks.files(_beside_databases(files))[1])


def _beside_databases(files: ProfileFiles) -> tuple[Path, ...]:
    return (*files.others.values(), files.settings)
