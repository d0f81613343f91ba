"""From query parameters and settings to the key of a view. Every parameter is checked; an error names it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from re import compile as pattern
from typing import Final
from urllib.parse import quote

from hermes_cache.errors import HermesCacheError
from hermes_cache.gateway.texts import quoted
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.stores.hermes.side_files import ViewSettings

_TRUE: Final = frozenset({"1", "true", "yes"})
_FALSE: Final = frozenset({"0", "false", "no"})
_MAX_ARCHIVED_LIMIT: Final = 2_000
_MAX_ARCHIVED_OFFSET: Final = 200_000
USUAL_AGENT_LIMIT: Final = 20
"""As many terminals' sessions as the front end lists."""

_MAX_AGENT_LIMIT: Final = 1_000_000
_SIDEBAR_SOURCES: Final = frozenset({"webui", "cli"})
_PROFILE: Final = pattern(r"[a-z0-9][a-z0-9_-]{0,63}")
VIEW_PARAMETERS: Final = (
    "profile", "all_profiles", "show_cli", "show_previous_messaging", "show_cron", "show_webhook", "show_kanban",
    "show_claude_code", "include_archived", "exclude_hidden", "visible_only", "source_filter", "sidebar_source",
    "archived_limit", "archived_offset", "agent_limit",
)  # fmt: skip

_MOST_NAMES: Final = 10
_LONGEST_NAME: Final = 40
_SETTINGS_INTERVAL_S: Final = 1.0
"""A changed setting may take effect this late, so that a request almost never waits for the file system."""


_LONGEST_VALUE: Final = 1_000
"""Of a parameter. A view with a longer one would be kept, and shown wherever entries are listed."""


class ParameterError(HermesCacheError, ValueError):
    """A query parameter has a value that is not known.

    Attributes:
        field: The parameter's name.
        value: What was given.
    """

    def __init__(self, field: str, value: str, expected: str) -> None:
        self.field = field
        self.value = value
        super().__init__(f"{quoted(field, marks='')} is {quoted(value)}; it must be {expected}")


class Query:
    """The parameters of one request, read by name.

    Args:
        values: All values by name, as the request gave them.
        names: The known names; one that occurs twice raises `ParameterError`. Other names are ignored, because
            front ends add their own.
    """

    def __init__(self, values: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
        for name, given in values.items():
            if name in names and len(given) > 1:
                raise ParameterError(name, ", ".join(given), "given once")
            if name in names and len(given[0]) > _LONGEST_VALUE:
                raise ParameterError(name, given[0], f"at most {_LONGEST_VALUE} characters")
        self._values = {name: values[name][0].strip() for name in names if name in values}

    def text(self, name: str) -> str | None:
        """Return a text; None if it is absent or blank."""
        return self._values.get(name) or None

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a flag, given as 1, true or yes, or as 0, false or no."""
        value = self._values.get(name)
        if value is None:
            return default
        if value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
        raise ParameterError(name, value, "1, true or yes, or 0, false or no")

    def count(self, name: str, *, most: int) -> int | None:
        """Return a whole number from 0 to `most`; None if it is absent."""
        value = self._values.get(name)
        if value is None:
            return None
        # A number with more digits than `most` is too large; int() is slow for very long texts, or refuses them.
        if value.isascii() and value.isdigit() and len(value) <= len(str(most)) and int(value) <= most:
            return int(value)
        raise ParameterError(name, value, f"a whole number from 0 to {most}")

    def profile(self) -> str | None:
        """Return the profile's name; None if it is absent or blank."""
        value = self.text("profile")
        if value and not _PROFILE.fullmatch(value):
            raise ParameterError("profile", value, "at most 64 of a-z, 0-9, - and _, a letter or a digit first")
        return value


def ignored_parameters(values: Mapping[str, Sequence[str]], names: Sequence[str]) -> str | None:
    """Return the parameters that were ignored in the form of a header's value; None if there are none.

    Args:
        values: All values by name, as the request gave them.
        names: The known names.

    Source: rule W1.
    """
    ignored = [quote(name[:_LONGEST_NAME], safe="") for name in values if name not in names]
    return ", ".join(ignored[:_MOST_NAMES]) or None


class ViewDefaults:
    """The view that a request without parameters means: that of the home's settings file.

    The file is read at most once a second. Any thread may call this: what was read is one value, replaced whole.

    Args:
        read: Reads the settings.
        agent_limit: How many terminals' sessions are listed at most, which no setting says; None for all.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        read: Callable[[], ViewSettings],
        *,
        agent_limit: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._agent_limit = agent_limit
        self._clock = clock
        self._kept = self._now()

    def view(self) -> SessionListKey:
        """Return the view by the settings, as of at most a second ago.

        Source: rule W1.
        """
        view = self.kept()
        if view is None:
            _, before = self._kept
            read_at_s, view = self._now()
            # The same object as long as nothing changed: keys that polls compare are the same objects then, too.
            view = before if view == before else view
            self._kept = read_at_s, view
        return view

    def kept(self) -> SessionListKey | None:
        """Return the view as it was read less than a second ago, from memory alone; None if it must be read."""
        read_at_s, view = self._kept
        return view if self._clock() - read_at_s < _SETTINGS_INTERVAL_S else None

    def _now(self) -> tuple[float, SessionListKey]:
        return self._clock(), SessionListKey(
            visible_only=True, agent_limit=self._agent_limit, **asdict(self._read())
        )


def key_of(values: Mapping[str, Sequence[str]], default: SessionListKey) -> SessionListKey:
    """Return the key that a request names.

    Args:
        values: The query parameters, all values by name.
        default: Tells what an absent parameter means.

    Raises:
        ParameterError: A parameter is given twice, or has a value out of range.

    Source: rule W1.
    """
    query = Query(values, VIEW_PARAMETERS)
    return SessionListKey(
        profile=query.profile(),
        all_profiles=query.flag("all_profiles", default=default.all_profiles),
        show_cli=query.flag("show_cli", default=default.show_cli),
        show_previous_messaging=query.flag("show_previous_messaging", default=default.show_previous_messaging),
        show_cron=query.flag("show_cron", default=default.show_cron),
        show_webhook=query.flag("show_webhook", default=default.show_webhook),
        show_kanban=query.flag("show_kanban", default=default.show_kanban),
        show_claude_code=query.flag("show_claude_code", default=default.show_claude_code),
        include_archived=query.flag("include_archived", default=default.include_archived),
        exclude_hidden=query.flag("exclude_hidden", default=default.exclude_hidden),
        visible_only=query.flag("visible_only", default=default.visible_only),
        source_filter=default.source_filter if "source_filter" not in values else query.text("source_filter"),
        sidebar_source=_sidebar_source(query),
        archived_limit=query.count("archived_limit", most=_MAX_ARCHIVED_LIMIT),
        archived_offset=query.count("archived_offset", most=_MAX_ARCHIVED_OFFSET) or 0,
        agent_limit=_agent_limit(query, values, default),
    )


def _agent_limit(query: Query, values: Mapping[str, Sequence[str]], default: SessionListKey) -> int | None:
    if "agent_limit" not in values:
        return default.agent_limit
    return None if query.text("agent_limit") == "all" else query.count("agent_limit", most=_MAX_AGENT_LIMIT)


def _sidebar_source(query: Query) -> str | None:
    value = query.text("sidebar_source")
    if value and value not in _SIDEBAR_SOURCES:
        raise ParameterError("sidebar_source", value, "webui or cli")
    return value
