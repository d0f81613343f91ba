"""The renderer: lays what is live over cached rows, and makes response bodies.

Source: rules O1, O6.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hermes_cache.bodies import Body
from hermes_cache.callables import refuse_coroutine, settle
from hermes_cache.interrupts import belongs_to_caller
from hermes_cache.logs import QuietLogger
from hermes_cache.payload.content import Content
from hermes_cache.ports import LiveSessions
from hermes_cache.sessions.overlay import LiveSession, overlay
from hermes_cache.sessions.rendering import Order, order_of, render

logger = QuietLogger(__name__)


_MAX_BODY_BYTES: Final = 32 * 2**20
"""Bodies are held beside the rows that they are made of: a few for those who poll, not one for every key."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rendering:
    """The last body of a key, and what it was made of."""

    order: Order
    active: frozenset[str]
    live: Mapping[str, LiveSession]
    body: Body

    def is_of(self, content: Content, active: frozenset[str], live: Mapping[str, LiveSession]) -> bool:
        """Say whether the same goes in again."""
        return self.order.content is content and self.active == active and self.live == live


class Renderer:
    """Renders, and remembers the order and the last body of each key.

    Args:
        live_sessions: Gives live state by session id; asked once a rendering. A failure counts as none.
        most: How many keys are remembered.
    """

    def __init__(self, live_sessions: LiveSessions | None, most: int) -> None:
        refuse_coroutine(live_sessions, "live_sessions")
        self._live_sessions = live_sessions
        self._most = most
        self.is_failing = False
        self._renderings: dict[Hashable, _Rendering] = {}

    def overlay(self, rows: Sequence[object], active: frozenset[str]) -> list[object]:
        """Lay what is live over rows (O1 to O5)."""
        return overlay(rows, active, self._live())

    def render(self, key: Hashable, content: Content, active: frozenset[str]) -> Body:
        """Return the body of a key's content (O6)."""
        live = self._live()
        if (made := self._made(key, content, active, live)) is not None:
            return made
        last = self._renderings.get(key)
        order = last.order if last is not None and last.order.content is content else order_of(content)
        body = render(order, active, live)
        self._remember(key, _Rendering(order, active, live, body))
        return body

    def made(self, key: Hashable, content: Content, active: frozenset[str]) -> Body | None:
        """Return the body of a key's content if it is remembered, from memory alone.

        None also if a callable must be asked which sessions are live: that may take its time.
        """
        return None if self._live_sessions is not None else self._made(key, content, active, {})

    def _made(
        self, key: Hashable, content: Content, active: frozenset[str], live: Mapping[str, LiveSession]
    ) -> Body | None:
        last = self._renderings.get(key)
        return last.body if last is not None and last.is_of(content, active, live) else None

    def _remember(self, key: Hashable, rendering: _Rendering) -> None:
        # No lock, which a signal handler that renders might wait for: each step is one operation of a dict, and a
        # rendering that another thread forgets too early is made again.
        self._renderings.pop(key, None)
        self._renderings[key] = rendering
        held = self._renderings.copy()
        held_bytes = sum(each.body.size_bytes for each in held.values())
        for oldest in list(held)[:-1]:
            if len(held) <= self._most and held_bytes <= _MAX_BODY_BYTES:
                return
            held_bytes -= held.pop(oldest).body.size_bytes
            self._renderings.pop(oldest, None)

    def _live(self) -> dict[str, LiveSession]:
        if self._live_sessions is None:
            return {}
        try:
            live = dict(settle(self._live_sessions(), "live_sessions"))
            for session in live.values():
                if not isinstance(session, LiveSession):
                    raise TypeError(f"live_sessions returned {session!r}; each must be a LiveSession")  # noqa: TRY301
        except BaseException as error:
            if belongs_to_caller(error):
                raise
            if not self.is_failing:
                logger.warning(
                    "hermes_cache.callable_failed", exc_info=True, extra={"hermes_cache.callable": "live_sessions"}
                )
            self.is_failing = True
            return {}
        self.is_failing = False
        return live
