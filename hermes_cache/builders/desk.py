"""The desk: what a worker process keeps of a builder, and the calls that it answers.

It runs in the worker alone. Source: rule B8.
"""

import gc
import pickle
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from functools import lru_cache, partial
from pkgutil import resolve_name
from typing import Final

from loky import process_executor

from hermes_cache.builders.executors import build_here, within
from hermes_cache.builders.parcels import Changes, Parcel, SentRow, Share, differing_indexes
from hermes_cache.log_output import LogOutput, LogSettings, active_settings
from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import ListShape, Piece, digest_of
from hermes_cache.ports import BuildContext, Builder, JoiningBuilder, NoticingBuilder
from hermes_cache.threads.coroutines import Coroutines

_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000
_MOST_DESKS: Final = 8
"""Builders kept by one worker; requests that bring their own come and go."""

_MOST_LISTS: Final = 64
"""Lists that are remembered as sent: as many as a cache holds entries by default."""

_SENT_FOR_EACH: Final = 4
"""Rows remembered as sent, by the rows of the largest payload; past it all count as unsent."""


class Desk:
    """One builder, with what it runs inside of, and what was sent of its rows."""

    def __init__(self, builder: Builder, shape: ListShape, context: BuildContext | None = None) -> None:
        self._builder = builder
        self._shape = shape
        self._context = context
        self._coroutines = Coroutines()
        self._sent: set[bytes] = set()
        self._last: tuple[Piece, ...] = ()
        self._lists: OrderedDict[Hashable, tuple[bytes, list[bytes]]] = OrderedDict()
        self._most = 0
        self._adopted: dict[Hashable, Hashable] = {}

    def build(
        self, key: Hashable, shares: Mapping[Hashable, Share], held: bytes | None = None
    ) -> Parcel | Changes:
        """Build a key.

        Args:
            key: The key to build.
            shares: Of scopes that live in other workers and that this one joins.
            held: The digest of the list that the caller holds of the key; None if it holds none.
        """
        content = within(self._context, key, partial(self._content, key, shares))
        self._last = content.pieces or ()
        if content.pieces is None:
            return Parcel(content.envelope, None, {}, content.name, b"")
        digests = [piece.digest for piece in content.pieces]
        joined = b"".join(digests)
        list_id = digest_of(joined)
        known_id, known = self._lists.pop(key, (None, []))
        self._remember(key, list_id, digests)
        differing = differing_indexes(known, digests) if held is not None and held == known_id else None
        if differing is not None:
            return self._changes(content, differing, list_id)
        return Parcel(content.envelope, joined, self._unsent(), content.name, list_id)

    def rows(self, digests: list[bytes]) -> dict[bytes, SentRow]:
        """Return rows of the last payload once more."""
        wanted = frozenset(digests)
        return {piece.digest: (piece.encoded, piece.facts) for piece in self._last if piece.digest in wanted}

    def parts(self, key: Hashable) -> dict[Hashable, Hashable]:
        """Name the scopes that a key's scope joins, each with what was adopted of it."""
        parts = self._builder.parts(key) if isinstance(self._builder, JoiningBuilder) else ()
        return {scope: self._adopted.get(scope) for scope in parts}

    def share(self, key: Hashable, scope: Hashable, seen: Hashable) -> Share:
        """Refresh a scope for a worker that joins it to build a key; see `JoiningBuilder`."""
        if not isinstance(self._builder, JoiningBuilder):
            raise TypeError(f"{self._builder!r} shares no scopes")
        return within(self._context, key, partial(self._builder.share, scope, seen))

    def _content(self, key: Hashable, shares: Mapping[Hashable, Share]) -> Content:
        if isinstance(self._builder, JoiningBuilder):
            for scope, (token, share) in shares.items():
                # Noted when it is done: one that was lost on the way must come again.
                self._adopted.pop(scope, None)
                self._builder.adopt(scope, share)
                self._adopted[scope] = token
        return build_here(self._builder, key, self._shape, self._coroutines)

    def notice(self, news: object) -> None:
        """Take what was noticed in the process that sends the keys; see `NoticingBuilder`."""
        if isinstance(self._builder, NoticingBuilder):
            self._builder.notice(news)

    def _remember(self, key: Hashable, list_id: bytes, digests: list[bytes]) -> None:
        self._lists[key] = list_id, digests
        if len(self._lists) > _MOST_LISTS:
            self._lists.popitem(last=False)

    def _changes(self, content: Content, differing: tuple[list[int], list[int]], list_id: bytes) -> Changes:
        gone, come = differing
        rows = [(index, self._last[index]) for index in come]
        # Sent whole, even if they were sent before: the process that holds this list may have let go of them.
        sent = [(index, piece.digest, (piece.encoded, piece.facts)) for index, piece in rows]
        return Changes(content.envelope, gone, sent, list_id)

    def _unsent(self) -> dict[bytes, SentRow]:
        self._most = max(self._most, len(self._last))
        if len(self._sent) > _SENT_FOR_EACH * self._most:
            self._sent = set()
        rows = {p.digest: (p.encoded, p.facts) for p in self._last if p.digest not in self._sent}
        self._sent.update(rows)
        return rows


def call(spec: bytes, method: str, *args: object) -> object:
    """Have a desk answer a call, in a worker.

    Args:
        spec: The builder, the shape of its lists and its context, pickled; a str names the builder as
            "package.module:function".
        method: Of `Desk`.
        args: Its arguments.
    """
    try:
        return getattr(_desk(spec), method)(*args)
    except BaseException as failure:  # noqa: BLE001 - a builder may raise anything, and it must cross over
        raise _portable(failure) from None


def arrive(log: LogSettings | None) -> None:
    """Get a worker ready: what a build needs is imported by now.

    Args:
        log: How the parent logs; None if its log goes elsewhere than to standard error.
    """
    if log is not None and active_settings() is None:
        LogOutput(log).begin()
    # Else a worker that grew by 300 MB is taken for a leak and replaced; a large home's projection is no leak.
    process_executor._USE_PSUTIL = False  # noqa: SLF001 - there is no other way to say so
    # What a build makes lives on. A search for garbage every 700 objects finds none and doubles its time.
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)


@lru_cache(_MOST_DESKS)
def _desk(spec: bytes) -> Desk:
    builder, shape, context = pickle.loads(spec)  # noqa: S301 - made by the parent
    return Desk(resolve_name(builder) if isinstance(builder, str) else builder, shape, context)


def _portable(failure: BaseException) -> Exception:
    """Return a failure that can be pickled, and is no SystemExit: that would end the worker."""
    try:
        copy = pickle.loads(pickle.dumps(failure))  # noqa: S301 - made here
    except Exception:  # noqa: BLE001 - foreign reducers may raise anything
        copy = None
    if isinstance(copy, Exception):
        return copy
    return RuntimeError(f"{type(failure).__name__}: {failure}")
