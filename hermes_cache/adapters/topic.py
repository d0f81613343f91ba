"""The topics of the bus: blinker signals whose receivers cannot harm one another.

Receivers run on the thread that sends, and no lock is held meanwhile: a receiver may publish, connect and
disconnect. Source: rules E2, E4.
"""

from collections.abc import Callable
from inspect import iscoroutinefunction
from threading import RLock, local
from typing import Any, Final, TypeAlias, TypeVar

from blinker import ANY, Signal

from hermes_cache.core.events import Event
from hermes_cache.core.notices import Notice
from hermes_cache.core.tickets import Ticket
from hermes_cache.logs import QuietLogger

_logger: Final = QuietLogger(__name__)

Receiver: TypeAlias = Callable[..., Any]
"""Called as `receiver(sender, event=...)`; Any, since a receiver takes the event of its topic alone."""

_R = TypeVar("_R", bound=Receiver)


class Topic:
    """Tells the receivers that are connected to it; what they raise is logged and goes no further."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._signal = Signal()
        self.renew_locks()
        # blinker makes its set for any sender at the first use, maybe while another thread walks over its sets.
        self._signal.connect(_nobody, weak=False)
        self._signal.disconnect(_nobody)

    @property
    def has_receivers(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._signal.receivers)

    def renew_locks(self) -> None:
        """Take fresh locks: in a forked child one may be held by a thread that does not exist."""
        # blinker's bookkeeping is not safe for two threads. Re-entrant, for finalizers and signal handlers.
        self._connecting = RLock()

    def connect(self, receiver: _R, sender: object = ANY, *, weak: bool = False) -> _R:
        """Have a receiver called for a sender, or for all; works as a decorator too.

        Args:
            weak: Let the receiver go once nobody else holds it.

        Raises:
            TypeError: The receiver cannot be called, or is a coroutine function.
        """
        if not callable(receiver) or iscoroutinefunction(receiver):
            raise TypeError(f"{receiver!r} cannot receive {self._name}; give a plain callable(sender, event)")
        with self._connecting:
            return self._signal.connect(receiver, sender, weak)

    def disconnect(self, receiver: Receiver, sender: object = ANY) -> None:
        """Call a receiver no more for a sender, or for any; one that is not connected is no error."""
        with self._connecting:
            self._signal.disconnect(receiver, sender)

    def tell(self, event: Event | Notice, sender: object = None) -> list[tuple[Receiver, object]]:
        """Call every receiver of a sender.

        Returns:
            Each receiver that did not raise, with what it returned.
        """
        answers: list[tuple[Receiver, object]] = []
        for receiver in self._signal.receivers_for(sender):
            try:
                answers.append((receiver, receiver(sender, event=event)))
            except Exception:
                _logger.warning("hermes_cache.receiver_failed", exc_info=True, extra=self._names(receiver))
        return answers

    def _names(self, receiver: Receiver) -> dict[str, str]:
        name = getattr(receiver, "__qualname__", type(receiver).__qualname__)
        return {"hermes_cache.receiver": name, "hermes_cache.topic": self._name}


def _nobody(_sender: object, **_fields: object) -> None:
    """Receive nothing."""


class Outbox(local):
    """What one thread has published: how deep it is in `send`, and its last ticket on each topic."""

    def __init__(self) -> None:
        self.depth = 0
        self.tickets: dict[str, Ticket | None] = {}


Publish: TypeAlias = Callable[
    ["PublishedTopic", object, dict[str, object]], tuple[list[tuple[Receiver, object]], Ticket]
]
"""Makes an event of a sender and the arguments given, and takes it through the bus."""


class PublishedTopic(Topic):
    """A topic on which publishers say facts, with plain arguments."""

    def __init__(self, name: str, publish: Publish, outbox: Outbox) -> None:
        super().__init__(name)
        self._publish = publish
        self._outbox = outbox

    def send(self, sender: object = None, /, **fields: object) -> list[tuple[Receiver, object]]:
        """Publish a fact; when it returns, every cache on the bus has applied it.

        Args:
            fields: The event's fields, but for its id and time; see `hermes_cache.core.arguments`.

        Returns:
            Each receiver that did not raise, with what it returned.

        Raises:
            EventError: An argument cannot be; it names the field, and nothing was published.
            TypeError: There is no such argument.

        Source: rules E2, E3, E5.
        """
        return self.publish(sender, fields)[0]

    def publish(self, sender: object, fields: dict[str, object]) -> tuple[list[tuple[Receiver, object]], Ticket]:
        """Do what `send` does, and give the ticket too."""
        outbox = self._outbox
        outbox.depth += 1
        ticket = None
        try:
            heard, ticket = self._publish(self, sender, fields)
        finally:
            outbox.depth -= 1
            if not outbox.depth:
                outbox.tickets[self._name] = ticket
        return heard, ticket

    def ticket(self) -> Ticket | None:
        """Give the ticket of this thread's last finished `send` here; None after one that raised.

        What a receiver sent in turn, on this thread, does not count.

        Source: rule J8.
        """
        return self._outbox.tickets.get(self._name)
