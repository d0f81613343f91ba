"""Rows as heavy as those of a real session list."""

from collections.abc import Mapping


def made_rows(count: int) -> list[dict[str, object]]:
    """Make rows of 35 fields: texts, numbers, flags and gaps, in the mix of a session list."""
    return [_row(number) for number in range(count)]


def made_payload(count: int) -> Mapping[str, object]:
    """Make the payload that a builder would return."""
    return {"sessions": made_rows(count), "archived_count": 0, "all_profiles": False, "active_profile": "default"}


def _row(number: int) -> dict[str, object]:
    at_s = 1_790_000_000.25 - 7.5 * number
    texts = {f"text_{each}": f"the text of field {each} in row {number}" for each in range(10)}
    counts = {f"count_{each}": number * each for each in range(8)}
    flags = {f"flag_{each}": (number + each) % 3 == 0 for each in range(6)}
    gaps = dict.fromkeys(f"gap_{each}" for each in range(4))
    return {
        "session_id": f"20261101_{number:06d}",
        "profile": "default",
        "created_at": at_s - 600.0,
        "updated_at": at_s,
        "last_message_at": at_s,
        "is_streaming": False,
        "active_stream_id": None,
        **texts,
        **counts,
        **flags,
        **gaps,
    }
