"""The bus with real threads: order, isolation, arguments, tickets (rules E1 to E6, J8)."""

import gc
import logging
import threading
import time
from collections.abc import Callable

import pytest

from hermes_cache.bus.topic import PublishedTopic
from hermes_cache.core.events import (
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
from hermes_cache.errors import EventError
from hermes_cache.journal.bus import Bus, default_bus
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.testing import Listener
from tests.waiting import WAIT_S

_KEY = SessionListKey("p")
_ID = EventId("life", 1)


def test_a_publisher_names_fields_and_receivers_get_an_event() -> None:
    """E1, E2"""
    bus = Bus()
    heard: list[tuple[object, Event]] = []
    bus.session_list_changed.connect(lambda sender, event: heard.append((sender, event)))
    before_s = time.time()

    bus.session_list_changed.send("gateway", reason="rename", profile="p", session_id="s")

    [(sender, event)] = heard
    assert sender == "gateway"
    assert isinstance(event, SessionListChanged)
    assert (event.reason, event.profile, event.session_id) == ("rename", "p", "s")
    assert event.id == EventId(bus.incarnation, 1)
    assert before_s <= event.at_s <= time.time()


def test_each_topic_publishes_its_own_event() -> None:
    """E1, E2"""
    bus = Bus()
    heard: list[Event] = []
    topics = [bus.session_list_changed, bus.stream_started, bus.stream_stopped, bus.settings_changed]
    for topic in topics:
        topic.connect(lambda _sender, event: heard.append(event))

    bus.session_list_changed.send()
    bus.stream_started.send(stream_id="t", profile="p")
    bus.stream_stopped.send(stream_id="t")
    bus.settings_changed.send()

    kinds = [SessionListChanged, StreamStarted, StreamStopped, SettingsChanged]
    assert [type(event) for event in heard] == kinds
    assert [event.id.number for event in heard] == [1, 2, 3, 4]
    assert bus.last_number == 4


def test_a_process_wide_bus_exists_and_a_bus_of_ones_own_is_another() -> None:
    """E2"""
    heard: list[Event] = []
    own = Bus()
    own.settings_changed.connect(lambda _sender, event: heard.append(event))

    default_bus.settings_changed.send()

    assert heard == []
    assert own.incarnation != default_bus.incarnation


@pytest.mark.parametrize(
    ("send", "field"),
    [
        (lambda bus: bus.session_list_changed.send(reason=" "), "reason"),
        (lambda bus: bus.session_list_changed.send(reason=None), "reason"),
        (lambda bus: bus.session_list_changed.send(profile=7), "profile"),
        (lambda bus: bus.session_list_changed.send(profile="\ud800"), "profile"),
        (lambda bus: bus.session_list_changed.send(session_id=b"s"), "session_id"),
        (lambda bus: bus.session_list_changed.send(session_id="a\0b"), "session_id"),
        (lambda bus: bus.stream_started.send(), "stream_id"),
        (lambda bus: bus.stream_started.send(stream_id=""), "stream_id"),
        (lambda bus: bus.stream_started.send(stream_id="t", profile=object()), "profile"),
        (lambda bus: bus.stream_started.send(stream_id="t", session_id=1), "session_id"),
        (lambda bus: bus.stream_stopped.send(stream_id=3), "stream_id"),
        (lambda bus: bus.stream_stopped.send(), "stream_id"),
    ],
)
def test_a_bad_argument_raises_at_the_publisher_and_nothing_is_published(
    send: Callable[[Bus], object], field: str
) -> None:
    """E3"""
    bus = Bus()
    applied: list[AppliedEvent] = []
    bus.attach(applied.append)

    with pytest.raises(EventError, match=f"^{field} is ") as caught:
        send(bus)

    assert caught.value.field == field
    assert applied == []
    assert bus.last_number == 0


def test_an_unknown_argument_is_a_type_error() -> None:
    """E3"""
    bus = Bus()

    with pytest.raises(TypeError, match="'profile'"):
        bus.settings_changed.send(profile="p")

    assert bus.last_number == 0


def test_send_gives_what_receivers_returned() -> None:
    """E2"""
    bus = Bus()

    @bus.settings_changed.connect
    def receiver(_sender: object, event: SettingsChanged) -> int:
        return event.id.number

    answers = bus.settings_changed.send()

    assert answers == [(receiver, 1)]


def test_a_receiver_of_one_sender_hears_that_sender_alone() -> None:
    """E2"""
    bus = Bus()
    heard: list[object] = []
    bus.settings_changed.connect(lambda sender, event: heard.append((sender, event.id.number)), sender="a")

    bus.settings_changed.send("a")
    bus.settings_changed.send("b")

    assert heard == [("a", 1)]


def test_a_closure_that_nobody_else_holds_stays_connected() -> None:
    """E4"""
    bus = Bus()
    heard: list[int] = []

    def connect() -> None:
        bus.settings_changed.connect(lambda _sender, event: heard.append(event.id.number))

    connect()
    gc.collect()
    bus.settings_changed.send()

    assert heard == [1]


def test_a_weakly_connected_receiver_goes_with_its_last_holder() -> None:
    """E4"""
    bus = Bus()
    heard: list[int] = []

    def receiver(_sender: object, event: SettingsChanged) -> None:
        heard.append(event.id.number)

    bus.settings_changed.connect(receiver, weak=True)
    bus.settings_changed.send()
    del receiver
    gc.collect()
    bus.settings_changed.send()

    assert heard == [1]


def test_a_receiver_that_raises_is_logged_once_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """E4"""
    bus = Bus()
    heard: list[str] = []

    def broken(_sender: object, event: Event) -> None:
        raise RuntimeError(f"cannot take {event.id.number}")

    bus.settings_changed.connect(lambda _sender, event: heard.append(f"a{event.id.number}"))
    bus.settings_changed.connect(broken)
    bus.settings_changed.connect(lambda _sender, event: heard.append(f"b{event.id.number}"))
    with caplog.at_level(logging.WARNING):
        answers = bus.settings_changed.send()

    [record] = caplog.records
    assert sorted(heard) == ["a1", "b1"]
    assert len(answers) == 2
    assert (record.levelname, record.getMessage()) == ("WARNING", "hermes_cache.receiver_failed")
    assert "broken" in record.__dict__["hermes_cache.receiver"]
    assert record.__dict__["hermes_cache.topic"] == "settings_changed"
    assert record.exc_info


def test_appliers_apply_in_order_of_attachment_before_any_receiver_hears() -> None:
    """E5"""
    bus = Bus()
    order: list[str] = []
    bus.settings_changed.connect(lambda _sender, event: order.append(f"receiver {event.id.number}"))
    bus.attach(lambda event: order.append(f"first {event.id.number}"))
    bus.attach(lambda event: order.append(f"second {event.id.number}"))

    bus.settings_changed.send()

    assert order == ["first 1", "second 1", "receiver 1"]


def test_an_applier_that_raises_is_logged_and_keeps_the_event_from_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """E5"""
    bus = Bus()
    order: list[str] = []

    def broken(event: AppliedEvent) -> None:
        raise RuntimeError(str(event.id))

    bus.attach(broken)
    bus.attach(lambda _event: order.append("applier"))
    bus.settings_changed.connect(lambda _sender, event: order.append(f"receiver {event.id.number}"))
    bus.settings_changed.send()

    assert order == ["applier", "receiver 1"]
    assert [record.getMessage() for record in caplog.records] == ["hermes_cache.applier_failed"]


def test_a_detached_applier_applies_no_more() -> None:
    """E5"""
    bus = Bus()
    applied: list[AppliedEvent] = []
    bus.attach(applied.append)
    bus.settings_changed.send()

    bus.detach(applied.append)
    bus.detach(applied.append)
    bus.settings_changed.send()

    assert [event.id.number for event in applied] == [1]


def test_the_journal_takes_an_event_before_receivers_hear_and_is_waited_for_after() -> None:
    """E5, J8"""
    bus = Bus()
    order: list[str] = []

    def record(_event: AppliedEvent) -> Callable[[], bool]:
        order.append("handed over")

        def wait() -> bool:
            order.append("waited for")
            return True

        return wait

    bus.record_with(lambda _: record)
    bus.attach(lambda _event: order.append("applied"))
    bus.settings_changed.connect(lambda _sender, event: order.append(f"heard {event.id.number}"))
    bus.settings_changed.send()

    ticket = bus.settings_changed.ticket()
    assert order == ["applied", "handed over", "heard 1", "waited for"]
    assert ticket is not None
    assert ticket.committed is True


def test_publishing_goes_on_where_nobody_can_record(caplog: pytest.LogCaptureFixture) -> None:
    """J5"""
    bus = Bus()
    heard = Listener(bus.settings_changed)

    def record(_event: AppliedEvent) -> Callable[[], None]:
        raise RuntimeError("can't start new thread")

    bus.record_with(lambda _: record)
    bus.settings_changed.send()

    ticket = bus.settings_changed.ticket()
    assert len(heard.heard) == 1
    assert ticket is not None
    assert ticket.committed is None
    assert [each.getMessage() for each in caplog.records] == ["hermes_cache.recorder_failed"]


def test_listeners_hear_once_it_is_applied_and_recorded_and_before_any_receiver() -> None:
    """E5"""
    bus = Bus()
    order: list[str] = []

    def record(_event: AppliedEvent) -> Callable[[], None]:
        order.append("recorded")
        return lambda: order.append("waited for")

    bus.record_with(lambda _: record)
    bus.settings_changed.connect(lambda _sender, event: order.append(f"received {event.id.number}"))
    bus.attach(lambda _event: order.append("applied"), lambda event: order.append(f"heard {event.id.number}"))
    bus.attach(lambda _event: order.append("applied too"))
    bus.settings_changed.send()

    assert order == ["applied", "applied too", "recorded", "heard 1", "received 1", "waited for"]


def test_a_listener_that_raises_is_logged_and_keeps_the_event_from_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """E5"""
    bus = Bus()
    order: list[str] = []

    def broken(event: AppliedEvent) -> None:
        raise RuntimeError(str(event.id))

    bus.attach(lambda _event: None, broken)
    bus.attach(lambda _event: None, lambda _event: order.append("listener"))
    bus.settings_changed.connect(lambda _sender, event: order.append(f"receiver {event.id.number}"))
    bus.settings_changed.send()

    assert order == ["listener", "receiver 1"]
    assert [record.getMessage() for record in caplog.records] == ["hermes_cache.listener_failed"]


def test_a_detached_applier_takes_its_listener_along() -> None:
    """E5"""
    bus = Bus()
    applied: list[AppliedEvent] = []
    heard: list[AppliedEvent] = []
    bus.attach(applied.append, heard.append)
    bus.settings_changed.send()

    bus.detach(applied.append)
    bus.settings_changed.send()

    assert [event.id.number for event in heard] == [1]


def test_a_relayed_event_is_applied_and_heard_by_listeners_alone_and_not_recorded_again() -> None:
    """J1, J3"""
    bus = Bus()
    order: list[str] = []
    event = SessionListChanged(id=EventId("another", 9), at_s=1.0, profile="p")

    def record(_event: AppliedEvent) -> Callable[[], None]:
        order.append("recorded")
        return lambda: None

    bus.record_with(lambda _: record)
    bus.attach(
        lambda applied: order.append(f"applied {applied.id}"), lambda heard: order.append(f"heard {heard.id}")
    )
    bus.session_list_changed.connect(lambda _sender, event: order.append(f"received {event.id}"))
    bus.relay(event)

    assert order == ["applied another:9", "heard another:9"]
    assert bus.last_number == 0


def test_listeners_can_hear_of_what_is_applied_already() -> None:
    """E8: a journal may show an event before its publisher came to the listeners."""
    bus = Bus()
    order: list[str] = []
    bus.attach(lambda _event: order.append("applied"), lambda event: order.append(f"heard {event.id}"))

    bus.hear(SessionListChanged(id=_ID, at_s=1.0))

    assert order == [f"heard {_ID}"]


@pytest.mark.parametrize(
    ("topic", "sent"),
    [
        ("source_changed", SourceChanged(id=_ID, at_s=1.0, profile="p")),
        ("build_started", BuildStarted(_KEY, 1, "miss")),
        ("build_finished", BuildFinished(_KEY, 1, 0.5)),
        ("build_failed", BuildFailed(_KEY, 1, "no file")),
        ("build_discarded", BuildDiscarded(_KEY, 1, _ID)),
        ("entry_stored", EntryStored(_KEY, 1, 100)),
        ("entry_invalidated", EntryInvalidated(_KEY, _ID)),
        ("entry_evicted", EntryEvicted(_KEY, "bytes")),
    ],
)
def test_monitors_hear_each_notice_on_its_topic(topic: str, sent: SourceChanged | Notice) -> None:
    """E6, E9"""
    bus = Bus()
    heard: list[tuple[object, object]] = []
    applied: list[AppliedEvent] = []
    bus.attach(applied.append)
    getattr(bus, topic).connect(lambda sender, event: heard.append((sender, event)))

    bus.tell(sent, "a cache")

    assert heard == [("a cache", sent)]
    assert applied == []


def test_a_receiver_may_publish_and_each_event_is_applied_before_it_is_heard() -> None:
    """E4, E5"""
    bus = Bus()
    order: list[str] = []
    bus.attach(lambda event: order.append(f"applied {event.id.number}"))

    @bus.session_list_changed.connect
    def publish(_sender: object, event: SessionListChanged) -> None:
        order.append(f"heard {event.id.number}")
        if event.reason == "outer":
            bus.session_list_changed.send(reason="inner")

    bus.session_list_changed.send(reason="outer")

    assert order == ["applied 1", "heard 1", "applied 2", "heard 2"]


def test_a_receiver_that_was_disconnected_by_another_is_not_called_afterwards() -> None:
    """E4"""
    bus = Bus()
    heard: list[str] = []

    def one(_sender: object, event: Event) -> None:
        heard.append(f"{event.id.number}")
        bus.settings_changed.disconnect(other)

    def other(_sender: object, event: Event) -> None:
        heard.append(f"{event.id.number}")
        bus.settings_changed.disconnect(one)

    bus.settings_changed.connect(one)
    bus.settings_changed.connect(other)
    bus.settings_changed.send()
    bus.settings_changed.send()

    assert heard == ["1", "2"]


def test_a_receiver_may_disconnect_itself_and_connect_another_in_the_callback() -> None:
    """E4"""
    bus = Bus()
    heard: list[str] = []

    def later(_sender: object, event: Event) -> None:
        heard.append(f"later {event.id.number}")

    @bus.settings_changed.connect
    def once(_sender: object, event: Event) -> None:
        heard.append(f"once {event.id.number}")
        bus.settings_changed.disconnect(once)
        bus.settings_changed.connect(later)

    bus.settings_changed.send()
    bus.settings_changed.send()

    assert heard == ["once 1", "later 2"]


def test_a_receiver_that_blocks_delays_its_own_publisher_alone() -> None:
    """E4"""
    bus = Bus()
    blocked, release = threading.Event(), threading.Event()
    applied: list[int] = []
    bus.attach(lambda event: applied.append(event.id.number))

    def block(_sender: object, event: Event) -> None:  # noqa: ARG001  # called by this name
        blocked.set()
        release.wait(WAIT_S)

    bus.settings_changed.connect(block, sender="slow")
    slow = threading.Thread(target=bus.settings_changed.send, args=("slow",))
    slow.start()
    assert blocked.wait(WAIT_S)
    bus.settings_changed.send("quick")
    bus.session_list_changed.send("quick")

    assert slow.is_alive()
    assert applied == [1, 2, 3]
    release.set()
    slow.join(WAIT_S)


def test_eight_publishers_at_once_lose_nothing_and_share_no_number() -> None:
    """E1, E5"""
    bus = Bus()
    applied: list[EventId] = []
    heard: list[EventId] = []
    together = threading.Barrier(8)
    bus.attach(lambda event: applied.append(event.id))
    bus.session_list_changed.connect(lambda _sender, event: heard.append(event.id))

    def publish() -> None:
        together.wait(WAIT_S)
        for _ in range(500):
            bus.session_list_changed.send()

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)

    expected = [EventId(bus.incarnation, number) for number in range(1, 4001)]
    assert sorted(applied) == expected
    assert sorted(heard) == expected
    assert bus.last_number == 4000


def test_connecting_and_disconnecting_beside_publishers_loses_no_signal() -> None:
    """E4"""
    bus = Bus()
    heard: list[int] = []
    done = threading.Event()
    together = threading.Barrier(3)
    bus.settings_changed.connect(lambda _sender, event: heard.append(event.id.number))

    def come_and_go() -> None:
        together.wait(WAIT_S)
        while not done.is_set():
            sender = threading.Event()
            receiver = bus.settings_changed.connect(lambda _sender, event: event, sender=sender)
            bus.settings_changed.send(sender)
            bus.settings_changed.disconnect(receiver)

    threads = [threading.Thread(target=come_and_go) for _ in range(2)]
    for thread in threads:
        thread.start()
    together.wait(WAIT_S)
    for _ in range(2000):
        bus.settings_changed.send()
    done.set()
    for thread in threads:
        thread.join(WAIT_S)

    assert sorted(heard) == list(range(1, bus.last_number + 1))


def test_there_is_no_ticket_before_the_first_send() -> None:
    """J8"""
    assert Bus().settings_changed.ticket() is None


def test_a_ticket_is_that_of_the_last_send_on_its_topic() -> None:
    """J8"""
    bus = Bus()

    bus.session_list_changed.send()
    bus.session_list_changed.send()
    bus.settings_changed.send()

    assert bus.session_list_changed.ticket() == f"{bus.incarnation}:2"
    assert bus.settings_changed.ticket() == f"{bus.incarnation}:3"
    assert bus.stream_started.ticket() is None


def test_a_send_that_raised_leaves_no_ticket() -> None:
    """J8"""
    bus = Bus()
    bus.session_list_changed.send()

    with pytest.raises(EventError):
        bus.session_list_changed.send(reason="")

    assert bus.session_list_changed.ticket() is None


def test_what_a_receiver_sends_is_not_the_ticket_of_its_publisher() -> None:
    """J8"""
    bus = Bus()
    seen: list[str | None] = []

    @bus.session_list_changed.connect
    def publish(_sender: object, event: SessionListChanged) -> None:
        if event.reason == "outer":
            bus.session_list_changed.send(reason="inner")
            bus.settings_changed.send()
            seen.append(bus.session_list_changed.ticket())

    bus.session_list_changed.send(reason="outer")

    assert bus.session_list_changed.ticket() == f"{bus.incarnation}:1"
    assert bus.settings_changed.ticket() is None
    assert seen == [None]


def test_tickets_are_a_threads_own() -> None:
    """J8"""
    bus = Bus()
    tickets: list[str | None] = []

    def publish() -> None:
        tickets.append(bus.settings_changed.ticket())
        bus.settings_changed.send()
        tickets.append(bus.settings_changed.ticket())

    bus.settings_changed.send()
    other = threading.Thread(target=publish)
    other.start()
    other.join(WAIT_S)

    assert tickets == [None, f"{bus.incarnation}:2"]
    assert bus.settings_changed.ticket() == f"{bus.incarnation}:1"


def test_ten_thousand_rounds_beside_bad_receivers_lose_no_signal(caplog: pytest.LogCaptureFixture) -> None:
    """E4, E5"""
    bus = Bus()
    heard: list[int] = []
    caplog.set_level(logging.CRITICAL)

    def raises(_sender: object, event: Event) -> None:
        raise RuntimeError(str(event.id))

    def leaves(_sender: object, event: Event) -> None:  # noqa: ARG001  # called by this name
        bus.settings_changed.disconnect(leaves)

    def publishes(_sender: object, event: Event) -> None:  # noqa: ARG001  # called by this name
        bus.stream_stopped.send(stream_id="t")

    bus.settings_changed.connect(raises)
    bus.settings_changed.connect(publishes)
    bus.settings_changed.connect(lambda _sender, event: heard.append(event.id.number))
    for _ in range(10_000):
        bus.settings_changed.connect(leaves)
        bus.settings_changed.send()

    assert len(heard) == 10_000
    assert bus.last_number == 20_000


def test_topics_of_publishers_say_what_they_are() -> None:
    """E2"""
    bus = Bus()

    assert isinstance(bus.session_list_changed, PublishedTopic)
    assert not isinstance(bus.source_changed, PublishedTopic)
