"""Pairs of views of one key, as the laws of patches and their vectors use them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from hypothesis import strategies as st

from hermes_cache.payload.editions import Edition
from hermes_cache.payload.patches import patch_between
from hermes_cache.rendering.views import View
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.overlay import Live, LiveSession
from hermes_cache.sessions.rendering import order_of, render
from hermes_cache.sessions.rows import SESSION_LIST, freeze
from tests.contents import content_of

KEY = SessionListKey()
_TITLES = st.sampled_from(["", "one", "zwei", "\u4e09 \U0001f600", "\u2028</script>"])
_NUMBERS = st.sampled_from([0, 1, 1.0, -0.0, 2.5, 2**53 - 1, -(2**53) + 1, 1e300, True, False, None])
_NESTED = st.recursive(
    st.one_of(_TITLES, _NUMBERS),
    lambda values: st.one_of(st.lists(values, max_size=2), st.dictionaries(_TITLES, values, max_size=2)),
    max_leaves=4,
)
_IDS = st.sampled_from([*"abcdefghijkl", "", "__proto__", "constructor", "10", "9"])


def _rows(ids: Sequence[str]) -> st.SearchStrategy[list[dict[str, object]]]:
    fields: dict[str, st.SearchStrategy[Any]] = {
        "title": _TITLES,
        "updated_at": st.sampled_from([1, 2, 3.5, None]),
        "active_stream_id": st.sampled_from(["x", "y", None]),
        "nested": _NESTED,
    }
    rows = [st.fixed_dictionaries({"session_id": st.just(each)}, optional=fields) for each in ids]
    return st.tuples(*rows).map(list)


ROWS = st.lists(_IDS, unique=True, max_size=12).flatmap(_rows)
_ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "total": _NUMBERS,
        "page": _NESTED,
        "__proto__": _NESTED,
        "archived": st.one_of(ROWS, _NESTED),
        "references": ROWS,
    },
)


class State(NamedTuple):
    """What a view is made of."""

    rows: list[dict[str, object]]
    envelope: Mapping[str, object]
    active: frozenset[str]
    live: Mapping[str, LiveSession]

    def view(self) -> View:
        """Render it."""
        content = content_of(freeze({"sessions": self.rows, **self.envelope}))
        return render(KEY, order_of(content), Live(self.active, self.live))


STATES = st.builds(
    State,
    ROWS,
    _ENVELOPES,
    st.frozensets(st.sampled_from(["x", "y"])),
    st.dictionaries(
        _IDS,
        st.builds(
            LiveSession,
            active_stream_id=st.sampled_from(["x", "y", None]),
            pending_user_message=st.sampled_from(["hello", None]),
            updated_at=st.sampled_from([None, 3.0, 9.0]),
        ),
        max_size=3,
    ),
)


def _edited(rows: list[dict[str, object]]) -> st.SearchStrategy[list[dict[str, object]]]:
    """Return lists in which most rows of another one are, some of them renamed or moved."""
    renames: st.SearchStrategy[dict[str, str]] = st.one_of(st.just({}), st.fixed_dictionaries({"title": _TITLES}))
    edits = st.tuples(*[st.tuples(renames, st.integers(0, 9)) for _ in rows])
    kept = edits.map(lambda each: [{**row, **edit} for row, (edit, left) in zip(rows, each, strict=True) if left])
    return st.one_of(kept, kept.flatmap(st.permutations))


def _successor(older: State) -> st.SearchStrategy[State]:
    references = older.envelope.get("references", [])
    edited = st.tuples(_edited(older.rows), _edited(references))  # type: ignore[arg-type]  # rows, as drawn
    return edited.map(
        lambda pair: older._replace(rows=pair[0], envelope={**older.envelope, "references": pair[1]})
    )


PAIRS = st.one_of(
    st.tuples(STATES, STATES), STATES.flatmap(lambda older: st.tuples(st.just(older), _successor(older)))
)
"""Two states of a view: any two, or two between which little changed."""


def edition(view: View, known: Edition | None = None) -> Edition:
    """Return the edition of a view, which shares the chunks of another one."""
    chunks = {chunk.digests: chunk for chunk in (known.chunks if known else ())}
    return view.edition(SESSION_LIST, chunks, None)


def patch(older: View, newer: View) -> dict[str, Any] | None:
    """Return the patch between two views, decoded."""
    first = edition(older)
    body = patch_between(first, edition(newer, first), newer.pieces, "session_id")
    return None if body is None else dict(orjson.loads(body))
