"""The link between a bus and the feed of a cache, over its stops and starts (rules E5, E8)."""

import pytest

from hermes_cache.bus.feed import Feed
from hermes_cache.cache.bus_link import BusLink
from hermes_cache.core.events import EventId, SessionListChanged
from hermes_cache.journal.bus import Bus
from hermes_cache.ports import Position
from hermes_cache.testing import ManualClock


@pytest.fixture
def feed() -> Feed:
    return Feed("life", size=64)


@pytest.fixture
def link(bus: Bus, feed: Feed) -> BusLink:
    link = BusLink(
        bus, feed, ManualClock(), apply=lambda _event: None, canonical=lambda profile: profile, sender=None
    )
    link.connect()
    return link


def _missed(feed: Feed, since: str) -> list[tuple[str, str | None]]:
    subscription = feed.subscribe(since=since)
    return [(change.reason, change.profile) for change in iter(lambda: subscription.get(timeout=0), None)]


@pytest.mark.usefixtures("link")
def test_subscriptions_hear_before_any_receiver(bus: Bus, feed: Feed) -> None:
    """E5"""
    subscription = feed.subscribe()
    heard: list[str | None] = []

    @bus.session_list_changed.connect
    def receive(_sender: object, *, event: SessionListChanged) -> None:
        change = subscription.get(timeout=0)
        heard.append(f"{change.reason} of {event.profile}" if change else None)

    bus.session_list_changed.send(reason="rename", profile="p")

    assert heard == ["rename of p"]


@pytest.mark.usefixtures("link")
def test_subscriptions_hear_what_is_relayed(bus: Bus, feed: Feed) -> None:
    """E8, J3"""
    version = feed.version

    bus.relay(SessionListChanged(id=EventId("another", 1), at_s=1.0, reason="rename", profile="p"))

    assert _missed(feed, version) == [("rename", "p")]


def test_who_resumes_over_a_stop_in_which_nothing_was_published_missed_nothing(feed: Feed, link: BusLink) -> None:
    """E8, L1"""
    version = feed.version

    link.disconnect()
    link.connect()

    assert _missed(feed, version) == []


def test_who_resumes_over_a_stop_in_which_something_was_published_refreshes_everything(
    bus: Bus, feed: Feed, link: BusLink
) -> None:
    """E8, L1"""
    version = feed.version

    link.disconnect()
    bus.session_list_changed.send(profile="p")
    link.connect()

    assert _missed(feed, version) == [("restarted", None)]


def test_who_resumes_over_a_stop_beside_other_processes_refreshes_everything(feed: Feed, link: BusLink) -> None:
    """E8, J3: nobody listened to them meanwhile."""
    feed.note_position(Position("journal", 3))
    version = feed.version

    link.disconnect()
    link.connect()

    assert _missed(feed, version) == [("restarted", None)]
