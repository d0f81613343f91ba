"""Turns an explanation or an overview into JSON values, for programs.

Stamps may hold any hashable value: what JSON does not know is written as its `repr`. Source: rule J7.
"""

from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Final

from hermes_cache.bus.codec import to_plain
from hermes_cache.core.events import EventId
from hermes_cache.core.streams import Marker
from hermes_cache.errors import key_text
from hermes_cache.explain.explanations import BuiltBy, Explanation, TouchedBy
from hermes_cache.explain.overview import ActiveStream, KnownScope, Overview
from hermes_cache.payload.frozen import Json

_LONGEST_TEXT: Final = 1_000
_MOST_BITS: Final = 63
"""A longer number is more than JSON readers take."""


def plain_explanation(explained: Explanation) -> dict[str, object]:
    """Return an explanation as a mapping of JSON values: its fields, by their names."""
    special: dict[str, object] = {
        "key": _key(explained.key),
        "stamp": {_text(name): _value(value) for name, value in explained.stamp.items()},
        "overtaken_by": _id(explained.overtaken_by),
        "failure": None if explained.failure is None else _text(explained.failure),
        "events": [_event(event) for event in explained.events],
        "builds": [_build(build) for build in explained.builds],
    }
    plain = {field.name: getattr(explained, field.name) for field in fields(explained)}
    return plain | special


def plain_overview(overview: Overview) -> dict[str, object]:
    """Return an overview as a mapping of JSON values. `key` is a view's name, and `view` are its fields.

    The builds and events of a key, and its stamp, are left to its explanation.
    """
    return {
        "at_s": overview.at_s,
        "entries": [_entry(entry) for entry in overview.entries],
        "builds": [{"key": _text(key_text(each.key)), **_build(each.build)} for each in overview.builds],
        "events": [_event(event) for event in overview.events],
        "streams": [_fields(stream) for stream in overview.streams],
        "scopes": [_fields(scope) for scope in overview.scopes],
        "left_out": dict(overview.left_out),
        "incarnation": overview.incarnation,
        "ttl_s": overview.ttl_s,
        "streaming_ttl_s": overview.streaming_ttl_s,
    }


def _entry(explained: Explanation) -> dict[str, object]:
    plain = plain_explanation(explained)
    kept = {name: value for name, value in plain.items() if name not in ("key", "stamp", "builds", "events")}
    return {"key": _text(key_text(explained.key)), "view": plain["key"], **kept}


def _fields(known: ActiveStream | KnownScope) -> dict[str, object]:
    values = {field.name: getattr(known, field.name) for field in fields(known)}
    held_back = [_text(key_text(key)) for key in values.get("held_back", ())]
    plain: dict[str, object] = {name: _value(value) for name, value in values.items() if name != "held_back"}
    return {**plain, "held_back": held_back} if isinstance(known, KnownScope) else plain


def _key(key: Hashable) -> dict[str, object] | str:
    if not is_dataclass(key):
        return key_text(key)
    return {field.name: _value(getattr(key, field.name)) for field in fields(key) if field.init}


def _event(touched: TouchedBy) -> dict[str, object]:
    plain = {name: _value(value) for name, value in to_plain(touched.event).items()}
    whose = None if touched.profile is None else _text(touched.profile)
    return plain | {"touched": whose, "is_foreign": touched.is_foreign, "is_unseen": touched.is_unseen}


def _build(build: BuiltBy) -> dict[str, object]:
    plain = {field.name: getattr(build, field.name) for field in fields(build)}
    why = None if build.why is None else _text(build.why)
    return plain | {"why": why, "overtaken_by": _id(build.overtaken_by)}


def _id(event_id: EventId | None) -> str | None:
    return None if event_id is None else _text(str(event_id))


def _value(value: object) -> Json:
    match value:
        case None | bool():
            return value
        case str():
            return _text(value)
        case int() | float() if _fits(value):
            return value
        case Marker(stream_ids=stream_ids, moves=moves):
            return {"stream_ids": _value(stream_ids), "moves": moves}
        case tuple():
            return [_value(each) for each in value]
        case _:
            return _text(repr(value))


def _fits(number: float) -> bool:
    if type(number) is int:
        return number.bit_length() <= _MOST_BITS
    return type(number) is float and isfinite(number)


def _text(text: str) -> str:
    # A file's name may hold bytes that are no text.
    return text[:_LONGEST_TEXT].encode("utf-8", "replace").decode()
