"""Views: what one rendering of a key says, with the rows in the order and in the form of the body.

The tag is made from the digests of the rows, and the body is joined only if somebody wants all of it.
Source: rules O6, D1.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Generic, TypeVar

import orjson

from hermes_cache.arguments import check_type
from hermes_cache.payload.content import Content
from hermes_cache.payload.editions import Chunk, Edition, chunks_of
from hermes_cache.payload.freezing import freeze
from hermes_cache.payload.frozen import Json
from hermes_cache.payload.rows import DIGEST_BYTES, ListShape, Piece
from hermes_cache.rendering.bodies import Body
from hermes_cache.threads.interrupts import belongs_to_caller

_FORMAT: Final = 1
"""A part of every tag: another way to write the same rows is another body."""

_MAX_BODY_BYTES: Final = 32 * 2**20
"""Bodies are held beside the rows that they are made of: a few for those who poll, not one for every key."""

_ADDRESS: Final = re.compile(r" at 0x[0-9A-Fa-f]+")

M = TypeVar("M")


@dataclass(slots=True, eq=False)
class View:
    """One rendering of a key. Only what is made at its first use changes.

    Attributes:
        key: The key, whose `repr` is a part of the tag.
        content: The content that the rows are from.
        pieces: The rows as they are shown, in order; what is live is laid over them.
        digests: The digests of `pieces`, one after the other.
        grown_bytes: By how much `pieces` are larger than the rows of the content.
    """

    key: Hashable
    content: Content
    pieces: Sequence[Piece]
    digests: bytes
    grown_bytes: int = 0
    _etag: str | None = field(default=None, init=False, repr=False)
    _response: Body | None = field(default=None, init=False, repr=False)
    _names: frozenset[str | None] | None = field(default=None, init=False, repr=False)

    @property
    def etag(self) -> str:
        """The tag of the body: a digest of all that the body says, of the key, and of the format."""
        if self._etag is None:
            content = self.content
            head = orjson.dumps([_FORMAT, _text_of(self.key), content.name, len(content.envelope)])
            digest = sha256(head)
            digest.update(content.envelope)
            digest.update(self.digests)
            self._etag = digest.hexdigest()[: 2 * DIGEST_BYTES]
        return self._etag

    @property
    def response(self) -> Body:
        """The response body; joined at its first use."""
        if self._response is None:
            self._response = Body(self.content.body([piece.encoded for piece in self.pieces]), self.etag)
        return self._response

    def response_with(self, fields: Mapping[str, Json]) -> Body:
        """Return the response body with further fields behind those of the envelope; its tag stays (O7).

        Raises:
            ValueError: The view has a field of that name, or a value is no JSON value.
        """
        check_type("envelope", fields, Mapping)
        if self._names is None:
            self._names = frozenset({self.content.name, *orjson.loads(self.content.envelope)})
        for name in fields:
            if name in self._names:
                raise ValueError(f"envelope has {name!r}, which the view has already; use another name")
        added = orjson.dumps(freeze(fields, ListShape()))
        is_empty = len(self.response.body) == len(b"{}")
        return self.response.ending_in(added[1:] if is_empty else b"," + added[1:])

    @property
    def is_joined(self) -> bool:
        """Whether the response body was joined already."""
        return self._response is not None

    @property
    def held_bytes(self) -> int:
        """What the response body takes in memory; 0 if it was not joined."""
        return self._response.size_bytes if self._response is not None else 0

    @property
    def body_bytes(self) -> int:
        """The size of the body, which need not be joined for that."""
        content, commas = self.content, max(0, len(self.pieces) - 1)
        brackets = len(content.body(())) - len(content.envelope)
        return content.size_bytes + self.grown_bytes + brackets + commas

    def edition(
        self, shape: ListShape, known: Mapping[bytes, Chunk], settings: Hashable, before: Edition | None = None
    ) -> Edition:
        """Return the edition that this view is.

        Args:
            shape: Of the view's list.
            known: Chunks of other editions, by their digests, to be shared.
            settings: What the settings are.
            before: An edition that may have mostly the same rows.
        """
        chunks = chunks_of(self.pieces, self.digests, shape, known, before.chunks if before else ())
        return Edition(self.etag, self.content.name, self.content.envelope, chunks, settings)


class RecentViews(Generic[M]):
    """The last view of each of the keys that were rendered last, and what it was made of.

    It has no lock, for which a signal handler that renders might wait: each step is one operation of a dict, and a
    view that another thread forgets too early is made again.

    Args:
        most: How many keys are remembered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._views: dict[Hashable, tuple[M, View]] = {}

    def get(self, key: Hashable) -> tuple[M, View] | None:
        """Return the last view of a key, and what it was made of."""
        return self._views.get(key)

    def put(self, key: Hashable, made_of: M, view: View) -> None:
        """Remember a view, and forget those of other keys if there are too many."""
        self._views.pop(key, None)
        self._views[key] = made_of, view
        held = self._views.copy()
        held_bytes = sum([view.held_bytes for _, view in held.values()])
        for oldest in list(held)[:-1]:
            if len(held) <= self._most and held_bytes <= _MAX_BODY_BYTES:
                return
            held_bytes -= held.pop(oldest)[1].held_bytes
            self._views.pop(oldest, None)


class PlainViews:
    """Makes views of contents as they are, and remembers the last one of each key.

    Args:
        most: How many keys are remembered.
    """

    def __init__(self, most: int) -> None:
        self._views: RecentViews[Content] = RecentViews(most)

    def of(self, key: Hashable, content: Content) -> View:
        """Return the view of a key's content."""
        if (made := self.made(key, content)) is not None:
            return made
        pieces = content.pieces or ()
        view = View(key, content, pieces, b"".join([piece.digest for piece in pieces]))
        self._views.put(key, content, view)
        return view

    def made(self, key: Hashable, content: Content) -> View | None:
        """Return the view of a key's content if it is remembered."""
        last = self._views.get(key)
        return last[1] if last is not None and last[0] is content else None


def _text_of(key: Hashable) -> str:
    try:
        return _ADDRESS.sub("", repr(key)).encode("utf-8", "replace").decode()
    except Exception as error:
        if belongs_to_caller(error):
            raise
        # The key's own code failed; a tag without its text is as good within this process.
        return type(key).__qualname__
