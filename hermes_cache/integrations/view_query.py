"""From query parameters to the key of a view. Every parameter is checked; an error names it. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from re import compile as pattern
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote

from hermes_cache.errors import HermesCacheError
from hermes_cache.integrations.texts import FALSE, FLAGS, TRUE, flag_of, quoted
from hermes_cache.sessions.keys import SessionListKey

_MAX_ARCHIVED_LIMIT: Final = 2_000
_MAX_ARCHIVED_OFFSET: Final = 200_000
_MAX_AGENT_LIMIT: Final = 1_000_000
_SIDEBAR_SOURCES: Final = frozenset({"webui", "cli"})
_PROFILE: Final = pattern(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_PARAMETERS: Final = 64
"""The views have 16 parameters; front ends add a few of their own."""

_MOST_NAMES: Final = 10
_LONGEST_NAME: Final = 40
_LONGEST_VALUE: Final = 200
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

    def has(self, name: str) -> bool:
        """Return whether a parameter is there, maybe blank."""
        return name in self._values

    def text(self, name: str) -> str | None:
        """Return a text; None if it is absent or blank."""
        return self._values.get(name) or None

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a flag, given as 1, true or yes, or as 0, false or no."""
        value = self._values.get(name)
        if value is None:
            return default
        flag = flag_of(value)
        if flag is None:
            raise ParameterError(name, value, FLAGS)
        return flag

    def count(self, name: str, *, most: int, or_word: str = "") -> int | None:
        """Return a whole number from 0 to `most`; None if it is absent. The error names the word, too."""
        value = self._values.get(name)
        if value is None:
            return None
        # A number with more digits than `most` is too large; int() is slow for very long texts, or refuses them.
        if value.isascii() and value.isdigit() and len(value) <= len(str(most)) and int(value) <= most:
            return int(value)
        raise ParameterError(name, value, f"{or_word}a whole number from 0 to {most}")

    def profile(self) -> str | None:
        """Return the profile's name; None if it is absent or blank."""
        value = self.text("profile")
        if value and not _PROFILE.fullmatch(value):
            raise ParameterError("profile", value, "at most 64 of a-z, 0-9, - and _, a letter or a digit first")
        return value


def parameters_in(query: str) -> dict[str, list[str]]:
    """Return the parameters in the query of an address, all values by name.

    Raises:
        ParameterError: There are too many.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise ParameterError("query", query, f"of at most {_MAX_PARAMETERS} parameters") from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def ignored_parameters(values: Mapping[str, Sequence[str]], names: Sequence[str]) -> str | None:
    """Return the parameters that were ignored in the form of a header's value; None if there are none.

    Args:
        values: All values by name, as the request gave them.
        names: The known names.

    Source: rule W1.
    """
    ignored = [quote(name[:_LONGEST_NAME], safe="") for name in values if name and name not in names]
    return ", ".join(ignored[:_MOST_NAMES]) or None


@dataclass(frozen=True, slots=True)
class ViewField:
    """A field of a view as a query parameter.

    Attributes:
        name: The name of the field, and of the parameter.
        meaning: What it does, in a sentence.
        schema: The JSON schema of its values.
        read: Returns its value; given the parameters of a request and what an absent one means.
    """

    name: str
    meaning: str
    schema: Mapping[str, object]
    read: Callable[[Query, SessionListKey], object]


def _flag(name: str, meaning: str) -> ViewField:
    def read(query: Query, default: SessionListKey) -> bool:
        return query.flag(name, default=getattr(default, name))

    return ViewField(name, meaning, {"type": "string", "enum": sorted(TRUE | FALSE)}, read)


def _count(name: str, meaning: str, *, most: int, absent: int | None) -> ViewField:
    def read(query: Query, _default: SessionListKey) -> int | None:
        count = query.count(name, most=most)
        return absent if count is None else count

    return ViewField(name, meaning, {"type": "integer", "minimum": 0, "maximum": most}, read)


def _profile_of(query: Query, _default: SessionListKey) -> str | None:
    return query.profile()


def _source_filter_of(query: Query, default: SessionListKey) -> str | None:
    return query.text("source_filter") if query.has("source_filter") else default.source_filter


def _sidebar_source_of(query: Query, _default: SessionListKey) -> str | None:
    value = query.text("sidebar_source")
    if value and value not in _SIDEBAR_SOURCES:
        raise ParameterError("sidebar_source", value, "webui or cli")
    return value


def _agent_limit_of(query: Query, default: SessionListKey) -> int | None:
    if not query.has("agent_limit"):
        return default.agent_limit
    if query.text("agent_limit") == "all":
        return None
    return query.count("agent_limit", most=_MAX_AGENT_LIMIT, or_word="all, or ")


_COUNT_OR_ALL: Final = {
    "anyOf": [{"type": "integer", "minimum": 0, "maximum": _MAX_AGENT_LIMIT}, {"const": "all"}]
}

VIEW_FIELDS: Final = (
    ViewField("profile", "The profile; absent: the default one.",
              {"type": "string", "pattern": f"^({_PROFILE.pattern})?$"}, _profile_of),
    _flag("all_profiles", "Show the sessions of all profiles."),
    _flag("show_cli", "Show the sessions of terminals."),
    _flag("show_previous_messaging", "Show earlier sessions of messaging peers."),
    _flag("show_cron", "Show scheduled sessions."),
    _flag("show_webhook", "Show the sessions of webhooks."),
    _flag("show_kanban", "Show the sessions of the board."),
    _flag("show_claude_code", "Show the sessions of Claude Code."),
    _flag("include_archived", "Show archived sessions."),
    _flag("exclude_hidden", "Leave out hidden sessions."),
    _flag("visible_only", "Leave out sessions without a message."),
    ViewField("source_filter", "Show the sessions of this source alone; blank: of all.",
              {"type": "string"}, _source_filter_of),
    ViewField("sidebar_source", "Show the sessions of this tab alone; blank: of both.",
              {"enum": ["", *sorted(_SIDEBAR_SOURCES)]}, _sidebar_source_of),
    _count("archived_limit", "At most so many archived sessions.", most=_MAX_ARCHIVED_LIMIT, absent=None),
    _count("archived_offset", "Leave out so many archived sessions.", most=_MAX_ARCHIVED_OFFSET, absent=0),
    ViewField("agent_limit", "At most so many sessions of terminals; `all`: no bound.",
              _COUNT_OR_ALL, _agent_limit_of),
)  # fmt: skip
"""All fields of a view that a request may name."""

LIST_PARAMETERS: Final = ("since",)
"""What a list is asked by, beside the fields of a view."""

STREAM_PARAMETERS: Final = ("profile", "since")
"""What a stream of changes is asked by."""

VIEW_PARAMETERS: Final = tuple(each.name for each in VIEW_FIELDS)
"""Their names."""


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
    read: dict[str, Any] = {each.name: each.read(query, default) for each in VIEW_FIELDS}
    return SessionListKey(**read)


class AskedView(NamedTuple):
    """What a request for a list asks for.

    Attributes:
        key: The view.
        since: The edition that the client has, if it wants what changed since; it may be a tag.
        ignored: The parameters that are not known, in the form of a header's value; None if there are none.
    """

    key: SessionListKey
    since: str | None
    ignored: str | None


@lru_cache(maxsize=256)
def asked_view(query: str, default: SessionListKey) -> AskedView:
    """Return what the query of an address asks for.

    Polls ask the same again and again; to read 16 parameters takes as long as all else that answers a 304. So what
    was read is kept.

    Args:
        query: What stands behind the question mark.
        default: Tells what an absent parameter means.

    Raises:
        ParameterError: A parameter is given twice, or has a value out of range.
    """
    parameters = parameters_in(query)
    since = Query(parameters, LIST_PARAMETERS).text("since")
    ignored = ignored_parameters(parameters, (*VIEW_PARAMETERS, *LIST_PARAMETERS))
    return AskedView(key_of(parameters, default), since, ignored)


def asked_changes(query: str) -> tuple[str | None, str | None, str | None]:
    """Return whose changes the query of an address asks for, since which version, and what of it is ignored.

    Raises:
        ParameterError: A parameter is given twice, or the profile is no name of one.
    """
    parameters = parameters_in(query)
    asked = Query(parameters, STREAM_PARAMETERS)
    return asked.profile(), asked.text("since"), ignored_parameters(parameters, STREAM_PARAMETERS)
