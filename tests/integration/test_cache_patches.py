"""Rules D1 to D3: what changed in a view since an edition that a client has."""

import asyncio
import gc
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic_ns
from types import FrameType
from typing import Any

import orjson
import pytest

from hermes_cache import Bus, LiveSession, Patch, Policy, Rendered, SessionListCache, SessionListKey
from hermes_cache.cache.editions import MOST_OF_A_VIEW
from hermes_cache.cache.list_cache import ListCache
from hermes_cache.payload.editions import Edition
from tests.waiting import WAIT_S

_KEY, _OTHER = SessionListKey(), SessionListKey(show_cli=True)
_LASTING = Policy(ttl=3_600.0, streaming_ttl=3_600.0)


@dataclass
class Home:
    """A builder whose rows a test changes, and what is live."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    envelope: dict[str, Any] = field(default_factory=dict)
    live: dict[str, LiveSession] = field(default_factory=dict)

    def __call__(self, _key: object) -> Mapping[str, object]:
        return {"sessions": [dict(row) for row in self.rows], **self.envelope}


@pytest.fixture
def home() -> Home:
    text = "a title that is as long as titles are"
    return Home([{"session_id": f"s{at}", "title": text, "updated_at": 900.0 - at} for at in range(100)])


@pytest.fixture
def cache(home: Home, bus: Bus) -> Iterator[SessionListCache]:
    with SessionListCache(home, policy=_LASTING, bus=bus, live_sessions=lambda: home.live) as cache:
        yield cache


def _patched(cache: ListCache[Any], view: Rendered, key: object = _KEY) -> Patch:
    """Return the patch from a view to the present one, and see that it leads there."""
    patch = cache.patch(key, since=view.edition)
    assert isinstance(patch, Patch)
    applied, present = view.apply(patch), cache.render(key)
    assert orjson.loads(applied.body) == orjson.loads(present.body)
    assert applied.edition == patch.edition == present.edition
    assert len(patch.body) < len(present.body)
    return patch


def test_a_patch_has_what_changed_and_nothing_else(cache: SessionListCache, home: Home) -> None:
    """D1, D2"""
    home.envelope = {"total": 100, "page": 1}
    view = cache.render(_KEY)
    home.rows[50]["title"] = "renamed"
    home.rows[7]["updated_at"] = 999.0
    home.rows[99] = {"session_id": "new", "updated_at": 0.5}
    home.envelope = {"total": 101, "limit": None}
    cache.invalidate()

    patch = _patched(cache, view)

    assert {row["session_id"] for row in patch.rows} == {"s50", "s7", "new"}
    assert patch.gone == ["s99"]
    assert patch.order == [("s7", None), ("new", "s98")]
    assert patch.envelope == {"total": 101, "limit": None}
    assert patch.gone_fields == ["page"]
    assert patch.lookup is not None
    assert patch.lookup.outcome == "built"
    assert patch == Patch(**orjson.loads(patch.body))


def test_a_row_that_moves_is_one_pair(cache: SessionListCache, home: Home) -> None:
    """D1: however far it moves"""
    view = cache.render(_KEY)
    home.rows[90]["updated_at"] = 10_000.0
    cache.invalidate()

    patch = _patched(cache, view)

    assert patch.order == [("s90", None)]
    assert len(patch.rows) == 1
    assert not patch.gone


def test_what_is_live_is_in_patches(cache: SessionListCache, home: Home, bus: Bus) -> None:
    """D2, O2 to O4: without any build"""
    views = [cache.render(_KEY)]
    home.live["s80"] = LiveSession(active_stream_id="turn")
    bus.stream_started.send(None, stream_id="turn")
    patches = [_patched(cache, views[0])]
    views.append(cache.render(_KEY))
    bus.stream_stopped.send(None, stream_id="turn")
    home.live.clear()
    patches.append(_patched(cache, views[1]))

    assert [row["is_streaming"] for patch in patches for row in patch.rows] == [True, False]
    assert patches[0].order == [("s80", None)]
    assert patches[1].order == [("s80", "s79")]
    assert patches[1].edition == views[0].edition


def test_lists_of_rows_in_the_envelope_are_patched_like_the_sessions(cache: SessionListCache, home: Home) -> None:
    """D1"""
    references = [{"session_id": f"r{at}", "title": "t" * 50} for at in range(50)]
    home.envelope = {"sidebar_reference_sessions": references, "words": ["a"] * 50}
    view = cache.render(_KEY)
    home.envelope = {"sidebar_reference_sessions": [references[9], *references[:9], *references[11:]], "words": []}
    cache.invalidate()

    patch = _patched(cache, view)

    changes = {"rows": [], "gone": ["r10"], "order": [["r9", None]]}
    assert patch.lists == {"sidebar_reference_sessions": changes}
    assert patch.envelope == {"words": []}


def test_an_edition_that_is_not_kept_gets_the_whole_view(cache: SessionListCache) -> None:
    """D1: one that never was, one of another view, and none"""
    other = cache.render(_OTHER)

    answers = [cache.patch(_KEY, since=since) for since in ("never was", other.edition, "", None)]

    assert {type(answer) for answer in answers} == {Rendered}
    assert {answer.body for answer in answers} == {cache.render(_KEY).body}
    assert other.edition != answers[0].edition


def test_a_patch_for_another_edition_is_refused(cache: SessionListCache, home: Home) -> None:
    """D2"""
    view = cache.render(_KEY)
    home.rows[0]["title"] = "renamed"
    cache.invalidate()
    patch = _patched(cache, view)

    with pytest.raises(ValueError, match="the patch is for the edition"):
        cache.render(_KEY).apply(patch)
    with pytest.raises(ValueError, match="is for another view"):
        view.apply(Patch(view.edition, "x", gone=["no such id"]))
    with pytest.raises(ValueError, match="is for another view"):
        view.apply(Patch(view.edition, "x", order=[("s1", "no such id")]))
    with pytest.raises(ValueError, match="does not say where"):
        view.apply(Patch(view.edition, "x", rows=[{"session_id": "new"}]))
    with pytest.raises(ValueError, match="is for another view"):
        view.apply(Patch(view.edition, "x", list_name="mails"))


def test_if_nothing_changed_the_answer_has_the_edition_that_was_given(cache: SessionListCache) -> None:
    """D1"""
    view = cache.render(_KEY)
    cache.invalidate()

    patch = _patched(cache, view)

    assert patch.since == patch.edition == view.edition
    assert not any([patch.rows, patch.gone, patch.order, patch.envelope, patch.gone_fields, patch.lists])


def test_a_patch_that_would_not_be_smaller_is_the_whole_view(cache: SessionListCache, home: Home) -> None:
    """D1"""
    view = cache.render(_KEY)
    for row in home.rows:
        row["title"] = "renamed"
    cache.invalidate()

    answer = cache.patch(_KEY, since=view.edition)

    assert isinstance(answer, Rendered)
    assert answer.body == cache.render(_KEY).body


@pytest.mark.parametrize(
    "odd",
    [{"session_id": "s1"}, {"session_id": None}, {}, {"session_id": 7}, "no row", {"session_id": True}],
    ids=repr,
)
def test_a_view_with_a_row_without_an_id_or_with_an_id_twice_has_no_patches(
    cache: SessionListCache, home: Home, odd: Any
) -> None:
    """D2: before, and after such a row came or went"""
    plain = list(home.rows)
    editions = []
    for rows in (plain, [*plain, odd], [*plain[:50], odd, *plain[50:]], plain):
        home.rows = [row if isinstance(row, dict) else {"session_id": None} for row in rows]
        cache.invalidate()
        editions.append(cache.render(_KEY))

    for before in editions[1:3]:
        assert isinstance(cache.patch(_KEY, since=before.edition), Rendered)
    home.rows = [*plain, {"session_id": "s1"}]
    cache.invalidate()
    assert isinstance(cache.patch(_KEY, since=editions[0].edition), Rendered)


def test_the_last_editions_of_a_view_are_kept(cache: SessionListCache, home: Home) -> None:
    """D1"""
    views = []
    for at in range(MOST_OF_A_VIEW + 2):
        home.rows[at % 100]["title"] = f"renamed {at}"
        cache.invalidate()
        views.append(cache.render(_KEY))
    cache.render(_OTHER)

    answers = [type(cache.patch(_KEY, since=view.edition)) for view in views]

    assert answers == [Rendered] * 2 + [Patch] * MOST_OF_A_VIEW
    assert isinstance(_patched(cache, views[2]), Patch)


def test_all_editions_together_take_no_more_than_the_bound(home: Home, bus: Bus) -> None:
    """D1"""
    policy = Policy(ttl=3_600.0, max_edition_bytes=40_000)
    keys = [SessionListKey(extra=(("n", number),)) for number in range(8)]
    with SessionListCache(home, policy=policy, bus=bus) as cache, ThreadPoolExecutor(1) as thread:
        views: dict[tuple[SessionListKey, int], Rendered] = {}
        for round_ in range(4):
            home.rows = [{**row, "title": f"round {round_}"} for row in home.rows]
            cache.invalidate()
            views |= {(key, round_): thread.submit(cache.render, key).result(WAIT_S) for key in keys}
            assert 0 < cache._editions.held_bytes <= policy.max_edition_bytes
        kept = [cache._editions.find(key, view.edition) is not None for (key, _), view in views.items()]

    assert 0 < sum(kept) < len(kept)
    assert kept == sorted(kept)


def test_patches_that_are_remembered_and_keys_count_as_editions_do(home: Home, bus: Bus) -> None:
    """D1"""
    policy = Policy(ttl=3_600.0, max_edition_bytes=100_000)
    keys = [SessionListKey(extra=(("n", "x" * 5_000 + str(number)),)) for number in range(8)]
    with SessionListCache(home, policy=policy, bus=bus) as cache, ThreadPoolExecutor(1) as thread:
        editions = [thread.submit(cache.render, key).result(WAIT_S).edition for key in keys]
        kept = cache._editions.held_bytes
        home.rows[0]["title"] = "t" * 10_000
        cache.invalidate()
        for key, edition in zip(keys, editions, strict=True):
            thread.submit(cache.patch, key, since=edition).result(WAIT_S)
            assert 5_000 * len(cache._editions._ages) < cache._editions.held_bytes
        remembered = sum(last.body.size_bytes for last in cache._editions._patches.values() if last.body)
        assert remembered >= 10_000
        assert remembered < cache._editions.held_bytes <= policy.max_edition_bytes

    assert kept > 8 * 5_000


def test_a_patch_keeps_no_edition_that_was_forgotten_meanwhile(home: Home, bus: Bus) -> None:
    """D1: it may be made while its view's last edition goes; what is left of it is bounded"""
    home.envelope = {"of": "this test"}
    keys = [SessionListKey(extra=(("n", number),)) for number in range(70)]
    with SessionListCache(home, policy=_LASTING, bus=bus) as cache, ThreadPoolExecutor(1) as thread:
        for key in keys:
            edition = thread.submit(cache.render, key).result(WAIT_S).edition
            thread.submit(cache.patch, key, since=edition).result(WAIT_S)
        patches = dict(cache._editions._patches)
        while cache._editions._ages:
            cache._editions._forget(*next(iter(cache._editions._ages)))
        cache._editions._patches.update(patches)

        held = [each for each in gc.get_objects() if isinstance(each, Edition) and each.name == edition]
        assert held == []
        assert len(patches) == 64


def test_without_room_for_editions_there_are_no_patches(home: Home, bus: Bus) -> None:
    """D1"""
    with SessionListCache(home, policy=Policy(ttl=3_600.0, max_edition_bytes=0), bus=bus) as cache:
        view = cache.render(_KEY)
        answer = cache.patch(_KEY, since=view.edition)

    assert isinstance(answer, Rendered)
    assert answer.edition == view.edition


def test_what_editions_share_counts_once(cache: SessionListCache, home: Home) -> None:
    """D1"""
    home.rows = [{"session_id": f"s{at}", "updated_at": 9_000.0 - at} for at in range(5_000)]
    cache.render(_KEY)
    cache._editions._take_in()
    first_bytes = cache._editions.held_bytes
    for at in range(20):
        home.rows[at * 100]["title"] = "renamed"
        cache.invalidate()
        cache.render(_KEY)

    cache._editions._take_in()

    assert cache._editions.held_bytes < 2 * first_bytes


def test_other_settings_end_all_editions(cache: SessionListCache, home: Home, bus: Bus) -> None:
    """X12"""
    view = cache.render(_KEY)
    home.rows[0]["title"] = "renamed"
    bus.settings_changed.send(None)

    answer = cache.patch(_KEY, since=view.edition)

    assert isinstance(answer, Rendered)
    home.rows[1]["title"] = "renamed"
    cache.invalidate()
    _patched(cache, answer)


def test_editions_outlive_a_stop_and_a_start(cache: SessionListCache, home: Home) -> None:
    """D1, L1"""
    view = cache.render(_KEY)
    cache.stop()
    home.rows[0]["title"] = "renamed"
    cache.start()

    assert _patched(cache, view).rows[0]["title"] == "renamed"


def test_lists_of_another_kind_have_patches_too() -> None:
    """D1, K5"""
    mails = [{"uid": uid, "subject": "as long as subjects of mails are"} for uid in range(50)]
    builder: Callable[[str], Mapping[str, object]] = lambda _key: {"mails": list(mails), "unread": len(mails)}  # noqa: E731
    with ListCache[str](builder, rows="mails", row_id="uid", bus=Bus()) as cache:
        view = cache.render("inbox")
        mails.insert(3, mails.pop(40))
        del mails[20]
        cache.invalidate()
        patch = _patched(cache, view, "inbox")

    assert (patch.list_name, patch.row_id) == ("mails", "uid")
    assert (patch.rows, patch.gone, patch.order) == ([], [19], [(40, 2)])
    assert patch.envelope == {"unread": 49}


def test_a_payload_of_one_piece_is_patched_by_its_fields() -> None:
    """D1, K5"""
    note = {"text": "t" * 500, "n": 1}
    with ListCache[str](lambda _key: dict(note), bus=Bus()) as cache:
        view = cache.render("note")
        note["n"] = 2
        cache.invalidate()
        patch = _patched(cache, view, "note")

    assert (patch.list_name, patch.envelope) == (None, {"n": 2})


def test_a_patch_can_be_awaited(cache: SessionListCache, home: Home) -> None:
    """W4"""

    async def follow() -> tuple[Rendered, Patch | Rendered]:
        view = await cache.arender(_KEY)
        home.rows[0]["title"] = "renamed"
        cache.invalidate()
        return view, await cache.apatch(_KEY, since=view.edition)

    view, patch = asyncio.run(follow())

    assert isinstance(patch, Patch)
    assert view.apply(patch).edition == cache.render(_KEY).edition


def test_a_patch_of_what_is_remembered_is_made_in_one_step_of_the_loop(home: Home, bus: Bus) -> None:
    """W4: no thread is asked, so the coroutine never waits"""

    async def step(cache: SessionListCache) -> Patch | Rendered | None:
        edition = (await cache.arender(_KEY)).edition
        await cache.arender(_KEY)
        waiting = cache.apatch(_KEY, since=edition, timeout=5)
        try:
            waiting.send(None)
        except StopIteration as end:
            answer: Patch | Rendered = end.value
            return answer
        finally:
            waiting.close()
        return None

    with SessionListCache(home, policy=_LASTING, bus=bus) as cache:
        answer = asyncio.run(step(cache))

    assert isinstance(answer, Patch)


def test_worker_processes_send_what_patches_are_made_of(bus: Bus) -> None:
    """D1, B8"""
    with SessionListCache(_built_now, executor="processes", policy=_LASTING, bus=bus) as cache:
        view = cache.render(_KEY)
        cache.invalidate()
        patch = _patched(cache, view)

    assert len(patch.rows) == 1


def _built_now(_key: SessionListKey) -> Mapping[str, object]:
    rows: list[dict[str, object]] = [{"session_id": f"s{at}", "updated_at": 900.0 - at} for at in range(50)]
    rows[9]["title"] = f"built at {monotonic_ns()}"
    return {"sessions": rows}


def test_readers_of_many_threads_get_patches_that_fit(
    cache: SessionListCache, home: Home, readers: ThreadPoolExecutor
) -> None:
    """D2"""

    def follow(_number: int) -> bool:
        view = cache.render(_KEY)
        for _ in range(20):
            answer = cache.patch(_KEY, since=view.edition)
            view = view.apply(answer) if isinstance(answer, Patch) else answer
        rows = orjson.loads(view.body)["sessions"]
        return len(rows) == 100 and len({row["session_id"] for row in rows}) == 100

    ends = [readers.submit(follow, number) for number in range(8)]
    for at in range(30):
        home.rows[at]["title"] = f"renamed {at}"
        cache.invalidate()

    assert all(end.result(WAIT_S) for end in ends)
    assert cache.patch(_KEY, since=None).edition == cache.render(_KEY).edition


def test_a_signal_handler_may_ask_for_a_patch_while_editions_are_taken_in(
    cache: SessionListCache, home: Home
) -> None:
    """L6: it waits for no lock that the interrupted call holds"""
    view = cache.render(_KEY)
    home.rows[0]["title"] = "renamed"
    cache.invalidate()
    found: list[Patch | Rendered] = []

    def handle(_number: int, _frame: FrameType | None) -> None:
        found.append(cache.patch(_KEY, since=view.edition))

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with cache._editions._lock:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert [type(each) for each in found] == [Patch]
    assert isinstance(cache.patch(_KEY, since=found[0].edition), Patch)
