"""Rule R13: a followed key is built for its followers when there is more to have, and at a bounded cost."""

from dataclasses import replace

import pytest

from hermes_cache.core.effects import Deliver, Served, TakeCheck
from hermes_cache.core.messages import Follow, Notified, Stop, Unfollow
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Freshness
from hermes_cache.core.state import Target
from hermes_cache.errors import BuildError, CacheStoppedError
from tests.simulation.core_script import CoreScript, target_of

_TARGET = target_of()
_OTHER = target_of(show_cron=True)
_WATCHED = target_of(watched=True)


def _followed(target: Target = _TARGET, policy: Policy | None = None, **options: object) -> CoreScript:
    """Return a core that holds a key, which somebody follows."""
    script = CoreScript(policy)
    script.hold(target, took_s=1.0)
    script.take(Follow("follower", target, **options))  # type: ignore[arg-type]  # as given
    return script


def _delivered(script: CoreScript) -> list[Served]:
    return [each.answer for each in script.all_of(Deliver) if isinstance(each.answer, Served)]


def test_an_event_has_a_followed_key_built_and_delivered_though_nobody_reads() -> None:
    """R13"""
    script = _followed()

    script.invalidate("default")

    build = script.running(_TARGET)
    script.finish(build)
    [served] = _delivered(script)
    assert served.entry.build_id == build.id
    assert served.entry.version == script.state.version_of(_TARGET)


def test_what_is_held_is_delivered_to_a_new_follower_alone() -> None:
    """R13: its first read may have got an older payload from memory"""
    script = _followed()

    script.take(Follow("another", _TARGET))
    [delivered] = script.all_of(Deliver)
    script.take(Follow("another", _TARGET, may_miss_events=True))

    assert tuple(delivered.followers) == ("another",)
    assert not script.all_of(Deliver)


def test_a_build_that_began_before_an_event_is_not_delivered_after_it() -> None:
    """R13, R1: a reader's refresh was under way when the first event came that concerns the followers"""
    script = _followed()
    script.read(_TARGET, Freshness.FRESH)
    refresh = script.running(_TARGET)

    script.invalidate("default")
    script.finish(refresh)
    assert not _delivered(script)
    script.finish(script.running(_TARGET))

    assert [served.entry.version for served in _delivered(script)] == [script.state.version_of(_TARGET)]


def test_an_outdated_payload_arms_no_timer_for_who_wants_only_what_moved_at_the_sources() -> None:
    """X10: the actor must not wake again and again for it"""
    script = _followed(wants_events=False)
    script.invalidate("default")

    script.wait(60.0)

    assert script.state.wake_at_s > script.now_s


def test_a_followed_key_that_means_another_profile_since_settings_changed_is_followed_as_that() -> None:
    """R13, K5: its scope and what touches it are others; its name is not."""
    script = _followed(_WATCHED)
    other = replace(_WATCHED, scope="other", reach="other")

    script.take(Follow("follower", other))
    script.invalidate("other")
    build = script.running(other)
    script.finish(build)
    delivered = _delivered(script)
    script.take(Unfollow("follower", other))

    assert [served.entry.build_id for served in delivered] == [build.id]
    assert not script.state.followed_by_scope
    assert not script.state.followed_by_reach
    assert not script.state.followed


def test_nothing_is_built_for_a_key_that_nobody_follows_any_more() -> None:
    """R13"""
    script = _followed()

    script.take(Unfollow("follower", _TARGET))
    script.invalidate("default")

    assert not script.state.builds
    assert not script.state.followed


def test_a_key_is_followed_until_the_last_follower_left() -> None:
    """R13"""
    script = _followed()
    script.take(Follow("another", _TARGET))

    script.take(Unfollow("follower", _TARGET))
    script.take(Unfollow("follower", _TARGET))
    script.invalidate("default")
    script.finish(script.running(_TARGET))

    assert [tuple(each.followers) for each in script.all_of(Deliver)] == [("another",)]


def test_a_payload_that_an_event_overtook_is_delivered_and_the_next_build_comes_after_the_pause() -> None:
    """R13, B4"""
    script = _followed(policy=Policy(max_build_duty=0.2))
    script.invalidate("default")
    build = script.running(_TARGET)
    script.now_s += 1.0

    script.invalidate("default")
    script.finish(build)

    assert [served.overtaken_by is not None for served in _delivered(script)] == [True]
    assert not script.state.builds
    script.wait(3.9)
    assert not script.state.builds
    script.wait(0.2)
    assert script.running(_TARGET).version == script.state.version_of(_TARGET)


def test_a_read_is_not_held_back_by_the_pause_of_followers_and_serves_them_too() -> None:
    """R13, B9"""
    script = _followed()
    script.invalidate("default")
    script.now_s += 1.0
    script.finish(script.running(_TARGET))
    script.invalidate("default")
    assert not script.state.builds

    read = script.read(_TARGET)
    script.finish(script.running(_TARGET))

    assert script.served(read).outcome == "built"
    assert len(_delivered(script)) == 1


def test_followed_keys_of_one_scope_are_built_together_after_the_pause() -> None:
    """R13"""
    script = _followed(policy=Policy(pool_size=4))
    script.hold(_OTHER)
    script.take(Follow("another", _OTHER))
    script.invalidate("default")
    script.now_s += 1.0
    for build in list(script.state.builds.values()):
        script.finish(build)
    script.invalidate("default")

    script.wait(5.0)

    assert {build.target.key for build in script.started()} == {_TARGET.key, _OTHER.key}


def test_a_followed_key_is_checked_at_intervals_and_built_if_its_sources_moved() -> None:
    """R13, S4"""
    script = _followed(_WATCHED, Policy(follow_interval=2.0))
    script.check(_WATCHED)

    assert not [effect for _ in range(19) for effect in script.wait(0.1) if isinstance(effect, TakeCheck)]
    script.wait(0.2)
    assert script.all_of(TakeCheck)
    script.check(_WATCHED, (("content", 2),))

    assert script.running(_WATCHED).reason == "source"


def test_nothing_is_built_after_an_event_for_who_wants_only_what_moved_at_the_sources() -> None:
    """X10: subscribers hear of the event itself"""
    script = _followed(_WATCHED, wants_events=False)
    script.check(_WATCHED)

    script.invalidate("default")
    assert not script.state.builds
    script.hold(_WATCHED, (("content", 1),))
    script.now_s += 0.1
    script.check(_WATCHED, (("content", 2),))

    assert script.running(_WATCHED).reason == "source"


def test_a_notification_has_a_followed_scope_checked_at_once() -> None:
    """R13, X10"""
    script = _followed(_WATCHED)
    script.check(_WATCHED)
    script.now_s += 0.1

    script.take(Notified(_WATCHED.scope))

    assert script.all_of(TakeCheck)


def test_a_notification_during_a_check_has_another_check_follow() -> None:
    """X10: the check that is out may have looked before the change"""
    script = _followed(_WATCHED, Policy(follow_interval=60.0))
    began_s = script.now_s
    script.take(Notified(_WATCHED.scope))
    script.take(Notified(_WATCHED.scope))

    script.now_s += 0.1
    script.check(_WATCHED, began_s=began_s)
    script.wait(0.0)

    assert script.all_of(TakeCheck)
    script.check(_WATCHED)
    script.wait(30.0)
    assert not script.all_of(TakeCheck)


def test_a_notification_of_a_scope_that_nobody_follows_does_nothing() -> None:
    """X10"""
    script = CoreScript()
    script.hold(_WATCHED)

    script.take(Notified(_WATCHED.scope))

    assert not script.effects


def test_a_followed_key_without_sources_is_refreshed_by_age() -> None:
    """R13"""
    script = _followed(policy=Policy(ttl=2.5, max_build_duty=1.0))

    script.wait(2.4)
    assert not script.state.builds
    script.wait(0.2)

    assert script.running(_TARGET).reason == "age"


def test_a_followed_key_whose_sources_are_checked_is_not_refreshed_by_age() -> None:
    """R13"""
    script = _followed(_WATCHED)
    script.check(_WATCHED)

    script.wait(60.0)

    assert not script.state.builds


def test_a_followed_key_that_is_cut_off_from_its_journal_is_refreshed_by_age() -> None:
    """R13, J5"""
    script = _followed(_WATCHED, Policy(max_build_duty=1.0), may_miss_events=True)
    script.check(_WATCHED)

    script.wait(2.6)

    assert script.running(_WATCHED).reason == "age"


def test_eviction_alone_builds_nothing() -> None:
    """R13, P4"""
    script = _followed(policy=Policy(max_entries=1))

    script.hold(_OTHER)

    assert _TARGET.key not in script.state.entries
    assert not script.state.builds


def test_a_failure_is_delivered_and_the_build_is_tried_again_by_itself() -> None:
    """R13, R7"""
    script = _followed()
    script.invalidate("default")

    script.fail(script.running(_TARGET))
    [delivered] = script.all_of(Deliver)
    script.wait(0.2)

    assert isinstance(delivered.answer, BuildError)
    script.finish(script.running(_TARGET))
    assert len(_delivered(script)) == 1


def test_a_start_of_a_stream_lays_the_overlay_anew() -> None:
    """R13, O3"""
    script = _followed()

    script.start_stream("turn", "default")

    assert None in [each.answer for each in script.all_of(Deliver)]


def test_what_comes_for_another_profile_delivers_and_builds_nothing() -> None:
    """R13, V1"""
    script = _followed()

    script.invalidate("work")
    script.start_stream("turn", "work")

    assert not script.state.builds
    assert not script.all_of(Deliver)


@pytest.mark.parametrize("max_queue", [1])
def test_the_build_of_a_follower_is_never_refused(max_queue: int) -> None:
    """R13, B5"""
    script = _followed(policy=Policy(pool_size=1, max_queue=max_queue))
    for profile in ("a", "b", "c"):
        script.read(target_of(profile))

    script.invalidate("default")

    assert _TARGET.key in script.state.builds


def test_a_stop_is_delivered() -> None:
    """R13, L1"""
    script = _followed()

    script.take(Stop())

    assert [type(each.answer) for each in script.all_of(Deliver)] == [CacheStoppedError]
    assert not script.state.followed


def test_the_content_of_what_was_delivered_is_not_kept() -> None:
    """R13, P4"""
    script = _followed()
    script.invalidate("default")
    script.finish(script.running(_TARGET))

    delivered = script.state.followed[_TARGET.key].delivered

    assert delivered is not None
    assert delivered.content is not script.state.entries[_TARGET.key].content


def test_a_check_that_finds_nothing_new_delivers_nothing() -> None:
    """R13, X6"""
    script = _followed(_WATCHED)

    script.check(_WATCHED)
    assert not script.all_of(Deliver)
    assert not script.state.builds
