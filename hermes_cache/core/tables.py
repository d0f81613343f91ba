"""Tables and timers: immutable collections whose next version costs far less than a copy.

A state is never changed, only replaced, and anybody may look at an older one without a lock. To copy a mapping of
10,000 entries for each message would be what that costs; these share with their last version what stayed the same.
A `Table` is a dict with the last changes beside it, which are merged now and then. `Timers` are sorted chunks.
Both keep their order whatever the hash seed. Source: rule B5.
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping
from math import inf, isqrt
from typing import Any, Final, TypeAlias, TypeVar, overload

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")

_LEAST_CHANGES: Final = 16
"""Fewer are not worth a merge."""

_MOST_IN_CHUNK: Final = 128

_GONE: Final = object()


class Table(Mapping[K, V]):
    """A mapping in the order of insertion; `with_one` and `without` return the next version.

    A key that is taken out and set again may come back to its former position.
    """

    __slots__ = ("_base", "_changes", "_size")

    def __init__(self) -> None:
        self._base: dict[K, V] = {}
        self._changes: dict[K, Any] = {}  # a value, or `_GONE`
        self._size = 0

    def with_one(self, key: K, value: V) -> "Table[K, V]":
        """Return the table with a value set."""
        return self._changed({key: value}, self._size + (key not in self))

    def with_all(self, values: Mapping[K, V]) -> "Table[K, V]":
        """Return the table with many values set."""
        return self._changed(dict(values), self._size + sum(key not in self for key in values))

    def without(self, keys: Iterable[K]) -> "Table[K, V]":
        """Return the table without some keys; keys that are not there change nothing."""
        gone = {key: _GONE for key in keys if key in self}
        return self._changed(gone, self._size - len(gone)) if gone else self

    def _changed(self, more: dict[K, Any], size: int) -> "Table[K, V]":
        table: Table[K, V] = Table()
        table._base, table._changes, table._size = self._base, {**self._changes, **more}, size
        if len(table._changes) > max(_LEAST_CHANGES, isqrt(len(self._base))):
            table._base, table._changes = _merged(table._base, table._changes), {}
        return table

    def __getitem__(self, key: K) -> V:
        value = self.get(key, _GONE)
        if value is _GONE:
            raise KeyError(key)
        return value  # type: ignore[return-value]  # not _GONE

    @overload
    def get(self, key: K, /) -> V | None: ...

    @overload
    def get(self, key: K, default: V | D, /) -> V | D: ...

    def get(self, key: K, default: object = None, /) -> object:
        """Return the value of a key."""
        value = self._changes.get(key) if key in self._changes else self._base.get(key, _GONE)
        return default if value is _GONE else value

    def __contains__(self, key: object) -> bool:
        return self._changes[key] is not _GONE if key in self._changes else key in self._base

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[K]:
        base, changes = self._base, self._changes
        yield from (key for key in base if key not in changes or changes[key] is not _GONE)
        yield from (key for key, value in changes.items() if value is not _GONE and key not in base)

    def __reversed__(self) -> Iterator[K]:
        return reversed(list(self))


def _merged(base: dict[K, V], changes: dict[K, Any]) -> dict[K, V]:
    merged: dict[K, Any] = {**base, **changes}
    for key, value in changes.items():
        if value is _GONE:
            del merged[key]
    return merged


Index: TypeAlias = Table[K, Table[Hashable, None]]
"""Names in groups: each name is in one."""


def with_name(index: Index[K], group: K, name: Hashable) -> Index[K]:
    """Return an index with a name in a group."""
    names: Table[Hashable, None] = index.get(group) or Table()
    return index if name in names else index.with_one(group, names.with_one(name, None))


def without_name(index: Index[K], group: K, name: Hashable) -> Index[K]:
    """Return an index without a name of a group, and without the group if that was its last."""
    names = index[group].without([name])
    return index.with_one(group, names) if names else index.without([group])


Timer: TypeAlias = tuple[float, Any, Any]
"""A moment, what orders those of one moment (one kind in one collection), and what is due."""


class Timers:
    """What is due when, the first first."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: tuple[tuple[Timer, ...], ...] = ()) -> None:
        self._chunks = chunks

    def first_s(self) -> float:
        """Return the moment of the first; infinity if there is none."""
        return self._chunks[0][0][0] if self._chunks else inf

    def first(self) -> Any:
        """Return the moment of the first, and its order; there must be one."""
        return self._chunks[0][0][:2]

    def due(self, now_s: float) -> list[Any]:
        """Return what is due by a moment, in order."""
        due: list[Any] = []
        for chunk in self._chunks:
            due += [timer[2] for timer in chunk if timer[0] <= now_s]
            if chunk[-1][0] > now_s:
                break
        return due

    def with_one(self, at_s: float, order: object, thing: object = None) -> "Timers":
        """Return the timers with one more; one at infinity is none. Without a thing, its order is what is due."""
        if at_s == inf:
            return self
        at, position = self._find(at_s, order)
        chunk = self._chunks[at] if self._chunks else ()
        return self._with_chunk(
            at, (*chunk[:position], (at_s, order, order if thing is None else thing), *chunk[position:])
        )

    def without(self, at_s: float, order: object) -> "Timers":
        """Return the timers without one; one that is not there changes nothing."""
        if not self._chunks:
            return self
        at, position = self._find(at_s, order)
        chunk = self._chunks[at]
        if position == len(chunk) or chunk[position][:2] != (at_s, order):
            return self
        return self._with_chunk(at, (*chunk[:position], *chunk[position + 1 :]))

    def _find(self, at_s: float, order: object) -> tuple[int, int]:
        """Return the chunk of a timer, and its index there, or those that it would have."""
        if not self._chunks:
            return 0, 0
        wanted: tuple[Any, ...] = (at_s, order)  # a shorter tuple stands before a longer one that begins like it
        at = min(bisect_left(self._chunks, wanted, key=_last), len(self._chunks) - 1)
        return at, bisect_left(self._chunks[at], wanted)

    def _with_chunk(self, at: int, chunk: tuple[Timer, ...]) -> "Timers":
        half = len(chunk) // 2
        halves = (chunk[:half], chunk[half:]) if len(chunk) > _MOST_IN_CHUNK else (chunk,)
        filled = [each for each in halves if each]
        return Timers((*self._chunks[:at], *filled, *self._chunks[at + 1 :]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timers) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(tuple(self._all()))

    def _all(self) -> list[Timer]:
        return [timer for chunk in self._chunks for timer in chunk]


def _last(chunk: tuple[Timer, ...]) -> tuple[Any, ...]:
    return chunk[-1]


def with_value(mapping: Mapping[K, V], key: K, value: V) -> dict[K, V]:
    """Return a mapping with one more value."""
    return {**mapping, key: value}


def without(mapping: Mapping[K, V], key: K) -> Mapping[K, V]:
    """Return a mapping without a key; the same one if it has none."""
    if key not in mapping:
        return mapping
    rest = dict(mapping)
    del rest[key]
    return rest


def bounded(mapping: dict[K, V], most: int) -> dict[K, V]:
    """Take the oldest values out of a mapping until so many are left, and return it."""
    while len(mapping) > most:
        del mapping[next(iter(mapping))]
    return mapping
