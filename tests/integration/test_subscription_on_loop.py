"""Subscriptions on an event loop (rules W4, E7, E8, L6)."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar

import pytest

from hermes_cache.bus.changes import Change
from hermes_cache.bus.feed import Feed
from hermes_cache.core.events import EventId, SessionListChanged
from tests.waiting import WAIT_S

T = TypeVar("T")
_NUMBERS = count(1)


def tell(feed: Feed, profile: str) -> None:
    event_id = EventId("life", next(_NUMBERS))
    feed.tell(SessionListChanged(id=event_id, at_s=1.0, profile=profile, session_id=None), profile)


def on_main(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


def on_thread(main: Coroutine[Any, Any, T]) -> T:
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(main)))
    thread.start()
    thread.join(WAIT_S)
    return results[0]


@pytest.fixture(params=[on_main, on_thread], ids=["main thread", "other thread"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, T]], T]:
    """Runs a coroutine on a loop of the main thread, where signal handlers strike, or of another one."""
    chosen: Callable[[Coroutine[Any, Any, T]], T] = request.param
    return chosen


def test_async_for_waits_for_changes_and_ends_when_it_is_closed(run: Callable[..., list[str | None]]) -> None:
    # Proves W4, E7.
    feed = Feed("life", size=64)

    async def heard() -> list[str | None]:
        subscription = feed.subscribe()
        profiles = []
        threading.Thread(target=tell, args=(feed, "a")).start()
        async for change in subscription:
            profiles.append(change.profile)
            if change.profile == "b":
                threading.Thread(target=subscription.close).start()
            else:
                threading.Thread(target=tell, args=(feed, "b")).start()
        return profiles

    assert run(heard()) == ["a", "b"]


def test_the_loop_goes_on_while_a_subscription_waits(run: Callable[..., int]) -> None:
    # Proves W4: two coroutines of one loop, one of which says what the other waits for.
    feed = Feed("life", size=64)

    async def turns() -> int:
        subscription = feed.subscribe()
        waiting = asyncio.create_task(subscription.aget())
        taken = 0
        while not waiting.done():
            await asyncio.sleep(0)
            taken += 1
            if taken == 10:
                threading.Thread(target=tell, args=(feed, "a")).start()
        return taken

    assert run(turns()) >= 10


def test_a_wait_on_a_loop_ends_at_its_timeout(run: Callable[..., Change | None]) -> None:
    # Proves W4.
    feed = Feed("life", size=64)

    async def waited() -> Change | None:
        return await feed.subscribe().aget(0.01)

    assert run(waited()) is None


def test_a_wait_that_is_cancelled_takes_nothing(run: Callable[..., list[str | None]]) -> None:
    # Proves W4, L6: whoever comes next gets what the cancelled call would have got.
    feed = Feed("life", size=64)

    async def heard() -> list[str | None]:
        subscription = feed.subscribe()
        waiting = asyncio.create_task(subscription.aget())
        await asyncio.sleep(0)
        tell(feed, "a")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        changes = [await subscription.aget(WAIT_S)]
        return [change.profile for change in changes if change]

    assert run(heard()) == ["a"]


def test_a_thousand_subscriptions_need_no_thread() -> None:
    # Proves W6: a stream takes no thread of its own.
    feed = Feed("life", size=64)
    before = threading.active_count()

    async def heard() -> tuple[int, int]:
        subscriptions = [feed.subscribe() for _ in range(1_000)]
        waiting = [asyncio.create_task(each.aget(WAIT_S)) for each in subscriptions]
        await asyncio.sleep(0)
        threads = threading.active_count()
        tell(feed, "a")
        changes = await asyncio.gather(*waiting)
        return threads, sum(change is not None for change in changes)

    threads, found = on_thread(heard())

    assert found == 1_000
    assert threads <= before + 1
