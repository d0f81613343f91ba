"""Rules O1 to O6: a body put together from pieces is the body of the rows laid over, whatever is live."""

from collections.abc import Mapping

import orjson
from hypothesis import given
from hypothesis import strategies as st

from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import EncodedRow
from hermes_cache.sessions.overlay import LiveSession, overlay
from hermes_cache.sessions.rendering import order_of, render
from hermes_cache.sessions.rows import freeze
from tests.contents import content_of

IDS = st.sampled_from(["a", "b", "c", "d", None, 7])
STREAMS = st.sampled_from(["x", "y", "", None, 3])
TIMES = st.sampled_from([0, 1, 2.5, "3", "junk", None, 9e300, True])
ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "session_id": IDS,
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
ACTIVE = st.frozensets(st.sampled_from(["x", "y"]))


@given(rows=ROWS, live=LIVE, active=ACTIVE, total=st.sampled_from([None, 3]))
def test_a_body_is_that_of_the_rows_laid_over(
    rows: list[object], live: Mapping[str, LiveSession], active: frozenset[str], total: int | None
) -> None:
    """O1 to O6"""
    rest = {} if total is None else {"total": total}
    payload = freeze({"sessions": rows, **rest})
    content = content_of(payload)
    expected = {"sessions": overlay(content.rows(), active, live), **rest}

    from_rows = render(order_of(content), active, live)
    from_bytes = render(order_of(_as_bytes(content)), active, live)

    assert orjson.loads(from_rows.body) == orjson.loads(orjson.dumps(expected))
    assert (from_bytes.body, from_bytes.etag) == (from_rows.body, from_rows.etag)


@given(rows=ROWS, live=LIVE, others=LIVE, active=ACTIVE)
def test_a_tag_changes_exactly_when_its_body_does(
    rows: list[object], live: Mapping[str, LiveSession], others: Mapping[str, LiveSession], active: frozenset[str]
) -> None:
    """O6"""
    order = order_of(content_of(freeze({"sessions": rows})))

    one, other = render(order, active, live), render(order, active, others)

    assert (one.etag == other.etag) == (one.body == other.body)


def _as_bytes(content: Content) -> Content:
    pieces = [EncodedRow(piece.encoded, piece.digest, piece.facts) for piece in content.pieces or ()]
    return Content(content.envelope, tuple(pieces), name=content.name)
