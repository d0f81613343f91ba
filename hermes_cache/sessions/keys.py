"""The key: the name of one view of the session list.

Two requests that mean the same view make equal keys, since every field is normalised at construction.
Source: rules K1 to K4.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from math import isfinite
from typing import Final

from hermes_cache.arguments import DEFAULT_PROFILE, profile_name, text_or_none
from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.errors import shown

__all__ = ["DEFAULT_PROFILE", "SessionListKey", "profile_name", "reach_of"]

_NAMED_APART: Final = ("profile", "all_profiles", "extra")

_MOST_SHOWN: Final = 200

_FLAGS: Final = (
    "all_profiles",
    "show_cli",
    "show_previous_messaging",
    "show_cron",
    "show_webhook",
    "show_kanban",
    "show_claude_code",
    "include_archived",
    "exclude_hidden",
    "visible_only",
)


@dataclass(frozen=True, slots=True, eq=False)
class SessionListKey:
    """One view of the session list: immutable, hashable, with its hash computed once.

    Flags become bool. `archived_limit` becomes an int of at least 0, or None if absent, infinite or not a
    number; `archived_offset` likewise, with 0 for None. `agent_limit` likewise: at most so many of the newest
    sessions that the front end files under `cli`, or None for all. Blank filters become None. `extra` carries
    further view fields as pairs of a name and a hashable value (a mapping is taken too) and is sorted by name.

    Raises:
        TypeError: A text field is no str, or `extra` is no pairs, or a value of it is not hashable.
        ValueError: `extra` gives a name twice, or `profile` has a NUL, a lone surrogate, or more than 255
            characters.

    Source: rules K1 to K3.
    """

    profile: str | None = None
    all_profiles: bool = False
    show_cli: bool = False
    show_previous_messaging: bool = False
    show_cron: bool = False
    show_webhook: bool = False
    show_kanban: bool = False
    show_claude_code: bool = False
    include_archived: bool = False
    exclude_hidden: bool = False
    visible_only: bool = False
    source_filter: str | None = None
    sidebar_source: str | None = None
    archived_limit: int | None = None
    archived_offset: int = 0
    agent_limit: int | None = None
    extra: tuple[tuple[str, Hashable], ...] = ()
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "profile", profile_name(self.profile))
        for flag in _FLAGS:
            put(self, flag, bool(getattr(self, flag)))
        put(self, "source_filter", text_or_none("source_filter", self.source_filter))
        put(self, "sidebar_source", text_or_none("sidebar_source", self.sidebar_source))
        put(self, "archived_limit", _count(self.archived_limit))
        put(self, "archived_offset", _count(self.archived_offset) or 0)
        put(self, "agent_limit", _count(self.agent_limit))
        put(self, "extra", _pairs(self.extra))
        put(self, "_hash", hash(self._values()))

    @property
    def profile_name(self) -> str:
        """The normalised profile; never None."""
        return self.profile or DEFAULT_PROFILE

    def with_profile(self, profile: str) -> "SessionListKey":
        """Return the same view of another profile."""
        return self if profile == self.profile else replace(self, profile=profile)

    def _values(self) -> tuple[Hashable, ...]:
        return tuple(getattr(self, name) for name in _FIELD_NAMES)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, SessionListKey):
            return NotImplemented
        return self._hash == other._hash and self._values() == other._values()

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type["SessionListKey"], tuple[Hashable, ...]]:
        # Rebuilt, not copied: hashes of str differ between processes.
        return SessionListKey, self._values()

    def __str__(self) -> str:
        """Name the view in words: its profile, and what differs from the defaults; at most 200 signs."""
        changed = [(f.name, getattr(self, f.name)) for f in fields(self) if f.init and f.name not in _NAMED_APART]
        pairs = [(name, value) for name, value in changed if value not in (None, False, 0)] + list(self.extra)
        differing = [name if value is True else f"{name} {value}" for name, value in pairs]
        whose = "all profiles" if self.all_profiles else f"profile {self.profile_name}"
        words = f"{whose} with {', '.join(differing)}" if differing else whose
        line = "".join(sign if sign.isprintable() else "?" for sign in words)
        return line if len(line) <= _MOST_SHOWN else f"{line[: _MOST_SHOWN - 3]}..."


_FIELD_NAMES: Final = tuple(f.name for f in fields(SessionListKey) if f.init)


def _count(value: object) -> int | None:
    if value is None:
        return None
    try:
        number = int(value) if isinstance(value, int) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0, int(number)) if isinstance(number, int) or isfinite(number) else None


def _pairs(
    extra: Mapping[str, Hashable] | Iterable[tuple[str, Hashable]],
) -> tuple[tuple[str, Hashable], ...]:
    try:
        pairs = [(name, value) for name, value in (extra.items() if isinstance(extra, Mapping) else extra)]
    except (TypeError, ValueError):
        raise TypeError(f"extra is {shown(extra)}; it must be pairs of a name and a value") from None
    ordered = sorted([(_name(name), value) for name, value in pairs], key=lambda pair: pair[0])
    for name, value in ordered:
        _must_be_hashable(name, value)
    for (name, _), (following, _) in pairwise(ordered):
        if name == following:
            raise ValueError(f"extra gives {name!r} twice; give each name once")
    return tuple(ordered)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"extra has the name {shown(name)}; it must be a str")
    return name


def _must_be_hashable(name: str, value: object) -> None:
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"extra[{name!r}] is {shown(value)}; it must be hashable") from None


def reach_of(key: SessionListKey) -> str:
    """Return the reach that a key with a canonical profile belongs to: its profile, or all of them."""
    return ALL_PROFILES if key.all_profiles else key.profile_name
