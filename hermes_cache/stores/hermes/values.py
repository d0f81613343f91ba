"""Turns what a home really holds into values that a row may carry.

Homes hold ISO text where numbers belong, NULL flags, absurd doubles and broken text. Each function here returns
a clean value or its default and never raises, so that a row may lose a value but the list is never lost.
No I/O here. Source: rule X3.
"""

from datetime import UTC, datetime, tzinfo
from math import isfinite
from typing import Final, TypeGuard

_LATEST_S: Final = 253_402_300_800.0
"""The year 10000; a later moment is damage, not a time."""

_LARGEST_COUNT: Final = 2**53
"""Beyond it JavaScript no longer counts exactly."""

_TRUE_WORDS: Final = frozenset({"1", "true", "yes", "on"})


def text(value: object) -> str | None:
    """Return a non-blank text that is valid UTF-8, or None."""
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str) or not value or value.isspace():
        return None
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def is_id(value: object) -> TypeGuard[str]:
    """Say whether a value can be the id of a session: text that is not blank and can be written as UTF-8."""
    return isinstance(value, str) and text(value) == value


def count(value: object) -> int:
    """Return a count of at least 0; what is none counts as 0."""
    if type(value) is int:
        return value if 0 <= value <= _LARGEST_COUNT else 0
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= _LARGEST_COUNT else 0


def amount(value: object) -> float | None:
    """Return a finite number of at least 0 within what a count may be, or None."""
    if value is None:
        return None
    number = value if type(value) is float else _number(value)
    return number if number is not None and 0 <= number <= _LARGEST_COUNT else None


def flag(value: object) -> bool:
    """Say whether a flag is set; NULL and what is no flag are not."""
    if type(value) is int:
        return value != 0
    if isinstance(value, str):
        return value.strip().lower() in _TRUE_WORDS
    return value is True or (isinstance(value, float) and isfinite(value) and value != 0)


def moment_s(value: object, naive_zone: tzinfo | None = UTC) -> float | None:
    """Return a moment in epoch seconds, or None.

    Args:
        value: A positive number, a numeric text, or ISO-8601 text.
        naive_zone: What an ISO text without a zone means; None for the local zone.
    """
    if value is None:
        return None
    if type(value) is not float:
        value = _iso_s(value, naive_zone) if isinstance(value, str) else _number(value)
    if isinstance(value, float) and 0 < value < _LATEST_S:
        return value
    return None


def greatest(*moments: float | None) -> float | None:
    """Return the greatest of the moments that are there."""
    there = [moment for moment in moments if moment is not None]
    return max(there) if there else None


def plain(value: object, depth: int = 20) -> object:
    """Return a copy of decoded JSON without what JSON output refuses; too deep parts become None."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value) or ""
    if isinstance(value, int | float):
        return value if _is_safe(value) else None
    if not depth:
        return None
    if isinstance(value, dict):
        return {text(name) or "": plain(item, depth - 1) for name, item in value.items()}
    return [plain(item, depth - 1) for item in value] if isinstance(value, list) else None


def _is_safe(number: float) -> bool:
    return isfinite(number) if isinstance(number, float) else abs(number) <= _LARGEST_COUNT


def _number(value: object) -> float | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _iso_s(value: str, naive_zone: tzinfo | None) -> float | None:
    number = _number(value)
    if number is not None:
        return number
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None and naive_zone is not None:
            moment = moment.replace(tzinfo=naive_zone)
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        return None
