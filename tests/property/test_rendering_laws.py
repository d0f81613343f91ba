"""Rules O1 to O6: a body put together from pieces is the body of the rows laid over, whatever is live."""

from collections.abc import Mapping, Sequence

import orjson
from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.core.streams import LiveTurn, Turns
from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import EncodedRow, Piece
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.overlay import Live, LiveSession, overlay
from hermes_cache.sessions.rendering import order_after, order_of, render
from hermes_cache.sessions.rows import freeze
from tests.contents import content_of

_KEY = SessionListKey()
IDS = st.sampled_from(["a", "b", "c", "d", None, 7])
STREAMS = st.sampled_from(["x", "y", "", None, 3])
TIMES = st.sampled_from([0, 1, 2.5, "3", "junk", None, 9e300, True])
ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "session_id": IDS,
                "profile": st.sampled_from(["work", "home"]),
                "active_stream_id": STREAMS,
                "has_pending_user_message": st.booleans(),
                "is_streaming": st.sampled_from([True, False, "yes", None]),
                "last_message_at": TIMES,
                "updated_at": TIMES,
                "pending_started_at": TIMES,
            },
        ),
        st.sampled_from(["junk", None, 5, [1]]),
    ),
    max_size=8,
)
LIVE = st.dictionaries(
    st.sampled_from(["a", "b", "z"]),
    st.builds(
        LiveSession,
        active_stream_id=st.sampled_from(["x", "y", None]),
        pending_user_message=st.sampled_from(["hello", None]),
        pending_started_at=st.sampled_from([None, 4.0]),
        updated_at=st.sampled_from([None, 5.0]),
        last_message_at=st.sampled_from([None, 6.0]),
    ),
)
_LATEST_FIRST = [
    {"session_id": str(at), "updated_at": 100 - at // 2, "active_stream_id": "x" if at % 7 == 0 else None}
    for at in range(20)
]
ACTIVE = st.frozensets(st.sampled_from(["x", "y"]))
TURNS = st.dictionaries(
    st.sampled_from(["a", "b", "z"]),
    st.lists(
        st.builds(LiveTurn, st.sampled_from([None, "work"]), st.sampled_from(["x", "y"])), min_size=1, max_size=2
    ),
)


@given(rows=ROWS, live=LIVE, active=ACTIVE, turns=TURNS, total=st.sampled_from([None, 3]))
def test_a_body_is_that_of_the_rows_laid_over(
    rows: list[object], live: Mapping[str, LiveSession], active: frozenset[str], turns: Turns, total: int | None
) -> None:
    """O1 to O6"""
    rest = {} if total is None else {"total": total}
    payload = freeze({"sessions": rows, **rest})
    content = content_of(payload)
    expected = {"sessions": overlay(content.rows(), Live(active, live, turns)), **rest}

    from_rows = render(_KEY, order_of(content), Live(active, live, turns))
    from_bytes = render(_KEY, order_of(_as_bytes(content)), Live(active, live, turns))

    assert orjson.loads(from_rows.response.body) == orjson.loads(orjson.dumps(expected))
    assert (from_bytes.response.body, from_bytes.etag) == (from_rows.response.body, from_rows.etag)
    assert from_rows.body_bytes == len(from_rows.response.body)


@given(rows=ROWS, live=LIVE, others=LIVE, active=ACTIVE, turns=TURNS)
def test_a_tag_changes_exactly_when_its_body_does(
    rows: list[object],
    live: Mapping[str, LiveSession],
    others: Mapping[str, LiveSession],
    active: frozenset[str],
    turns: Turns,
) -> None:
    """O6"""
    order = order_of(content_of(freeze({"sessions": rows})))

    one, other = render(_KEY, order, Live(active, live, turns)), render(_KEY, order, Live(active, others, turns))

    assert (one.etag == other.etag) == (one.response.body == other.response.body)


@given(
    data=st.data(),
    pool=ROWS,
    live=LIVE,
    active=ACTIVE,
    turns=TURNS,
)
def test_rows_put_in_order_after_those_before_them_are_in_the_order_of_all(
    data: st.DataObject, pool: list[object], live: Mapping[str, LiveSession], active: frozenset[str], turns: Turns
) -> None:
    """O4, O6, D3"""
    pieces = content_of(freeze({"sessions": [*pool, *_LATEST_FIRST]})).pieces or ()
    lists = st.lists(st.sampled_from(pieces), max_size=30) if data.draw(st.booleans()) else _parts_of(pieces[-20:])
    older, newer = (Content(b"{}", tuple(data.draw(lists)), name="sessions") for _ in range(2))

    order = order_after(order_of(older), newer)

    assert order.content is newer
    one, other = (render(_KEY, each, Live(active, live, turns)) for each in (order, order_of(newer)))
    assert (one.response.body, one.etag, one.digests) == (other.response.body, other.etag, other.digests)
    assert order.restless == order_of(newer).restless


def _parts_of(pieces: Sequence[Piece]) -> st.SearchStrategy[list[Piece]]:
    """Return lists without some of the rows, the others in order."""
    return st.sets(st.integers(0, len(pieces) - 1), max_size=4).map(
        lambda left_out: [piece for at, piece in enumerate(pieces) if at not in left_out]
    )


def _as_bytes(content: Content) -> Content:
    pieces = [EncodedRow(piece.encoded, piece.digest, piece.facts) for piece in content.pieces or ()]
    return Content(content.envelope, tuple(pieces), name=content.name)
