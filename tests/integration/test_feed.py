"""The feed and its subscriptions with real threads (rules E7, E8, E9)."""

import gc
import threading
import time
import weakref
from itertools import count

import pytest

from hermes_cache.bus.changes import Change
from hermes_cache.bus.feed import Feed
from hermes_cache.core.events import (
    EventId,
    SessionListChanged,
    SettingsChanged,
    SourceChanged,
    StreamStarted,
    StreamStopped,
)
from tests.integration.heard import drained, scopes_in
from tests.waiting import WAIT_S

_NUMBERS = count(1)


def _id() -> EventId:
    return EventId("life", next(_NUMBERS))


def _tell(feed: Feed, profile: str | None, session_id: str | None = None) -> None:
    feed.tell(SessionListChanged(id=_id(), at_s=1.0, profile=profile, session_id=session_id), profile)


def test_a_subscriber_hears_of_its_profile_and_of_what_concerns_all() -> None:
    """E7"""
    feed = Feed("life", size=64)
    one, other, every = feed.subscribe("p"), feed.subscribe("q"), feed.subscribe()

    _tell(feed, "p", "s")
    _tell(feed, "q")
    _tell(feed, None)

    assert scopes_in(one) == [("p", "s"), (None, None)]
    assert scopes_in(other) == [("q", None), (None, None)]
    assert scopes_in(every) == [("p", "s"), ("q", None), (None, None)]


def test_the_profile_is_the_one_that_the_cache_knows() -> None:
    """E7"""
    feed = Feed("life", size=64)
    subscription = feed.subscribe("default")

    feed.tell(SessionListChanged(id=_id(), at_s=1.0, profile="alias"), "default")

    assert scopes_in(subscription) == [("default", None)]


def test_a_subscriber_hears_only_what_comes_later() -> None:
    """E8"""
    feed = Feed("life", size=64)
    _tell(feed, "p")

    subscription = feed.subscribe()

    assert subscription.get(timeout=0) is None
    assert subscription.version == feed.version == "life:1"


def test_settings_mean_everything() -> None:
    """E7"""
    feed = Feed("life", size=64)
    subscription = feed.subscribe("p")

    feed.tell(SettingsChanged(id=_id(), at_s=1.0), None)

    [change] = drained(subscription)
    assert change.everything
    assert change.reason == "settings_changed"


def test_moved_rows_are_announced_like_changes() -> None:
    """E9"""
    feed = Feed("life", size=64)
    subscription = feed.subscribe("p")

    feed.tell(SourceChanged(id=_id(), at_s=1.0, profile="p"), "p")

    assert [(change.reason, change.profile) for change in drained(subscription)] == [("source_changed", "p")]


def test_a_stop_goes_to_the_subscribers_of_its_start() -> None:
    """E7"""
    feed = Feed("life", size=64)
    one, other = feed.subscribe("p"), feed.subscribe("q")

    feed.tell(StreamStarted(id=_id(), at_s=1.0, stream_id="t", profile="p", session_id="s"), "p")
    feed.tell(StreamStopped(id=_id(), at_s=2.0, stream_id="t"), None)

    assert [change.reason for change in drained(one)] == ["stream_started", "stream_stopped"]
    assert drained(other) == []


def test_a_stop_whose_start_is_not_known_goes_to_all() -> None:
    """E7"""
    feed = Feed("life", size=64)
    one, other = feed.subscribe("p"), feed.subscribe("q")

    feed.tell(StreamStopped(id=_id(), at_s=2.0, stream_id="t"), None)

    assert scopes_in(one) == [(None, None)]
    assert scopes_in(other) == [(None, None)]


def test_starts_are_remembered_up_to_a_bound_the_oldest_go() -> None:
    """E7"""
    feed = Feed("life", size=64, remembered=2)
    for stream_id in ("first", "second", "third"):
        feed.tell(StreamStarted(id=_id(), at_s=1.0, stream_id=stream_id, profile="p"), "p")
    subscription = feed.subscribe("q")

    feed.tell(StreamStopped(id=_id(), at_s=2.0, stream_id="third"), None)
    feed.tell(StreamStopped(id=_id(), at_s=2.0, stream_id="first"), None)

    assert scopes_in(subscription) == [(None, None)]


def test_what_does_not_fit_is_merged() -> None:
    """E7"""
    feed = Feed("life", size=2)
    one, every = feed.subscribe("p"), feed.subscribe()

    for number in range(100):
        _tell(feed, "p", f"s{number}")
        _tell(feed, "q")

    assert scopes_in(one) == [("p", None), ("p", "s99")]
    assert scopes_in(every) == [("p", None), ("q", None)]


def test_a_subscription_that_is_never_read_neither_grows_nor_delays() -> None:
    """E7"""
    feed = Feed("life", size=64)
    unread, read = feed.subscribe(), feed.subscribe("p0")

    for number in range(10_000):
        _tell(feed, f"p{number % 100}", f"s{number}")

    assert len(unread._waiting) <= 64
    assert read.get(timeout=0) is not None
    assert any(change.everything for change in drained(unread))


def test_versions_only_grow_and_the_last_is_the_feeds() -> None:
    """E8"""
    feed = Feed("life", size=3)
    subscription = feed.subscribe()
    taken = []

    for number in range(20):
        _tell(feed, f"p{number % 2}", f"s{number % 3}")
        if number % 4 == 0:
            taken.append(subscription.get(timeout=0))
    taken += drained(subscription)

    versions = [EventId.parse(change.version) for change in taken if change]
    assert versions == sorted(versions)
    assert subscription.version == str(versions[-1]) == feed.version


def test_who_resumes_gets_what_it_missed_merged() -> None:
    """E8"""
    feed = Feed("life", size=64)
    with feed.subscribe("p") as subscription:
        _tell(feed, "p", "s")
        assert subscription.get(timeout=0)
    for session_id in ("t", "u"):
        _tell(feed, "p", session_id)
    _tell(feed, "q")

    resumed = feed.subscribe("p", since=subscription.version)

    [missed] = drained(resumed)
    assert (missed.profile, missed.session_id) == ("p", None)
    assert missed.version == "life:3"


def test_who_missed_nothing_gets_nothing() -> None:
    """E8"""
    feed = Feed("life", size=64)
    _tell(feed, "p")

    resumed = feed.subscribe("p", since=feed.version)

    assert resumed.get(timeout=0) is None
    assert resumed.version == feed.version


@pytest.mark.parametrize(
    "since", ["", "life", "life:", "life:x", "life:-1", "life:99", "other:1", ":", "\n", "life:²"]
)
def test_an_unknown_version_means_refresh_everything_at_once(since: str) -> None:
    """E8"""
    feed = Feed("life", size=64)
    _tell(feed, "p")

    resumed = feed.subscribe("p", since=since)

    assert resumed.version == since
    [change] = drained(resumed)
    assert change.everything
    assert resumed.version == change.version == "life:1"


def test_a_version_that_is_no_longer_known_means_refresh_everything() -> None:
    """E8"""
    feed = Feed("life", size=64, remembered=3)
    for _ in range(5):
        _tell(feed, "p", "s")

    known, forgotten = feed.subscribe("p", since="life:2"), feed.subscribe("p", since="life:1")

    assert scopes_in(known) == [("p", "s")]
    assert scopes_in(forgotten) == [(None, None)]


def test_a_subscriber_that_resumes_after_a_merge_misses_no_part_of_it() -> None:
    """E8"""
    feed = Feed("life", size=2)
    subscription = feed.subscribe()
    _tell(feed, "p", "s")
    _tell(feed, "q", "t")
    _tell(feed, "p", "u")

    first = subscription.get(timeout=0)
    resumed = feed.subscribe(since=subscription.version)

    assert first
    assert (first.profile, first.version) == ("q", "life:0")
    assert scopes_in(resumed) == [(None, None)]


def test_a_waiting_getter_is_woken_by_a_change() -> None:
    """E7"""
    feed = Feed("life", size=64)
    subscription = feed.subscribe()
    taken: list[Change | None] = []
    getter = threading.Thread(target=lambda: taken.append(subscription.get(timeout=WAIT_S)))
    getter.start()

    _tell(feed, "p")
    getter.join(WAIT_S)

    assert [change and change.profile for change in taken] == ["p"]


def test_a_getter_that_waits_in_vain_gives_nothing_and_stays_open() -> None:
    """E7"""
    subscription = Feed("life", size=64).subscribe()
    started_s = time.monotonic()

    taken = subscription.get(timeout=0.05)

    assert taken is None
    assert not subscription.closed
    assert time.monotonic() - started_s >= 0.05


def test_closing_wakes_every_getter_and_ends_every_iteration() -> None:
    """E7"""
    feed = Feed("life", size=64)
    subscription = feed.subscribe()
    ended: list[object] = []
    together = threading.Barrier(4)

    def get() -> None:
        together.wait(WAIT_S)
        ended.append(subscription.get())

    def iterate() -> None:
        together.wait(WAIT_S)
        ended.append(list(subscription))

    threads = [threading.Thread(target=target) for target in (get, get, iterate)]
    for thread in threads:
        thread.start()
    together.wait(WAIT_S)
    subscription.close()
    subscription.close()
    for thread in threads:
        thread.join(WAIT_S)

    assert subscription.closed
    assert sorted(ended, key=str) == [None, None, []]


def test_a_closed_subscription_takes_nothing_more() -> None:
    """E7"""
    feed = Feed("life", size=64)
    with feed.subscribe() as subscription:
        _tell(feed, "p")

    _tell(feed, "p")

    assert subscription.get() is None
    assert subscription._waiting == ()


def test_iterating_gives_changes_in_order_until_it_is_closed() -> None:
    """E7"""
    feed = Feed("life", size=64)
    subscription = feed.subscribe()
    for number in range(5):
        _tell(feed, f"p{number}")
    profiles = []

    for change in subscription:
        profiles.append(change.profile)
        if len(profiles) == 5:
            subscription.close()

    assert profiles == ["p0", "p1", "p2", "p3", "p4"]


def test_closing_the_feed_closes_its_subscriptions_and_keeps_its_versions() -> None:
    """E8"""
    feed = Feed("life", size=64)
    subscription = feed.subscribe()

    feed.close()
    _tell(feed, "p", "s")
    resumed = feed.subscribe(since=subscription.version)

    assert subscription.closed
    assert scopes_in(resumed) == [("p", "s")]


def test_a_subscription_that_is_let_go_is_not_held() -> None:
    """E7"""
    feed = Feed("life", size=64)
    reference = weakref.ref(feed.subscribe())
    gc.collect()

    kept = [feed.subscribe() for _ in range(3)]

    assert reference() is None
    assert len(feed._subscriptions) == len(kept)


def test_closed_subscriptions_are_forgotten() -> None:
    """E7"""
    feed = Feed("life", size=64)
    closed = [feed.subscribe() for _ in range(100)]
    for subscription in closed:
        subscription.close()

    living = feed.subscribe()

    assert [reference() for reference in feed._subscriptions] == [living]


def test_many_tellers_and_getters_at_once_lose_no_meaning() -> None:
    """E7, E8"""
    feed = Feed("life", size=64)
    subscription = feed.subscribe()
    together = threading.Barrier(10)
    numbers = count()
    taken: list[Change] = []

    def tell() -> None:
        together.wait(WAIT_S)
        for _ in range(250):
            _tell(feed, f"p{next(numbers)}")

    def take() -> None:
        together.wait(WAIT_S)
        for change in subscription:
            taken.append(change)
            if change.version == "life:2000":
                subscription.close()

    tellers = [threading.Thread(target=tell) for _ in range(8)]
    takers = [threading.Thread(target=take) for _ in range(2)]
    for thread in [*tellers, *takers]:
        thread.start()
    for thread in [*tellers, *takers]:
        thread.join(WAIT_S)

    told = {change.profile for change in taken}
    assert feed.version == subscription.version == "life:2000"
    assert None in told or told == {f"p{number}" for number in range(2000)}


def test_a_subscription_closed_while_the_feed_tells_harms_neither() -> None:
    """E7; as a finalizer does that runs on the telling thread."""
    feed = Feed("life", size=64)
    doomed, other = feed.subscribe(), feed.subscribe()

    def tell() -> None:
        with feed._lock:
            doomed.close()
            _tell(feed, "p")

    telling = threading.Thread(target=tell)
    telling.start()
    telling.join(WAIT_S)

    assert doomed.get() is None
    assert scopes_in(other) == [("p", None)]


def test_telling_costs_microseconds() -> None:
    """E7; a bound two orders of magnitude above what it takes, so that a loaded machine passes."""
    feed = Feed("life", size=64)
    unread = [feed.subscribe() for _ in range(10)]
    started_s = time.perf_counter()

    for number in range(1000):
        _tell(feed, "p", f"s{number}")

    assert len(unread) == 10
    assert (time.perf_counter() - started_s) / 1000 < 0.01
