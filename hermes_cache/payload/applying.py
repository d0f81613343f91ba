"""Applying: a view turned into the one to which a patch leads.

The same is done in JavaScript by `gateway/page/patches.js`; both are held to the same vectors. No I/O here.
Source: rules D1, D2.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import cast

from hermes_cache.payload.frozen import Json
from hermes_cache.payload.rows import RowId


def applied(view: Mapping[str, Json], patch: Mapping[str, Json]) -> dict[str, Json]:
    """Return the view to which a patch leads; the one given stays as it is.

    Args:
        view: The view, as JSON values.
        patch: The body of a patch, as JSON values.

    Raises:
        ValueError: The patch was made for another view, or is damaged.
    """
    gone = frozenset(cast("list[str]", patch["gone_fields"]))
    result = {name: value for name, value in view.items() if name not in gone}
    result.update(cast("dict[str, Json]", patch["envelope"]))
    lists = cast("dict[str, Mapping[str, Json]]", patch["lists"])
    if isinstance(patch["list_name"], str):
        lists = {patch["list_name"]: patch, **lists}
    for name, changes in lists.items():
        result[name] = _applied_rows(view.get(name), changes, str(patch["row_id"]))
    return result


def _applied_rows(rows: Json, changes: Mapping[str, Json], row_id: str) -> list[Json]:
    if not isinstance(rows, list) or not _have_ids(rows, row_id):
        raise ValueError("the patch is for another view: it changes a list of rows that is not here")
    new = cast("list[dict[str, RowId]]", changes["rows"])
    if not _have_ids(new, row_id):
        raise ValueError(f"the patch is damaged: it has a row without the field {row_id!r}")
    by_id: dict[RowId, Json] = {row[row_id]: row for row in rows}
    after = _Links(by_id)
    for row in cast("list[RowId]", changes["gone"]):
        after.take_out(row)
        del by_id[row]
    by_id.update({row[row_id]: row for row in new})
    for row, behind in cast("list[tuple[RowId, RowId | None]]", changes["order"]):
        after.put(row, behind)
    order = after.in_order()
    if len(order) != len(by_id):
        raise ValueError("the patch does not say where each of its new rows stands; it is for another view")
    return [by_id[row] for row in order]


def _have_ids(rows: Iterable[Json], row_id: str) -> bool:
    return all(isinstance(row, Mapping) and row_id in row for row in rows)


class _Links:
    """A list of ids in which one id is moved without moving the others."""

    def __init__(self, ids: Iterable[RowId]) -> None:
        neighbours = list(pairwise([None, *ids, None]))
        self._next = dict(neighbours)
        self._previous = {following: row for row, following in neighbours}

    def take_out(self, row: RowId) -> None:
        if row not in self._next:
            raise ValueError(f"the patch is for another view: there is no row with the id {row!r} here")
        previous, following = self._previous.pop(row), self._next.pop(row)
        self._next[previous], self._previous[following] = following, previous

    def put(self, row: RowId, behind: RowId | None) -> None:
        if row in self._next:
            self.take_out(row)
        if behind not in self._next:
            raise ValueError(f"the patch is for another view: there is no row with the id {behind!r} here")
        following = self._next[behind]
        self._next[behind] = self._previous[following] = row
        self._next[row], self._previous[row] = following, behind

    def in_order(self) -> list[RowId]:
        ids: list[RowId] = []
        row = self._next[None]
        while row is not None:
            ids.append(row)
            row = self._next[row]
        return ids
