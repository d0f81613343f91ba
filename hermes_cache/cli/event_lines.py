"""How recorded events are shown: a line for people, a JSON object for scripts."""

import json
from datetime import datetime

from hermes_cache.bus.codec import to_plain
from hermes_cache.core.events import AppliedEvent
from hermes_cache.ports import Recorded

_SHORT = 8


def json_line(recorded: Recorded) -> str:
    """Return an event and its position as a JSON object in one line."""
    position = recorded.position
    return json.dumps({"seq": position.seq, "journal": position.journal} | to_plain(recorded.event))


def human_line(event: AppliedEvent) -> str:
    """Return an event as a line: when, what, of whom, why, and who said it."""
    plain = to_plain(event)
    of_whom = [
        f"{name.removesuffix('_id')}={shown(plain[name])}"
        for name in ("profile", "session_id", "stream_id", "reason")
        if name in plain
    ]
    said_by = f"by={shown(event.id.incarnation[:_SHORT])}:{event.id.number}"
    kind = str(plain["kind"]).replace("_", "-")
    return "  ".join([local_time(event.at_s), f"{kind:20}", *of_whom, said_by])


def local_time(at_s: float) -> str:
    """Return a moment as local time, to the millisecond; one past all calendars as it is."""
    try:
        return datetime.fromtimestamp(at_s).astimezone().isoformat(" ", "milliseconds")
    except (OverflowError, ValueError, OSError):
        return f"{at_s:g}"


def shown(text: object) -> str:
    """Return text so that it stays one word on one line of a terminal, whatever it holds."""
    word = str(text)
    return word if word.isprintable() and word and " " not in word else repr(word)
