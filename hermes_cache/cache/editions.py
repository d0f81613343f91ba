"""The editions that were handed out: kept, so that a client that comes back with one gets only what changed.

An edition that is kept waits in a queue first. So a reader, and a signal handler that interrupts one, never waits
for a lock: whoever gets the lock takes in what waits. Source: rules D1, L6.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from dataclasses import fields, is_dataclass
from sys import getsizeof
from typing import Final, NamedTuple

from hermes_cache.payload.editions import Chunk, Edition
from hermes_cache.payload.patches import patch_between
from hermes_cache.payload.rows import ListShape
from hermes_cache.rendering.bodies import Body
from hermes_cache.rendering.views import View
from hermes_cache.threads.aside import aside
from hermes_cache.threads.interrupts import on_main_thread

MOST_OF_A_VIEW: Final = 64
"""Editions of one view (D1)."""

_BYTES_OF_AN_EDITION: Final = 600
"""What an edition takes beside what editions share: itself, its name, and its entries in two tables."""

_MOST_WAITING: Final = 16
"""What the main thread lets gather before it has another thread take it in."""

_MOST_PATCHES: Final = 64
"""Views whose last patch is remembered."""


class _LastPatch(NamedTuple):
    """The last patch of a view; both editions by name, so that it keeps neither of them in memory."""

    older: tuple[str, Hashable]
    newer: tuple[str, Hashable]
    body: Body | None


class Editions:
    """The editions of all views of a cache.

    Args:
        shape: How the lists of the views look.
        max_bytes: How much they may take together; 0 to keep none.
    """

    def __init__(self, shape: ListShape, max_bytes: int) -> None:
        self._shape = shape
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Hashable, Edition]] = deque()
        self._views: dict[Hashable, OrderedDict[str, Edition]] = {}
        self._key_bytes: dict[Hashable, int] = {}
        self._ages: OrderedDict[tuple[Hashable, str], None] = OrderedDict()
        self._chunks: dict[bytes, Chunk] = {}
        self._envelopes: dict[bytes, bytes] = {}
        self._patches: dict[Hashable, _LastPatch] = {}
        self._holders: dict[bytes, int] = {}
        self._edition_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What the editions and the patches that are remembered take."""
        return self._edition_bytes + sum(
            [last.body.size_bytes for last in list(self._patches.values()) if last.body]
        )

    def hand_out(self, view: View, settings: Hashable, before: Edition | None = None) -> Edition | None:
        """Keep the edition of a view whose tag a client gets; None if none is kept.

        Args:
            view: The view.
            settings: What the settings were when it was made.
            before: The edition that the client has.
        """
        if not self._max_bytes:
            return None
        edition = self.find(view.key, view.etag)
        if edition is not None and edition.settings == settings:
            self._make_youngest(view.key, edition)
            return edition
        edition = view.edition(self._shape, self._chunks, settings, before)
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
        newer = self.hand_out(view, settings, older)
        if newer is not None and since == newer.name:
            older = newer
        if older is None or newer is None:
            return None
        names = (older.name, older.settings), (newer.name, newer.settings)
        last = self._patches.get(view.key)
        if last is None or last[:2] != names:
            body = patch_between(older, newer, view.pieces, self._shape.row_id or "")
            is_worth_it = body is not None and (older is newer or len(body) < view.body_bytes)
            # Those who follow a view all come with the same edition.
            last = _LastPatch(*names, Body(body, newer.name) if body is not None and is_worth_it else None)
            self._remember(view.key, last)
            self._make_youngest(view.key, newer)
        return last.body

    def find(self, key: Hashable, name: str) -> Edition | None:
        """Return an edition of a key's view that was handed out; None if it is not kept."""
        for held, edition in self._waiting.copy():
            if edition.name == name and held == key:
                return edition
        view = self._views.get(key)
        return view.get(name) if view else None

    def _remember(self, key: Hashable, last: _LastPatch) -> None:
        self._patches.pop(key, None)
        if len(self._patches) >= _MOST_PATCHES:
            # Through a list, which is made at once: other threads change the dict meanwhile.
            self._patches.pop(list(self._patches)[0], None)  # noqa: RUF015
        self._patches[key] = last

    def _make_youngest(self, key: Hashable, edition: Edition) -> None:
        # That can wait: the main thread asks no other one.
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append((key, edition))
        if not on_main_thread():
            self._take_in()

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
        if key not in self._views:
            self._key_bytes[key] = _key_bytes(key)
            self._views[key] = OrderedDict()
        view = self._views[key]
        before = view.get(edition.name)
        if before is not edition:
            self._hold(key, edition)
            view[edition.name] = edition
            if before is not None:
                self._let_go(key, before)
        view.move_to_end(edition.name)
        self._ages[key, edition.name] = None
        self._ages.move_to_end((key, edition.name))
        if len(view) > MOST_OF_A_VIEW:
            self._forget(key, next(iter(view)))
        while self._ages and self.held_bytes > self._max_bytes:
            self._forget(*next(iter(self._ages)))
        if not self._ages:
            self._patches.clear()

    def _forget(self, key: Hashable, name: str) -> None:
        del self._ages[key, name]
        view = self._views[key]
        self._let_go(key, view.pop(name))
        if not view:
            del self._views[key], self._key_bytes[key]
        last = self._patches.get(key)
        if last is not None and name in {last.older[0], last.newer[0]}:
            self._patches.pop(key, None)

    def _hold(self, key: Hashable, edition: Edition) -> None:
        edition.envelope = self._envelopes.setdefault(edition.envelope, edition.envelope)
        self._chunks.update([(chunk.digests, chunk) for chunk in edition.chunks])
        self._edition_bytes += self._own_bytes(key, edition)
        for part, size_bytes in _parts(edition):
            holders = self._holders.get(part, 0)
            self._holders[part] = holders + 1
            self._edition_bytes += 0 if holders else size_bytes

    def _let_go(self, key: Hashable, edition: Edition) -> None:
        self._edition_bytes -= self._own_bytes(key, edition)
        for part, size_bytes in _parts(edition):
            self._holders[part] -= 1
            if not self._holders[part]:
                del self._holders[part]
                self._chunks.pop(part, None)
                self._envelopes.pop(part, None)
                self._edition_bytes -= size_bytes

    def _own_bytes(self, key: Hashable, edition: Edition) -> int:
        return getsizeof(edition.chunks) + self._key_bytes[key] + _BYTES_OF_AN_EDITION


def _parts(edition: Edition) -> Iterable[tuple[bytes, int]]:
    """Return what editions share, and its size."""
    yield edition.envelope, getsizeof(edition.envelope)
    yield from [(chunk.digests, chunk.size_bytes) for chunk in edition.chunks]


def _key_bytes(part: object) -> int:
    """Return what a key takes with all that it has: texts in it come from outside, and may be long."""
    parts: Iterable[object] = part if isinstance(part, tuple) else ()
    if is_dataclass(part) and not isinstance(part, type):
        parts = [getattr(part, each.name) for each in fields(part)]
    return getsizeof(part) + sum(map(_key_bytes, parts))
