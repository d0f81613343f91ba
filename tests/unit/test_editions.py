"""What another edition of a view costs, counted: rules D1 and D3."""

from collections.abc import Callable

import pytest

from hermes_cache.cache.editions import Editions
from hermes_cache.payload.content import Content
from hermes_cache.payload.editions import Edition
from hermes_cache.payload.rows import EncodedRow, digest_of
from hermes_cache.rendering.views import PlainViews, View
from hermes_cache.sessions.rows import SESSION_LIST, facts_of

_ROWS = [f"session {number}" for number in range(2_000)]


class _Key:
    """A key that counts how often it is measured."""

    measured = 0

    def __sizeof__(self) -> int:
        """Count the call."""
        self.measured += 1
        return 100


def _view(rows: list[str], key: object = "a key") -> View:
    pieces = [
        EncodedRow(row.encode(), digest_of(row.encode()), facts_of({"session_id": row.split(",")[0]}))
        for row in rows
    ]
    return PlainViews(1).of(key, Content(b"{}", tuple(pieces), name="sessions"))


def _edition(rows: list[str], before: Edition | None = None) -> Edition:
    return _view(rows).edition(SESSION_LIST, {}, None, before)


def _parts(edition: Edition) -> list[object]:
    return [(chunk.ids, chunk.digests) for chunk in edition.chunks]


def _renamed(rows: list[str]) -> list[str]:
    return [*rows[:1_000], f"{rows[1_000]}, renamed", *rows[1_001:]]


def _without_the_last(rows: list[str]) -> list[str]:
    return rows[:-1]


@pytest.mark.parametrize("change", [_renamed, _without_the_last])
def test_an_edition_takes_over_all_chunks_but_those_that_changed(change: Callable[[list[str]], list[str]]) -> None:
    """D3"""
    older = _edition(_ROWS)

    newer = _edition(change(_ROWS), older)

    assert len(older.chunks) > 15
    assert len({*newer.chunks} - {*older.chunks}) <= 2


def test_an_edition_has_the_same_chunks_whichever_row_the_edition_before_has_or_lacks() -> None:
    """D1: chunks end where their rows say, so that all editions of a view share them."""
    rows = _ROWS[:150]
    whole = _edition(rows)

    for at in range(len(rows)):
        fewer = _edition(rows[:at] + rows[at + 1 :])
        assert _parts(_edition(rows, fewer)) == _parts(whole)
        assert _parts(_edition(rows[:at] + rows[at + 1 :], whole)) == _parts(fewer)


def test_a_key_is_measured_once_however_many_editions_its_view_has() -> None:
    """D1: to look into every field of a key costs as much as to tell a view's chunks."""
    key, editions = _Key(), Editions(SESSION_LIST, 2**20)

    for number in range(5):
        editions.hand_out(_view(_ROWS[number:], key), None)

    assert key.measured == 1
