"""Freezing: makes a builder's payload immutable, or refuses it with the path of the fault.

A payload is frozen once, where it was built, and then handed out by reference.
Source: rules K5, P1 to P3, P5, B7.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isfinite
from operator import is_
from typing import Final, TypeAlias, TypeGuard, cast

from hermes_cache.errors import PayloadError, shown
from hermes_cache.payload.frozen import FrozenList, Json, Payload, frozen_dict, frozen_list
from hermes_cache.payload.rows import ListShape, Row, new_row

_MAX_DEPTH: Final = 100
"""Deeper nesting counts as a cycle; orjson itself allows 254."""

_MAX_INT: Final = 2**64 - 1
_MIN_INT: Final = -(2**63)

_FROZEN_KINDS: Final = frozenset({bool, type(None), Payload, Row, FrozenList})
_NUMBERS: Final = frozenset({int, float})
"""Numbers within 64 bits need no further check, because NaN and infinity are not among them."""

_NAMES: Final = frozenset({str})
_FLAT_KINDS: Final = frozenset({str, bool, int, float, type(None)})
"""A row with only these kinds of values needs no walk."""

_Path: TypeAlias = tuple[str | int, ...]


def freeze(payload: Mapping[str, Json], shape: ListShape) -> Payload:
    """Return a deep, immutable copy of a payload. Parts that are frozen already are shared, not copied.

    Each row of its list that is a mapping becomes a `Row`. A row that was frozen for another kind of list is made
    anew if that kind knows other things of it.

    Args:
        payload: What a builder returned.
        shape: Where its list is, and what its rows must have.

    Raises:
        PayloadError: It is not a mapping, or it contains what JSON does not allow: a set, NaN, a lone surrogate, a
            cycle, an int beyond 64 bits, a key that is not a str, any other object. Or a row lacks the id that the
            shape demands, or has that of an earlier row. The path says where.

    Source: rules K5, P1, P3, P5, B7.
    """
    if not isinstance(payload, Mapping):
        raise PayloadError("", f"is {_kind(payload)}, no mapping: it must be a dict that has the list in it")
    name = shape.name
    rows = None if name is None else payload.get(name)
    if name is None or not isinstance(rows, list | tuple):
        return _frozen_dict(payload, ())
    frozen_rows = frozen_list([_row(row, at, name, shape) for at, row in enumerate(rows)])
    if shape.needs_ids and shape.row_id is not None:
        _check_ids(frozen_rows, name, shape.row_id)
    if type(payload) in _FROZEN_KINDS and all(map(is_, frozen_rows, rows)):
        return cast("Payload", payload)
    rest = {field: value for field, value in payload.items() if field != name}
    frozen: Payload = frozen_dict(Payload, {**_frozen_values(rest, ()), name: frozen_rows})
    return frozen


def freeze_row(row: Mapping[str, Json], shape: ListShape) -> Row:
    """Freeze one row and encode it; raises as `freeze`, for what the row itself contains."""
    return row if _is_of(row, shape) else _new_row(row, (str(shape.name), "*"), shape)


def _row(row: Json, at: int, name: str, shape: ListShape) -> Json:
    if _is_of(row, shape):
        return row
    return _new_row(row, (name, at), shape) if isinstance(row, Mapping) else _frozen(row, (name,), at)


def _is_of(row: Json, shape: ListShape) -> TypeGuard[Row]:
    """Say whether a row is frozen as a list of this shape has it."""
    if not isinstance(row, Row):
        return False
    # A list of thousands of rows that were frozen for it costs no look at each.
    return row.shape is shape or (shape.adds_nothing_to(row) and row.facts == shape.facts(row))


def _new_row(row: Mapping[str, Json], path: _Path, shape: ListShape) -> Row:
    if _is_flat(row):
        # orjson refuses what is left to refuse, and then the walk finds its path. The walk takes half the time of
        # a row.
        with suppress(TypeError):
            return new_row(row, shape)
    return new_row(_frozen_values(row, path), shape)


def _check_ids(rows: Sequence[Json], name: str, row_id: str) -> None:
    seen: set[str | int] = set()
    for at, row in enumerate(rows):
        found = row.get(row_id) if isinstance(row, Mapping) else None
        if not isinstance(found, str | int):
            raise PayloadError(_path_text((name, at)), f"has no {row_id!r} that is a str or an int")
        if found in seen:
            raise PayloadError(_path_text((name, at)), f"has the {row_id!r} of an earlier row, {found!r}")
        seen.add(found)


def _is_flat(row: Mapping[str, Json]) -> bool:
    values = row.values()
    if not (_FLAT_KINDS.issuperset(map(type, values)) and _NAMES.issuperset(map(type, row))):
        return False
    return all(map(isfinite, [value for value in values if type(value) is float]))


def _frozen(value: Json, path: _Path, step: str | int) -> Json:
    kind = type(value)
    if kind in _FROZEN_KINDS or (kind in _NUMBERS and _MIN_INT <= value <= _MAX_INT):  # type: ignore[operator]
        return value
    if isinstance(value, str):
        return _text(value, (*path, step))
    if isinstance(value, int | float):
        return _number(value, (*path, step))
    return _frozen_container(value, (*path, step))


def _frozen_container(value: Json, path: _Path) -> Json:
    if len(path) > _MAX_DEPTH:
        raise PayloadError(_path_text(path[:6]) + "...", "is a cycle, or nested too deep")
    if isinstance(value, Mapping):
        return _frozen_dict(value, path)
    if isinstance(value, list | tuple):
        return _frozen_list(value, path)
    raise PayloadError(_path_text(path), f"is {_kind(value)}")


def _frozen_dict(values: Mapping[str, Json], path: _Path) -> Payload:
    if isinstance(values, Payload):
        return cast("Payload", values)
    frozen: Payload = frozen_dict(Payload, _frozen_values(values, path))
    return frozen


def _frozen_values(values: Mapping[str, Json], path: _Path) -> dict[str, Json]:
    frozen: dict[str, Json] = {}
    for name, value in values.items():
        plain = name if type(name) is str and name.isascii() else _name(name, path)
        if type(value) is str and value.isascii():
            frozen[plain] = value
        else:
            frozen[plain] = _frozen(value, path, plain)
    return frozen


def _frozen_list(values: Sequence[Json], path: _Path) -> FrozenList:
    return frozen_list([_frozen(value, path, at) for at, value in enumerate(values)])


def _name(name: object, path: _Path) -> str:
    if not isinstance(name, str):
        raise PayloadError(_path_text(path), f"has the key {shown(name)}, {_kind(name)}")
    return _text(name, (*path, name))


def _text(value: str, path: _Path) -> str:
    if type(value) is str and value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PayloadError(_path_text(path), "holds a lone surrogate") from None
    return str.__str__(value)


def _number(value: float, path: _Path) -> float:
    if isinstance(value, int):
        if not _MIN_INT <= value <= _MAX_INT:
            raise PayloadError(_path_text(path), "is an int beyond 64 bits")
        return int(value)
    if not isfinite(value):
        raise PayloadError(_path_text(path), f"is {float(value)!r}")
    return float(value)


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}"


def _path_text(path: _Path) -> str:
    text = ""
    for step in path:
        dotted = f".{step}" if text else str(step)
        text += f"[{step}]" if isinstance(step, int) else dotted
    return ascii(text)[1:-1]
