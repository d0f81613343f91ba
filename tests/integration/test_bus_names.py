"""Buses as namespaces in one process: lists that do not touch one another, their tickets, and sends unheard."""

import logging
from collections import Counter
from collections.abc import Hashable

import pytest

from hermes_cache import Bus, EventId, ListCache, Policy, SessionListCache, SessionListKey, Ticket, default_bus
from hermes_cache.errors import EventError
from hermes_cache.testing import Listener

_HOURS = Policy(ttl=3_600.0, streaming_ttl=3_600.0)


class _Counting:
    """A builder that counts its builds by key."""

    def __init__(self) -> None:
        self.builds: Counter[Hashable] = Counter()

    def __call__(self, key: Hashable) -> dict[str, object]:
        self.builds[key] += 1
        return {"key": str(key), "build": self.builds[key]}


def test_a_bus_is_called_sessions_unless_it_is_given_a_name() -> None:
    """K5"""
    assert (Bus().name, Bus("orders").name, Bus(name="a-b_9").name) == ("sessions", "orders", "a-b_9")
    assert default_bus.name == "sessions"


@pytest.mark.parametrize("name", ["", " ", "or ders", "a/b", "a:b", "ä", "x" * 65])
def test_a_name_that_could_not_stand_in_a_ticket_is_refused(name: str) -> None:
    """K5"""
    with pytest.raises(ValueError, match="the name of a bus is"):
        Bus(name)


def test_a_name_that_is_no_text_is_refused() -> None:
    """K5"""
    with pytest.raises(TypeError, match="the name of a bus is 7"):
        Bus(7)  # type: ignore[arg-type]


def test_lists_on_buses_of_their_own_do_not_touch_one_another() -> None:
    """K5: the same keys and profiles, streams and settings too."""
    orders, invoices = _Counting(), _Counting()
    with (
        ListCache(orders, profile_of=str, bus=(here := Bus("orders")), policy=_HOURS) as one,
        ListCache(invoices, profile_of=str, bus=(there := Bus("invoices")), policy=_HOURS) as other,
    ):
        for cache in (one, other):
            cache.get("ann")
        here.list_changed.send(profile="ann")
        here.settings_changed.send()
        here.stream_started.send(stream_id="turn")
        for cache in (one, other):
            cache.get("ann")
        told = [cache.stats().streams for cache in (one, other)]

    assert (orders.builds["ann"], invoices.builds["ann"]) == (2, 1)
    assert told == [1, 0]
    assert there.last_number == 0


def test_a_list_without_a_bus_has_one_of_its_own() -> None:
    """K5"""
    here, there = _Counting(), _Counting()
    with ListCache(here, policy=_HOURS) as one, ListCache(there, policy=_HOURS) as other:
        for cache in (one, other):
            cache.get("list")
        one.invalidate()
        for cache in (one, other):
            cache.get("list")

    assert (here.builds["list"], there.builds["list"]) == (2, 1)


def test_the_topic_of_lists_and_that_of_session_lists_are_one() -> None:
    """K5, E2: receivers of either hear both, once; a ticket is that of the last send on any of them."""
    bus = Bus("orders")
    by_one, by_other = Listener(bus.list_changed), Listener(bus.session_list_changed)

    bus.list_changed.send("clerk", reason="paid", profile="ann", row_id="o7")
    first = bus.list_changed.ticket()
    bus.session_list_changed.send("clerk", reason="sent", profile="ann", session_id="o8")

    assert by_one.heard == by_other.heard
    assert [(event.reason, event.profile, event.row_id) for event in by_one.heard] == [
        ("paid", "ann", "o7"),
        ("sent", "ann", "o8"),
    ]
    assert first is not None
    assert bus.list_changed.ticket() == bus.session_list_changed.ticket() != first


def test_an_argument_of_the_topic_of_lists_is_named_in_its_error() -> None:
    """E3"""
    bus = Bus("orders")

    with pytest.raises(EventError, match="row_id is 7"):
        bus.list_changed.send(row_id=7)
    with pytest.raises(TypeError, match="session_id"):
        bus.list_changed.send(session_id="s")

    assert bus.last_number == 0


def test_a_ticket_names_its_bus_and_no_cache_of_another_takes_it() -> None:
    """K5, J8"""
    bus = Bus("orders")
    with (
        ListCache(_Counting(), bus=bus) as orders,
        SessionListCache(lambda _key: {"sessions": []}, bus=Bus()) as sessions,
    ):
        ticket = orders.invalidate()
        orders.get("any", at_least=ticket)
        refused = f"{ticket} is of the bus 'orders'; this cache is on 'sessions'"

        assert ticket == f"orders/{bus.incarnation}:1"
        assert Ticket(str(ticket)).event_id == EventId(bus.incarnation, 1, "orders")
        with pytest.raises(ValueError, match=refused):
            sessions.get(SessionListKey(), at_least=ticket)
        with pytest.raises(ValueError, match=refused):
            sessions.committed(ticket)
        with pytest.raises(ValueError, match="is of the bus 'sessions'; this cache is on 'orders'"):
            orders.get("any", at_least=sessions.invalidate())


def test_thousands_of_owners_do_not_outdate_one_another() -> None:
    """V2: one event builds the list of its owner anew, and that of everybody."""
    builder, owners = _Counting(), [f"owner{number}" for number in range(3_000)]
    policy = Policy(ttl=3_600.0, max_entries=4_000)
    with ListCache(builder, profile_of=lambda key: key or None, policy=policy, bus=Bus("baskets")) as cache:
        for owner in ["", *owners]:
            cache.get(owner)
        for owner in owners[:50]:
            cache.invalidate(owner)
        for owner in ["", *owners]:
            cache.get(owner)

    assert {owner for owner, count in builder.builds.items() if count > 1} == {"", *owners[:50]}
    assert builder.builds.total() == 3_001 + 51


def test_a_send_that_nobody_hears_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """E10"""
    bus = Bus("orders")

    bus.list_changed.send(reason="paid")
    bus.list_changed.send(reason="paid")

    unheard = [record for record in caplog.records if record.message == "hermes_cache.event_unheard"]
    assert [(record.levelno, record.__dict__["hermes_cache.bus"]) for record in unheard] == [
        (logging.WARNING, "orders")
    ]


def test_a_send_that_a_cache_or_a_receiver_hears_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """E10"""
    heard, received = Bus("orders"), Bus("invoices")
    Listener(received.list_changed)

    with ListCache(_Counting(), bus=heard):
        heard.list_changed.send()
        received.list_changed.send()

    assert [record for record in caplog.records if record.message == "hermes_cache.event_unheard"] == []
