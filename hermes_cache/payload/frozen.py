"""Frozen containers: every reader sees a `dict` or a `list`, but nobody can change them.

Source: rules P1, P2.
"""

from collections.abc import Iterable, Mapping
from typing import NoReturn, TypeAlias

from typing_extensions import TypeVar

Json: TypeAlias = object
"""None, bool, int, float, str, a list of them, or a dict with str keys. It is checked when it is frozen."""

_Frozen = TypeVar("_Frozen", bound=dict[str, object])


def refuse(self: object, *_args: object, **_kwargs: object) -> NoReturn:
    """Refuse a change.

    Raises:
        TypeError: Always.
    """
    raise TypeError(f"a {type(self).__name__} cannot be changed; thaw() returns a copy that can")


class Payload(dict[str, Json]):
    """A frozen dict: the payload of a key, or a mapping inside it.

    `freeze` makes it. Copies and pickles are plain objects.
    """

    __slots__ = ()

    __init__ = refuse
    __setitem__ = __delitem__ = __ior__ = refuse
    clear = pop = popitem = setdefault = update = refuse

    def __copy__(self) -> dict[str, Json]:
        return dict(self)

    def __deepcopy__(self, _memo: object) -> dict[str, Json]:
        return thawed(self)

    def copy(self) -> dict[str, Json]:
        """Return a plain, shallow copy."""
        return dict(self)

    def __reduce_ex__(self, _protocol: object) -> tuple[type[dict[str, Json]], tuple[dict[str, Json]]]:
        return dict, (thawed(self),)


P = TypeVar("P", bound=Mapping[str, Json], default=Payload)
"""What the owner of a cache says of its payloads, such as a `TypedDict`; a type checker believes it."""


class FrozenList(list[Json]):
    """A frozen list inside a payload. Copies and pickles are plain lists."""

    __slots__ = ()

    __init__ = refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = refuse
    append = extend = insert = remove = pop = clear = sort = reverse = refuse

    def __copy__(self) -> list[Json]:
        return list(self)

    def __deepcopy__(self, _memo: object) -> list[Json]:
        return [thaw(item) for item in self]

    def copy(self) -> list[Json]:
        """Return a plain, shallow copy."""
        return list(self)

    def __reduce_ex__(self, _protocol: object) -> tuple[type[list[Json]], tuple[list[Json]]]:
        return list, ([thaw(item) for item in self],)


def thaw(value: Json) -> Json:
    """Return a plain deep copy, which can be changed.

    Source: rule P2.
    """
    if isinstance(value, dict):
        return thawed(value)
    if isinstance(value, list):
        return [thaw(item) for item in value]
    return value


def thawed(values: Mapping[str, Json]) -> dict[str, Json]:
    """Return a plain deep copy of a mapping."""
    return {name: thaw(item) for name, item in values.items()}


def frozen_dict(kind: type[_Frozen], values: Mapping[str, Json]) -> _Frozen:
    """Return a frozen dict of a class, with values that are frozen already."""
    frozen: _Frozen = kind.__new__(kind)
    dict.update(frozen, values)
    return frozen


def frozen_list(items: Iterable[Json]) -> FrozenList:
    """Return a frozen list of items that are frozen already."""
    frozen: FrozenList = FrozenList.__new__(FrozenList)
    list.extend(frozen, items)
    return frozen
