"""Where the files of a Hermes home lie; nothing is opened here, only the profiles are listed.

A profile is an explicit value, never read from the calling thread, so a build in the background has the profile
of the read that asked for it. Source: rules S3, X1.
"""

import os
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

from hermes_cache.errors import SourceError, shown
from hermes_cache.ports import IsRootProfile
from hermes_cache.sessions.keys import DEFAULT_PROFILE, SessionListKey

Location: TypeAlias = str | os.PathLike[str] | Callable[[SessionListKey], str | os.PathLike[str]]
"""A path, or a callable of the key; the callable may look at the key's profile alone."""

ALL_PROFILES: Final = ("all profiles",)
"""The scope of every all-profiles key; a tuple, so that no profile name equals it."""

ROOT: Final = "(root)"
"""The root profile in a view of all profiles, if `default` is another one; no profile can have that name."""

INDEX: Final = "_index.json"
TOMBSTONES: Final = ("_deleted_webui_sessions.json", "_pruned_webui_orphans.json")
"""The files of the session folder that are no sessions."""

_FOLDER_PARTS: Final = ("session_folder", "session_index", "deleted_sessions", "pruned_sessions")

_PROFILE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class ProfileFiles:
    """The files that the list of one profile is read from.

    Attributes:
        profile: The profile's name.
        home: Its folder.
        state_db: The agent's database.
        gateway_metadata: The gateway's `sessions.json`.
        cron_jobs: The scheduler's `jobs.json`.
        cron_runs: The scheduler's database of runs.
        session_dir: The sidecars of all profiles.
        settings: The settings of all profiles.
        projects: The projects of all profiles.
    """

    profile: str
    home: Path
    state_db: Path
    gateway_metadata: Path
    cron_jobs: Path
    cron_runs: Path
    session_dir: Path
    settings: Path
    projects: Path

    @cached_property
    def others(self) -> Mapping[str, Path]:
        """What a list is read from beside the database and the settings, by the names of the stamp's parts."""
        parts = {"gateway_metadata": self.gateway_metadata, "projects": self.projects, "cron_jobs": self.cron_jobs}
        return {**parts, **dict(zip(_FOLDER_PARTS, folder_files(self.session_dir), strict=True))}


@dataclass(frozen=True, slots=True)
class Locations:
    """Tells the files of a profile.

    A plain path given for `state_db` or `gateway_metadata` is that of the profile `default`; the named profiles
    keep their own below `profiles/`. A callable tells it for every profile.

    Attributes:
        root: The root profile's home.
        own_profile: The profile that is `default`, if the path that was given is a profile's folder; else None.
        folder: What a relative path of a callable is relative to.
        session_dir: None for `sessions` in the web front end's state folder.
        settings_file: None for `settings.json` there.
        state_db: None for `state.db` in each profile's home.
        gateway_metadata: None for `sessions/sessions.json` in each profile's home.
        state_dir: The web front end's state folder; None for `webui` in the root home.
        is_root_profile: Says whether a name that the front end noted is an alias of the root profile.
        kept_in: Where counts are kept for the next start; None if they are not.
    """

    root: Location
    own_profile: str | None = None
    folder: Path = Path("/")
    session_dir: Location | None = None
    settings_file: Location | None = None
    state_db: Location | None = None
    gateway_metadata: Location | None = None
    state_dir: Location | None = None
    is_root_profile: IsRootProfile | None = None
    kept_in: Path | None = None

    @property
    def are_fixed(self) -> bool:
        """Whether no callable returns any of them."""
        given = (self.root, self.session_dir, self.settings_file, self.state_db, self.gateway_metadata)
        return not any(map(callable, given))

    def files(self, profile: str) -> ProfileFiles:
        """Return the files of a profile, whether or not they exist.

        Raises:
            SourceError: No profile can have that name.
        """
        key = SessionListKey(profile=DEFAULT_PROFILE if profile == ROOT else profile)
        name = self._name(profile)
        root = self.home(profile)
        home = _profile_home(root, name)
        state_dir = self._state_dir(key)
        # A plain path is that of the profile that is asked for as `default`.
        own = SessionListKey(profile=profile)
        return ProfileFiles(
            profile=name,
            home=home,
            state_db=self._of_profile(self.state_db, own, home / "state.db"),
            gateway_metadata=self._of_profile(self.gateway_metadata, own, home / "sessions" / "sessions.json"),
            cron_jobs=home / "cron" / "jobs.json",
            cron_runs=home / "cron" / "executions.db",
            session_dir=self._resolved(self.session_dir or state_dir / "sessions", key),
            settings=self.settings(profile),
            projects=state_dir / "projects.json",
        )

    def home(self, profile: str) -> Path:
        """Return the root home, as the profile's location tells it."""
        return self._resolved(self.root, SessionListKey(profile=profile))

    def settings(self, profile: str) -> Path:
        """Return the settings file of a profile, whatever its name."""
        key = SessionListKey(profile=profile)
        if self.settings_file is not None:
            return self._resolved(self.settings_file, key)
        return self._state_dir(key) / "settings.json"

    def profiles(self) -> tuple[str, ...]:
        """List the profiles that have a folder, the root profile first.

        Raises:
            SourceError: The folder of the profiles cannot be listed.
        """
        folder = self._resolved(self.root, SessionListKey(all_profiles=True)) / "profiles"
        try:
            named = [name for name in os.listdir(folder) if is_named_profile(name) and (folder / name).is_dir()]  # noqa: PTH208 - names are wanted, not paths
        except FileNotFoundError:
            named = []
        except OSError as error:
            raise SourceError(folder, error.strerror or str(error)) from error
        return (self.root_profile, *sorted(named))

    @property
    def root_profile(self) -> str:
        """The name of the root profile in a view of all profiles."""
        return DEFAULT_PROFILE if self.own_profile is None else ROOT

    def _name(self, profile: str) -> str:
        if profile == ROOT:
            return DEFAULT_PROFILE
        return self.own_profile or profile if profile == DEFAULT_PROFILE else profile

    def _state_dir(self, key: SessionListKey) -> Path:
        return self._resolved(self.state_dir, key) if self.state_dir else self._resolved(self.root, key) / "webui"

    def _of_profile(self, location: Location | None, key: SessionListKey, default: Path) -> Path:
        is_for_all = callable(location) or key.profile == DEFAULT_PROFILE
        return self._resolved(location, key) if location is not None and is_for_all else default

    def _resolved(self, location: Location, key: SessionListKey) -> Path:
        if callable(location):
            return self.folder / _expanded(location(key))
        return self.folder / location


def check_location(name: str, location: object) -> None:
    """Raise `TypeError` if an argument is neither None, nor a path, nor a callable."""
    if not (location is None or isinstance(location, str | os.PathLike) or callable(location)):
        raise TypeError(f"{name} is {shown(location)}; it must be a path, or a callable of the key, or None")


def made_absolute(location: Location) -> Location:
    """Return a path as it is meant now, so that a later change of folder does not move it; a callable stays.

    Raises:
        SourceError: It needs a home folder that the user does not have, or a current folder that is gone.
    """
    if callable(location):
        return location
    try:
        return _expanded(location).absolute()
    except OSError as error:
        raise _not_found_from_here(location, error) from error


def _expanded(location: str | os.PathLike[str]) -> Path:
    try:
        return Path(location).expanduser()
    except RuntimeError as error:
        raise _not_found_from_here(location, error) from error


def _not_found_from_here(location: str | os.PathLike[str], error: Exception) -> SourceError:
    reason = f"cannot be known from here ({error}); set HERMES_HOME to a full path, or pass one"
    return SourceError(location, reason)


def root_and_own_profile(path: Location) -> tuple[Location, str | None]:
    """Return the root home of a path, and the profile that is `default` if the path is that profile's folder."""
    if not isinstance(path, Path) or path.parent.name != "profiles" or not is_named_profile(path.name):
        return path, None
    root = path.parent.parent
    is_home = any((root / name).exists() for name in ("state.db", "config.yaml", "webui"))
    return (root, path.name) if is_home else (path, None)


def folder_files(session_dir: Path) -> tuple[Path, ...]:
    """Return what is looked at in a session folder: itself, the index, the tombstones.

    A sidecar that is renamed into the folder moves the time of the folder.
    """
    return (session_dir, session_dir / INDEX, *(session_dir / name for name in TOMBSTONES))


def scope_of(key: SessionListKey) -> Hashable:
    """Return the scope of a key as to the home alone: its profile, or `ALL_PROFILES`."""
    return ALL_PROFILES if key.all_profiles else key.profile_name


def is_named_profile(name: str) -> bool:
    """Say whether a folder of that name below `profiles/` is a profile."""
    return name != DEFAULT_PROFILE and _PROFILE_NAME.fullmatch(name) is not None


def _profile_home(root: Path, profile: str) -> Path:
    if profile == DEFAULT_PROFILE:
        return root
    if not is_named_profile(profile):
        raise SourceError(root / "profiles", f"no profile can be named {profile!r}")
    return root / "profiles" / profile
