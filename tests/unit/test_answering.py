"""Rules R4 to R8 and B5: what a read gets when it does not get what it came for."""

import pytest

from hermes_cache.core.answering import failure_error, retry_at_s
from hermes_cache.core.effects import Served
from hermes_cache.core.events import EventId
from hermes_cache.core.messages import Weighed
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Freshness
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Failure, Read
from hermes_cache.errors import BuildError, BuildTimeoutError, LookupTimeoutError
from tests.simulation.core_script import CoreScript, target_of

HERE = target_of(watched=True)


@pytest.mark.parametrize(("parts", "at_s"), [((("content", 1),), 104.0), ((("content", 2),), 100.2)])
def test_a_moved_stamp_brings_the_next_attempt_forward(parts: tuple[tuple[str, int], ...], at_s: float) -> None:
    """R7"""
    script = CoreScript()
    failure = Failure(3, 100.0, 104.0, 0, Check(99.0, parts=(("content", 1),)), "slow")

    script.check(HERE, parts)

    assert retry_at_s(script.state, failure, HERE) == pytest.approx(at_s)


def test_a_failure_before_any_check_counts_the_first_as_a_move() -> None:
    """R7"""
    script = CoreScript()
    failure = Failure(1, 100.0, 104.0, 0, None, "slow")
    unchecked = retry_at_s(script.state, failure, HERE)

    script.check(HERE, (("content", 1),))

    assert unchecked == 104.0
    assert retry_at_s(script.state, failure, HERE) == 100.0


def test_the_error_of_a_build_that_took_too_long_is_a_timeout() -> None:
    """R7"""
    failure = Failure(1, 0.0, 2.0, 0, None, "slow")

    error = failure_error(HERE, failure, 0.5)

    assert isinstance(error, BuildTimeoutError)
    assert error.retry_in_s == 1.5


def test_a_reader_that_waited_for_a_check_to_its_own_bound_is_told_so() -> None:
    """R6, S4"""
    script = CoreScript(Policy(ttl=10.0))
    script.hold(HERE, (("content", 1),))
    script.now_s += 1.0
    stale, strict = (
        script.read(HERE, timeout_s=0.02),
        script.read(HERE, at_least=EventId("another", 1), timeout_s=0.02),
    )

    script.wait(0.02)

    error = script.answers[strict.reader]
    assert script.served(stale).outcome == "stale"
    assert isinstance(error, LookupTimeoutError)
    assert "a check of its sources" in str(error)


def test_a_reader_waits_for_builds_no_longer_than_build_timeout_in_all() -> None:
    """R5"""
    script = CoreScript(Policy(pool_size=1))
    script.read(target_of("work"))
    script.now_s += 30.0
    read = script.read(HERE)
    script.wait(30.0)

    script.wait(30.0)

    assert isinstance(script.answers[read.reader], BuildTimeoutError)


@pytest.mark.parametrize(("age_s", "outcome"), [(4.0, "stale"), (6.0, "BuildError")])
def test_a_payload_stands_in_for_builds_that_fail_for_max_stale_at_most(age_s: float, outcome: str) -> None:
    """R7"""
    script = CoreScript(Policy(max_stale=5.0, ttl=1.0))
    here = target_of()
    script.hold(here)
    script.now_s += age_s
    script.read(here)
    script.fail(script.running(here))

    read = script.read(here)
    if script.started():
        script.fail(script.started()[0])

    answer = script.answers[read.reader]
    assert (answer.outcome if isinstance(answer, Served) else type(answer).__name__) == outcome


def test_without_a_failure_a_payload_past_max_stale_is_served_as_stale() -> None:
    """R7, R3"""
    script = CoreScript(Policy(max_stale=5.0, ttl=1.0))
    here = target_of()
    script.hold(here)
    script.now_s += 6.0

    assert script.served(script.read(here)).outcome == "stale"


def test_a_read_that_takes_anything_gets_what_is_past_max_stale() -> None:
    """R7, R8"""
    script = CoreScript(Policy(max_stale=5.0, ttl=1.0))
    here = target_of()
    script.hold(here)
    script.now_s += 6.0
    script.read(here)
    script.fail(script.running(here))

    assert script.served(script.read(here, Freshness.ANY)).outcome == "stale"


def test_a_payload_that_becomes_too_old_while_its_reader_waits_is_not_served() -> None:
    """R7, R4"""
    script, read = _waiting_after_a_failure()

    script.wait(1.0)

    error = script.answers[read.reader]
    assert isinstance(error, BuildError)
    assert not isinstance(error, BuildTimeoutError)


def test_past_the_bound_of_bytes_a_reader_gets_nothing_that_is_too_old_to_stand_in_for_a_failure() -> None:
    """R7, R4"""
    script, read = _waiting_after_a_failure(max_entries=1, max_bytes=60)
    script.hold(target_of("work"))
    script.now_s += 0.8

    script.take(Weighed(121, (target_of("work").key,), leaving=True))

    assert isinstance(script.answers[read.reader], BuildError)


def _waiting_after_a_failure(**bounds: int) -> tuple[CoreScript, Read]:
    """Let a reader wait for a build after one that failed; what is held is 1.5 s old, of 2 s that it may be."""
    script = CoreScript(Policy(max_stale=2.0, owner_wait=1.0, stamp_interval=0.05, **bounds))
    script.hold(HERE, (("content", 1),))
    script.now_s += 1.0
    script.check(HERE, (("content", 2),), read_since=True)
    script.read(HERE)
    script.fail(script.running(HERE))
    script.now_s += 0.5
    script.check(HERE, (("content", 3),), read_since=True)
    return script, script.read(HERE)
