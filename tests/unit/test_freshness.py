"""Rules R2 to R4, R8, S4, B3, H2 and H3: may an entry be served?"""

from collections.abc import Hashable
from dataclasses import replace
from math import inf

import pytest

from hermes_cache.core.freshness import Verdict, judge, refresh_for, trusted, ttl_s
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Freshness, Request
from hermes_cache.core.stamps import Check, Doubted, Stamp
from hermes_cache.core.state import Entry, Refresh, ScopeState, State, Target
from hermes_cache.core.streams import Marker, Streams
from hermes_cache.core.tables import Table
from hermes_cache.core.versions import Versions
from hermes_cache.sessions.keys import SessionListKey
from hermes_cache.sessions.rows import freeze
from tests.contents import content_of

_POLICY = Policy()
_TARGET = Target(SessionListKey(), "scope", "default", watched=True)
_BLIND = replace(_TARGET, watched=False)
_PARTS = (("content", 1), ("settings", 1))
_BUILT_S = 100.0
_OWN = Check(_BUILT_S, parts=_PARTS)
_ENTRY = Entry(_TARGET, content_of(freeze({"sessions": []})), 5, Stamp(Marker(), _OWN), _BUILT_S, 0.01, 1)
_STREAMS = Streams().start("a", "default", position=6, until_s=inf)
_TWO_TURNS = _STREAMS.start("b", "default", position=7, until_s=inf)


def _of_turn(streams: Streams) -> Entry:
    """Return an entry that was built while turns streamed."""
    return replace(_ENTRY, stamp=Stamp(streams.marker("default"), _OWN))


def _state(check: Check | None = _OWN, *, entry: Entry | None = _ENTRY, streams: Streams | None = None) -> State:
    return State(
        versions=Versions(everything=5),
        entries=Table[Hashable, Entry]().with_one(_TARGET.key, entry) if entry else Table(),
        scopes=Table[Hashable, ScopeState]().with_one("scope", ScopeState(_TARGET, check)),
        streams=streams or Streams(),
    )


def test_a_key_is_judged_by_the_scope_that_it_has_now() -> None:
    """R4: settings may have given it another one since its entry was built."""
    state, there = _state(), replace(_TARGET, scope="there")
    check = Check(_BUILT_S + 1.0, parts=(("content", 2), ("settings", 1)))
    state = replace(state, scopes=state.scopes.with_one("there", ScopeState(there, check)))

    verdict = judge(state, _POLICY, there, Request(_BUILT_S + 1.0), _BUILT_S + 1.0, check_by_s=-inf)

    assert verdict is Verdict.MOVED


def _judge(  # noqa: PLR0913 - what a verdict depends on
    state: State,
    now_s: float,
    *,
    freshness: Freshness = Freshness.DEFAULT,
    target: Target = _TARGET,
    began_s: float | None = None,
    waits: bool = True,
    policy: Policy = _POLICY,
) -> Verdict:
    request = Request(now_s if began_s is None else began_s, freshness)
    return judge(state, policy, target, request, now_s, check_by_s=inf if waits else -inf)


def test_what_is_held_unmoved_and_young_is_fresh() -> None:
    """R2"""
    assert _judge(_state(), _BUILT_S + 0.1) is Verdict.FRESH


def test_what_is_not_held_is_missing() -> None:
    """R5"""
    assert _judge(_state(entry=None), _BUILT_S) is Verdict.MISSING


def test_an_invalidation_outdates_whatever_else_holds() -> None:
    """R1"""
    state = replace(_state(), versions=Versions(everything=6))

    assert _judge(state, _BUILT_S) is Verdict.OUTDATED


def test_an_entry_is_stale_at_its_ttl() -> None:
    """R3"""
    verdicts = [_judge(_state(Check(_BUILT_S + age_s, parts=_PARTS)), _BUILT_S + age_s) for age_s in (2.4, 2.5)]

    assert verdicts == [Verdict.FRESH, Verdict.AGED]


def test_a_check_that_found_another_value_makes_stale_by_source() -> None:
    """R4"""
    check = Check(_BUILT_S + 0.1, parts=(("content", 2), ("settings", 1)))

    assert _judge(_state(check), _BUILT_S + 0.1) is Verdict.MOVED


@pytest.mark.parametrize("began_s", [_BUILT_S - 0.01, _BUILT_S])
def test_an_entry_is_never_compared_with_a_check_older_than_its_own(began_s: float) -> None:
    """B3"""
    check = Check(began_s, parts=(("content", 0), ("settings", 1)))

    assert _judge(_state(check), _BUILT_S) is Verdict.FRESH


def test_a_check_is_trusted_for_two_intervals_and_its_own_length() -> None:
    """S4"""
    check = Check(_BUILT_S, took_s=0.02, parts=_PARTS)

    assert _judge(_state(check), _BUILT_S + 0.119) is Verdict.FRESH
    assert _judge(_state(check), _BUILT_S + 0.121) is Verdict.UNCHECKED


def test_past_the_wait_the_last_check_serves_within_the_ttl() -> None:
    """S4"""
    entry = replace(_ENTRY, built_at_s=_BUILT_S + 2.0)
    within = _judge(_state(entry=entry), _BUILT_S + 2.5, waits=False)
    beyond = _judge(_state(entry=entry), _BUILT_S + 2.6, waits=False)

    assert (within, beyond) == (Verdict.FRESH, Verdict.MOVED)


def test_a_last_check_that_found_another_value_is_believed_past_the_wait() -> None:
    """S4"""
    check = Check(_BUILT_S + 0.1, parts=(("content", 2), ("settings", 1)))

    assert _judge(_state(check), _BUILT_S + 1.0, waits=False) is Verdict.MOVED


def test_without_any_check_the_stamp_counts_as_moved_past_the_wait() -> None:
    """S4"""
    assert not trusted(None, Request(_BUILT_S), _BUILT_S, _POLICY)
    assert _judge(_state(None), _BUILT_S) is Verdict.UNCHECKED
    assert _judge(_state(None), _BUILT_S, waits=False) is Verdict.MOVED


def test_with_no_interval_only_a_check_begun_with_the_read_counts() -> None:
    """S4"""
    policy = Policy(stamp_interval=0)
    request = Request(_BUILT_S + 0.001)

    before = trusted(Check(_BUILT_S), request, _BUILT_S + 0.001, policy)
    after = trusted(Check(_BUILT_S + 0.001), request, _BUILT_S + 0.5, policy)

    assert (before, after) == (False, True)


def test_a_fresh_read_wants_a_check_begun_after_it_began() -> None:
    """R8"""
    state = _state(Check(_BUILT_S + 0.02, parts=_PARTS))

    before = _judge(state, _BUILT_S + 0.03, freshness=Freshness.FRESH, began_s=_BUILT_S + 0.03)
    after = _judge(state, _BUILT_S + 0.03, freshness=Freshness.FRESH, began_s=_BUILT_S + 0.01)

    assert (before, after) == (Verdict.UNCHECKED, Verdict.FRESH)


def test_a_fresh_read_builds_where_no_check_came() -> None:
    """R8"""
    assert _judge(_state(), _BUILT_S + 0.03, freshness=Freshness.FRESH, waits=False) is Verdict.MOVED


def test_a_check_that_could_not_read_verifies_nothing_and_no_second_one_is_waited_for() -> None:
    """R8"""
    state = _state(Check(_BUILT_S + 0.02, parts=_PARTS, verified=False))

    verdict = _judge(state, _BUILT_S + 0.03, freshness=Freshness.FRESH, began_s=_BUILT_S + 0.01)

    assert verdict is Verdict.MOVED
    assert _judge(state, _BUILT_S + 0.03) is Verdict.FRESH


def test_a_stream_that_moved_makes_stale_by_source_as_of_the_read() -> None:
    """H2"""
    assert _judge(_state(streams=_STREAMS), _BUILT_S) is Verdict.MOVED


def test_a_check_that_read_other_parts_is_not_compared() -> None:
    """H1"""
    held = replace(
        _ENTRY, stamp=Stamp(_STREAMS.marker("default"), Check(_BUILT_S, parts=(("settings", 1),), held=True))
    )
    state = _state(Check(_BUILT_S + 0.1, parts=_PARTS), entry=held, streams=_STREAMS)

    assert _judge(state, _BUILT_S + 0.1) is Verdict.UNCHECKED
    assert _judge(state, _BUILT_S + 0.1, waits=False) is Verdict.FRESH


def test_an_entry_built_under_a_stream_lives_by_the_streaming_ttl() -> None:
    """H3"""
    held = replace(_ENTRY, stamp=Stamp(Marker(("a",), 1), _OWN))

    assert (ttl_s(_ENTRY, _POLICY), ttl_s(held, _POLICY)) == (2.5, 10.0)


def test_where_there_is_nothing_to_check_age_alone_decides() -> None:
    """R2, R3, R8"""
    state = _state(None)

    assert _judge(state, _BUILT_S + 2.4, target=_BLIND) is Verdict.FRESH
    assert _judge(state, _BUILT_S + 2.5, target=_BLIND) is Verdict.AGED
    assert _judge(state, _BUILT_S, target=_BLIND, freshness=Freshness.FRESH) is Verdict.MOVED


@pytest.mark.parametrize(
    ("state", "refresh"),
    [
        (_state(streams=_STREAMS), Refresh.URGENT),
        (_state(Check(_BUILT_S + 1, parts=(("content", 1), ("settings", 2)))), Refresh.URGENT),
        (_state(Check(_BUILT_S + 1, parts=(("content", 2), ("settings", 1)))), Refresh.SOURCE),
        (_state(None), Refresh.SOURCE),
        (_state(streams=_STREAMS.stop("a", position=7, until_s=inf)), Refresh.STOP),
        (_state(entry=_of_turn(_STREAMS)), Refresh.STOP),
        (_state(entry=_of_turn(_STREAMS), streams=_TWO_TURNS), Refresh.URGENT),
        (_state(entry=_of_turn(_TWO_TURNS), streams=_STREAMS), Refresh.STOP),
        (_state(entry=None), Refresh.URGENT),
    ],
    ids=[
        "start",
        "settings",
        "commit",
        "unchecked",
        "start and stop",
        "stop",
        "another start",
        "one of two stops",
        "evicted",
    ],
)
def test_a_refresh_is_asked_for_by_what_moved(state: State, refresh: Refresh) -> None:
    """B9"""
    assert refresh_for(state, _TARGET, "source") is refresh
    assert refresh_for(state, _TARGET, "age") is Refresh.AGE


def test_what_only_may_have_moved_is_stale_and_refreshed_as_by_age() -> None:
    """S2, B9"""
    own = Check(_BUILT_S - 1, parts=(("content", Doubted(1, 1)), ("settings", 1)))
    feared = Check(_BUILT_S + 1, parts=(("content", Doubted(2, 1)), ("settings", 1)))
    state = _state(feared, entry=replace(_ENTRY, stamp=Stamp(Marker(), own)))

    assert _judge(state, _BUILT_S + 1) is Verdict.MOVED
    assert refresh_for(state, _TARGET, "source") is Refresh.AGE
