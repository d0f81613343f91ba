"""Rendering: a body put together from pieces, with what is live laid over the few rows that it touches.

The rows of a content are put in order once. A rendering then takes out the rows that a stream or a live session
touches, lays it over them, and puts them back where they belong now: what it costs is the rows that are live, not
the rows that there are. Source: rules O1 to O6.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import gt
from typing import NamedTuple, TypeAlias

import orjson

from hermes_cache.bodies import Body
from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import digest_of
from hermes_cache.sessions.overlay import LiveSession, is_running, lay_over
from hermes_cache.sessions.rows import time_s

Rank: TypeAlias = tuple[float, int]
"""Sorts resting rows: the latest first, ties in the builder's order."""


@dataclass(slots=True, eq=False)
class Order:
    """The rows of a content in order, as if nothing were live. Never changed, but for what is found at need.

    Attributes:
        content: The content whose rows these are.
        ranks: Of each row, ascending.
        encoded: Of each row.
        digests: Of each row.
        restless: Where those stand that must be looked at whatever is live.
    """

    content: Content
    ranks: list[Rank]
    encoded: list[bytes]
    digests: list[bytes]
    restless: tuple[int, ...]
    _places: Mapping[str, tuple[int, ...]] | None = None

    def places_of(self, session_ids: Iterable[str]) -> Iterator[int]:
        """Return where the rows of sessions stand in the content."""
        if self._places is None:
            self._places = _places(self.content)
        return chain.from_iterable([self._places.get(session_id, ()) for session_id in session_ids])


class _Laid(NamedTuple):
    """A row that was touched, as it is now."""

    rank: Rank
    runs: bool
    encoded: bytes
    digest: bytes


def order_of(content: Content) -> Order:
    """Put the rows of a content in order."""
    pieces = content.pieces or ()
    restless = tuple([index for index, piece in enumerate(pieces) if piece.facts.is_restless])
    earlier = [-piece.facts.time_s for piece in pieces]
    ranks = list(zip(earlier, range(len(pieces)), strict=True))
    # Most builders return their rows in order; this check takes a tenth of the time of sorting them.
    if any(map(gt, earlier, earlier[1:])):
        ranks.sort()
        pieces = tuple([pieces[index] for _, index in ranks])
    return Order(content, ranks, [piece.encoded for piece in pieces], [piece.digest for piece in pieces], restless)


def render(order: Order, active: frozenset[str], live: Mapping[str, LiveSession]) -> Body:
    """Return the body of a content.

    Args:
        order: Of its rows.
        active: The ids of the streams that are active now.
        live: By session id.
    """
    content = order.content
    touched = {*order.restless, *(order.places_of(live) if live else ())}
    if not touched:
        return Body(content.body(order.encoded), content.etag(order.digests))
    laid = [_laid(content, index, active, live) for index in sorted(touched)]
    encoded, digests = _put_back(order, laid, touched)
    return Body(content.body(encoded), content.etag(digests))


def _places(content: Content) -> dict[str, tuple[int, ...]]:
    indexes: dict[str, tuple[int, ...]] = {}
    for index, piece in enumerate(content.pieces or ()):
        if (session_id := piece.facts.session_id) is not None:
            indexes[session_id] = (*indexes.get(session_id, ()), index)
    return indexes


def _laid(content: Content, index: int, active: frozenset[str], live: Mapping[str, LiveSession]) -> _Laid:
    piece = (content.pieces or ())[index]
    row = piece.decoded()
    now = lay_over(row, active, live)
    encoded = piece.encoded if now is row else orjson.dumps(now)
    digest = piece.digest if now is row else digest_of(encoded)
    return _Laid((-time_s(now), index), is_running(now), encoded, digest)


def _put_back(order: Order, laid: list[_Laid], touched: set[int]) -> tuple[list[bytes], list[bytes]]:
    """Return bytes and digests of all rows: those that run first, the others by rank."""
    pieces = order.content.pieces or ()
    ranks, encoded, digests = list(order.ranks), list(order.encoded), list(order.digests)
    for index in touched:
        at = bisect_left(ranks, (-pieces[index].facts.time_s, index))
        del ranks[at], encoded[at], digests[at]
    for row in laid:
        if not row.runs:
            at = bisect_left(ranks, row.rank)
            ranks.insert(at, row.rank)
            encoded.insert(at, row.encoded)
            digests.insert(at, row.digest)
    running = sorted(row for row in laid if row.runs)
    return [*[row.encoded for row in running], *encoded], [*[row.digest for row in running], *digests]
