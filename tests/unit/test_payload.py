"""Frozen payloads, rule by rule."""

import copy
import json
import math
import pickle
from collections import OrderedDict, UserDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from hermes_cache.errors import PayloadError
from hermes_cache.payload import freezing
from hermes_cache.payload.frozen import FrozenList, Payload, thaw
from hermes_cache.payload.rows import EncodedRow, ListShape, Row, digest_of
from hermes_cache.sessions.rows import NO_FACTS, SESSION_LIST, freeze, freeze_row


def built() -> dict[str, Any]:
    """Return what a builder might return."""
    return {
        "sessions": [
            {"session_id": "a", "title": "Cats", "tags": ["x", {"y": 1}], "is_streaming": False},
            {"session_id": "b", "cost": 0.5, "origin": {"chat": None}, "is_streaming": True},
        ],
        "counts": {"all": 2, "by_source": [1, 1]},
    }


MUTATIONS_OF_DICT: dict[str, Callable[[Any], object]] = {
    "set": lambda d: d.__setitem__("a", 1),
    "delete": lambda d: d.__delitem__("sessions"),
    "clear": lambda d: d.clear(),
    "pop": lambda d: d.pop("sessions"),
    "pop with default": lambda d: d.pop("nothing", None),
    "popitem": lambda d: d.popitem(),
    "setdefault": lambda d: d.setdefault("a", 1),
    "update": lambda d: d.update(a=1),
    "or": lambda d: d.__ior__({"a": 1}),
    "init": lambda d: d.__init__(a=1),
}
MUTATIONS_OF_LIST: dict[str, Callable[[Any], object]] = {
    "set": lambda items: items.__setitem__(0, 1),
    "set slice": lambda items: items.__setitem__(slice(None), []),
    "delete": lambda items: items.__delitem__(0),
    "append": lambda items: items.append(1),
    "extend": lambda items: items.extend([1]),
    "insert": lambda items: items.insert(0, 1),
    "remove": lambda items: items.remove(items[0]),
    "pop": lambda items: items.pop(),
    "clear": lambda items: items.clear(),
    "sort": lambda items: items.sort(key=str),
    "reverse": lambda items: items.reverse(),
    "add": lambda items: items.__iadd__([1]),
    "multiply": lambda items: items.__imul__(2),
    "init": lambda items: items.__init__([1]),
}


@pytest.mark.parametrize("change", MUTATIONS_OF_DICT.values(), ids=MUTATIONS_OF_DICT)
@pytest.mark.parametrize("part", [lambda p: p, lambda p: p["sessions"][0], lambda p: p["sessions"][0]["tags"][1]])
def test_a_frozen_mapping_refuses_every_change(
    part: Callable[[Any], Any], change: Callable[[Any], object]
) -> None:
    """P1"""
    payload = freeze(built())

    with pytest.raises(TypeError, match=r"thaw\(\) returns a copy that can"):
        change(part(payload))

    assert payload == built()


@pytest.mark.parametrize("change", MUTATIONS_OF_LIST.values(), ids=MUTATIONS_OF_LIST)
@pytest.mark.parametrize("part", [lambda p: p["sessions"], lambda p: p["sessions"][0]["tags"]])
def test_a_frozen_list_refuses_every_change(part: Callable[[Any], Any], change: Callable[[Any], object]) -> None:
    """P1"""
    payload = freeze(built())

    with pytest.raises(TypeError, match=r"thaw\(\) returns a copy that can"):
        change(part(payload))

    assert payload == built()


def test_a_reader_that_assigns_in_place_is_refused() -> None:
    """P1"""
    payload: Any = freeze(built())
    sessions = payload["sessions"]

    with pytest.raises(TypeError):
        payload |= {"a": 1}
    with pytest.raises(TypeError):
        sessions *= 2

    assert payload == built()


def test_a_payload_is_dict_and_list_to_everybody_who_reads_it() -> None:
    """P1"""
    payload: Any = freeze(built())

    assert isinstance(payload, dict)
    assert isinstance(payload["sessions"], list)
    assert payload == built()
    assert json.loads(json.dumps(payload)) == built()
    assert orjson.loads(orjson.dumps(payload)) == built()


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda p: p.copy(), lambda p: pickle.loads(pickle.dumps(p))],  # noqa: S301  # our own bytes
    ids=["copy", "deepcopy", "method", "pickle"],
)
def test_copies_and_pickles_are_plain_objects(copied: Callable[[Any], Any]) -> None:
    """P1"""
    payload: Any = freeze(built())

    twins = [copied(payload), copied(payload["sessions"]), copied(payload["sessions"][0])]

    assert [type(twin) for twin in twins] == [dict, list, dict]
    assert twins == [built(), built()["sessions"], built()["sessions"][0]]


@pytest.mark.parametrize(
    "copied",
    [thaw, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))],  # noqa: S301  # our own bytes
    ids=["thaw", "deepcopy", "pickle"],
)
def test_a_thawed_payload_can_be_changed_at_every_depth(copied: Callable[[Any], Any]) -> None:
    """P2"""
    payload: Any = freeze(built())

    plain = copied(payload)
    plain["sessions"][0]["tags"][1]["y"] = 2
    plain["sessions"].append({})
    plain["counts"]["by_source"].clear()

    assert payload == built()
    assert {type(plain), type(plain["counts"]), type(plain["sessions"][0])} == {dict}


def test_thawing_a_leaf_gives_the_leaf() -> None:
    """P2"""
    assert [thaw(leaf) for leaf in (None, True, 1, 1.5, "a")] == [None, True, 1, 1.5, "a"]


def test_what_the_builder_changes_afterwards_has_no_effect() -> None:
    """P3"""
    own = built()
    payload = freeze(own)

    own["sessions"][0]["tags"][1]["y"] = 2
    own["sessions"].clear()
    own["more"] = 1

    assert payload == built()


def test_freezing_twice_gives_the_same_object() -> None:
    """P1"""
    payload = freeze(built())

    assert freeze(payload) is payload


def test_frozen_rows_are_shared_by_payloads() -> None:
    """P4"""
    row = freeze_row({"session_id": "a"})

    one: Any = freeze({"sessions": [row]})
    other: Any = freeze({"sessions": [row], "count": 1})

    assert one["sessions"][0] is other["sessions"][0] is row


def test_rows_of_another_kind_of_list_become_rows_of_this_one() -> None:
    """K5, O3: what a builder gets from another cache has other ids, and lacks fields."""
    orders: Any = freezing.freeze({"orders": [{"id": 1, "session_id": "a"}]}, ListShape("orders", "id"))

    sessions: Any = freezing.freeze({"sessions": orders["orders"]}, SESSION_LIST)
    again: Any = freezing.freeze({"orders": orders["orders"]}, ListShape("orders", "id"))

    (session,), (same,) = sessions["sessions"], again["orders"]
    assert session == {"id": 1, "session_id": "a", "is_streaming": False}
    assert session.facts.session_id == "a"
    assert orjson.loads(session.encoded) == session
    assert same is orders["orders"][0]
    assert same.facts == 1


def test_rows_that_were_frozen_for_a_list_are_not_looked_at_again_for_it() -> None:
    """P4: a builder that keeps its rows makes anew only what changed."""
    looked: list[object] = []

    def facts_of(row: Mapping[str, object]) -> object:
        looked.append(row)
        return row.get("id")

    shape = ListShape("items", "id", facts_of=facts_of)
    payload: Any = freezing.freeze({"items": [{"id": 1}, {"id": 2}]}, shape)
    looked.clear()

    again: Any = freezing.freeze({"items": [*payload["items"], {"id": 3}]}, shape)

    assert looked == [{"id": 3}]
    assert freezing.freeze(again, shape) is again
    assert looked == [{"id": 3}]


def test_a_frozen_payload_of_another_kind_of_list_is_checked_like_any_other() -> None:
    """K5, B7"""
    frozen = freeze({"items": [{"id": 1}, {"id": 1}]})

    with pytest.raises(PayloadError, match=r"items\[1\] has the 'id' of an earlier row"):
        freezing.freeze(frozen, ListShape("items", "id", needs_ids=True))
    unchecked: Any = freezing.freeze(frozen, ListShape("items", "id"))
    assert [row.facts for row in unchecked["items"]] == [1, 1]


def test_each_row_carries_its_json() -> None:
    """O6"""
    payload: Any = freeze(built())

    encoded = [orjson.loads(row.encoded) for row in payload["sessions"]]

    assert encoded == built()["sessions"]
    assert all(isinstance(row, Row) for row in payload["sessions"])


@pytest.mark.parametrize("row", [{"session_id": "a"}, UserDict({"session_id": "a"})])
def test_a_row_that_does_not_say_whether_it_streams_does_not(row: Any) -> None:
    """O3"""
    payload: Any = freeze({"sessions": [row]})

    frozen = payload["sessions"][0]

    assert frozen == {"session_id": "a", "is_streaming": False} == orjson.loads(frozen.encoded)


@pytest.mark.parametrize("encoded", [b"null", b"[1,{}]", b'"x"'])
def test_the_bytes_of_what_is_no_row_are_read_back_too(encoded: bytes) -> None:
    """O5, P4"""
    assert orjson.dumps(EncodedRow(encoded, digest_of(encoded), NO_FACTS).decoded()) == encoded


def test_a_row_that_is_no_mapping_is_kept() -> None:
    """O5"""
    assert freeze({"sessions": [None, 7, "x", [1]]}) == {"sessions": [None, 7, "x", [1]]}


@pytest.mark.parametrize("sessions", [None, 7, "none", {"a": 1}])
def test_a_payload_without_a_list_of_rows_is_frozen_too(sessions: object) -> None:
    """P5"""
    payload = freeze({"sessions": sessions})

    assert payload == {"sessions": sessions}
    assert isinstance(payload, Payload)


@pytest.mark.parametrize(
    "value", [None, True, False, 0, -(2**63), 2**64 - 1, 1.5, -0.0, "", "caf\u00e9 \U0001f431", [], {}]
)
def test_every_json_value_is_taken(value: object) -> None:
    """P5"""
    payload = freeze({"value": value, "sessions": [{"value": value}]})

    assert payload == {"value": value, "sessions": [{"value": value, "is_streaming": False}]}
    assert type(thaw(payload["value"])) is type(value)


def test_a_tuple_becomes_a_list() -> None:
    """P5"""
    payload: Any = freeze({"sessions": ({"tags": ("a", ("b",))},), "pair": (1, 2)})

    assert payload["pair"] == [1, 2]
    assert payload["sessions"][0]["tags"] == ["a", ["b"]]
    assert isinstance(payload["pair"], FrozenList)


@pytest.mark.parametrize("mapping", [OrderedDict(a=1), MappingProxyType({"a": 1}), UserDict({"a": 1})])
def test_any_mapping_becomes_a_dict(mapping: Any) -> None:
    """P5, B2"""
    assert freeze(mapping) == {"a": 1}
    assert freeze({"inner": mapping}) == {"inner": {"a": 1}}


class Colour(IntEnum):
    RED = 1


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(("value", "plain"), [(Colour.RED, 1), (Name("a"), "a"), (Name("\u00e9"), "\u00e9")])
def test_a_kind_of_number_or_text_becomes_plain(value: object, plain: object) -> None:
    """P5"""
    payload = freeze({"value": value})

    assert payload == {"value": plain}
    assert type(payload["value"]) is type(plain)


def a_cycle() -> dict[str, Any]:
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    return cycle


def a_list_in_itself() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


REFUSED = {
    "set": {1},
    "frozenset": frozenset({1}),
    "NaN": math.nan,
    "infinity": math.inf,
    "negative infinity": -math.inf,
    "lone surrogate": "\ud800",
    "int of 65 bits": 2**64,
    "negative int of 65 bits": -(2**63) - 1,
    "bytes": b"x",
    "datetime": datetime(2026, 1, 1, tzinfo=UTC),
    "Decimal": Decimal(1),
    "object": object(),
    "generator": (each for each in "ab"),
    "int as key": {1: "a"},
    "None as key": {None: "a"},
    "lone surrogate as key": {"\udfff": 1},
    "dict in itself": a_cycle(),
    "list in itself": a_list_in_itself(),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_json_cannot_hold_is_refused_with_its_path(value: object) -> None:
    """P5, B7"""
    with pytest.raises(PayloadError) as in_row:
        freeze({"sessions": [{}, {}, {}, {"title": value}]})
    with pytest.raises(PayloadError) as beside_rows:
        freeze({"counts": {"all": [0, value]}})

    assert in_row.value.path.startswith("sessions[3].title")
    assert beside_rows.value.path.startswith("counts.all[1]")


def test_the_refusal_of_a_whole_row_names_its_position() -> None:
    """P5"""
    with pytest.raises(PayloadError) as refusal:
        freeze({"sessions": [{}, {1, 2}]})

    assert refusal.value.path == "sessions[1]"
    assert str(refusal.value) == "sessions[1] is of type set; use str keys and JSON values"


@pytest.mark.parametrize("payload", [None, [], "text", 7, {1}])
def test_a_payload_that_is_no_mapping_is_refused(payload: Any) -> None:
    """B7"""
    with pytest.raises(PayloadError, match=f"of type {type(payload).__name__}, no mapping") as refusal:
        freeze(payload)

    assert refusal.value.path == ""


def test_a_key_that_cannot_be_shown_is_refused_with_its_path() -> None:
    """B7"""
    with pytest.raises(PayloadError, match=r"counts has the key a int that cannot be shown, of type int"):
        freeze({"counts": {10**5_000: 1}})


def test_a_refusal_can_be_printed_whatever_the_key() -> None:
    """P5"""
    with pytest.raises(PayloadError) as refusal:
        freeze({"\ud800": 1})

    assert str(refusal.value).encode("ascii")
