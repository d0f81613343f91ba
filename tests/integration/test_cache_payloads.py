"""What a running cache holds and hands out: bounds, bodies, emptiness (rules P1, P3, P4, O1, O6, R12)."""

import asyncio
import gc
import gzip
import json
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from weakref import ref

import pytest

from hermes_cache import (
    BuildError,
    Bus,
    LiveSession,
    Patch,
    Policy,
    SessionListCache,
    SessionListKey,
)
from hermes_cache.sessions.rows import freeze_row
from hermes_cache.testing import GatedBuilder, Listener
from tests.waiting import WAIT_S, until

_KEY = SessionListKey("work")
_LASTING = 60.0


def _key(number: int) -> SessionListKey:
    return SessionListKey(f"profile-{number}")


def _large(key: SessionListKey) -> Mapping[str, object]:
    """Return a payload of a little more than 10,000 bytes."""
    return {"profile": key.profile_name, "sessions": [{"session_id": "s", "title": "t" * 10_000}]}


def _weight(cache: SessionListCache) -> int:
    """Weigh what is held: every envelope, and every piece once."""
    contents = [entry.content for entry in cache._state().entries.values()]
    pieces = {id(piece): len(piece.encoded) for content in contents for piece in content.pieces or ()}
    return sum(len(content.envelope) for content in contents) + sum(pieces.values())


def test_past_the_bound_of_entries_the_least_recently_used_goes(bus: Bus) -> None:
    """P4"""
    evicted = Listener(bus.entry_evicted)
    policy = Policy(max_entries=3, ttl=_LASTING)
    with SessionListCache(GatedBuilder(is_open=True), bus=bus, policy=policy) as cache:
        for number in range(3):
            cache.get(_key(number))
        cache.get(_key(0))

        cache.get(_key(3))
        cache.get(_key(4))
        gone = evicted.wait_for(2)
        held = [number for number in range(5) if cache.peek(_key(number))]

    assert [notice.key for notice in gone] == [_key(1), _key(2)]
    assert {notice.reason for notice in gone} == {"entries"}
    assert held == [0, 3, 4]


def test_views_that_are_asked_for_once_push_out_none_that_is_polled(bus: Bus) -> None:
    """P4, W6: a foreign page asks for many odd views, and the one that everybody polls stays."""
    polled, odd = _key(0), [_key(number) for number in range(1, 20)]
    policy = Policy(max_entries=3, ttl=_LASTING, repeat_window=60)
    with SessionListCache(GatedBuilder(is_open=True), bus=bus, policy=policy) as cache:
        for _ in range(2):
            cache.get(polled)
        for key in odd:
            cache.get(key)

        outcome = cache.lookup(polled).outcome

    assert outcome == "hit"


def test_past_the_bound_of_bytes_the_least_recently_used_goes(bus: Bus) -> None:
    """P4"""
    evicted = Listener(bus.entry_evicted)
    policy = Policy(max_bytes=35_000, ttl=_LASTING)
    with SessionListCache(_large, bus=bus, policy=policy) as cache:
        for number in range(3):
            cache.get(_key(number))
        cache.get(_key(0))

        cache.get(_key(3))
        (gone,) = evicted.wait_for(1)
        held = [number for number in range(4) if cache.peek(_key(number))]

    assert (gone.key, gone.reason) == (_key(1), "bytes")
    assert held == [0, 2, 3]


def test_a_payload_larger_than_the_bound_is_returned_and_not_stored(bus: Bus) -> None:
    """P4: nothing else has to go for it."""
    discarded = Listener(bus.build_discarded)
    policy = Policy(max_bytes=35_000, ttl=_LASTING)

    def build(key: SessionListKey) -> Mapping[str, object]:
        return {"sessions": [], "filling": "x" * 40_000} if key == _KEY else _large(key)

    with SessionListCache(build, bus=bus, policy=policy) as cache:
        for number in range(3):
            cache.get(_key(number))

        first, second = cache.lookup(_KEY), cache.lookup(_KEY)
        discarded.wait_for(2)
        cache.get(_key(0))
        held = [number for number in range(3) if cache.peek(_key(number))]
        nothing = cache.peek(_KEY)

    assert (first.outcome, second.outcome, nothing) == ("built", "built", None)
    assert len(str(second.payload["filling"])) == 40_000
    assert held == [0, 1, 2]


def test_rows_that_entries_share_are_counted_once(bus: Bus) -> None:
    """P4: ten views of the same rows of 10,000 bytes fit where three of their own would not."""
    rows = [freeze_row({"session_id": f"s{number}", "title": "t" * 10_000}) for number in range(3)]

    def build(key: SessionListKey) -> Mapping[str, object]:
        return {"profile": key.profile_name, "sessions": rows}

    with SessionListCache(build, bus=bus, policy=Policy(max_bytes=35_000, ttl=_LASTING)) as cache:
        for number in range(10):
            cache.get(_key(number))
        stats = cache.stats()

    assert stats.entries == 10
    assert 30_000 < stats.held_bytes < 35_000


def test_the_size_in_the_counts_is_that_of_what_is_held(bus: Bus, readers: ThreadPoolExecutor) -> None:
    """P4: after evictions, replacements, discarded builds and shared rows, on many threads."""
    shared = freeze_row({"session_id": "shared", "title": "t" * 500})

    def build(key: SessionListKey) -> Mapping[str, object]:
        size = random.Random(str(key)).randrange(2_000)
        return {"sessions": [shared, {"session_id": "own", "title": "t" * size}]}

    with SessionListCache(build, bus=bus, policy=Policy(max_entries=8, max_bytes=8_000)) as cache:

        def use(seed: int) -> None:
            pick = random.Random(seed)
            for _ in range(100):
                cache.get(_key(pick.randrange(20)), freshness=pick.choice(("default", "fresh")))
                if pick.random() < 0.1:
                    cache.invalidate(f"profile-{pick.randrange(20)}")

        for each in [readers.submit(use, seed) for seed in range(8)]:
            each.result(30)
        until(lambda: cache.stats().held_bytes == _weight(cache))

        assert 0 < cache.stats().entries <= 8
        assert 0 < cache.stats().held_bytes <= 8_000


def test_what_was_evicted_is_freed_though_a_build_of_its_key_failed(bus: Bus) -> None:
    """P4: the failure is remembered, and its traceback with it, but not the payload that was held meanwhile."""
    payload: list[Mapping[str, object]] = [_large(_KEY)]

    with SessionListCache(lambda _key: payload.pop(), bus=bus) as cache:
        cache.get(_KEY)
        held = ref(cache._state().entries[_KEY].content)
        with pytest.raises(BuildError, match="IndexError"):
            cache.get(_KEY, freshness="fresh")

        assert cache.evict(_KEY)

        until(lambda: gc.collect() >= 0 and held() is None)
        assert cache.health().failing


class _Rows:
    """What a builder has in hand."""


def _parse(rows: _Rows) -> None:
    raise ValueError(f"there are no rows in {rows!r}")


def test_what_a_builder_had_in_hand_is_freed_when_it_fails(bus: Bus) -> None:
    """P4: also what the error had in hand that led to the one that it raised."""
    in_hand: list[ref[_Rows]] = []

    def build(_key: SessionListKey) -> Mapping[str, object]:
        rows = _Rows()
        in_hand.append(ref(rows))
        try:
            _parse(rows)
        except ValueError as error:
            raise LookupError from error
        return {}

    with SessionListCache(build, bus=bus) as cache:
        with pytest.raises(BuildError, match="LookupError"):
            cache.get(_KEY)

        until(lambda: gc.collect() >= 0 and in_hand[0]() is None)
        assert cache.health().failing


def test_what_a_reader_or_a_builder_does_to_a_payload_harms_nobody(bus: Bus) -> None:
    """P1, P3"""
    own = {"sessions": [{"session_id": "s", "title": "as built"}]}

    with SessionListCache(lambda _key: own, bus=bus, policy=Policy(ttl=_LASTING)) as cache:
        payload = cache.get(_KEY)
        own["sessions"][0]["title"] = "changed later"
        with pytest.raises(TypeError):
            payload["sessions"] = []

        again = cache.get(_KEY)

    assert again == {"sessions": [{"session_id": "s", "title": "as built", "is_streaming": False}]}


def test_a_body_is_the_payload_as_json(bus: Bus) -> None:
    """O6"""
    with SessionListCache(_large, bus=bus) as cache:
        made = cache.render(_KEY)
        payload = cache.get(_KEY)

    assert json.loads(made.body) == payload
    assert made.lookup.payload is payload


def test_the_tag_changes_exactly_when_the_body_does(bus: Bus) -> None:
    """O6: through builds of equal and other rows, streams and live sessions that come and go."""
    live: dict[str, LiveSession] = {}
    title = "first"

    def build(_key: SessionListKey) -> Mapping[str, object]:
        return {"sessions": [{"session_id": "a", "title": title, "active_stream_id": "turn"}, {"session_id": "b"}]}

    with SessionListCache(build, bus=bus, live_sessions=lambda: live) as cache:
        made = [cache.render(_KEY)]
        made.append(cache.render(_KEY))
        cache.invalidate()
        made.append(cache.render(_KEY))
        title = "second"
        cache.invalidate()
        made.append(cache.render(_KEY))
        bus.stream_started.send(stream_id="turn")
        made.append(cache.render(_KEY))
        live["b"] = LiveSession(pending_user_message="hello", active_stream_id="other")
        made.append(cache.render(_KEY))
        live.clear()
        made.append(cache.render(_KEY))
        bus.stream_stopped.send(stream_id="turn")
        made.append(cache.render(_KEY))

    changed = [older.body != newer.body for older, newer in pairwise(made)]
    assert changed == [older.etag != newer.etag for older, newer in pairwise(made)]
    assert changed == [False, False, True, True, True, True, True]
    assert made[3].etag == made[7].etag


def test_what_is_live_is_laid_over_the_body_and_not_over_what_is_cached(bus: Bus) -> None:
    """O1, O2, O3, O6"""
    asked = 0

    def live_sessions() -> Mapping[str, LiveSession]:
        nonlocal asked
        asked += 1
        return {"b": LiveSession(active_stream_id="turn", pending_user_message="hello", updated_at=99.0)}

    def build(_key: SessionListKey) -> Mapping[str, object]:
        return {"sessions": [{"session_id": "a", "updated_at": 5.0}, {"session_id": "b", "updated_at": 1.0}]}

    with SessionListCache(build, bus=bus, live_sessions=live_sessions) as cache:
        bus.stream_started.send(stream_id="turn", profile="work")
        made = cache.render(_KEY)
        rows = json.loads(made.body)["sessions"]
        cached = cache.get(_KEY)["sessions"]

    assert asked == 1
    assert [row["session_id"] for row in rows] == ["b", "a"]
    assert rows[0] == {
        "session_id": "b",
        "updated_at": 99.0,
        "active_stream_id": "turn",
        "has_pending_user_message": True,
        "is_streaming": True,
    }
    assert cached == [
        {"session_id": "a", "updated_at": 5.0, "is_streaming": False},
        {"session_id": "b", "updated_at": 1.0, "is_streaming": False},
    ]


@pytest.mark.parametrize("live", [OSError("gone"), 5, {"b": {"active_stream_id": "turn"}}], ids=repr)
def test_live_sessions_that_cannot_be_had_leave_the_body_as_cached(bus: Bus, live: object) -> None:
    """O1, O5"""

    def live_sessions() -> Mapping[str, LiveSession]:
        if isinstance(live, OSError):
            raise live
        return live  # type: ignore[return-value]

    def build(_key: SessionListKey) -> Mapping[str, object]:
        return {"sessions": [{"session_id": "b"}]}

    with SessionListCache(build, bus=bus, live_sessions=live_sessions) as cache:
        made = cache.render(_KEY)
        failing = cache.health().failing_callables

    assert json.loads(made.body) == {"sessions": [{"session_id": "b", "is_streaming": False}]}
    assert failing == {"live_sessions"}


def test_rows_that_the_overlay_leaves_alone_are_not_encoded_again(bus: Bus) -> None:
    """O6: the very bytes of the row go into the body, odd spacing and all."""
    row = freeze_row({"session_id": "a", "title": "quiet"})
    marked = row.encoded.replace(b":", b": ")
    dict.__getattribute__(row, "__class__").encoded.__set__(row, marked)

    with SessionListCache(lambda _key: {"sessions": [row, {"session_id": "b"}]}, bus=bus) as cache:
        quiet = cache.render(_KEY).body
        live = cache.overlay(cache.get(_KEY)["sessions"])  # type: ignore[arg-type]

    assert marked in quiet
    assert live[0] is row


def test_an_empty_list_is_a_body_and_nothing_known_is_an_error(bus: Bus) -> None:
    """R12"""
    builder = GatedBuilder(is_open=True)
    with SessionListCache(builder, bus=bus) as cache:
        builder.fail_with(OSError("disk on fire"))
        with pytest.raises(BuildError):
            cache.render(_KEY)
        builder.fail_with(None)

        made = cache.render(_KEY)

    assert json.loads(made.body)["sessions"] == []


def test_a_payload_without_rows_is_a_body_too(bus: Bus) -> None:
    """O6"""
    with SessionListCache(lambda _key: {"profiles": ["work", "home"]}, bus=bus) as cache:
        made = cache.render(_KEY)

    assert json.loads(made.body) == {"profiles": ["work", "home"]}


def test_bodies_of_many_threads_agree(bus: Bus, readers: ThreadPoolExecutor) -> None:
    """O6"""
    with SessionListCache(_large, bus=bus, policy=Policy(max_entries=2, ttl=_LASTING)) as cache:
        made = [readers.submit(cache.render, _key(number % 4)) for number in range(200)]
        bodies = {(each.result(WAIT_S).etag, each.result().body) for each in made}

    assert len(bodies) == 4


def test_a_stream_whose_event_names_a_session_runs_in_its_row(bus: Bus) -> None:
    """O3: without any callable, of several the one that started last, until its stop"""
    rows = [{"session_id": each, "profile": "work", "updated_at": 9.0 - at} for at, each in enumerate("abc")]

    def running(cache: SessionListCache) -> list[tuple[object, ...]]:
        found = json.loads(cache.render(_KEY).body)["sessions"]
        assert found == cache.overlay(cache.get(_KEY)["sessions"])  # type: ignore[arg-type]
        return [(row["session_id"], row.get("active_stream_id")) for row in found if row["is_streaming"]]

    with SessionListCache(lambda _key: {"sessions": rows}, bus=bus) as cache:
        quiet = running(cache)
        bus.stream_started.send(None, stream_id="first", profile="work", session_id="c")
        bus.stream_started.send(None, stream_id="elsewhere", profile="home", session_id="b")
        one = running(cache)
        bus.stream_started.send(None, stream_id="second", session_id="c")
        bus.stream_started.send(None, stream_id="first", profile="work", session_id="c")
        two = running(cache)
        bus.stream_stopped.send(None, stream_id="second")
        left = running(cache)
        bus.stream_stopped.send(None, stream_id="first")
        over = running(cache)

    assert quiet == over == []
    assert one == left == [("c", "first")]
    assert two == [("c", "second")]


def test_a_session_that_the_callable_lists_is_as_the_callable_says(bus: Bus) -> None:
    """O3"""
    live = {"a": LiveSession(active_stream_id="other")}
    with SessionListCache(
        lambda _key: {"sessions": [{"session_id": "a"}]}, bus=bus, live_sessions=lambda: live
    ) as cache:
        bus.stream_started.send(None, stream_id="turn", session_id="a")
        listed = json.loads(cache.render(_KEY).body)["sessions"][0]
        live.clear()
        unlisted = json.loads(cache.render(_KEY).body)["sessions"][0]

    assert (listed["active_stream_id"], listed["is_streaming"]) == ("other", False)
    assert (unlisted["active_stream_id"], unlisted["is_streaming"]) == ("turn", True)


def test_a_gateway_lays_fields_of_its_own_over_rows(bus: Bus) -> None:
    """O7: in the body, its tag and its patches; a change of them alone is a change"""
    live: dict[str, LiveSession] = {}
    rows = [{"session_id": f"s{at}", "title": "a title", "updated_at": 99.0 - at} for at in range(50)]
    with SessionListCache(lambda _key: {"sessions": rows}, bus=bus, live_sessions=lambda: live) as cache:
        plain = cache.render(_KEY)
        answers = []
        for attention in (1, True, {"why": ["asks"]}):
            live["s7"] = LiveSession(extra={"attention": attention})
            answers.append(cache.render(_KEY))
        patch = cache.patch(_KEY, since=plain.edition)
        live["s7"] = LiveSession(extra={"title": "theirs"})
        with pytest.raises(ValueError, match="'title', which its row has already"):
            cache.render(_KEY)

    found = [json.loads(answer.body)["sessions"][7]["attention"] for answer in answers]
    assert repr(found) == "[1, True, {'why': ['asks']}]"
    assert len({answer.etag for answer in [plain, *answers]}) == 4
    assert isinstance(patch, Patch)
    assert [row["attention"] for row in patch.rows] == [{"why": ["asks"]}]


@pytest.mark.parametrize(
    "extra", [{"is_streaming": True}, {"updated_at": 1.0}, {"a": {1, 2}}, {"a": float("nan")}]
)
def test_what_a_gateway_lays_over_rows_has_names_and_values_that_fit(extra: dict[str, object]) -> None:
    """O7, P5"""
    with pytest.raises(ValueError, match=r"use another name|use str keys and JSON values"):
        LiveSession(extra=extra)


def test_a_gateway_adds_fields_of_its_own_to_the_envelope(bus: Bus) -> None:
    """O7: behind the others; tag, edition and patches are those of the body without them"""
    with SessionListCache(_large, bus=bus) as cache:
        plain = cache.render(_KEY)
        added = cache.render(_KEY, envelope={"server_time": 5.0, "nested": {"a": [None]}}, timeout=5)
        again = asyncio.run(cache.arender(_KEY, envelope={"server_time": 6.0}))
        patch = cache.patch(_KEY, since=added.edition)
        for name in ("sessions", *(set(json.loads(plain.body)) - {"sessions"})):
            with pytest.raises(ValueError, match="which the view has already"):
                cache.render(_KEY, envelope={name: 1})
        with pytest.raises(ValueError, match="use str keys and JSON values"):
            cache.render(_KEY, envelope={"a": object()})

    assert plain.etag == added.etag == again.etag == patch.edition
    assert isinstance(patch, Patch)
    assert json.loads(added.body) == {**json.loads(plain.body), "server_time": 5.0, "nested": {"a": [None]}}
    assert list(json.loads(again.body))[-1] == "server_time"
    assert gzip.decompress(added.encoded("gzip")) == added.body


def test_fields_of_a_gateway_can_be_all_that_a_body_has(bus: Bus) -> None:
    """O7"""
    with SessionListCache(lambda _key: {}, bus=bus) as cache:
        assert cache.render(_KEY, envelope={"now": 1}).body == b'{"now":1}'
