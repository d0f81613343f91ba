"""The link between a cache and its bus: it applies events to the cache, and sends what the cache announces.

Source: rules E5 to E9.
"""

from collections.abc import Callable
from typing import assert_never

from hermes_cache.bus.blinker_bus import BlinkerBus
from hermes_cache.bus.feed import Feed
from hermes_cache.core.effects import Tell
from hermes_cache.core.events import AppliedEvent, SessionListChanged, SourceChanged, profile_of
from hermes_cache.core.notices import (
    BuildDiscarded,
    BuildFailed,
    BuildFinished,
    BuildStarted,
    EntryEvicted,
    EntryInvalidated,
    EntryStored,
    Notice,
    RowsMoved,
)
from hermes_cache.errors import key_text
from hermes_cache.logs import QuietLogger
from hermes_cache.ports import Clock

logger = QuietLogger(__name__)


class BusLink:
    """Ties a cache, and the feed of its subscriptions, to a bus.

    Args:
        bus: The bus that the cache is linked to.
        feed: Hears what is published, and that sources changed.
        clock: The time, for what is sent.
        apply: Applies an event to the cache.
        canonical: Returns an event's profile as the cache knows it; None for all.
        sender: The sender that is named to receivers and monitors.
    """

    def __init__(
        self,
        bus: BlinkerBus,
        feed: Feed,
        clock: Clock,
        *,
        apply: Callable[[AppliedEvent], None],
        canonical: Callable[[str | None], str | None],
        sender: object,
    ) -> None:
        self._bus = bus
        self._feed = feed
        self._clock = clock
        self._apply = apply
        self._canonical = canonical
        self._sender = sender
        self._left_at: int | None = None

    def connect(self) -> None:
        """Have every event applied, and handed to subscriptions, from now on."""
        self._bus.attach(self._apply, self._hear)
        if self._left_at is None:
            return
        # Subscribers that resume must not miss what went by: published here, or in processes nobody listened to.
        if self._feed.journaled or self._bus.last_number != self._left_at:
            event = SessionListChanged(id=self._bus.local_id(), at_s=self._clock.wall_s(), reason="restarted")
            self._feed.tell(event, None)

    def disconnect(self) -> None:
        """Have no further event applied or handed on."""
        self._left_at = self._bus.last_number
        self._bus.detach(self._apply)

    def announce(self, announced: object) -> None:
        """Tell monitors and subscribers what a `Tell` holds; log a failure."""
        match announced:
            case Exception():
                logger.error("hermes_cache.effect_failed", exc_info=announced)
            case Tell():
                self._tell(announced.notice)

    def _tell(self, notice: Notice | RowsMoved) -> None:
        match notice:
            case RowsMoved(profile=profile):
                event = SourceChanged(id=self._bus.local_id(), at_s=self._clock.wall_s(), profile=profile)
                self._feed.tell(event, profile)
                self._bus.tell(event, self._sender)
            case BuildFailed(key=key, error=error):
                extra = {"hermes_cache.key": key_text(key), "hermes_cache.error": error}
                logger.warning("hermes_cache.build_failed", extra=extra)
                self._bus.tell(notice, self._sender)
            case (
                BuildStarted()
                | BuildFinished()
                | BuildDiscarded()
                | EntryStored()
                | EntryInvalidated()
                | EntryEvicted()
            ):
                self._bus.tell(notice, self._sender)
            case _:
                assert_never(notice)

    def _hear(self, event: AppliedEvent) -> None:
        self._feed.tell(event, self._canonical(profile_of(event)))
