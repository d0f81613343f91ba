"""The arguments of publishers: one function a topic, which checks what was given and gives an event's fields.

An unknown argument is a `TypeError`, as for any function. Source: rule E3.
"""

from typing import TypeAlias

from hermes_cache.errors import EventError

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
        "profile": _text("profile", profile),
        "session_id": _text("session_id", session_id),
    }


def stream_started(*, stream_id: object = None, profile: object = None, session_id: object = None) -> Fields:
    """Check the arguments of `StreamStarted`.

    Raises:
        EventError: An argument cannot be, or `stream_id` is missing; it names the field.
    """
    return {
        "stream_id": _word("stream_id", stream_id),
        "profile": _text("profile", profile),
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
    # A lone surrogate or a NUL would be refused much later, by a journal or a browser.
    if "\0" in value:
        raise EventError(field, value, "free of NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise EventError(field, value, "free of lone surrogates") from None
    return value
