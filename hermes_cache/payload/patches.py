"""Patches: what turns one edition of a view into another, as JSON.

Rows that both editions have in the same order stay where they are. They are found as a longest increasing
subsequence, so the `order` of a patch has as few pairs as possible. Rows go into a patch as the bytes that are
held: none is decoded or encoded. No I/O here.
Source: rules D1 to D3.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise, takewhile
from operator import eq
from typing import Final, NamedTuple, TypeAlias, cast

import orjson

from hermes_cache.payload.editions import Chunk, Edition
from hermes_cache.payload.frozen import Json
from hermes_cache.payload.rows import DIGEST_BYTES, Piece, RowId, digest_of
from hermes_cache.payload.splices import same_in_front

_NEW: Final = -1
"""Stands for the position of a row in a list that does not have it."""


_Row: TypeAlias = tuple[RowId | None, bytes]
"""The id of a row, and its digest."""


class _Run(NamedTuple):
    """Rows that stand one behind the other in both lists; their ids, and where they began in the older list."""

    was_at: int
    ids: Sequence[RowId | None]


class _Changes(NamedTuple):
    """What turns one list into another."""

    rows: list[orjson.Fragment]
    gone: list[RowId | None]
    order: list[tuple[RowId | None, RowId | None]]

    def fields(self) -> dict[str, object]:
        return {"rows": self.rows, "gone": self.gone, "order": self.order}


class _Comparison(NamedTuple):
    """Two lists side by side.

    Attributes:
        behind: The id of the row behind which the runs begin; None for the first row.
        runs: The newer list, without what both lists begin and end with.
        kept: The ids that both lists have and that are in no run of one row, in groups.
        gone: The ids that only the older list has.
        differing: Where the rows of the newer list stand that are new or differ.
        came: The ids of the rows outside `kept`.
        fresh: Those of `came` that the older list does not have.
    """

    behind: RowId | None
    runs: list[_Run]
    kept: list[Sequence[RowId | None]]
    gone: list[RowId | None]
    differing: list[int]
    came: list[RowId | None]
    fresh: list[RowId | None]


def patch_between(older: Edition, newer: Edition, pieces: Sequence[Piece], row_id: str) -> bytes | None:
    """Return the JSON body of the patch that turns one edition of a view into another.

    Args:
        older: The edition that the patch is for.
        newer: The edition that it leads to.
        pieces: The rows of `newer`.
        row_id: The field of a row that holds its id.

    Returns:
        None if there is no such patch: a row has no id or the id of another one, only one of the two has a list of
        rows, or the settings are not the same.
    """
    if older.list_name != newer.list_name or older.settings != newer.settings or not older.ids_are_unique:
        return None
    compared = _compared(older.chunks, newer.chunks)
    if not newer.follow(compared.kept, compared.came, compared.fresh):
        return None
    changes = _changes(compared, [pieces[at].encoded for at in compared.differing])
    names = {"since": older.name, "edition": newer.name, "list_name": newer.list_name, "row_id": row_id}
    envelope = _envelope_changes(older.envelope, newer.envelope, row_id)
    return orjson.dumps({**names, **changes.fields(), **envelope})


def _compared(older: Sequence[Chunk], newer: Sequence[Chunk]) -> _Comparison:
    front = same_in_front(older, newer)
    back = same_in_front(older[front:][::-1], newer[front:][::-1])
    kept: list[Sequence[RowId | None]] = [chunk.ids for chunk in [*newer[:front], *newer[len(newer) - back :]]]
    old, new = older[front : len(older) - back], newer[front : len(newer) - back]
    began_at = sum([len(chunk.ids) for chunk in older[:front]])
    behind = newer[front - 1].ids[-1] if front else None
    shared = {chunk.digests for chunk in old}.intersection([chunk.digests for chunk in new])
    if shared:
        compared = _Comparison(behind, [], kept, [], [], [], [])
        _compare_chunks(old, new, shared, began_at, compared)
        return compared
    left, come = _rows_of(old), _rows_of(new)
    # Most of the rows around one that changed are the same.
    before = _same_rows(left, come)
    after = _same_rows(left[before:][::-1], come[before:][::-1])
    kept.append([row for row, _ in [*come[:before], *come[len(come) - after :]]])
    compared = _Comparison(come[before - 1][0] if before else behind, [], kept, [], [], [], [])
    began_at += before
    was = {row: (at, digest) for at, (row, digest) in enumerate(left[before : len(left) - after], began_at)}
    _compare_rows(come[before : len(come) - after], began_at, was, compared)
    compared.gone.extend(was)
    return compared


def _compare_chunks(
    old: Sequence[Chunk], new: Sequence[Chunk], shared: set[bytes], began_at: int, compared: _Comparison
) -> None:
    starts: dict[bytes, int] = {}
    left: dict[RowId | None, tuple[int, bytes]] = {}
    at = began_at
    for chunk in old:
        if chunk.digests in shared:
            starts[chunk.digests] = at
        else:
            left.update([(row, (at + by, digest)) for by, (row, digest) in enumerate(_rows_of([chunk]))])
        at += len(chunk.ids)
    at = began_at
    for chunk in new:
        if chunk.digests in shared:
            compared.kept.append(chunk.ids)
            compared.runs.append(_Run(starts[chunk.digests], chunk.ids))
        else:
            _compare_rows(_rows_of([chunk]), at, left, compared)
        at += len(chunk.ids)
    compared.gone.extend(left)


def _compare_rows(
    rows: Iterable[_Row], began_at: int, left: dict[RowId | None, tuple[int, bytes]], compared: _Comparison
) -> None:
    follows_at = _NEW
    ids: list[RowId | None] = []
    for at, (row, digest) in enumerate(rows, began_at):
        compared.came.append(row)
        was_at, before = left.pop(row, (_NEW, b""))
        if was_at == _NEW:
            compared.fresh.append(row)
        if was_at == follows_at != _NEW:
            ids.append(row)
        else:
            ids = [row]
            compared.runs.append(_Run(was_at, ids))
        follows_at = was_at + 1 if was_at != _NEW else _NEW
        if digest != before:
            compared.differing.append(at)


def _rows_of(chunks: Iterable[Chunk]) -> list[_Row]:
    rows: list[_Row] = []
    for chunk in chunks:
        starts = range(0, len(chunk.digests), DIGEST_BYTES)
        rows += zip(chunk.ids, [chunk.digests[at : at + DIGEST_BYTES] for at in starts], strict=True)
    return rows


def _same_rows(older: Iterable[_Row], newer: Iterable[_Row]) -> int:
    """Return how many rows both begin with; equal digests are those of equal rows."""
    return sum(takewhile(bool, map(eq, older, newer)))


def _changes(compared: _Comparison, rows: Iterable[bytes]) -> _Changes:
    stay = _longest_in_order(compared.runs)
    order: list[tuple[RowId | None, RowId | None]] = []
    behind = compared.behind
    for at, run in enumerate(compared.runs):
        if at in stay:
            behind = run.ids[-1]
            continue
        for row in run.ids:
            order.append((row, behind))
            behind = row
    return _Changes([orjson.Fragment(row) for row in rows], compared.gone, order)


def _longest_in_order(runs: Sequence[_Run]) -> frozenset[int]:
    """Return which runs can stay, so that as few rows as possible move."""
    survivors = [at for at, run in enumerate(runs) if run.was_at != _NEW]
    if all(runs[a].was_at < runs[b].was_at for a, b in pairwise(survivors)):
        return frozenset(survivors)
    groups = _grouped(survivors, runs)
    by_old_index = sorted(range(len(groups)), key=lambda group: runs[groups[group][0]].was_at)
    rank = {group: at for at, group in enumerate(by_old_index)}
    # The heaviest chain that ends at each group. `tops` has the ends of the chains that no other one beats: their
    # ranks ascend, and so do their weights.
    ranks: list[int] = []
    tops: list[tuple[int, int]] = []
    before: list[int] = []
    for group, members in enumerate(groups):
        at = bisect_left(ranks, rank[group])
        weight, previous = tops[at - 1] if at else (0, _NEW)
        weight += sum([len(runs[member].ids) for member in members])
        before.append(previous)
        beaten = at
        while beaten < len(tops) and tops[beaten][0] <= weight:
            beaten += 1
        ranks[at:beaten], tops[at:beaten] = [rank[group]], [(weight, group)]
    return frozenset(member for group in _chain(tops[-1][1], before) for member in groups[group])


def _grouped(survivors: Sequence[int], runs: Sequence[_Run]) -> list[list[int]]:
    """Join runs that are neighbours in both lists: they stay, or move, together."""
    rank = {at: number for number, at in enumerate(sorted(survivors, key=lambda at: runs[at].was_at))}
    groups: list[list[int]] = []
    for at in survivors:
        if groups and rank[groups[-1][-1]] + 1 == rank[at]:
            groups[-1].append(at)
        else:
            groups.append([at])
    return groups


def _chain(last: int, before: Sequence[int]) -> Iterable[int]:
    while last != _NEW:
        yield last
        last = before[last]


def _envelope_changes(older: bytes, newer: bytes, row_id: str) -> dict[str, object]:
    if older == newer:
        return {"envelope": {}, "gone_fields": [], "lists": {}}
    old, new = orjson.loads(older), orjson.loads(newer)
    fields: dict[str, orjson.Fragment] = {}
    lists: dict[str, orjson.Fragment] = {}
    for name, value in new.items():
        encoded = orjson.dumps(value)
        if name in old and orjson.dumps(old[name]) == encoded:
            continue
        changes = _list_changes(old.get(name), value, row_id)
        if changes is not None and len(changes) < len(encoded):
            lists[name] = orjson.Fragment(changes)
        else:
            fields[name] = orjson.Fragment(encoded)
    return {"envelope": fields, "gone_fields": [name for name in old if name not in new], "lists": lists}


def _list_changes(older: Json, newer: Json, row_id: str) -> bytes | None:
    old, new = _edition_of_rows(older, row_id), _edition_of_rows(newer, row_id)
    if old is None or new is None:
        return None
    rows = cast("list[Json]", newer)
    compared = _compared(old.chunks, new.chunks)
    return orjson.dumps(_changes(compared, [orjson.dumps(rows[at]) for at in compared.differing]).fields())


def _edition_of_rows(rows: Json, row_id: str) -> Edition | None:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    digests = b"".join([digest_of(orjson.dumps(row)) for row in rows])
    edition = Edition("", None, b"", (Chunk(tuple([row.get(row_id) for row in rows]), digests),))
    return edition if edition.ids_are_unique else None
