"""The editions that were handed out: kept, so that a client that comes back with one gets only what changed.

An edition that is kept waits in a queue first. So a reader, and a signal handler that interrupts one, never waits
for a lock: whoever gets the lock takes in what waits. Source: rules D1, L6.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from sys import getsizeof
from typing import Final

from hermes_cache.aside import aside
from hermes_cache.bodies import Body
from hermes_cache.interrupts import on_main_thread
from hermes_cache.payload.editions import Chunk, Edition
from hermes_cache.payload.patches import patch_between
from hermes_cache.payload.rows import ListShape
from hermes_cache.views import View

MOST_OF_A_VIEW: Final = 64
"""Editions of one view (D1)."""

_BYTES_OF_AN_EDITION: Final = 600
"""What an edition takes beside what editions share: itself, its name, and its entries in two tables."""

_MOST_WAITING: Final = 16
"""What the main thread lets gather before it has another thread take it in."""


class Editions:
    """The editions of all views of a cache.

    Args:
        shape: Of the views' list.
        max_bytes: How much they may take together; 0 to keep none.
    """

    def __init__(self, shape: ListShape, max_bytes: int) -> None:
        self._shape = shape
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Hashable, Edition]] = deque()
        self._views: dict[Hashable, OrderedDict[str, Edition]] = {}
        self._ages: OrderedDict[tuple[Hashable, str], None] = OrderedDict()
        self._chunks: dict[bytes, Chunk] = {}
        self._envelopes: dict[bytes, bytes] = {}
        self._patches: dict[Hashable, tuple[Edition, Edition, Body | None]] = {}
        self._holders: dict[bytes, int] = {}
        self.held_bytes = 0

    def hand_out(self, view: View, settings: Hashable) -> Edition | None:
        """Keep the edition of a view whose tag a client gets; None if none is kept.

        Args:
            view: The view.
            settings: What the settings were when it was made.
        """
        if not self._max_bytes:
            return None
        edition = self.find(view.key, view.etag)
        if edition is not None and edition.settings == settings:
            # What is handed out again only becomes the youngest. That can wait: the main thread asks no other one.
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append((view.key, edition))
            if not on_main_thread():
                self._take_in()
            return edition
        edition = view.edition(self._shape, self._chunks, settings)
        self._waiting.append((view.key, edition))
        aside.do(self._take_in)
        return edition

    def keeps(self, view: View, settings: Hashable) -> bool:
        """Say whether the edition of a view is kept already, or none is; in that case nothing need be done."""
        edition = self.find(view.key, view.etag)
        return not self._max_bytes or (edition is not None and edition.settings == settings)

    def patch(self, view: View, since: str | None, settings: Hashable) -> Body | None:
        """Hand out a view as the patch from an edition; None if the whole view must be sent."""
        older = self.find(view.key, since) if since is not None else None
        newer = self.hand_out(view, settings)
        if newer is not None and since == newer.name:
            older = newer
        if older is None or newer is None:
            return None
        last = self._patches.get(view.key)
        if last is None or last[0] is not older or last[1] is not newer:
            body = patch_between(older, newer, view.pieces, self._shape.row_id or "")
            is_worth_it = body is not None and (older is newer or len(body) < view.body_bytes)
            # Those who follow a view all come with the same edition.
            last = older, newer, Body(body, newer.name) if body is not None and is_worth_it else None
            self._patches[view.key] = last
        return last[2]

    def find(self, key: Hashable, name: str) -> Edition | None:
        """Return an edition of a key's view that was handed out; None if it is not kept."""
        for held, edition in self._waiting.copy():
            if edition.name == name and held == key:
                return edition
        view = self._views.get(key)
        return view.get(name) if view else None

    def _take_in(self) -> None:
        while self._waiting and self._lock.acquire(blocking=False):
            try:
                while self._waiting:
                    # It leaves the queue last: `find` sees it all the time.
                    self._take(*self._waiting[0])
                    self._waiting.popleft()
            finally:
                self._lock.release()

    def _take(self, key: Hashable, edition: Edition) -> None:
        view = self._views.setdefault(key, OrderedDict())
        before = view.get(edition.name)
        if before is not edition:
            self._hold(edition)
            view[edition.name] = edition
            if before is not None:
                self._let_go(before)
        view.move_to_end(edition.name)
        self._ages[key, edition.name] = None
        self._ages.move_to_end((key, edition.name))
        if len(view) > MOST_OF_A_VIEW:
            self._forget(key, next(iter(view)))
        while self.held_bytes > self._max_bytes:
            self._forget(*next(iter(self._ages)))

    def _forget(self, key: Hashable, name: str) -> None:
        del self._ages[key, name]
        view = self._views[key]
        self._let_go(view.pop(name))
        if not view:
            del self._views[key]
        if key in self._patches and self._patches[key][0].name == name:
            del self._patches[key]

    def _hold(self, edition: Edition) -> None:
        edition.envelope = self._envelopes.setdefault(edition.envelope, edition.envelope)
        self._chunks.update([(chunk.digests, chunk) for chunk in edition.chunks])
        self.held_bytes += _own_bytes(edition)
        for part, size_bytes in _parts(edition):
            holders = self._holders.get(part, 0)
            self._holders[part] = holders + 1
            self.held_bytes += 0 if holders else size_bytes

    def _let_go(self, edition: Edition) -> None:
        self.held_bytes -= _own_bytes(edition)
        for part, size_bytes in _parts(edition):
            self._holders[part] -= 1
            if not self._holders[part]:
                del self._holders[part]
                self._chunks.pop(part, None)
                self._envelopes.pop(part, None)
                self.held_bytes -= size_bytes


def _parts(edition: Edition) -> Iterable[tuple[bytes, int]]:
    """Return what editions share, and its size."""
    yield edition.envelope, getsizeof(edition.envelope)
    yield from [(chunk.digests, chunk.size_bytes) for chunk in edition.chunks]


def _own_bytes(edition: Edition) -> int:
    return getsizeof(edition.chunks) + _BYTES_OF_AN_EDITION
