"""Editions: which rows a view had, in which order and in which form, without the rows themselves.

An edition keeps the id and the digest of every row, in *chunks*. A chunk ends behind each row whose digest begins
with a small number. So the rows alone say where chunks end: two editions of a view have the same chunks, but for
those around the rows that differ. Editions share equal chunks. So a comparison costs what there are chunks, and
another edition costs what changed. The idea is that of content-defined chunking: Muthitacharoen et al., "A
low-bandwidth network file system", SOSP 2001. No I/O here.
Source: rules D1 to D3.
"""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from sys import getsizeof
from typing import Final

from hermes_cache.payload.rows import DIGEST_BYTES, ListShape, Piece, RowId

_ROWS_OF_A_CHUNK: Final = 64
"""On average. Smaller chunks cost less where rows differ, and more where they do not."""

_ENDS: Final = bytes([first < 256 // _ROWS_OF_A_CHUNK for first in range(256)])
"""By the first byte of a row's digest: 1 if the row is the last of its chunk."""

_ID_KINDS: Final = frozenset({str, int})
_MOST_FRESH: Final = 4
"""So many new ids are looked for one by one; for more, a set of all ids is made."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Rows that stand one behind the other.

    Attributes:
        ids: The ids of the rows; None for a row without one.
        digests: The digests of the rows, one after the other.
        size_bytes: What it takes in memory.
    """

    ids: tuple[RowId | None, ...]
    digests: bytes
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        size_bytes = sum(map(getsizeof, [self.ids, self.digests, *self.ids]))
        object.__setattr__(self, "size_bytes", size_bytes)


@dataclass(slots=True, eq=False)
class Edition:
    """One state of a view. Only `_are_unique` changes: it is found out at the first comparison.

    Attributes:
        name: The tag of its body.
        list_name: The field that holds the rows; None if there is no list of rows.
        envelope: All but the rows, as a JSON object.
        chunks: The rows.
        settings: What the settings were: another value ends all editions (X12).
    """

    name: str
    list_name: str | None
    envelope: bytes
    chunks: tuple[Chunk, ...]
    settings: Hashable = None
    _are_unique: bool | None = field(default=None, init=False, repr=False)

    @property
    def ids_are_unique(self) -> bool:
        """Whether every row has an id of its own."""
        if self._are_unique is None:
            ids = list(chain.from_iterable([chunk.ids for chunk in self.chunks]))
            self._are_unique = _ID_KINDS.issuperset(map(type, ids)) and len(set(ids)) == len(ids)
        return self._are_unique

    def follow(
        self,
        kept: Sequence[Sequence[RowId | None]],
        came: Sequence[RowId | None],
        fresh: Sequence[RowId | None],
    ) -> bool:
        """Find out from the rows that changed whether the ids are unique.

        Args:
            kept: The ids that it has from an edition whose ids are unique, in groups.
            came: Its other ids.
            fresh: Those of them that the other edition does not have there.
        """
        if self._are_unique is None:
            groups: Sequence[Collection[RowId | None]] = kept
            if len(fresh) > _MOST_FRESH:
                groups = [frozenset(chain.from_iterable(kept))]
            clashes = any(row_id in ids for row_id in fresh for ids in groups)
            are_ids = _ID_KINDS.issuperset(map(type, came))
            self._are_unique = are_ids and len(set(came)) == len(came) and not clashes
        return self._are_unique


def chunks_of(
    pieces: Sequence[Piece],
    digests: bytes,
    shape: ListShape,
    known: Mapping[bytes, Chunk],
    before: Sequence[Chunk] = (),
) -> tuple[Chunk, ...]:
    """Return rows in chunks.

    Args:
        pieces: The rows.
        digests: The digests of the rows, one after the other.
        shape: Of the rows' list.
        known: Chunks of other editions, by their digests, to be shared.
        before: The chunks of an edition that may begin or end with the same rows.
    """
    front = _same_in_front(before, digests)
    start = _bytes_of(front)
    back = _same_behind(before[len(front) :], digests, start)
    chunks, end = list(front), len(digests) - _bytes_of(back)
    for part in _parts(digests[start:end]):
        at, start = start // DIGEST_BYTES, start + len(part)
        chunks.append(known.get(part) or Chunk(shape.ids_of(pieces[at : start // DIGEST_BYTES]), part))
    return (*chunks, *back)


def _same_in_front(chunks: Sequence[Chunk], digests: bytes) -> Sequence[Chunk]:
    at = count = 0
    for chunk in chunks:
        end = at + len(chunk.digests)
        if not digests.startswith(chunk.digests, at) or not _is_end(digests, end):
            break
        at, count = end, count + 1
    return chunks[:count]


def _same_behind(chunks: Sequence[Chunk], digests: bytes, start: int) -> Sequence[Chunk]:
    at, count = len(digests), 0
    for chunk in reversed(chunks):
        begin = at - len(chunk.digests)
        if begin < start or not digests.startswith(chunk.digests, begin):
            break
        at, count = begin, count + 1
    # What comes before may not end where chunks do.
    while at > start and not _is_end(digests, at):
        at, count = at + len(chunks[-count].digests), count - 1
    return chunks[len(chunks) - count :]


def _is_end(digests: bytes, at: int) -> bool:
    return at == len(digests) or bool(_ENDS[digests[at - DIGEST_BYTES]])


def _bytes_of(chunks: Sequence[Chunk]) -> int:
    return sum([len(chunk.digests) for chunk in chunks])


def _parts(digests: bytes) -> Iterator[bytes]:
    """Split rows into those of each chunk."""
    marks = digests[::DIGEST_BYTES].translate(_ENDS)
    start = 0
    while start < len(marks):
        end = marks.find(1, start) + 1 or len(marks)
        yield digests[start * DIGEST_BYTES : end * DIGEST_BYTES]
        start = end
