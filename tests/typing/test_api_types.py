"""The types of the public API, as a caller sees them: checked by mypy, and true when run."""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, assert_type

import hermes_cache
from hermes_cache import (
    AgreedState,
    Bus,
    Change,
    EventId,
    Explanation,
    Health,
    HermesHome,
    Interrupted,
    LiveSession,
    Lookup,
    Mark,
    Patch,
    Payload,
    Policy,
    Rendered,
    Replay,
    SessionListCache,
    SessionListKey,
    Stats,
    Subscription,
    Ticket,
    default_bus,
    freeze,
    journal_at,
    replay,
    thaw,
)
from hermes_cache.errors import BuildError
from hermes_cache.ports import Journal
from hermes_cache.testing import GatedBuilder, ManualClock, VersionedSources
from tests.waiting import PROCESS_S

KEY = SessionListKey(profile="work")


def opened_cache() -> SessionListCache:
    return SessionListCache(
        GatedBuilder(is_open=True),
        sources=VersionedSources(),
        policy=Policy(ttl=1, poll_interval=5),
        bus=Bus(),
        clock=ManualClock(),
        live_sessions=lambda: {"s1": LiveSession(active_stream_id="turn-1")},
        active_stream_ids=lambda: ("turn-1",),
        is_root_profile=lambda name: name == "root",
        settings_version=lambda: 1,
    )


def test_reads_give_payloads_and_lookups() -> None:
    # Proves R2, R9, R10, O6.
    with opened_cache() as cache:
        found = cache.get(KEY, timeout=PROCESS_S, freshness="fresh", builder=None, at_least=None)
        payload = assert_type(found, Payload)
        lookup = assert_type(cache.lookup(KEY), Lookup)
        rendered = assert_type(cache.render(KEY), Rendered)
        peeked = assert_type(cache.peek(KEY), Lookup | None)

        assert isinstance(payload, dict)
        assert_type(lookup.payload, Payload)
        assert_type(lookup.outcome, Literal["hit", "stale", "built", "waited", "outdated"])
        assert_type(lookup.reason, Literal["age", "source", "event", "miss"] | None)
        assert_type(lookup.stamp, Mapping[str, Hashable])
        assert_type(lookup.overtaken_by, EventId | None)
        assert_type(lookup.error, BuildError | None)
        assert_type(rendered.body, bytes)
        assert_type(rendered.etag, str)
        assert peeked is not None


def test_reads_on_an_event_loop_give_the_same() -> None:
    # Proves W4.
    async def read(cache: SessionListCache) -> tuple[Payload, Lookup]:
        payload = assert_type(await cache.aget(KEY, timeout=PROCESS_S), Payload)
        return payload, assert_type(await cache.alookup(KEY), Lookup)

    async def look(cache: SessionListCache) -> bool | None:
        return assert_type(await cache.acommitted(cache.invalidate()), bool | None)

    with opened_cache() as cache:
        payload, lookup = asyncio.run(read(cache))
        assert asyncio.run(look(cache)) is None

    assert lookup.payload is payload


def test_a_cache_is_entered_published_to_and_listened_to_on_an_event_loop() -> None:
    # Proves W4, B2, E7, R13.
    async def build(key: SessionListKey) -> dict[str, object]:
        return {"sessions": [{"session_id": f"of {key.profile_name}"}]}

    async def stamp(key: SessionListKey) -> int:
        return len(key.profile_name)

    async def main() -> None:
        async with SessionListCache(build, sources=stamp, bus=Bus()) as cache:
            assert_type(cache, SessionListCache)
            assert_type(await cache.aget(KEY, builder=build), Payload)
            rendered = assert_type(await cache.arender(KEY, envelope={"server_time": 1}), Rendered)
            assert_type(await cache.aencoded(rendered, "gzip"), bytes)
            async with cache.follow(KEY) as following:
                assert_type(await following.aget(timeout=PROCESS_S), Rendered | Patch | Interrupted | None)
            async with assert_type(await cache.asubscribe("work", since=None), Subscription) as changes:
                assert_type(await cache.ainvalidate("work", reason="renamed", session_id="s1"), Ticket)
                assert_type(await changes.aget(timeout=PROCESS_S), Change | None)
                await cache.ainvalidate("work")
                async for change in changes:
                    assert_type(change, Change)
                    break

    asyncio.run(main())


def test_what_a_gateway_puts_and_takes_out() -> None:
    # Proves V2, P4.
    async def act(cache: SessionListCache) -> bool:
        as_of = assert_type(await cache.amark(KEY), Mark)
        stored = assert_type(await cache.aput(KEY, {"sessions": []}, as_of=as_of), bool)
        await cache.aclear()
        return stored and assert_type(await cache.aevict(KEY), bool)

    with opened_cache() as cache:
        as_of = assert_type(cache.mark(KEY), Mark)
        assert_type(cache.put(KEY, {"sessions": []}, as_of=as_of), bool)
        assert assert_type(cache.keys(), tuple[SessionListKey, ...]) == (KEY,)
        assert not assert_type(cache.is_building(KEY), bool)
        assert assert_type(cache.evict(KEY), bool)
        cache.clear()
        assert not asyncio.run(act(cache))


def test_patches_have_rows_ids_and_fields() -> None:
    # Proves D1, D2.
    async def awaited(cache: SessionListCache, since: str) -> Patch | Rendered:
        return assert_type(await cache.apatch(KEY, since=since, timeout=PROCESS_S), Patch | Rendered)

    with opened_cache() as cache:
        rendered = cache.render(KEY)
        patch = cache.patch(KEY, since=assert_type(rendered.edition, str), timeout=PROCESS_S, freshness="any")
        later = asyncio.run(awaited(cache, rendered.edition))

    assert_type(patch, Patch | Rendered)
    assert isinstance(patch, Patch)
    assert patch == later
    assert_type(patch.body, bytes)
    assert_type(patch.rows, Sequence[Mapping[str, object]])
    assert_type(patch.gone, Sequence[str | int])
    assert_type(patch.order, Sequence[tuple[str | int, str | int | None]])
    assert_type(rendered.apply(patch), Rendered)


def test_what_is_published_gives_a_ticket_and_is_heard() -> None:
    # Proves E2, E7, J8.
    with opened_cache() as cache, assert_type(cache.subscribe("work", since=None), Subscription) as changes:
        ticket = assert_type(cache.invalidate("work", reason="session_rename", session_id="s1"), Ticket)
        change = assert_type(changes.get(timeout=PROCESS_S), Change | None)

        assert_type(default_bus, Bus)
        assert_type(default_bus.session_list_changed.ticket(), Ticket | None)
        assert_type(ticket.committed, bool | None)
        assert_type(cache.committed(ticket), bool | None)
        assert_type(cache.get(KEY, at_least=ticket), Payload)
        assert change is not None
        assert_type(change.profile, str | None)


def test_a_cache_tells_of_itself() -> None:
    # Proves L4, J7.
    with opened_cache() as cache:
        explanation = assert_type(cache.explain(KEY), Explanation)
        stats = assert_type(cache.stats(), Stats)
        health = assert_type(cache.health(), Health)
        rows = assert_type(cache.overlay([{"session_id": "s1"}]), list[object])

    assert explanation.key == KEY
    assert_type(stats.outcomes, Mapping[str, int])
    assert_type(stats.reasons, Mapping[str, Mapping[str, int]])
    assert_type(stats.ended, Mapping[str, int])
    assert_type(health.failing, Mapping[Any, str])
    assert len(rows) == 1


def test_values_are_frozen_and_thawed() -> None:
    # Proves P1, P2.
    payload = assert_type(freeze({"sessions": []}), Payload)

    assert assert_type(thaw(payload), object) == {"sessions": []}


def test_a_home_gives_a_builder_and_sources() -> None:
    # Proves X1.
    home = HermesHome("/nowhere")

    cache = SessionListCache(home.builder, sources=home.sources, bus=Bus())

    assert_type(home.profiles(), tuple[str, ...])
    assert_type(cache.stats(), Stats)
    home.close()


def test_a_journal_can_be_opened_and_replayed(tmp_path: Path) -> None:
    # Proves J2.
    with closing(journal_at(f"sqlite:///{tmp_path / 'journal.db'}")) as journal:
        port: Journal = journal
        replayed = assert_type(replay(port, until=0), Replay)

    assert_type(replayed.agreed, AgreedState)
    assert replayed.position.seq == 0


def test_every_public_name_is_there() -> None:
    # Proves R9, E1: what the documentation imports can be imported.
    named = set(hermes_cache.__all__)

    assert {name for name in named if not hasattr(hermes_cache, name)} == set()
