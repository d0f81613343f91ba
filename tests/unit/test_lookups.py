"""Rules R9 and L4: what a cache tells of a read, and of itself."""

import pytest

from hermes_cache.cache.lookups import health_of, lookup_of, stats_of
from hermes_cache.core.effects import Served
from hermes_cache.core.record import Tally
from hermes_cache.errors import BuildError, ProfileNotFoundError
from hermes_cache.journal.member import JournalStatus
from hermes_cache.payload.content import Content
from tests.simulation.core_script import CoreScript, target_of

HERE = target_of()


def test_a_lookup_tells_of_the_payload_and_its_build() -> None:
    """R9"""
    script = CoreScript()
    script.hold(HERE, took_s=0.5)
    script.now_s += 1.0

    lookup = lookup_of(script.served(script.read(HERE)), script.now_s, Content.decoded, None)

    assert (lookup.outcome, lookup.reason, lookup.age_s, lookup.build_s) == ("hit", None, 1.0, 0.5)
    assert (lookup.error, lookup.retry_in_s) == (None, None)
    assert lookup.payload == {"sessions": []}


def test_a_lookup_tells_the_error_in_the_way_and_when_it_is_tried_again() -> None:
    """R9"""
    script = CoreScript()
    script.hold(HERE)
    for _ in range(2):
        script.now_s += script.policy.ttl + script.policy.duty_window
        script.read(HERE)
        script.fail(script.running(HERE))

    lookup = lookup_of(script.served(script.read(HERE)), script.now_s, Content.decoded, None)

    assert (lookup.outcome, lookup.reason) == ("stale", "age")
    assert isinstance(lookup.error, BuildError)
    assert lookup.retry_in_s == pytest.approx(script.policy.retry_delay)


def test_the_age_is_never_negative() -> None:
    """R9"""
    script = CoreScript()
    script.hold(HERE)
    served = Served(script.state.entries[HERE.key], "hit")

    assert lookup_of(served, script.now_s - 1.0, Content.decoded, None).age_s == 0.0


def test_stats_count_what_the_state_holds() -> None:
    """L4"""
    script = CoreScript()
    script.hold(HERE, took_s=0.5)
    script.start_stream("turn", "work")
    script.read(target_of("home"))

    stats = stats_of(script.state, Tally({"built": 1}, overtaken=2), 3, None, followers=7)

    assert (stats.builds, stats.entries, stats.building, stats.queued, stats.waiting) == (2, 1, 1, 0, 1)
    assert (stats.streams, stats.events, stats.slowest_build_s, stats.dropped_notices) == (1, 1, 0.5, 3)
    assert (stats.followers, stats.outcomes, stats.overtaken) == (7, {"built": 1}, 2)
    assert stats.held_bytes == script.state.entries[HERE.key].content.size_bytes


def test_health_names_the_keys_whose_last_build_failed() -> None:
    """L4, X8"""
    script = CoreScript()
    script.read(HERE)
    script.fail(script.running(HERE))

    health = health_of(script.state, script.policy, frozenset(), None, running=True)

    assert not health.healthy
    assert health.failing == {HERE.key: "locked"}


def test_a_question_for_a_profile_that_is_not_there_is_no_failure() -> None:
    """L4, X8"""
    script = CoreScript()
    script.read(HERE)
    script.fail(script.running(HERE), ProfileNotFoundError("/home/profiles/nobody", "nobody"))

    assert health_of(script.state, script.policy, frozenset(), None, running=True).healthy


def test_a_running_cache_with_nothing_in_its_way_is_healthy() -> None:
    """L4"""
    script = CoreScript()

    assert health_of(script.state, script.policy, frozenset(), None, running=True).healthy
    assert not health_of(script.state, script.policy, frozenset({"sources"}), None, running=True).healthy
    assert not health_of(script.state, script.policy, frozenset(), None, running=False).healthy


def test_a_cache_that_misses_a_thread_is_not_healthy_and_names_it() -> None:
    """L4, L7"""
    script = CoreScript()
    journal = JournalStatus(seq=1, missing_threads=frozenset({"of the journal"}))
    own = frozenset({"own"})

    health = health_of(script.state, script.policy, frozenset(), journal, running=True, missing_threads=own)

    assert (health.healthy, health.missing_threads) == (False, frozenset({"of the journal", "own"}))
