"""A cache's part in the journal of its bus, or in none.

It makes reads as fresh as the journal lets them be: on one host by a look at the journal before the read, across
hosts by tickets; and it refuses those that insist where nothing can be known. Source: rules J1, J3, J5, J8.
"""

from collections.abc import Callable, Hashable, Sized
from functools import partial
from math import inf
from typing import Final

from hermes_cache.bus.feed import Feed
from hermes_cache.core.events import AppliedEvent, EventId
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Request
from hermes_cache.errors import CacheStoppedError, JournalUnavailableError, LookupTimeoutError, shown
from hermes_cache.journal.bus import Bus
from hermes_cache.journal.link import JournalLink
from hermes_cache.journal.member import JournalStatus
from hermes_cache.ports import Clock, Journal, Position
from hermes_cache.threads.calls import Call
from hermes_cache.threads.loops import Away, over_on_loop

_GRACE_S: Final = 0.1
"""A check that ends in time says more than that the time is over."""


class Membership:
    """What a cache asks of the journal, from a start to a stop; without a journal everything is known.

    Args:
        bus: The bus whose journal it is.
        journal: The journal, its URL, or None for that of the bus, if it has one.
        policy: The bounds and spans.
        clock: The time.
        feed: Hears up to which position all events were handed out.
        followers: Those who follow views of the cache.
        new_link: Makes the link between the bus and its journal if there is none.

    Raises:
        JournalSetupError: The URL names no journal.
        TypeError: It is no journal.
        ValueError: The bus has another journal.
    """

    _link: JournalLink | None

    def __init__(  # noqa: PLR0913 - what it serves, each once
        self,
        bus: Bus,
        journal: str | Journal | None,
        policy: Policy,
        clock: Clock,
        feed: Feed,
        *,
        followers: Sized = (),
        new_link: Callable[..., JournalLink] = JournalLink,
    ) -> None:
        self._feed = feed
        self._followers = followers
        self._bus = bus
        self._policy = policy
        self._clock = clock
        self._link = None
        journal = bus.journal if journal is None else journal
        if journal is not None:
            new = partial(new_link, policy=policy, clock=clock)
            self._link = JournalLink.of(bus, journal, user=self, new=new)

    @property
    def has_journal(self) -> bool:
        """Whether the bus has a journal."""
        return self._link is not None

    @property
    def status(self) -> JournalStatus | None:
        """How the process stands to the journal; None without one, and while it is not started."""
        return self._link.status if self._link else None

    def enter(self) -> None:
        """Begin to follow the journal; what others say from now on is heard, if it can be reached."""
        if self._link is not None:
            life = self._link.life()
            life.follow()
            life.join()

    def leave(self, timeout_s: float) -> bool:
        """Follow it no more; say whether all threads ended in time, if no other cache needs them."""
        link = self._link
        if link is None:
            return True
        ended = link.leave(self, timeout_s)
        # Only now: a second call finishes what one that was interrupted did not.
        self._link = None
        return ended

    def is_listening(self) -> bool:
        """Say whether a subscriber or a follower waits for what others say."""
        return self._feed.has_subscribers or len(self._followers) > 0

    def hear_position(self, position: Position) -> None:
        """Know that all events up to a position were handed out on the bus."""
        self._feed.note_position(position)

    def listen(self) -> None:
        """Follow the journal closely: somebody began to wait for what others say."""
        if self._link is not None:
            self._link.life().follow_closely()

    def learn_streams(self, apply: Callable[[AppliedEvent], None]) -> None:
        """Apply what is known of streams (J2)."""
        if self._link is not None:
            self._link.learn_streams(apply)

    def missed_since(self, position: Position) -> list[AppliedEvent] | None:
        """Return the events after a position; None if that is not known.

        Raises:
            JournalError: They are gone, or the journal cannot be read.
        """
        return self._link.missed_since(position) if self._link else None

    def is_current(self) -> bool:
        """Say whether a read that begins now needs no check; a look into memory, no more."""
        return self._link is None or self._link.life().is_current(self._policy.journal_interval)

    def catch_up(self, patience_s: float = inf, *, bounded: bool = False) -> None:
        """Apply what others said before now, as far as that can be known at a read; may wait, a second at most."""
        if self._link is not None:
            self._link.life().catch_up(self._policy.journal_interval, patience_s, bounded=bounded)

    def admit(self, key: Hashable, request: Request) -> None:
        """Let a read in, once what it insists on is known.

        Raises:
            JournalUnavailableError: It insists on what cannot be known now.
            LookupTimeoutError: Its event did not come within its timeout, or `Policy.build_timeout`.
            ValueError: Its ticket names an event that was never published.
        """
        event_id = self._prepare(request)
        if event_id is not None and self._link is not None:
            patience_s = self._patience_s(request)
            if not self._link.life().await_event(event_id, self._policy.journal_lease, patience_s):
                raise self._too_late(key, request, event_id)

    def committed(self, ticket: str) -> bool | None:
        """Say whether a ticket's event is in the journal, waiting at most `Policy.journal_wait` (J8).

        Raises:
            TypeError: The ticket is no text.
            ValueError: It is no ticket.
        """
        known, inquiry = self._inquire(ticket)
        if inquiry is None:
            return known
        inquiry.wait(self._policy.journal_wait)
        return inquiry.found()

    async def acommitted(self, ticket: str) -> bool | None:
        """Do what `committed` does without blocking the event loop."""
        known, inquiry = self._inquire(ticket)
        if inquiry is None:
            return known
        await over_on_loop(inquiry, self._policy.journal_wait)
        return inquiry.found()

    def _inquire(self, ticket: str) -> tuple[bool | None, Call[bool | None] | None]:
        """Return what memory knows of a ticket's event, and an inquiry if that is nothing."""
        event_id = self._event_of(ticket)
        own = event_id.incarnation == self._bus.incarnation
        try:
            life = self._link.life() if self._link is not None else None
        except CacheStoppedError:
            life = None
        if life is None:
            return None, None
        known, wait_s = life.state.committed(event_id, own=own), self._policy.journal_wait
        # Nobody waits for a journal that is known to be away.
        if known is not None or not wait_s or life.status.failure is not None:
            return known, None
        return None, life.inquire_commit(event_id, own=own, timeout_s=wait_s)

    async def aadmit(self, key: Hashable, request: Request, away: Away) -> None:
        """Do what `admit` does without blocking the event loop."""
        if self._link is None or (request.takes_stale and self.is_current()):
            self.admit(key, request)
            return
        try:
            event_id = await away.run(partial(self._prepare, request), self._patience_s(request) + _GRACE_S)
        except TimeoutError:
            raise LookupTimeoutError(key, request.timeout_s, "the journal") from None
        if event_id is not None:
            patience_s = self._patience_s(request)
            if not await self._link.life().aawait_event(event_id, self._policy.journal_lease, patience_s):
                raise self._too_late(key, request, event_id)

    def _prepare(self, request: Request) -> EventId | None:
        """Check what a read asks for, and the journal; return the event that is still to be waited for."""
        event_id = self._foreign_event(request)
        if self._link is None:
            return None
        life, bounded = self._link.life(), request.timeout_s < inf
        if request.freshness.waits and not self.is_current():
            self.catch_up(self._patience_s(request), bounded=bounded)
        awaited = event_id if event_id is not None and not life.has(event_id, self._patience_s(request)) else None
        if request.freshness.insists or awaited is not None:
            life.insist(self._policy.journal_lease, self._patience_s(request), bounded=bounded)
        return awaited

    def _foreign_event(self, request: Request) -> EventId | None:
        """Return the event of a read's ticket if another process said it."""
        event_id = request.at_least
        if event_id is None:
            return None
        self._check_published(event_id)
        # This process's own are applied when `send` returned.
        if event_id.incarnation == self._bus.incarnation:
            return None
        if self._link is None:
            raise JournalUnavailableError(f"{event_id} is another process's event, and there is no journal")
        return event_id

    def _event_of(self, ticket: str) -> EventId:
        if not isinstance(ticket, str):
            raise TypeError(f"the ticket is {shown(ticket)}; give the text of one")
        event_id = EventId.parse(ticket)
        self._check_published(event_id)
        return event_id

    def _check_published(self, event_id: EventId) -> None:
        if event_id.bus != self._bus.name:
            raise ValueError(f"{event_id} is of the bus {event_id.bus!r}; this cache is on {self._bus.name!r}")
        if event_id.incarnation == self._bus.incarnation and event_id.number > self._bus.last_number:
            raise ValueError(f"{event_id} names an event that was never published")

    def _patience_s(self, request: Request) -> float:
        return max(0.0, request.until_s(self._policy.build_timeout) - self._clock.monotonic_s())

    def _too_late(self, key: Hashable, request: Request, event_id: EventId) -> LookupTimeoutError:
        patience_s = min(request.timeout_s, self._policy.build_timeout)
        return LookupTimeoutError(key, patience_s, f"the event {event_id}")
