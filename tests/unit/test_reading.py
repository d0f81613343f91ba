"""Rules R1 to R8, S4 and B9: what a read gets, at once or after a wait."""

from dataclasses import replace

import pytest

from hermes_cache.core.effects import Release, RunBuild, Served, TakeCheck
from hermes_cache.core.events import EventId
from hermes_cache.core.messages import Leave, Stop, Weighed
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Freshness
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Read
from hermes_cache.errors import BuildError, CacheBusyError, CacheStoppedError, LookupTimeoutError
from hermes_cache.sessions.keys import SessionListKey
from tests.simulation.core_script import CoreScript, content, target_of

HERE = target_of()
WATCHED = target_of(watched=True)


def _outcome(script: CoreScript, read: Read) -> tuple[str, str | None]:
    served = script.served(read)
    return served.outcome, served.reason


def test_a_miss_waits_for_the_build_that_it_starts() -> None:
    """R5"""
    script = CoreScript()
    owner, follower = script.read(HERE), script.read(HERE)

    script.finish(script.running(HERE))

    assert _outcome(script, owner) == ("built", "miss")
    assert _outcome(script, follower) == ("waited", "miss")
    assert script.state.last_build == 1


def test_a_stored_payload_is_a_hit_until_its_ttl() -> None:
    """R2, R3"""
    script = CoreScript()
    script.hold(HERE)
    script.now_s += 2.0
    young = script.read(HERE)
    script.now_s += 0.5

    old = script.read(HERE)

    assert _outcome(script, young) == ("hit", None)
    assert _outcome(script, old) == ("stale", "age")
    assert script.started()[0].reason == "age"


def test_a_moved_source_lets_the_owner_wait_longer_than_the_others() -> None:
    """R4"""
    script = CoreScript()
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 1.0
    script.check(WATCHED, (("content", 2),))
    owner, follower = script.read(WATCHED), script.read(WATCHED)

    script.wait(0.11)
    after_a_tenth = dict(script.answers)
    script.wait(1.0)

    assert follower.reader in after_a_tenth
    assert owner.reader not in after_a_tenth
    assert _outcome(script, owner) == _outcome(script, follower) == ("stale", "source")


def _refreshed_by_age(*, took_s: float, policy: Policy | None = None) -> CoreScript:
    """Begin when the first refresh by age of a key is over, which took so long."""
    script = CoreScript(policy or Policy())
    script.hold(HERE)
    script.now_s += 2.5
    script.read(HERE)
    script.now_s += took_s
    script.finish(script.running(HERE))
    return script


def _waiting_for_what_is_evicted(policy: Policy, **options: object) -> tuple[CoreScript, Read]:
    """Let a reader wait for the refresh of an entry that goes meanwhile, for one of another key."""
    script = CoreScript(policy)
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 1.0
    script.check(WATCHED, (("content", 2),))
    read = script.read(WATCHED, **options)  # type: ignore[arg-type]  # a reader's own bound
    script.hold(target_of("work"))
    assert WATCHED.key not in script.state.entries
    return script, read


def test_a_reader_falls_back_to_what_was_evicted_while_it_waited() -> None:
    """R4, I17"""
    script, read = _waiting_for_what_is_evicted(Policy(max_entries=1))
    is_let_go = bool(script.all_of(Release))

    script.wait(1.0)

    assert not is_let_go
    assert _outcome(script, read) == ("stale", "source")
    assert script.all_of(Release) == [Release(script.served(read).entry.content)]
    assert not script.state.kept


def test_a_reader_falls_back_at_its_own_bound_to_what_was_evicted() -> None:
    """R6, I17"""
    script, read = _waiting_for_what_is_evicted(Policy(max_entries=1), timeout_s=0.3)

    script.wait(0.3)

    assert _outcome(script, read) == ("stale", "source")


def test_what_was_evicted_while_readers_waited_is_let_go_once_by_the_last_that_leaves() -> None:
    """R4, P4"""
    script, read = _waiting_for_what_is_evicted(Policy(max_entries=1))
    other = script.read(WATCHED)
    content_kept = next(iter(script.state.kept.values())).entry.content

    released = [script.take(Leave(each)) for each in (other, read, read)]

    assert [Release(content_kept) in effects for effects in released] == [False, True, False]


def test_a_reader_whose_entry_goes_while_it_waits_for_a_check_still_falls_back_to_it() -> None:
    """R4, S4"""
    script = CoreScript(Policy(max_entries=1))
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 1.0
    read = script.read(WATCHED)
    script.hold(target_of("work"))

    script.check(WATCHED, (("content", 1),))
    script.wait(1.0)

    assert _outcome(script, read) == ("stale", "source")


def test_past_twice_the_bound_of_bytes_readers_get_at_once_what_was_evicted() -> None:
    """R4"""
    script, read = _waiting_for_what_is_evicted(Policy(max_entries=1, max_bytes=60))

    script.take(Weighed(121, (target_of("work").key,), leaving=True))

    assert _outcome(script, read) == ("stale", "source")
    assert script.answers.keys() >= {read.reader}
    assert not script.state.kept


def test_past_twice_the_bound_of_bytes_a_reader_whose_entry_is_still_held_waits_on() -> None:
    """R4"""
    script = CoreScript(Policy(max_entries=2, max_bytes=60, pool_size=3))
    gone, held = WATCHED, target_of("home", watched=True)
    for target in (gone, held):
        script.hold(target, (("content", 1),))
    script.now_s += 1.0
    for target in (gone, held):
        script.check(target, (("content", 2),))
    reads = [script.read(target) for target in (gone, held)]
    script.hold(target_of("work"))

    script.take(Weighed(200, (target_of("work").key, held.key), leaving=True))

    assert [read.reader in script.answers for read in reads] == [True, False]


def test_past_twice_the_bound_of_bytes_nobody_waits_who_can_have_a_stale_payload() -> None:
    """R4"""
    script = CoreScript(Policy(max_bytes=60))
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 1.0
    script.take(Weighed(121, (WATCHED.key,), leaving=True))
    script.check(WATCHED, (("content", 2),))

    read = script.read(WATCHED)

    assert _outcome(script, read) == ("stale", "source")


def test_a_payload_that_is_kept_for_a_reader_survives_a_message_that_comes_twice() -> None:
    """R4, I3"""
    script = CoreScript(Policy(max_entries=1))
    script.read(WATCHED)
    message = script.finish(script.running(WATCHED), check=Check(script.now_s, parts=(("content", 1),)))
    script.now_s += 1.0
    script.check(WATCHED, (("content", 2),))
    script.read(WATCHED)
    script.hold(target_of("work"))

    script.take(message)

    assert script.all_of(Release) == []


def test_nobody_waits_for_a_build_that_took_longer_than_the_wait() -> None:
    """R4"""
    script = CoreScript()
    script.hold(WATCHED, (("content", 1),), took_s=1.5)
    script.now_s += 7.0
    script.check(WATCHED, (("content", 2),))

    read = script.read(WATCHED)

    assert _outcome(script, read) == ("stale", "source")


def test_an_invalidated_payload_is_never_served_to_a_later_read() -> None:
    """R1"""
    script = CoreScript()
    script.hold(HERE)
    script.invalidate("default")

    read = script.read(HERE)

    assert read.reader not in script.answers
    assert script.started()[0].reason == "event"


def test_a_read_that_takes_anything_gets_what_is_outdated_and_starts_the_build() -> None:
    """R8"""
    script = CoreScript()
    script.hold(HERE)
    script.invalidate()

    read = script.read(HERE, Freshness.ANY)

    assert _outcome(script, read) == ("outdated", "event")
    assert len(script.started()) == 1


def test_a_read_that_takes_anything_waits_only_where_nothing_is_held() -> None:
    """R8"""
    script = CoreScript()
    missing = script.read(HERE, Freshness.ANY)
    script.finish(script.running(HERE))
    script.now_s += 3.0

    aged = script.read(HERE, Freshness.ANY)

    assert _outcome(script, missing) == ("built", "miss")
    assert _outcome(script, aged) == ("stale", "age")


def test_a_fresh_read_of_what_is_not_watched_builds() -> None:
    """R8"""
    script = CoreScript()
    script.hold(HERE)

    read = script.read(HERE, Freshness.FRESH)

    assert read.reader not in script.answers
    assert script.started()[0].target == HERE


@pytest.mark.parametrize("verified", [True, False])
def test_a_fresh_read_is_a_hit_by_a_check_begun_after_it_that_could_read(*, verified: bool) -> None:
    """R8, S4"""
    script = CoreScript()
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 0.01
    read = script.read(WATCHED, Freshness.FRESH)
    asked = script.all_of(TakeCheck)

    script.check(WATCHED, (("content", 1),), verified=verified)

    assert len(asked) == 1
    assert (read.reader in script.answers) == verified
    assert len(script.started()) == (not verified)


def test_a_read_waits_for_a_check_at_most_so_long_and_then_trusts_the_last() -> None:
    """S4"""
    script = CoreScript()
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 1.0
    read = script.read(WATCHED)

    script.wait(0.05)

    assert _outcome(script, read) == ("hit", None)


def test_a_last_check_from_before_the_ttl_counts_as_moved() -> None:
    """S4"""
    script = CoreScript()
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 2.6
    script.read(WATCHED)

    script.wait(0.05)

    assert [build.reason for build in script.started()] == ["source"]


def test_a_reads_own_bound_ends_its_wait() -> None:
    """R6"""
    script = CoreScript()
    read = script.read(HERE, timeout_s=0.5)

    script.wait(0.5)

    assert isinstance(script.answers[read.reader], LookupTimeoutError)
    assert HERE.key in script.state.builds


def test_a_read_that_may_not_wait_is_answered_at_once_and_its_build_goes_on() -> None:
    """R6"""
    script = CoreScript()

    read = script.read(HERE, timeout_s=0.0)

    assert isinstance(script.answers[read.reader], LookupTimeoutError)
    assert len(script.all_of(RunBuild)) == 1


@pytest.mark.parametrize("target", [HERE, WATCHED])
def test_past_the_bound_on_waiters_a_read_is_refused(target: object) -> None:
    """B5"""
    script = CoreScript(Policy(max_waiters=1))
    script.read(target_of("work"))

    read = script.read(HERE if target is HERE else WATCHED)

    assert isinstance(script.answers[read.reader], CacheBusyError)


def test_past_the_bound_on_waiters_what_may_be_served_is_served() -> None:
    """B5, S4"""
    script = CoreScript(Policy(max_waiters=1))
    script.hold(WATCHED, (("content", 1),))
    script.read(target_of("work"))
    script.now_s += 1.0

    read = script.read(WATCHED)

    assert _outcome(script, read)[0] == "stale"


def test_a_refresh_is_held_back_until_its_pause_is_over_and_then_comes_by_itself() -> None:
    """B9"""
    script = _refreshed_by_age(took_s=1.0)
    script.now_s += 2.6
    held_back = script.read(HERE)
    while_paused = script.started()

    script.wait(1.4)

    assert _outcome(script, held_back) == ("stale", "age")
    assert while_paused == []
    assert [build.reason for build in script.started()] == ["age"]


def test_what_was_held_back_and_is_fresh_by_then_is_left_alone() -> None:
    """B9"""
    script = _refreshed_by_age(took_s=2.4)
    script.now_s += 2.6
    script.read(HERE)
    script.invalidate()
    script.read(HERE)
    script.now_s += 5.0
    script.finish(script.running(HERE))

    script.wait(2.1)

    assert script.started() == []
    assert script.state.scopes[HERE.scope].held_back == {}


def test_a_released_refresh_keeps_the_retry_delay() -> None:
    """B9, R7"""
    script = _refreshed_by_age(took_s=2.4, policy=Policy(retry_delay=5.0))
    script.now_s += 9.3
    script.read(HERE)
    for _ in range(2):
        script.read(HERE, Freshness.FRESH)
        script.fail(script.running(HERE))
    assert HERE.key in script.state.scopes[HERE.scope].held_back

    script.wait(0.4)

    assert script.started() == []
    assert script.state.scopes[HERE.scope].held_back == {}


def test_a_start_of_a_stream_is_never_held_back() -> None:
    """B9, H2"""
    script = _refreshed_by_age(took_s=1.0)
    script.start_stream("turn")

    script.read(HERE)

    assert [build.reason for build in script.started()] == ["source"]


def test_a_reader_that_leaves_is_not_answered() -> None:
    """R6"""
    script = CoreScript()
    read, other = script.read(HERE), script.read(HERE)
    script.take(Leave(read))
    script.take(Leave(read))

    script.finish(script.running(HERE))

    assert read.reader not in script.answers
    assert script.served(other).outcome == "waited"


def test_a_stopped_cache_lets_its_readers_go_and_rests() -> None:
    """L1"""
    script = CoreScript()
    waiting = script.read(HERE)
    build = script.running(HERE)
    script.take(Stop())
    late = script.read(HERE)
    script.check(WATCHED)
    checks = script.effects

    script.finish(build, content(n=1))

    assert isinstance(script.answers[waiting.reader], CacheStoppedError)
    assert isinstance(script.answers[late.reader], CacheStoppedError)
    assert checks == ()
    assert not script.state.entries
    assert script.all_of(RunBuild) == []


def test_a_strict_read_gets_the_error_in_the_stead_of_a_stale_payload() -> None:
    """R8"""
    script = CoreScript()
    script.hold(HERE)
    script.now_s += 2.5
    strict = script.read(HERE, at_least=EventId("another", 1))

    script.fail(script.running(HERE))

    assert isinstance(script.answers[strict.reader], BuildError)


def test_reads_that_never_waited_leave_the_state_as_it_is() -> None:
    """A hit changes nothing: it is no event."""
    script = CoreScript()
    script.hold(HERE)
    before = script.state

    read = script.read(HERE)

    assert script.served(read) == Served(before.entries[HERE.key], "hit")
    assert script.state is before


def test_a_view_of_the_same_profile_shares_the_check() -> None:
    """S4"""
    script = CoreScript()
    sibling = replace(WATCHED, key=SessionListKey(show_cron=True))
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 1.0
    script.read(WATCHED)

    script.read(sibling)

    assert script.all_of(TakeCheck) == []


def test_without_an_interval_a_hit_arms_no_check() -> None:
    """S4: every read brings its own."""
    script = CoreScript(Policy(stamp_interval=0.0))
    script.hold(WATCHED, (("content", 1),))
    script.check(WATCHED, (("content", 1),))

    read = script.read(WATCHED)

    assert script.served(read).outcome == "hit"
    assert script.all_of(TakeCheck) == []
