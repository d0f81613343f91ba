"""The renderer: lays what is live over cached rows, and makes views.

Source: rules O1, O6.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from hermes_cache.logs import QuietLogger
from hermes_cache.payload.content import Content
from hermes_cache.ports import LiveSessions
from hermes_cache.rendering.views import RecentViews, View
from hermes_cache.sessions.overlay import Live, LiveSession, overlay
from hermes_cache.sessions.rendering import Order, order_after, order_of, render
from hermes_cache.threads.callables import check_callable, settle
from hermes_cache.threads.interrupts import belongs_to_caller

logger = QuietLogger(__name__)


class _Made(NamedTuple):
    """What a view was made of."""

    order: Order
    live: Live


class Renderer:
    """Renders, and remembers the order and the last view of each key.

    Args:
        live_sessions: Returns live state by session id; called once a rendering. A failure counts as none.
        most: How many keys are remembered.
    """

    def __init__(self, live_sessions: LiveSessions | None, most: int) -> None:
        check_callable(live_sessions, "live_sessions")
        self._live_sessions = live_sessions
        self.is_failing = False
        self._views: RecentViews[_Made] = RecentViews(most)

    @property
    def asks(self) -> bool:
        """Whether a callable is asked which sessions are live."""
        return self._live_sessions is not None

    def overlay(self, rows: Sequence[object], live: Live) -> list[object]:
        """Lay what is live over rows (O1 to O5); the sessions in `live` are those of the callable."""
        return overlay(rows, live._replace(sessions=self._live()))

    def render(self, key: Hashable, content: Content, live: Live) -> View:
        """Return the view of a key's content (O6); the sessions in `live` are those of the callable."""
        live = live._replace(sessions=self._live())
        if (made := self._made(key, content, live)) is not None:
            return made
        last = self._views.get(key)
        before = last[0].order if last is not None else None
        if before is None or before.content is not content:
            before = order_of(content) if before is None else order_after(before, content)
        made_of = _Made(before, live)
        view = render(key, *made_of)
        self._views.put(key, made_of, view)
        return view

    def made(self, key: Hashable, content: Content, live: Live) -> View | None:
        """Return the view of a key's content if it is remembered, from memory alone.

        None also if a callable must be asked which sessions are live: that may take its time.
        """
        return None if self._live_sessions is not None else self._made(key, content, live)

    def _made(self, key: Hashable, content: Content, live: Live) -> View | None:
        last = self._views.get(key)
        if last is None or last[0].order.content is not content or last[0].live != live:
            return None
        return last[1]

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
