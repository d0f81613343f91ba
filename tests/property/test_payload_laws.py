"""Laws of frozen payloads, for payloads of any shape."""

import copy
import json
import math
import pickle
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.errors import PayloadError
from hermes_cache.payload.frozen import FrozenList, Payload, thaw
from hermes_cache.payload.rows import EncodedRow, Row
from hermes_cache.sessions.rows import freeze

_TEXTS = st.text(st.characters(codec="utf-8"), max_size=4)
_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS
)
JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3), max_leaves=8
)
MAPPINGS = st.dictionaries(_NAMES, JSON, max_size=4)
PAYLOADS = st.builds(
    lambda rest, rows: {**rest, "sessions": rows}, MAPPINGS, st.lists(MAPPINGS | JSON, max_size=5)
)
BAD_LEAVES = st.sampled_from([math.nan, math.inf, {1}, b"x", "\ud800", 2**64, -(2**64), object(), {1: 2}])


def as_kept(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the payload as rule O3 keeps it."""
    rows = [{"is_streaming": False, **row} if isinstance(row, dict) else row for row in payload["sessions"]]
    return {**payload, "sessions": rows}


@given(PAYLOADS)
def test_thawing_undoes_freezing(payload: dict[str, Any]) -> None:
    """P1, P2, O3"""
    assert thaw(freeze(payload)) == as_kept(payload)


@given(PAYLOADS)
def test_every_reader_sees_the_same_json(payload: dict[str, Any]) -> None:
    """P1"""
    frozen = freeze(payload)

    assert orjson.loads(orjson.dumps(frozen)) == as_kept(payload)
    assert json.loads(json.dumps(frozen)) == as_kept(payload)


@given(PAYLOADS)
def test_every_container_inside_is_frozen(payload: dict[str, Any]) -> None:
    """P1"""
    assert _is_frozen(freeze(payload))


@given(PAYLOADS)
def test_every_copy_is_plain(payload: dict[str, Any]) -> None:
    """P1, P2"""
    frozen = freeze(payload)

    for plain in (thaw(frozen), copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):  # noqa: S301  # our own bytes
        assert _is_plain(plain)
        assert plain == frozen


@given(PAYLOADS)
def test_freezing_changes_nothing_of_the_builder(payload: dict[str, Any]) -> None:
    """P3"""
    before = copy.deepcopy(payload)

    freeze(payload)

    assert payload == before
    assert _is_plain(payload)


@given(PAYLOADS)
def test_the_bytes_of_a_row_are_the_row(payload: dict[str, Any]) -> None:
    """O6"""
    rows: Any = freeze(payload)["sessions"]

    for row in rows:
        if isinstance(row, Row):
            assert orjson.loads(row.encoded) == row
            assert EncodedRow(row.encoded, row.digest, row.facts).decoded() == row


@given(PAYLOADS, BAD_LEAVES, st.data())
def test_a_bad_leaf_is_refused_wherever_it_lies(payload: dict[str, Any], bad: object, data: st.DataObject) -> None:
    """P5, B7"""
    parts = [part for part in _containers(payload) if part]
    part = data.draw(st.sampled_from(parts))
    position = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
    part[position] = bad

    with pytest.raises(PayloadError) as refusal:
        freeze(payload)

    assert refusal.value.path


def _containers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value, *(part for item in value.values() for part in _containers(item))]
    if isinstance(value, list):
        return [value, *(part for item in value for part in _containers(item))]
    return []


def _is_frozen(value: Any) -> bool:
    return all(isinstance(part, Payload | FrozenList) for part in _containers(value))


def _is_plain(value: Any) -> bool:
    return all(type(part) in {dict, list} for part in _containers(value))
