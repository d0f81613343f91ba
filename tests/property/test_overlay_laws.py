"""Laws of the overlay, for rows of any shape."""

import copy
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.sessions.overlay import Live, LiveSession, is_running, overlay
from hermes_cache.sessions.rows import time_s

_STREAMS = st.sampled_from(["t1", "t2", "t3"])
_SESSIONS = st.sampled_from(["s1", "s2", "s3", ""])
_TIMES = (
    st.none() | st.integers(-5, 5) | st.floats(-5, 5) | st.sampled_from(["3", "x", float("inf"), 10**400, True])
)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)

ROWS = st.fixed_dictionaries(
    {},
    optional={
        "session_id": _SESSIONS | _JSON,
        "active_stream_id": _STREAMS | _JSON,
        "is_streaming": st.booleans() | _JSON,
        "has_pending_user_message": st.booleans() | _JSON,
        "pending_started_at": _TIMES | _JSON,
        "last_message_at": _TIMES | _JSON,
        "updated_at": _TIMES | _JSON,
        "created_at": _TIMES | _JSON,
        "title": _JSON,
    },
)
LISTS = st.lists(ROWS | _JSON, max_size=12)
ACTIVE = st.frozensets(_STREAMS)
LIVE_TIMES = st.none() | st.floats(-5, 5) | st.just(float("nan"))
LIVE = st.dictionaries(
    _SESSIONS,
    st.builds(
        LiveSession, st.none() | _STREAMS, st.none() | st.text(max_size=2), LIVE_TIMES, LIVE_TIMES, LIVE_TIMES
    ),
)


@given(LISTS, ACTIVE, LIVE)
def test_laying_over_twice_changes_nothing_more(
    rows: list[object], active: frozenset[str], live: dict[str, LiveSession]
) -> None:
    """O1, O4"""
    once = overlay(rows, Live(active, live))

    twice = overlay(once, Live(active, live))

    assert [id(row) for row in twice] == [id(row) for row in once]


@given(LISTS, ACTIVE, LIVE)
def test_no_row_is_lost_and_none_is_changed(
    rows: list[object], active: frozenset[str], live: dict[str, LiveSession]
) -> None:
    """O1, O5"""
    before = copy.deepcopy(rows)

    laid = overlay(rows, Live(active, live))

    assert rows == before
    assert len(laid) == len(rows)


@given(st.lists(ROWS, max_size=12), ACTIVE, LIVE)
def test_a_row_is_copied_only_where_it_moved(
    rows: list[dict[str, object]], active: frozenset[str], live: dict[str, LiveSession]
) -> None:
    """O1"""
    numbered = [{**row, "number": number} for number, row in enumerate(rows)]

    laid = {row["number"]: row for row in overlay(numbered, Live(active, live)) if isinstance(row, dict)}

    for number, row in enumerate(numbered):
        assert (laid[number] is row) == _reads_as(laid[number], row)


@given(LISTS, ACTIVE, LIVE)
def test_exactly_the_active_streams_are_marked_as_streaming(
    rows: list[object], active: frozenset[str], live: dict[str, LiveSession]
) -> None:
    """O3"""
    laid = overlay(rows, Live(active, live))

    for row in laid:
        assert isinstance(row, dict)
        stream_id = row.get("active_stream_id")
        assert row["is_streaming"] is (isinstance(stream_id, str) and stream_id in active)


@given(LISTS, ACTIVE, LIVE)
def test_the_order_is_running_first_then_by_time(
    rows: list[object], active: frozenset[str], live: dict[str, LiveSession]
) -> None:
    """O4"""
    laid = [row for row in overlay(rows, Live(active, live)) if isinstance(row, dict)]

    positions = [(is_running(row), time_s(row)) for row in laid]

    assert positions == sorted(positions, reverse=True)


@given(st.lists(ROWS, max_size=12), ACTIVE)
def test_rows_of_one_position_keep_their_order(rows: list[dict[str, object]], active: frozenset[str]) -> None:
    """O4"""
    numbered = [{**row, "number": number} for number, row in enumerate(rows)]

    laid = [row for row in overlay(numbered, Live(active, {})) if isinstance(row, dict)]

    for one, following in pairwise(laid):
        if (is_running(one), time_s(one)) == (is_running(following), time_s(following)):
            assert one["number"] < following["number"]


def _reads_as(row: dict[str, object], other: dict[str, object]) -> bool:
    # repr tells True from 1 and 1 from 1.0, as JSON does.
    return sorted(map(repr, row.items())) == sorted(map(repr, other.items()))
