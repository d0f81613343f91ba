"""The bus: where facts are published and caches, receivers and subscriptions hear of them.

The order of one publish is law (rule E5): the event is made, every applier applies it, the recorder takes it,
listeners and then receivers hear of it, its commit is waited for. All of it up to the listeners is one step that
no interrupt divides (rule L6). Several publishers go through this side by side; no lock is held while foreign code
runs.
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import count
from threading import RLock
from typing import Final, TypeAlias, assert_never
from uuid import uuid4

from hermes_cache import arguments
from hermes_cache.bus.connections import Receiver
from hermes_cache.bus.tickets import Ticket
from hermes_cache.bus.topic import Outbox, PublishedTopic, Topic
from hermes_cache.core.events import (
    SESSIONS,
    AppliedEvent,
    Event,
    EventId,
    SessionListChanged,
    SettingsChanged,
    SourceChanged,
    StreamStarted,
    StreamStopped,
)
from hermes_cache.core.notices import (
    BuildDiscarded,
    BuildFailed,
    BuildFinished,
    BuildStarted,
    EntryEvicted,
    EntryInvalidated,
    EntryStored,
    Notice,
)
from hermes_cache.logs import QuietLogger
from hermes_cache.threads.aside import aside
from hermes_cache.threads.forks import after_fork_in_child

_logger: Final = QuietLogger(__name__)

Applier: TypeAlias = Callable[[AppliedEvent], None]
"""Applies an event before any receiver hears of it; it must be quick and never raise."""

Listener: TypeAlias = Callable[[AppliedEvent], None]
"""Hears of an event once it is applied, before any receiver does; it must be quick and never raise.

With a journal it may come to a listener twice (see `Bus.hear`).
"""

Recorder: TypeAlias = Callable[[AppliedEvent], Callable[[], bool | None]]
"""Takes an event for a journal; what it returns waits for the commit and says whether it came. Neither raises."""


class BlinkerBus:
    """Topics for publishers and monitors, with one numbering of events.

    A forked child's copy is another incarnation and numbers from 1 again (rule L2).

    Args:
        name: Names it, in event ids too: buses of different names share a journal and do not touch one another.
        incarnation: Names this life of this bus in event ids; a random name if none is given.

    Attributes:
        session_list_changed: The list of a profile, or every list, changed.
        list_changed: Another name of this topic, with `row_id` for `session_id`: for lists that hold no sessions.
        stream_started: A chat turn began to produce tokens.
        stream_stopped: A chat turn ended.
        settings_changed: Settings changed.
        source_changed: Rows moved at the source; the cache sends it.
        build_started: A build began; this topic and all that follow are for monitors (rule E6).
    """

    _incarnation: str

    def __init__(self, name: str = SESSIONS, *, incarnation: str | None = None) -> None:
        self._name = arguments.bus_name(name)
        outbox = Outbox()
        self._attached: tuple[tuple[Applier, Listener | None], ...] = ()
        self._recorder: Recorder | None = None
        self._last_number = 0
        self._is_unheard = False

        def published(
            kind: Callable[..., AppliedEvent], fields_of: Callable[..., arguments.Fields]
        ) -> PublishedTopic:
            return PublishedTopic(fields_of.__name__, partial(self._publish, kind, fields_of), outbox)

        self.session_list_changed = published(SessionListChanged, arguments.session_list_changed)
        publish = partial(self._publish, SessionListChanged, arguments.list_changed)
        changed = self.session_list_changed
        self.list_changed = PublishedTopic("session_list_changed", publish, outbox, changed)
        self.stream_started = published(StreamStarted, arguments.stream_started)
        self.stream_stopped = published(StreamStopped, arguments.stream_stopped)
        self.settings_changed = published(SettingsChanged, arguments.settings_changed)
        self.source_changed = Topic("source_changed")
        self.build_started = Topic("build_started")
        self.build_finished = Topic("build_finished")
        self.build_failed = Topic("build_failed")
        self.build_discarded = Topic("build_discarded")
        self.entry_stored = Topic("entry_stored")
        self.entry_invalidated = Topic("entry_invalidated")
        self.entry_evicted = Topic("entry_evicted")
        self._start_anew()
        self._incarnation = incarnation or self._incarnation
        after_fork_in_child(self._start_anew)

    @property
    def name(self) -> str:
        """The name of the bus."""
        return self._name

    @property
    def incarnation(self) -> str:
        """The name of this life of this bus in event ids."""
        return self._incarnation

    @property
    def last_number(self) -> int:
        """The highest number that an event of this incarnation has; 0 if there is none yet."""
        return self._last_number

    @property
    def has_receivers(self) -> bool:
        """Whether anybody receives what publishers say."""
        return any(topic.has_receivers for topic in self.published())

    def published(self) -> tuple[PublishedTopic, ...]:
        """Return the topics on which publishers say facts."""
        return (self.session_list_changed, self.stream_started, self.stream_stopped, self.settings_changed)

    def attach(self, applier: Applier, listener: Listener | None = None) -> None:
        """Have every event applied by an applier, then heard by its listener, after those that are attached."""
        with self._lock:
            self._attached = (*self._attached, (applier, listener))

    def detach(self, applier: Applier) -> None:
        """Let an applier and its listener have no further event; one that is not attached is no error."""
        with self._lock:
            self._attached = tuple(pair for pair in self._attached if pair[0] != applier)

    def record_with(self, choose: Callable[[Recorder | None], Recorder | None]) -> None:
        """Hand what is published here to the recorder that is chosen, from the one until now; or to none.

        One choice at a time; what it raises leaves all as it is.
        """
        with self._lock:
            self._recorder = choose(self._recorder)

    def tell(self, event: Event | Notice, sender: object = None) -> None:
        """Let the receivers of a topic hear of what was made elsewhere; nothing is applied or recorded."""
        self._topic_of(event).tell(event, sender)

    def say(self, event: AppliedEvent) -> None:
        """Publish an event that this process makes itself: apply it, record it, let listeners hear of it.

        In this order, as in a `send`: whoever resumes at what listeners heard finds it at the recorder. Receivers
        get it by `tell`, on a thread that may wait.
        """
        self._spread(event)

    def relay(self, event: AppliedEvent) -> None:
        """Apply what another process published, and let listeners hear of it; it is not recorded again.

        Receivers get it by `tell`, on a thread that may wait.
        """
        self._apply(event)
        self.hear(event)

    def hear(self, event: AppliedEvent) -> None:
        """Let listeners hear of an event that is applied.

        A journal may show an event before its publisher came to the listeners: the reader of the journal lets
        them hear of it, so that what they heard is never behind the position of the reader.
        """
        for _, listener in self._attached:
            if listener is not None:
                _run(listener, event, "hermes_cache.listener_failed")

    def _topic_of(self, event: Event | Notice) -> Topic:
        match event:
            case SessionListChanged():
                return self.session_list_changed
            case StreamStarted():
                return self.stream_started
            case StreamStopped():
                return self.stream_stopped
            case SettingsChanged():
                return self.settings_changed
            case SourceChanged():
                return self.source_changed
            case _:
                return self._topic_of_notice(event)

    def _topic_of_notice(self, notice: Notice) -> Topic:
        match notice:
            case BuildStarted():
                return self.build_started
            case BuildFinished():
                return self.build_finished
            case BuildFailed():
                return self.build_failed
            case BuildDiscarded():
                return self.build_discarded
            case _:
                return self._topic_of_entry(notice)

    def _topic_of_entry(self, notice: EntryStored | EntryInvalidated | EntryEvicted) -> Topic:
        match notice:
            case EntryStored():
                return self.entry_stored
            case EntryInvalidated():
                return self.entry_invalidated
            case EntryEvicted():
                return self.entry_evicted
            case _:
                assert_never(notice)

    def _publish(
        self,
        kind: Callable[..., AppliedEvent],
        fields_of: Callable[..., arguments.Fields],
        topic: PublishedTopic,
        sender: object,
        given: dict[str, object],
    ) -> tuple[list[tuple[Receiver, object]], Ticket]:
        fields = fields_of(**given)
        say = partial(self._say, kind, fields)
        if self._attached or self._recorder:
            event, wait_for_commit = aside.do(say)
        else:
            # There is nothing that an interrupt could divide.
            event, wait_for_commit = say()
            self._tell_if_unheard(event)
        heard = topic.tell(event, sender)
        return heard, Ticket.of(event.id, committed=wait_for_commit())

    def _tell_if_unheard(self, event: AppliedEvent) -> None:
        """Log once that neither a cache, nor a journal, nor a receiver hears what is sent here."""
        if self._is_unheard or self.has_receivers:
            return
        self._is_unheard = True
        extra = {"hermes_cache.bus": self._name, "hermes_cache.event_id": str(event.id)}
        _logger.warning("hermes_cache.event_unheard", extra=extra)

    def _say(
        self, kind: Callable[..., AppliedEvent], fields: arguments.Fields
    ) -> tuple[AppliedEvent, Callable[[], bool | None]]:
        """Make, apply and record an event: the step that no interrupt divides."""
        event = kind(id=self.next_id(), at_s=time.time(), **fields)
        try:
            return event, self._spread(event)
        except (RecursionError, MemoryError):
            # This thread is at the end of its stack. To apply it twice does no harm, and a journal keeps it once.
            return event, aside.on_another_thread(partial(self._spread, event))

    def _spread(self, event: AppliedEvent) -> Callable[[], bool | None]:
        self._apply(event)
        wait_for_commit = self._record(event)
        self.hear(event)
        return wait_for_commit

    def _apply(self, event: AppliedEvent) -> None:
        for applier, _ in self._attached:
            _run(applier, event, "hermes_cache.applier_failed")

    def _record(self, event: AppliedEvent) -> Callable[[], bool | None]:
        try:
            return self._recorder(event) if self._recorder else _unknown
        except (RecursionError, MemoryError):
            raise
        except Exception:
            # The interpreter ends, or no thread is left: nobody's publishing may fail for that.
            _logger.exception("hermes_cache.recorder_failed", extra={"hermes_cache.event_id": str(event.id)})
            return _unknown

    def local_id(self) -> EventId:
        """Number an event that no journal keeps, such as `SourceChanged`, apart from those that one may keep."""
        return EventId(f"{self._incarnation}-local", next(self._local_numbers), self._name)

    def next_id(self) -> EventId:
        """Number an event that is published, or made for publishing."""
        with self._lock:
            # Drawn from a counter in one step: a signal handler that publishes must not draw the same.
            event_id = EventId(self._incarnation, next(self._numbers), self._name)
            self._last_number = max(self._last_number, event_id.number)
            return event_id

    def _start_anew(self) -> None:
        self._lock = RLock()
        self._incarnation = uuid4().hex
        self._numbers = count(1)
        self._local_numbers = count(1)
        self._last_number = 0


def _run(attached: Applier | Listener, event: AppliedEvent, failure: str) -> None:
    try:
        attached(event)
    except (RecursionError, MemoryError):
        raise
    except Exception:
        _logger.exception(failure, extra={"hermes_cache.event_id": str(event.id)})


def _unknown() -> None:
    """Say that nothing is known of a commit."""
