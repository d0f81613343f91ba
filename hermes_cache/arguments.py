"""Checks what callers give: the arguments of publishers, one function for each topic; names; timeouts.

An unknown argument raises `TypeError`, as for any function. Source: rules E3, K3, K5, R6.
"""

import re
from math import inf
from typing import Final, TypeAlias

from hermes_cache.errors import EventError, shown

Fields: TypeAlias = dict[str, str | None]
"""The fields of an event, without its id and time."""


def session_list_changed(
    *, reason: object = "session_changed", profile: object = None, session_id: object = None
) -> Fields:
    """Check the arguments of `SessionListChanged`.

    Raises:
        EventError: An argument is refused; the error names the field.
    """
    return {
        "reason": _word("reason", reason),
        "profile": _profile(profile),
        "session_id": _text("session_id", session_id),
    }


def list_changed(*, reason: object = "list_changed", profile: object = None, row_id: object = None) -> Fields:
    """Check the arguments of `SessionListChanged` by the names that lists of any kind have for them.

    Raises:
        EventError: An argument is refused; the error names the field.
    """
    return {
        "reason": _word("reason", reason),
        "profile": _profile(profile),
        "session_id": _text("row_id", row_id),
    }


def stream_started(*, stream_id: object = None, profile: object = None, session_id: object = None) -> Fields:
    """Check the arguments of `StreamStarted`.

    Raises:
        EventError: An argument is refused, or `stream_id` is missing; the error names the field.
    """
    return {
        "stream_id": _word("stream_id", stream_id),
        "profile": _profile(profile),
        "session_id": _text("session_id", session_id),
    }


def stream_stopped(*, stream_id: object = None) -> Fields:
    """Check the arguments of `StreamStopped`.

    Raises:
        EventError: `stream_id` is refused or missing.
    """
    return {"stream_id": _word("stream_id", stream_id)}


def settings_changed() -> Fields:
    """Check the arguments of `SettingsChanged`: there are none."""
    return {}


def check_type(name: str, value: object, kind: type) -> None:
    """Raise `TypeError` if an argument is neither None nor of a type."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} is {shown(value)}; it must be a {kind.__name__}, or None")


def check_port(name: str, value: object, port: type, wanted: str) -> None:
    """Raise `TypeError` if an argument is neither None nor has all that a port demands; a wrapper has it, too.

    Args:
        name: The name of the argument.
        value: What was given.
        port: The protocol.
        wanted: What it must be, in words.
    """
    if value is None:
        return
    # Loaded late: the help of a command needs none of it.
    from typing_extensions import get_protocol_members  # noqa: PLC0415

    # Not `isinstance`: since Python 3.12 it does not see what a wrapper has by `__getattr__`.
    lacking = sorted([each for each in get_protocol_members(port) if not hasattr(value, each)])
    if lacking:
        raise TypeError(f"{name} is {shown(value)}, which has no {lacking[0]!r}; it must be {wanted}")


def bus_name(name: object) -> str:
    """Return the name of a bus.

    Raises:
        TypeError: It is no text.
        ValueError: It is empty, longer than 64 characters, or has others than ASCII letters, digits, `_` and `-`.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a bus is {shown(name)}; it must be a str")
    if not _BUS_NAME.fullmatch(name):
        raise ValueError(f"the name of a bus is {shown(name)}; it must be 1 to 64 of A-Z, a-z, 0-9, _ and -")
    return name


_BUS_NAME: Final = re.compile(r"[\w-]{1,64}", re.ASCII)
"""It stands in tickets and in the versions of subscribers, which are headers, cookies and parts of URLs."""


def timeout_s(timeout: object) -> float:
    """Return a timeout in seconds: infinity for None, and for a number that is too large for a float.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative or NaN.
    """
    if timeout is None:
        return inf
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is {shown(timeout)}; it must be a number of seconds, or None for no bound")
    if not timeout >= 0:
        raise ValueError(f"timeout is {shown(timeout)}; it must be at least 0 s, or None for no bound")
    try:
        return float(timeout)
    except OverflowError:
        return inf


DEFAULT_PROFILE: Final = "default"


def profile_name(profile: str | None) -> str:
    """Return the profile that a name means: a missing or blank one is `default`.

    Raises:
        TypeError: `profile` is neither a str nor None.
        ValueError: It has a NUL, a lone surrogate, or more than 255 characters.
    """
    name = text_or_none("profile", profile) or DEFAULT_PROFILE
    if demand := profile_demand(name):
        raise ValueError(f"profile is {shown(name)}; it must be {demand}")
    return name


def text_or_none(name: str, value: object) -> str | None:
    """Return a text without blanks around it; None for None, and for a blank one.

    Raises:
        TypeError: It is no text.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)}; it must be a str or None")
    return value.strip() or None


def profile_demand(profile: str) -> str | None:
    """Return what the name of a profile must be, in words; None if it is so. Events and keys ask the same (K3)."""
    if len(profile.strip()) > _LONGEST_PROFILE:
        return f"of at most {_LONGEST_PROFILE} characters"
    return _demand(profile)


_LONGEST_PROFILE: Final = 255
"""A profile has a folder, and the name of a folder cannot be longer."""


def _profile(value: object) -> str | None:
    profile = _text("profile", value)
    if profile is not None and (demand := profile_demand(profile)):
        raise EventError("profile", profile, demand)
    return profile


def _word(field: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise EventError(field, value, "a str that is not blank")
    return _encodable(field, value)


def _text(field: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise EventError(field, value, "a str or None")
    return _encodable(field, value)


def _encodable(field: str, value: str) -> str:
    if demand := _demand(value):
        raise EventError(field, value, demand)
    return value


def _demand(text: str) -> str | None:
    # Later a journal or a browser would refuse a lone surrogate or a NUL.
    if "\0" in text:
        return "free of NUL characters"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "free of lone surrogates"
    return None
