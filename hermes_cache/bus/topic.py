"""The topics of the bus: blinker signals whose receivers cannot harm one another.

Receivers run on the thread that sends, and no lock is held meanwhile: a receiver may publish, connect and
disconnect. Source: rules E2, E4.
"""

from collections.abc import Callable
from threading import local
from typing import Final, TypeAlias, TypeVar

from blinker import ANY

from hermes_cache.bus.connections import Connections, Receiver
from hermes_cache.bus.tickets import Ticket
from hermes_cache.core.events import Event
from hermes_cache.core.notices import Notice
from hermes_cache.logs import QuietLogger
from hermes_cache.threads.callables import refuse_coroutine, settle
from hermes_cache.threads.interrupts import belongs_to_caller

_logger: Final = QuietLogger(__name__)

_R = TypeVar("_R", bound=Receiver)


class Topic:
    """Tells the receivers that are connected to it; what they raise is logged and goes no further.

    Args:
        name: Names it.
        topic: The topic that this is another name of; None if it is of its own.
    """

    def __init__(self, name: str, topic: "Topic | None" = None) -> None:
        self._name = name
        self._signal: Connections = Connections() if topic is None else topic._signal  # noqa: SLF001

    @property
    def has_receivers(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._signal.receivers)

    def connect(self, receiver: _R, sender: object = ANY, *, weak: bool = False) -> _R:
        """Have a receiver called for a sender, or for all; works as a decorator too.

        Args:
            sender: None, a string or a number, which are known by their value; or an object that can be referenced
                weakly, whose connections go with it.
            weak: Let the receiver go once nobody else holds it.

        Raises:
            TypeError: The receiver cannot be called, or is a coroutine function, which nobody would await; or the
                sender is neither of the two.
        """
        if not callable(receiver):
            raise TypeError(f"{receiver!r} cannot receive {self._name}; give a plain callable(sender, event)")
        refuse_coroutine(receiver, f"the receiver of {self._name}")
        return self._signal.connect(receiver, sender, weak)

    def disconnect(self, receiver: Receiver, sender: object = ANY) -> None:
        """Call a receiver no more for a sender, or for any; one that is not connected is no error."""
        self._signal.disconnect(receiver, sender)

    def tell(self, event: Event | Notice, sender: object = None) -> list[tuple[Receiver, object]]:
        """Call every receiver of a sender, whatever the others raise.

        Returns:
            Each receiver that did not raise, with what it returned.

        Raises:
            BaseException: What a signal handler raised, at once; an `Exception` of one that struck inside a
                receiver counts as that receiver's.
        """
        answers: list[tuple[Receiver, object]] = []
        if not self.has_receivers:
            return answers
        for receiver in self._signal.receivers_for(sender):
            try:
                answer = receiver(sender, event=event)
                if answer is not None:
                    settle(answer, "the receiver")
            except BaseException as error:
                if belongs_to_caller(error):
                    raise
                extra = {"hermes_cache.receiver": _name_of(receiver), "hermes_cache.topic": self._name}
                _logger.warning("hermes_cache.receiver_failed", exc_info=True, extra=extra)
            else:
                answers.append((receiver, answer))
        return answers


def _name_of(receiver: Receiver) -> str:
    try:
        return str(receiver.__qualname__)
    except BaseException as error:
        if belongs_to_caller(error):
            raise
        return type(receiver).__qualname__


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

    def __init__(self, name: str, publish: Publish, outbox: Outbox, topic: "PublishedTopic | None" = None) -> None:
        super().__init__(name, topic)
        self._publish = publish
        self._outbox = outbox

    def send(self, sender: object = None, /, **fields: object) -> list[tuple[Receiver, object]]:
        """Publish a fact; when it returns, every cache on the bus has applied it.

        Args:
            fields: The event's fields, but for its id and time; see `hermes_cache.arguments`.

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
        """Return the ticket of this thread's last finished `send` here; None after one that raised.

        What a receiver sent in turn, on this thread, does not count.

        Source: rule J8.
        """
        return self._outbox.tickets.get(self._name)
