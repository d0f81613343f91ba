"""Sources that change when a test changes them. No file is read here."""

from collections import Counter
from collections.abc import Hashable, Mapping
from threading import Lock
from typing import Final

from hermes_cache.ports import SETTINGS_PART
from hermes_cache.sessions.keys import DEFAULT_PROFILE, SessionListKey

CONTENT_PART: Final = "content"


class VersionedSources:
    """A `hermes_cache.ports.Sources` with one scope for each profile and one for all profiles.

    Each profile has parts that a test sets, named `content/work` and so on. The settings part belongs to every
    scope. A profile without parts has the content 0. Any thread may call.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._parts: dict[tuple[str, str], Hashable] = {(DEFAULT_PROFILE, CONTENT_PART): 0}
        self._settings: Hashable = 0
        self._error: Exception | None = None
        self._calls: Counter[Hashable] = Counter()
        self._held_calls: Counter[Hashable] = Counter()

    def scope(self, key: SessionListKey, /) -> Hashable:
        """Return the profile of a key, or all profiles, as its scope."""
        return ("all profiles",) if key.all_profiles else ("profile", key.profile_name)

    def stamp(self, key: SessionListKey, /, *, held: bool) -> Mapping[str, Hashable]:
        """Return the parts as they were last set; only the settings if `held`."""
        scope = self.scope(key)
        with self._lock:
            self._calls[scope] += 1
            self._held_calls[scope] += held
            if self._error is not None:
                raise self._error
            return {SETTINGS_PART: self._settings, **({} if held else self._content(key))}

    def set_part(self, value: Hashable, *, profile: str = DEFAULT_PROFILE, part: str = CONTENT_PART) -> None:
        """Set one part of a profile to any value, also to a `hermes_cache.ports.LastKnown`."""
        with self._lock:
            self._parts[profile, part] = value

    def set_settings(self, value: Hashable) -> None:
        """Set the settings part of every scope."""
        with self._lock:
            self._settings = value

    def fail_with(self, error: Exception | None) -> None:
        """Make every check raise an error; None ends that."""
        with self._lock:
            self._error = error

    def calls(self, key: SessionListKey) -> int:
        """Return how many checks the scope of a key had."""
        with self._lock:
            return self._calls[self.scope(key)]

    def held_calls(self, key: SessionListKey) -> int:
        """Return how many of those checks were made while a stream was active."""
        with self._lock:
            return self._held_calls[self.scope(key)]

    def _content(self, key: SessionListKey) -> dict[str, Hashable]:
        own = {(key.profile_name, CONTENT_PART): 0, **self._parts}
        return {
            f"{part}/{profile}": value
            for (profile, part), value in sorted(own.items(), key=lambda item: item[0])
            if key.all_profiles or profile == key.profile_name
        }
