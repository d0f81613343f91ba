"""Rule X10: how a cache keeps its watch, for those who follow and those who subscribe."""

from collections.abc import Callable, Collection, Hashable
from threading import Barrier, Thread

from hermes_cache import Bus
from hermes_cache.bus.feed import Feed
from hermes_cache.cache.list_cache import ListCache
from hermes_cache.cache.watching import Watching
from hermes_cache.ports import Moved, RunningWatch, Scopes
from hermes_cache.testing import Listener
from tests.waiting import until


class _Sources:
    def scope(self, _key: str) -> str:
        return "table"

    def stamp(self, _key: str, *, held: bool) -> dict[str, int]:
        return {"held": held}


class _Run:
    trouble = None

    def __init__(self, scopes: Scopes) -> None:
        self.scopes = scopes
        self.is_closed = False
        self.asked = 0

    def scopes_changed(self) -> None:
        self.asked += 1

    def close(self) -> None:
        self.is_closed = True


class _Watch:
    """Begins watches, and knows them."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.runs: list[_Run] = []
        self._before = before

    def __call__(self, scopes: Scopes, _moved: Moved, /) -> RunningWatch:
        self._before()
        run = _Run(scopes)
        self.runs.append(run)
        return run

    @property
    def running(self) -> list[_Run]:
        return [run for run in self.runs if not run.is_closed]

    def scopes(self) -> Collection[Hashable]:
        (run,) = self.running
        return run.scopes()


def _cache(watch: _Watch) -> ListCache[str]:
    return ListCache(lambda _key: {"rows": [{"id": 1}]}, rows="rows", sources=_Sources(), watch=watch, bus=Bus())


def test_of_two_who_come_at_once_one_has_the_watch_begun() -> None:
    """X10"""
    both = Barrier(2, timeout=30)
    watch = _Watch(both.wait)
    with _cache(watch) as cache:
        subscribing = [Thread(target=lambda: opened.append(cache.subscribe())) for _ in range(2)]
        opened: list[object] = []
        for thread in subscribing:
            thread.start()
        for thread in subscribing:
            thread.join()

        assert len(watch.running) == 1
    assert not watch.running


def test_who_subscribes_before_the_start_is_watched_for_after_it() -> None:
    """X10, L1"""
    watch = _Watch()
    cache = _cache(watch)
    with cache.subscribe():
        for run in list(watch.running):
            run.scopes()
        cache.get("key")

        until(lambda: set(watch.scopes()) == {"table"})
        assert set(watch.scopes()) == {"table"}
    cache.stop()


def test_a_view_that_is_built_after_somebody_subscribed_is_watched_at_once() -> None:
    """X10: and not with the look that comes after five seconds; once it is watched, builds ask for nothing."""
    watch = _Watch()
    with _cache(watch) as cache, cache.subscribe():
        stored = Listener(cache.bus.entry_stored)
        (run,) = watch.running
        assert not run.scopes()
        before = run.asked

        cache.get("key")
        until(lambda: run.asked > before)
        assert run.scopes() == {"table"}
        asked = run.asked
        for count in (2, 3):
            cache.invalidate()
            cache.get("key")
            stored.wait_for(count)

        assert run.asked == asked


def test_nothing_is_followed_any_more_for_subscribers_who_left() -> None:
    """X10, R13"""
    watch = _Watch()
    with _cache(watch) as cache:
        cache.get("key")
        with cache.subscribe():
            watch.scopes()
            until(lambda: cache._state().followed)

        assert not watch.scopes()

        until(lambda: not cache._state().followed)
        assert not watch.running


def test_who_comes_while_the_watch_is_given_up_is_watched_for() -> None:
    """X10"""

    class Followers:
        """One comes just after they were counted."""

        count = 1

        def __len__(self) -> int:
            if self.count:
                return self.count
            self.count = 1
            watching.watch_wanted()
            return 0

    watch, followers = _Watch(), Followers()
    with _cache(watch) as cache:
        cache.get("key")
        watching = Watching(watch, lambda: cache._life, Feed("feed", size=1), followers)
        watching.watch_wanted()
        followers.count = 0

        watch.scopes()

        assert len(watch.running) == 1
