"""Payloads that cannot be changed, and yet are `dict` and `list` to everybody who reads them.

A payload is frozen once, by whoever built it, and then handed out by reference. Its rows keep their encoded form
beside them, so that a body is joined from pieces and not encoded again.
Source: rules P1 to P3, P5, O3.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final, NoReturn, TypeAlias, TypeVar

import orjson

from hermes_cache.errors import PayloadError

Json: TypeAlias = object
"""None, bool, int, float, str, a list of them or a dict with str keys; checked when it is frozen."""

ROWS: Final = "sessions"
"""Where a payload keeps its rows."""

_MAX_DEPTH: Final = 100
"""Deeper nesting is a cycle in all but name; orjson itself ends at 254."""

_MAX_INT: Final = 2**64 - 1
_MIN_INT: Final = -(2**63)

_Path: TypeAlias = tuple[str | int, ...]
_Frozen = TypeVar("_Frozen")


def _refuse(self: object, *_args: object, **_kwargs: object) -> NoReturn:
    raise TypeError(f"a {type(self).__name__} cannot be changed; thaw() gives a copy that can")


class Payload(dict[str, Json]):
    """A frozen dict: what a builder returned for a key, or a mapping inside it.

    Made by `freeze`. Copies and pickles are plain objects.
    """

    __slots__ = ()

    __init__ = _refuse
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> dict[str, Json]:
        return dict(self)

    def __deepcopy__(self, _memo: object) -> dict[str, Json]:
        return _thawed(self)

    def copy(self) -> dict[str, Json]:
        """Give a plain, shallow copy."""
        return dict(self)

    def __reduce_ex__(self, _protocol: object) -> tuple[type[dict[str, Json]], tuple[dict[str, Json]]]:
        return dict, (_thawed(self),)


class Row(Payload):
    """A frozen row, with its JSON bytes beside it.

    Attributes:
        encoded: The row as JSON, made once.
    """

    __slots__ = ("encoded",)

    encoded: bytes

    __setattr__ = __delattr__ = _refuse


class FrozenList(list[Json]):
    """A frozen list inside a payload. Copies and pickles are plain lists."""

    __slots__ = ()

    __init__ = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse

    def __copy__(self) -> list[Json]:
        return list(self)

    def __deepcopy__(self, _memo: object) -> list[Json]:
        return [thaw(item) for item in self]

    def copy(self) -> list[Json]:
        """Give a plain, shallow copy."""
        return list(self)

    def __reduce_ex__(self, _protocol: object) -> tuple[type[list[Json]], tuple[list[Json]]]:
        return list, ([thaw(item) for item in self],)


def freeze(payload: Mapping[str, Json]) -> Payload:
    """Copy a payload, deeply, into one that cannot be changed. Frozen parts are shared, not copied.

    Each row under `sessions` that is a mapping becomes a `Row`.

    Raises:
        PayloadError: It is no mapping, or holds what JSON cannot: a set, NaN, a lone surrogate, a cycle, an int
            beyond 64 bits, a key that is no str, any other object. The path says where.

    Source: rules P1, P3, P5, B7.
    """
    if isinstance(payload, Payload):
        frozen_already: Payload = payload
        return frozen_already
    if not isinstance(payload, Mapping):
        raise PayloadError("", f"is {_kind(payload)}, no mapping")
    rows = payload.get(ROWS)
    if not isinstance(rows, list | tuple):
        return _frozen_dict(payload, ())
    frozen: FrozenList = _blank(FrozenList)
    list.extend(frozen, [_row(row, at) for at, row in enumerate(rows)])
    rest = {name: value for name, value in payload.items() if name != ROWS}
    return _dict_of({**_frozen_dict(rest, ()), ROWS: frozen})


def freeze_row(row: Mapping[str, Json]) -> Row:
    """Freeze one row and encode it; a row without `is_streaming` gets it as False.

    Raises:
        PayloadError: As `freeze`.

    Source: rules O3, P5.
    """
    return row if isinstance(row, Row) else _new_row(row, (ROWS, "*"))


def thaw(value: Json) -> Json:
    """Give an ordinary, deep, changeable copy.

    Source: rule P2.
    """
    if isinstance(value, dict):
        return _thawed(value)
    if isinstance(value, list):
        return [thaw(item) for item in value]
    return value


def row_of(encoded: bytes) -> Json:
    """Give the row that was encoded so; the bytes are kept beside it, not made again."""
    decoded = orjson.loads(encoded)
    if not isinstance(decoded, dict):
        return _frozen(decoded, (ROWS,), "*")
    row: Row = _blank(Row)
    dict.update(row, _frozen_dict(decoded, (ROWS, "*")))
    _keep_encoded(row, encoded)
    return row


def _keep_encoded(row: Row, encoded: bytes) -> None:
    object.__setattr__(row, "encoded", encoded)


def _thawed(values: dict[str, Json]) -> dict[str, Json]:
    return {name: thaw(item) for name, item in values.items()}


def _blank(kind: type[_Frozen]) -> _Frozen:
    blank: _Frozen = kind.__new__(kind)
    return blank


_FROZEN_KINDS: Final = frozenset({bool, type(None), Payload, Row, FrozenList})
_NUMBERS: Final = frozenset({int, float})
"""Within the bounds of 64 bits they need no second look: neither NaN nor infinity lies there."""


def _row(row: Json, at: int) -> Json:
    if isinstance(row, Row):
        return row
    return _new_row(row, (ROWS, at)) if isinstance(row, Mapping) else _frozen(row, (ROWS,), at)


def _new_row(values: Mapping[str, Json], path: _Path) -> Row:
    row: Row = _blank(Row)
    dict.update(row, _frozen_dict(values, path))
    dict.setdefault(row, "is_streaming", False)
    _keep_encoded(row, orjson.dumps(row))
    return row


def _dict_of(values: dict[str, Json]) -> Payload:
    frozen: Payload = _blank(Payload)
    dict.update(frozen, values)
    return frozen


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
        raise PayloadError(_told(path[:6]) + "...", "is a cycle, or nested too deep")
    if isinstance(value, Mapping):
        return _frozen_dict(value, path)
    if isinstance(value, list | tuple):
        return _frozen_list(value, path)
    raise PayloadError(_told(path), f"is {_kind(value)}")


def _frozen_dict(values: Mapping[str, Json], path: _Path) -> Payload:
    frozen: Payload = _blank(Payload)
    put = dict.__setitem__
    for name, value in values.items():
        plain = name if type(name) is str and name.isascii() else _name(name, path)
        put(frozen, plain, value if type(value) is str and value.isascii() else _frozen(value, path, plain))
    return frozen


def _frozen_list(values: Sequence[Json], path: _Path) -> FrozenList:
    frozen: FrozenList = _blank(FrozenList)
    list.extend(frozen, [_frozen(value, path, at) for at, value in enumerate(values)])
    return frozen


def _name(name: object, path: _Path) -> str:
    if not isinstance(name, str):
        raise PayloadError(_told(path), f"has the key {name!r}, {_kind(name)}")
    return _text(name, (*path, name))


def _text(value: str, path: _Path) -> str:
    if type(value) is str and value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PayloadError(_told(path), "holds a lone surrogate") from None
    return str.__str__(value)


def _number(value: float, path: _Path) -> float:
    if isinstance(value, int):
        if not _MIN_INT <= value <= _MAX_INT:
            raise PayloadError(_told(path), "is an int beyond 64 bits")
        return int(value)
    if not isfinite(value):
        raise PayloadError(_told(path), f"is {float(value)!r}")
    return float(value)


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}"


def _told(path: _Path) -> str:
    told = ""
    for step in path:
        dotted = f".{step}" if told else str(step)
        told += f"[{step}]" if isinstance(step, int) else dotted
    return ascii(told)[1:-1]
