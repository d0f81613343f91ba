"""Rendering: a view put together from pieces, with what is live laid over the few rows that it touches.

The rows of a content are put in order once. A rendering then takes out the rows that a stream or a live session
touches, lays it over them, and puts them back where they belong now: what it costs is the rows that are live, not
the rows that there are. Source: rules O1 to O6.
"""

from array import array
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import gt
from typing import NamedTuple, TypeAlias

import orjson

from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import DIGEST_BYTES, EncodedRow, Piece, digest_of
from hermes_cache.payload.splices import Splice
from hermes_cache.rendering.views import View
from hermes_cache.sessions.overlay import Live, is_running, lay_over
from hermes_cache.sessions.rows import time_s

Rank: TypeAlias = tuple[float, int]
"""Sorts resting rows: the latest first, ties in the builder's order."""


@dataclass(slots=True, eq=False)
class Order:
    """The rows of a content in order, as if nothing were live. Never changed, but for what is found at need.

    Attributes:
        content: The content whose rows these are.
        earlier: Of each row, its time below zero; ascending.
        indexes: Of each row, where it stands in the content; the second part of its rank.
        pieces: The rows.
        digests: The digests of the rows, one after the other.
        restless: Where those stand in the content that must be looked at whatever is live.
    """

    content: Content
    earlier: "array[float]"
    indexes: Sequence[int]
    pieces: Sequence[Piece]
    digests: bytes
    restless: tuple[int, ...]
    _indexes_by_session: Mapping[str, tuple[int, ...]] | None = None

    def indexes_of(self, session_ids: Iterable[str]) -> Iterator[int]:
        """Return where the rows of sessions stand in the content."""
        if self._indexes_by_session is None:
            self._indexes_by_session = _indexes_by_session(self.content)
        return chain.from_iterable([self._indexes_by_session.get(session_id, ()) for session_id in session_ids])

    def position_of(self, rank: Rank) -> int:
        """Return where a row of a rank stands, or would stand, among all rows."""
        return bisect_left(range(len(self.pieces)), rank, key=lambda at: (self.earlier[at], self.indexes[at]))


class _Laid(NamedTuple):
    """A row that was touched, as it is now."""

    rank: Rank
    runs: bool
    piece: Piece


class _Edit(NamedTuple):
    """A row that is taken out, or one that is put before the row at a position."""

    at: int
    takes: bool
    rank: Rank
    piece: Piece


def order_of(content: Content) -> Order:
    """Put the rows of a content in order."""
    pieces: Sequence[Piece] = content.pieces or ()
    restless = tuple([index for index, piece in enumerate(pieces) if piece.facts.is_restless])
    earlier = array("d", [-piece.facts.time_s for piece in pieces])
    indexes: Sequence[int] = range(len(pieces))
    # Most builders return their rows in order; this check takes a tenth of the time of sorting them.
    if any(map(gt, earlier, earlier[1:])):
        ranks = sorted(zip(earlier, indexes, strict=True))
        earlier, indexes = array("d", [at for at, _ in ranks]), [index for _, index in ranks]
        pieces = [pieces[index] for index in indexes]
    return Order(content, earlier, indexes, pieces, b"".join([piece.digest for piece in pieces]), restless)


def order_after(before: Order, content: Content) -> Order:
    """Put the rows of a content in order; it costs the rows that the content before it did not have.

    Args:
        before: Of the content that this one replaces.
        content: The content whose rows are put in order.
    """
    old, pieces = before.content.pieces or (), content.pieces or ()
    splices = content.splices_since(before.content)
    if not isinstance(before.indexes, range) or 2 * sum([each.till - each.came for each in splices]) > len(pieces):
        return order_of(content)
    earlier = array("d")
    digests: list[bytes] = []
    restless: list[int] = []
    start = 0
    for each in [*splices, Splice(len(old), len(old), len(pieces), len(pieces))]:
        new, shift = pieces[each.came : each.till], each.came - each.start
        earlier += before.earlier[start : each.start]
        earlier.extend([-piece.facts.time_s for piece in new])
        digests.append(before.digests[start * DIGEST_BYTES : each.start * DIGEST_BYTES])
        digests += [piece.digest for piece in new]
        restless += [index + shift for index in before.restless if start <= index < each.start]
        restless += [index for index, piece in enumerate(new, each.came) if piece.facts.is_restless]
        start = each.end
    around = [earlier[max(0, each.came - 1) : each.till + 1] for each in splices]
    if any(any(map(gt, part, part[1:])) for part in around):
        return order_of(content)
    return Order(content, earlier, range(len(pieces)), pieces, b"".join(digests), tuple(restless))


def render(key: Hashable, order: Order, live: Live) -> View:
    """Return the view of a content.

    Args:
        key: The key that is rendered.
        order: Of its rows.
        live: What is live now.

    Raises:
        ValueError: A field of `LiveSession.extra` has the name of a field of its row.
    """
    named = live.sessions.keys() | live.turns.keys()
    touched = {*order.restless, *(order.indexes_of(named) if named else ())}
    if not touched:
        return View(key, order.content, order.pieces, order.digests)
    laid = [_laid(order.content, index, live) for index in sorted(touched)]
    pieces, digests = _put_back(order, laid, touched)
    before = order.content.pieces or ()
    grown_bytes = sum([len(row.piece.encoded) - len(before[row.rank[1]].encoded) for row in laid])
    return View(key, order.content, pieces, digests, grown_bytes)


def _indexes_by_session(content: Content) -> dict[str, tuple[int, ...]]:
    indexes: dict[str, tuple[int, ...]] = {}
    for index, piece in enumerate(content.pieces or ()):
        if (session_id := piece.facts.session_id) is not None:
            indexes[session_id] = (*indexes.get(session_id, ()), index)
    return indexes


def _laid(content: Content, index: int, live: Live) -> _Laid:
    piece = (content.pieces or ())[index]
    row = piece.decoded()
    now = lay_over(row, live)
    if now is not row:
        encoded = orjson.dumps(now)
        piece = EncodedRow(encoded, digest_of(encoded), piece.facts)
    return _Laid((-time_s(now), index), is_running(now), piece)


def _put_back(order: Order, laid: list[_Laid], touched: set[int]) -> tuple[list[Piece], bytes]:
    """Return all rows and their digests: those that run first, the others by rank."""
    before = order.content.pieces or ()
    ranks = [(-before[index].facts.time_s, index) for index in touched]
    edits = [_Edit(at := order.position_of(rank), True, rank, order.pieces[at]) for rank in ranks]  # noqa: FBT003
    edits += [_Edit(order.position_of(row.rank), False, row.rank, row.piece) for row in laid if not row.runs]  # noqa: FBT003
    pieces = [row.piece for row in sorted(laid, key=lambda row: row.rank) if row.runs]
    digests = [piece.digest for piece in pieces]
    start = 0
    for at, takes, _, piece in sorted(edits, key=lambda edit: edit[:3]):
        pieces += order.pieces[start:at]
        digests.append(order.digests[start * DIGEST_BYTES : at * DIGEST_BYTES])
        start = at
        if takes:
            start += 1
        else:
            pieces.append(piece)
            digests.append(piece.digest)
    pieces += order.pieces[start:]
    digests.append(order.digests[start * DIGEST_BYTES :])
    return pieces, b"".join(digests)
