"""What callers give: the arguments of publishers, one function a topic, the names of profiles, and timeouts.

An unknown argument is a `TypeError`, as for any function. Source: rules E3, K3, R6.
"""

from math import inf
from typing import Final, TypeAlias

from hermes_cache.errors import EventError, shown

Fields: TypeAlias = dict[str, str | None]
"""The fields of an event, but for its id and time."""


def session_list_changed(
    *, reason: object = "session_changed", profile: object = None, session_id: object = None
) -> Fields:
    """Check the arguments of `SessionListChanged`.

    Raises:
        EventError: An argument cannot be; it names the field.
    """
    return {
        "reason": _word("reason", reason),
        "profile": _profile(profile),
        "session_id": _text("session_id", session_id),
    }


def stream_started(*, stream_id: object = None, profile: object = None, session_id: object = None) -> Fields:
    """Check the arguments of `StreamStarted`.

    Raises:
        EventError: An argument cannot be, or `stream_id` is missing; it names the field.
    """
    return {
        "stream_id": _word("stream_id", stream_id),
        "profile": _profile(profile),
        "session_id": _text("session_id", session_id),
    }


def stream_stopped(*, stream_id: object = None) -> Fields:
    """Check the arguments of `StreamStopped`.

    Raises:
        EventError: `stream_id` cannot be, or is missing.
    """
    return {"stream_id": _word("stream_id", stream_id)}


def settings_changed() -> Fields:
    """Check the arguments of `SettingsChanged`: there are none."""
    return {}


def timeout_s(timeout: object) -> float:
    """Return a timeout in seconds; infinity for None, and for one that is too large for a float.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, or not a number in the sense of floats.
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


def profile_demand(profile: str) -> str | None:
    """Say what a profile's name would have to be; None if it is so. Events and keys ask the same (K3)."""
    if len(profile.strip()) > _LONGEST_PROFILE:
        return f"of at most {_LONGEST_PROFILE} characters"
    return _demand(profile)


_LONGEST_PROFILE: Final = 255
"""A profile has a folder, whose name can be no longer."""


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
    # A lone surrogate or a NUL would be refused much later, by a journal or a browser.
    if "\0" in text:
        return "free of NUL characters"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "free of lone surrogates"
    return None
