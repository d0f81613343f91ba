"""Rules D1 and D2: a patch between any two views of a key, applied to the older one, is the newer one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.payload import editions
from hermes_cache.payload.applying import applied
from tests.property.patch_cases import PAIRS, ROWS, State, patch


@contextmanager
def _chunks(*, small: bool) -> Iterator[None]:
    """If small, let every second row end a chunk: lists of twelve rows then have as many chunks as long ones."""
    with pytest.MonkeyPatch.context() as patched:
        if small:
            patched.setattr(editions, "_ENDS", bytes([first % 2 for first in range(256)]))
        yield


def _same(one: object, other: object) -> bool:
    """Compare as JSON, which tells 1, 1.0 and true apart, but not the order of fields."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


@given(pair=PAIRS, small=st.booleans())
def test_a_patch_applied_is_the_present_view(pair: tuple[State, State], *, small: bool) -> None:
    """D2: order, envelope, lists of rows in the envelope, and what is live included"""
    before, now = (state.view() for state in pair)
    view = orjson.loads(before.response.body)

    with _chunks(small=small):
        found = patch(before, now)

    assert found is not None
    assert (found["since"], found["edition"]) == (before.etag, now.etag)
    assert _same(applied(view, found), orjson.loads(now.response.body))
    assert _same(view, orjson.loads(before.response.body))
    if before.etag == now.etag:
        assert not any(found[name] for name in ("rows", "gone", "order", "envelope", "gone_fields", "lists"))


@given(rows=ROWS, data=st.data(), small=st.booleans())
def test_as_few_rows_as_possible_are_moved(
    rows: list[dict[str, object]], data: st.DataObject, *, small: bool
) -> None:
    """D1"""
    quiet = [{**row, "updated_at": 1, "active_stream_id": None} for row in rows]
    moved = data.draw(st.permutations(quiet))
    older, newer = (State(each, {}, frozenset(), {}).view() for each in (quiet, moved))

    with _chunks(small=small):
        found = patch(older, newer)

    assert found is not None
    assert not found["rows"]
    assert not found["gone"]
    before = [row["session_id"] for row in quiet]
    assert len(found["order"]) == len(rows) - _longest([before.index(row["session_id"]) for row in moved])


def _longest(numbers: Sequence[int]) -> int:
    """Return the length of the longest ascending subsequence, by a table of all."""
    best = [1] * len(numbers)
    for before, at in combinations(range(len(numbers)), 2):
        if numbers[before] < numbers[at]:
            best[at] = max(best[at], best[before] + 1)
    return max(best, default=0)
