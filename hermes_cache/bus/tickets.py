"""The ticket: what a publisher holds of its own event, to read its own write in any process.

Source: rule J8.
"""

from typing import Self

from hermes_cache.core.events import EventId


class Ticket(str):
    """An event's id as text, which can be handed on in a header or a cookie.

    Attributes:
        committed: Whether the journal had the event when `send` returned; None if that was not known, or there
            is no journal. `cache.committed(ticket)` looks again.
    """

    __slots__ = ("committed",)

    committed: bool | None

    def __new__(cls, text: str, *, committed: bool | None = None) -> Self:
        """Make a ticket of text.

        Raises:
            ValueError: `text` is no event id.
        """
        EventId.parse(text)
        ticket = super().__new__(cls, text)
        ticket.committed = committed
        return ticket

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, bool | None]]:
        return (str(self),), {"committed": self.committed}

    @classmethod
    def of(cls, event_id: EventId, *, committed: bool | None = None) -> Self:
        """Make the ticket of an event."""
        return cls(str(event_id), committed=committed)

    @property
    def event_id(self) -> EventId:
        """The event's id."""
        return EventId.parse(self)
