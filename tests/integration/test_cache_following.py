"""Rule R13: a view is followed, and nobody polls."""

import asyncio
import gc
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from hermes_cache import (
    Bus,
    CacheBusyError,
    CacheStoppedError,
    Following,
    Interrupted,
    LiveSession,
    Patch,
    Policy,
    Rendered,
    SessionListCache,
    SessionListKey,
)
from hermes_cache.cache.list_cache import ListCache
from tests.waiting import WAIT_S, until

_KEY = SessionListKey()
_UNPACED = Policy(ttl=3_600.0, streaming_ttl=3_600.0, max_build_duty=1.0)


@dataclass
class Home:
    """A builder whose rows a test changes, and what is live.

    Attributes:
        version: What its sources show.
        calls: How often it built.
        failure: What it raises; None to build.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    live: dict[str, LiveSession] = field(default_factory=dict)
    version: int = 0
    calls: int = 0
    failure: Exception | None = None
    gate: threading.Event = field(default_factory=threading.Event)

    def __call__(self, _key: object) -> Mapping[str, object]:
        self.calls += 1
        rows = [dict(row) for row in self.rows]
        assert self.gate.wait(WAIT_S)
        if self.failure is not None:
            raise self.failure
        return {"sessions": rows}

    def scope(self, _key: object) -> str:
        return "home"

    def stamp(self, _key: object, *, held: bool) -> Mapping[str, int]:
        return {} if held else {"version": self.version}

    def rename(self, title: str) -> None:
        self.rows = [{**self.rows[0], "title": title}, *self.rows[1:]]


@pytest.fixture
def home() -> Home:
    home = Home(
        [{"session_id": f"s{at}", "title": f"title {at}" * 5, "updated_at": 900.0 - at} for at in range(50)]
    )
    home.gate.set()
    return home


@pytest.fixture
def cache(home: Home, bus: Bus) -> Iterator[SessionListCache]:
    with SessionListCache(home, policy=_UNPACED, bus=bus) as cache:
        yield cache


def _rendered(following: Following) -> Rendered:
    news = following.get(WAIT_S)
    assert isinstance(news, Rendered)
    return news


def _patch(following: Following) -> Patch:
    news = following.get(WAIT_S)
    assert isinstance(news, Patch)
    return news


def _titles(view: Rendered) -> list[str]:
    return [row["title"] for row in orjson.loads(view.body)["sessions"]]


def test_a_follower_gets_the_view_and_then_the_row_that_changed_though_nobody_reads(
    cache: SessionListCache, home: Home
) -> None:
    """R13, D1"""
    with cache.follow(_KEY) as following:
        view = _rendered(following)
        home.rename("renamed")
        cache.invalidate()

        patch = _patch(following)

    assert [row["title"] for row in patch.rows] == ["renamed"]
    assert _titles(view.apply(patch)) == [row["title"] for row in home.rows]
    assert following.closed


def test_a_follower_that_comes_back_gets_what_changed_since_its_edition(
    cache: SessionListCache, home: Home
) -> None:
    """R13, D1"""
    view = cache.render(_KEY)
    home.rename("renamed")
    cache.invalidate()

    with cache.follow(_KEY, since=view.edition) as following:
        patch = _patch(following)

    assert patch.since == view.edition
    assert _titles(view.apply(patch))[0] == "renamed"


def test_what_does_not_change_the_view_is_not_sent(cache: SessionListCache, home: Home) -> None:
    """R13, X6"""
    with cache.follow(_KEY) as following:
        _rendered(following)
        cache.invalidate()
        until(lambda: home.calls == 2)
        cache.get(_KEY)

        assert following.get(0.0) is None


def test_a_slow_follower_gets_one_patch_over_all_that_happened(cache: SessionListCache, home: Home) -> None:
    """R13"""
    with cache.follow(_KEY) as following:
        view = _rendered(following)
        for title in ("first", "second", "third"):
            home.rename(title)
            cache.invalidate()
            cache.get(_KEY)

        patch = _patch(following)

        assert _titles(view.apply(patch))[0] == "third"
        assert following.get(0.0) is None


def test_a_moved_source_is_found_and_sent_though_nobody_reads(home: Home, bus: Bus) -> None:
    """R13, S4"""
    policy = Policy(follow_interval=0.05, max_build_duty=1.0)
    with SessionListCache(home, sources=home, policy=policy, bus=bus) as cache, cache.follow(_KEY) as following:
        view = _rendered(following)
        home.rename("written by somebody else")
        home.version += 1

        assert _titles(view.apply(_patch(following)))[0] == "written by somebody else"


def test_a_turn_that_starts_and_stops_is_sent_without_a_build(home: Home, bus: Bus) -> None:
    """R13, O3"""
    home.rows[3]["active_stream_id"] = "turn"
    with SessionListCache(home, policy=_UNPACED, bus=bus) as cache, cache.follow(_KEY) as following:
        _rendered(following)
        home.gate.clear()

        bus.stream_started.send(None, stream_id="turn", profile="default")
        patch = _patch(following)
        home.gate.set()

    assert [(row["session_id"], row["is_streaming"]) for row in patch.rows] == [("s3", True)]
    assert patch.order == [("s3", None)]


def test_live_sessions_are_sent_at_once_if_the_gateway_says_that_they_changed(home: Home, bus: Bus) -> None:
    """R13, O1"""
    policy = Policy(ttl=3_600.0, follow_interval=3_600.0)
    with (
        SessionListCache(home, policy=policy, bus=bus, live_sessions=lambda: home.live) as cache,
        cache.follow(_KEY) as following,
    ):
        _rendered(following)
        home.live = {"s9": LiveSession(pending_user_message="hello", active_stream_id="turn")}
        cache.overlay_changed("default")

        assert [row["session_id"] for row in _patch(following).rows] == ["s9"]


def test_live_sessions_are_looked_at_by_themselves(home: Home, bus: Bus) -> None:
    """R13"""
    policy = Policy(ttl=3_600.0, follow_interval=0.02)
    with (
        SessionListCache(home, policy=policy, bus=bus, live_sessions=lambda: home.live) as cache,
        cache.follow(_KEY) as following,
    ):
        _rendered(following)
        home.live = {"s9": LiveSession(pending_user_message="hello", active_stream_id="turn")}

        assert [row["session_id"] for row in _patch(following).rows] == ["s9"]


def test_a_failure_is_sent_once_and_then_the_next_patch(cache: SessionListCache, home: Home) -> None:
    """R13, R7"""
    with cache.follow(_KEY) as following:
        view = _rendered(following)
        home.failure = OSError("the disk is gone")
        cache.invalidate()

        interrupted = following.get(WAIT_S)
        until(lambda: home.calls >= 4)
        assert isinstance(interrupted, Interrupted)
        assert "the disk is gone" in str(interrupted.error)
        assert interrupted.since_s == 0.0
        assert following.get(0.0) is None

        home.rename("after the failure")
        home.failure = None
        assert _titles(view.apply(_patch(following)))[0] == "after the failure"


def test_a_failure_at_the_start_is_sent_too_and_the_view_when_it_is_over(
    cache: SessionListCache, home: Home
) -> None:
    """R13"""
    home.failure = OSError("the disk is gone")
    with cache.follow(_KEY) as following:
        assert isinstance(following.get(WAIT_S), Interrupted)
        home.failure = None

        assert len(_titles(_rendered(following))) == 50


def test_who_recovers_without_a_change_is_sent_an_empty_patch(cache: SessionListCache, home: Home) -> None:
    """R13"""
    with cache.follow(_KEY) as following:
        view = _rendered(following)
        home.failure = OSError("the disk is gone")
        cache.invalidate()
        assert isinstance(following.get(WAIT_S), Interrupted)
        home.failure = None

        news = following.get(WAIT_S)

        assert isinstance(news, Patch)
        assert (news.since, news.edition, list(news.rows)) == (view.edition, view.edition, [])


def test_a_stop_ends_it(cache: SessionListCache, readers: ThreadPoolExecutor) -> None:
    """R13, L1"""
    following = cache.follow(_KEY)
    _rendered(following)
    waiting = readers.submit(following.get)

    cache.stop()

    with pytest.raises(CacheStoppedError):
        waiting.result(WAIT_S)
    assert following.closed


def test_a_stopped_cache_refuses_a_follower_at_its_first_step(cache: SessionListCache) -> None:
    """R13, L1"""
    cache.stop()

    with pytest.raises(CacheStoppedError):
        cache.follow(_KEY).get(WAIT_S)


def test_closing_it_ends_the_loop_of_another_thread(cache: SessionListCache, readers: ThreadPoolExecutor) -> None:
    """R13"""
    following = cache.follow(_KEY)
    news = readers.submit(list[object], following)
    until(lambda: cache.stats().entries == 1)

    following.close()
    following.close()

    assert len(news.result(WAIT_S)) <= 1


def test_one_that_closes_inside_its_loop_is_forgotten(cache: SessionListCache, home: Home) -> None:
    """R13"""
    following = cache.follow(_KEY)
    for _ in following:
        following.close()

    cache.invalidate()

    assert cache.stats().followers == 0
    assert cache.stats().building == 0
    assert home.calls == 1


def test_one_that_is_dropped_is_forgotten(cache: SessionListCache) -> None:
    """R13"""
    following = cache.follow(_KEY)
    _rendered(following)
    assert cache.stats().followers == 1

    del following
    gc.collect()

    until(lambda: cache.stats().followers == 0)
    cache.invalidate()
    assert cache.stats().building == 0


def test_past_max_followers_another_is_refused(home: Home, bus: Bus) -> None:
    """R13"""
    with SessionListCache(home, policy=Policy(max_followers=2), bus=bus) as cache:
        both = [cache.follow(_KEY) for _ in range(2)]

        with pytest.raises(CacheBusyError, match="max_followers=2"):
            cache.follow(_KEY)

        both.pop().close()
        cache.follow(_KEY).close()


def test_bad_arguments_are_refused_at_once(cache: SessionListCache) -> None:
    """R13"""
    with pytest.raises(TypeError, match="SessionListKey"):
        cache.follow("default")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(TypeError, match="no 'timeout'"):
        cache.follow(_KEY, timeout=1.0)  # type: ignore[call-arg]  # what is tested
    with pytest.raises(ValueError, match="no event id"):
        cache.follow(_KEY, at_least="nonsense")
    assert cache.stats().followers == 0


def test_after_a_change_of_settings_the_key_is_made_canonical_anew_and_another_view_sent_whole(bus: Bus) -> None:
    """R13, K3"""
    roots = {"old-root"}

    def build(key: SessionListKey) -> Mapping[str, object]:
        return {"sessions": [{"session_id": "one", "title": key.profile_name}]}

    cache = SessionListCache(build, policy=_UNPACED, bus=bus, is_root_profile=lambda name: name in roots)
    with cache, cache.follow(SessionListKey("old-root")) as following:
        assert _titles(_rendered(following)) == ["default"]
        roots.clear()
        bus.settings_changed.send(None)

        assert _titles(_rendered(following)) == ["old-root"]
        bus.session_list_changed.send(None, profile="default")
        assert following.get(0.0) is None


def test_two_hundred_followers_of_one_view_cost_one_build_for_each_change(
    cache: SessionListCache, home: Home
) -> None:
    """R13"""
    followings = [cache.follow(_KEY) for _ in range(200)]
    views = [_rendered(following) for following in followings]

    home.rename("renamed")
    cache.invalidate()
    patches = [_patch(following) for following in followings]

    assert home.calls == 2
    assert len({patch.body for patch in patches}) == 1
    assert {_titles(view.apply(patch))[0] for view, patch in zip(views, patches, strict=True)} == {"renamed"}


def test_any_list_can_be_followed() -> None:
    """R13, K5"""
    mails = [{"id": at, "subject": f"subject {at}" * 9} for at in range(20)]
    cache = ListCache[str](
        lambda folder: {"mails": [dict(mail) for mail in mails], "folder": folder}, rows="mails"
    )
    with cache, cache.follow("inbox") as following:
        view = _rendered(following)
        mails[0]["subject"] = "changed"
        cache.invalidate()

        patch = _patch(following)

    assert [row["id"] for row in patch.rows] == [0]
    assert orjson.loads(view.apply(patch).body)["mails"] == mails


def test_an_event_loop_follows_without_a_thread(cache: SessionListCache, home: Home) -> None:
    """R13, W4"""

    async def follow() -> tuple[list[str], int]:
        async with cache.follow(_KEY) as following:
            view = await anext(following)
            assert isinstance(view, Rendered)
            home.rename("renamed")
            cache.invalidate()
            before = threading.active_count()
            patch = await anext(following)
            assert isinstance(patch, Patch)
            return _titles(view.apply(patch)), threading.active_count() - before

    titles, _ = asyncio.run(follow())

    assert titles[0] == "renamed"
    assert cache.stats().followers == 0


def test_many_followers_on_a_loop_take_no_thread_while_they_wait(cache: SessionListCache) -> None:
    """R13, W4"""

    async def follow() -> None:
        followings = [cache.follow(_KEY) for _ in range(100)]
        await asyncio.gather(*[following.aget() for following in followings])
        waits = [asyncio.ensure_future(following.aget()) for following in followings]
        answer = await asyncio.wait_for(cache.aget(_KEY, freshness="fresh"), WAIT_S)
        assert answer
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        for following in followings:
            await following.aclose()

    asyncio.run(follow())

    # On a busy machine more may start than there may be; those end at once.
    until(lambda: _threads_of_loops() <= 17)


def _threads_of_loops() -> int:
    return sum(thread.name.startswith("hermes_cache.away") for thread in threading.enumerate())


def test_a_cancelled_wait_on_a_loop_loses_nothing(cache: SessionListCache, home: Home) -> None:
    """R13, L6"""

    async def follow() -> str:
        async with cache.follow(_KEY) as following:
            view = await following.aget()
            assert isinstance(view, Rendered)
            wait = asyncio.ensure_future(following.aget())
            await asyncio.sleep(0)
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
            home.rename("renamed")
            cache.invalidate()
            patch = await following.aget(WAIT_S)
            assert isinstance(patch, Patch)
            return _titles(view.apply(patch))[0]

    assert asyncio.run(follow()) == "renamed"


def test_a_wait_that_is_cancelled_while_its_patch_is_made_loses_nothing(bus: Bus) -> None:
    """R13, L6"""
    made, goes_on = threading.Event(), threading.Event()
    goes_on.set()
    titles = ["before"]

    def live() -> dict[str, LiveSession]:
        made.set()
        assert goes_on.wait(WAIT_S)
        return {}

    cache = SessionListCache(
        lambda _key: {"sessions": [{"session_id": "one", "title": titles[0] * 40}]},
        policy=_UNPACED, bus=bus, live_sessions=live,
    )  # fmt: skip

    async def follow() -> object:
        async with cache.follow(_KEY) as following:
            assert await following.aget(WAIT_S)
            titles[0] = "after"
            # In this order: what is live is looked at by itself, too, and waits at the gate once for all.
            made.clear()
            goes_on.clear()
            wait = asyncio.ensure_future(following.aget())
            cache.invalidate()
            await asyncio.to_thread(made.wait, WAIT_S)
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
            goes_on.set()
            return await following.aget(WAIT_S)

    with cache:
        news = asyncio.run(follow())

    assert isinstance(news, Patch | Rendered)
    assert b"after" in news.body


def test_an_error_is_sent_once_though_what_is_live_is_looked_at_meanwhile(home: Home, bus: Bus) -> None:
    """R13"""
    policy = Policy(ttl=3_600.0, follow_interval=0.01, max_build_duty=1.0, retry_delay=0.01, retry_delay_max=0.02)
    with (
        SessionListCache(home, policy=policy, bus=bus, live_sessions=lambda: home.live) as cache,
        cache.follow(_KEY) as following,
    ):
        _rendered(following)
        home.failure = OSError("the disk is gone")
        cache.invalidate()
        assert isinstance(following.get(WAIT_S), Interrupted)
        calls = home.calls

        assert following.get(0.3) is None
        until(lambda: home.calls > calls + 2)
        assert following.get(0.3) is None


def test_a_build_that_hangs_again_and_again_is_one_error(home: Home, bus: Bus) -> None:
    """R13: though each time it is tried again after a longer pause."""
    policy = Policy(ttl=3_600.0, build_timeout=0.2, max_abandoned=100, retry_delay=0.01, retry_delay_max=0.2)
    with SessionListCache(home, policy=policy, bus=bus) as cache, cache.follow(_KEY) as following:
        # On a busy machine the first build may be given up, which is sent too.
        assert any(isinstance(news, Rendered) for news in following)
        home.gate.clear()
        cache.invalidate()

        assert isinstance(following.get(WAIT_S), Interrupted)
        until(lambda: cache.stats().ended.get("abandoned", 0) >= 4)
        assert following.get(0.0) is None
        home.gate.set()


def test_one_that_is_closed_before_its_alias_is_known_is_forgotten(home: Home, bus: Bus) -> None:
    """R13, K3"""
    asked, goes_on = threading.Event(), threading.Event()

    def is_root(_name: str) -> bool:
        asked.set()
        return goes_on.wait(WAIT_S)

    cache = SessionListCache(home, policy=_UNPACED, bus=bus, is_root_profile=is_root)
    with cache, ThreadPoolExecutor(1) as pool:
        following = cache.follow(SessionListKey("somebody"))
        waiting = pool.submit(following.get)
        assert asked.wait(WAIT_S)

        following.close()
        goes_on.set()
        waiting.result(WAIT_S)
        calls = home.calls
        cache.invalidate()
        cache.get(SessionListKey("another"))

        assert home.calls == calls + 1


def test_one_whose_alias_comes_late_still_gets_its_view(home: Home, bus: Bus) -> None:
    """R13, K3"""
    asked, goes_on = threading.Event(), threading.Event()

    def is_root(_name: str) -> bool:
        asked.set()
        return goes_on.wait(WAIT_S)

    cache = SessionListCache(home, policy=Policy(build_timeout=0.05), bus=bus, is_root_profile=is_root)
    with cache, ThreadPoolExecutor(1) as pool, cache.follow(SessionListKey("somebody")) as following:
        # On a busy machine a build may be given up, which is sent too.
        waiting = pool.submit(lambda: next(news for news in following if isinstance(news, Rendered)))
        assert asked.wait(WAIT_S)
        goes_on.set()

        assert len(_titles(waiting.result(WAIT_S))) == len(home.rows)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_in_a_forked_child_it_ends(cache: SessionListCache, home: Home) -> None:
    """R13, L2"""
    following = cache.follow(_KEY)
    view = _rendered(following)

    child = os.fork()
    if child == 0:
        try:
            following.get(0.0)
        except CacheStoppedError:
            os._exit(7)
        os._exit(1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7
    home.rename("renamed in the parent")
    cache.invalidate()
    assert _titles(view.apply(_patch(following)))[0] == "renamed in the parent"


def test_a_follower_in_one_process_sees_what_another_member_of_the_journal_says(home: Home, url: str) -> None:
    """R13, J3"""
    other = SessionListCache(home, policy=_UNPACED, bus=Bus(), journal=url)
    cache = SessionListCache(home, policy=_UNPACED, bus=Bus(), journal=url)
    with other, cache, cache.follow(_KEY) as following:
        view = _rendered(following)
        home.rename("renamed elsewhere")
        other.invalidate()

        assert _titles(view.apply(_patch(following)))[0] == "renamed elsewhere"
