"""Rule J7: why a key is as it is."""

import pytest

from hermes_cache.core.events import EventId, SessionListChanged
from hermes_cache.core.messages import Checked
from hermes_cache.core.policy import Policy
from hermes_cache.core.stamps import Check
from hermes_cache.explain.explaining import Moment, explain
from hermes_cache.explain.explanations import Explanation
from tests.simulation.core_script import CoreScript, target_of

HERE = target_of("here", watched=True)
AT_S = 1_700_000_000.0
PARTS = (("content", 1), ("settings", 1))


def told_of(script: CoreScript, incarnation: str = "") -> Explanation:
    return explain(script.state, HERE, script.policy, Moment(script.now_s, AT_S), incarnation=incarnation)


def test_nothing_is_known_of_a_key_that_was_never_read() -> None:
    """J7"""
    told = told_of(CoreScript())

    assert (told.condition, told.age_s, told.version, told.stamp, told.moved_parts) == (
        "missing",
        None,
        None,
        {},
        (),
    )
    assert (told.waiting, told.failures, told.retry_in_s, told.events, told.builds) == (0, 0, None, (), ())
    assert (told.built_at_s, told.check_age_s, told.held_back_for_s, told.served) == (None, None, None, {})


def test_a_payload_is_shown_with_its_age_its_build_and_its_stamp() -> None:
    """J7"""
    script = CoreScript()
    build = script.hold(HERE, PARTS, took_s=0.5)
    script.now_s += 1.0

    told = told_of(script)

    assert (told.condition, told.age_s, told.build_s, told.build_id) == ("fresh", 1.0, 0.5, build.id)
    assert (told.at_s, told.built_at_s, told.check_age_s) == (AT_S, AT_S - 1.0, 1.5)
    assert {"content": 1, "settings": 1}.items() <= told.stamp.items()


def test_a_payload_past_its_age_is_shown_as_aged() -> None:
    """J7, R3"""
    script = CoreScript(Policy(ttl=2.0))
    script.hold(HERE, PARTS)
    script.now_s += 2.0
    script.check(HERE, PARTS)

    assert told_of(script).condition == "aged"


def test_the_parts_that_moved_are_named() -> None:
    """J7"""
    script = CoreScript()
    script.hold(HERE, PARTS)
    script.now_s += 1.0
    script.check(HERE, (("content", 2), ("settings", 1)))
    script.start_stream("turn")

    told = told_of(script)

    assert (told.condition, told.moved_parts) == ("moved", ("content", "streams"))
    assert told.stamp["content"] == 1
    assert told.age_s == 1.0
    assert "\nMoved since it was built: content, streams.\n" in str(told)


def test_a_check_from_before_the_entrys_own_moves_no_part() -> None:
    """J7, B3"""
    script = CoreScript()
    script.hold(HERE, (("content", 2),))

    script.check(HERE, (("content", 1),), began_s=script.now_s - 1.0)

    assert told_of(script).moved_parts == ()


def test_a_check_that_leaves_parts_out_while_a_turn_streams_moves_none_of_them() -> None:
    """J7, H1"""
    script = CoreScript()
    script.hold(HERE, PARTS)
    script.start_stream("turn", "here")
    script.now_s += 1.0

    script.check(HERE, (("settings", 1),), held=True)

    assert told_of(script).moved_parts == ("streams",)


def test_sources_that_nobody_looked_at_for_long_are_shown_as_unchecked() -> None:
    """J7, S4"""
    script = CoreScript(Policy(ttl=2.0))
    script.hold(HERE, PARTS)

    script.now_s += 60.0

    told = told_of(script)
    assert (told.condition, told.moved_parts, told.check_age_s) == ("unchecked", (), 60.0)


def test_a_build_under_way_is_shown_with_what_overtook_it() -> None:
    """J7, B4"""
    script = CoreScript()
    script.read(HERE)
    event = script.invalidate()
    script.now_s += 0.25

    told = told_of(script)

    assert (told.building_for_s, told.overtaken_by, told.waiting) == (0.25, event.id, 1)
    assert told.current_version == 1
    assert "\nReads that wait: 1.\n" in str(told)
    (build,) = told.builds
    assert (build.outcome, build.began_at_s, build.took_s, build.overtaken_by) == (
        "running",
        AT_S - 0.25,
        0.25,
        event.id,
    )


def test_a_build_that_waits_for_its_turn_is_shown_as_queued() -> None:
    """J7, B5"""
    script = CoreScript(Policy(pool_size=1))
    script.read(target_of("there"))

    script.read(HERE)

    told = told_of(script)
    assert "\n  2: queued, asked for by miss" in str(told)
    (build,) = told.builds
    assert (build.outcome, build.reason, build.began_at_s, build.took_s) == ("queued", "miss", None, 0.0)


def test_builds_are_shown_newest_first_each_with_the_event_that_overtook_it() -> None:
    """J7, B4"""
    script = CoreScript()
    script.read(HERE)
    event = script.invalidate("here")
    script.read(HERE)
    script.now_s += 0.5
    script.finish(script.running(HERE))

    told = told_of(script)

    assert [(build.id, build.reason, build.outcome) for build in told.builds] == [
        (2, "event", "running"),
        (1, "miss", "discarded"),
    ]
    assert [build.overtaken_by for build in told.builds] == [None, event.id]
    assert told.builds[1].began_at_s == AT_S - 0.5


def test_an_event_that_came_after_the_build_is_shown_as_unseen() -> None:
    """J7, V1"""
    script = CoreScript()
    before = script.invalidate("here")
    script.hold(HERE, PARTS)
    after = script.invalidate()
    script.invalidate("there")

    told = told_of(script)

    assert told.condition == "outdated"
    assert [(each.event, each.profile, each.is_unseen) for each in told.events] == [
        (after, None, True),
        (before, "here", False),
    ]


def test_a_stream_that_moved_since_is_shown_as_unseen() -> None:
    """J7, H2"""
    script = CoreScript()
    start = script.start_stream("turn", "here")
    script.hold(HERE, PARTS)
    stop = script.stop_stream("turn")

    told = told_of(script)

    assert [(each.event, each.profile, each.is_unseen) for each in told.events] == [
        (stop, "here", True),
        (start, "here", False),
    ]


def test_changes_and_streams_are_shown_in_one_order() -> None:
    """J7"""
    script = CoreScript()
    said = [script.invalidate("here"), script.start_stream("turn", "here"), script.invalidate("here")]

    told = told_of(script)

    assert [each.event for each in told.events] == said[::-1]
    assert not any(each.is_unseen for each in told.events)


@pytest.mark.parametrize(("incarnation", "is_foreign"), [("script", False), ("another", True)])
def test_an_event_of_another_process_is_shown_as_foreign(incarnation: str, *, is_foreign: bool) -> None:
    """J7, E1"""
    script = CoreScript()
    script.invalidate("here")

    (event,) = told_of(script, incarnation=incarnation).events

    assert event.is_foreign is is_foreign


def test_failures_in_a_row_are_shown() -> None:
    """J7, R7"""
    script = CoreScript(Policy(retry_delay=0.1))
    for _ in range(2):
        script.read(HERE)
        script.fail(script.running(HERE))

    told = told_of(script)

    assert (told.failures, told.failure) == (2, "locked")
    assert told.retry_in_s == pytest.approx(0.1)
    assert [(build.outcome, build.why) for build in told.builds] == [("failed", "OSError: locked")] * 2


def test_a_refresh_that_is_held_back_is_shown_with_when_it_may_begin() -> None:
    """J7, B9"""
    script = CoreScript(Policy(max_build_duty=0.5, ttl=1.0))
    script.hold(HERE, PARTS)
    script.now_s += 1.0
    script.check(HERE, PARTS)
    script.read(HERE)
    script.now_s += 4.0
    script.finish(script.running(HERE), check=Check(script.now_s, parts=PARTS))
    script.now_s += 1.0
    script.take(Checked(HERE, Check(script.now_s, parts=PARTS), by_build=True))

    script.read(HERE)

    told = told_of(script)
    assert told.condition == "aged"
    assert told.held_back_for_s == pytest.approx(3.0)
    assert "\nA refresh is held back for 3 s, since the last one was costly.\n" in str(told)


def test_what_is_counted_beside_the_state_is_shown() -> None:
    """J7"""
    script = CoreScript()

    told = explain(script.state, HERE, script.policy, Moment(0.0, 0.0), served={"hit": 3})

    assert told.served == {"hit": 3}


def test_a_story_tells_it_all_in_plain_lines() -> None:
    """J7"""
    script = CoreScript()
    script.start_stream("turn")
    script.hold(HERE, PARTS, took_s=0.5)
    renamed = SessionListChanged(
        id=EventId("0123456789abcdef", 7),
        at_s=AT_S - 0.5,
        reason="session_rename",
        profile="Here",
        session_id="s1",
    )
    script.publish(renamed, "here")
    script.read(HERE)
    script.invalidate()
    script.fail(script.running(HERE), OSError("locked\nby another"))
    script.now_s += 1.0

    told = explain(script.state, HERE, script.policy, Moment(script.now_s, AT_S), served={"hit": 3, "built": 1})

    assert str(told).splitlines() == [
        "profile here at 22:13:20.000Z",
        "An event outdated what is held.",
        "Built by build 1 at 22:13:19.000Z, 1 s ago, in 0.5 s.",
        "Its sources were last looked at 1.5 s ago.",
        "Builds that failed in a row: 1; the last of them: locked by another.",
        "Tried again by a read in 0 s, or sooner if something changes.",
        "Reads since it was built: 1 built, 3 hit.",
        "Builds:",
        (
            "  2: failed, asked for by event, began at 22:13:19.000Z, 1 s ago, ran 0 s, overtaken by script:2:"
            " OSError: locked by another"
        ),
        "  1: stored, asked for by miss, began at 22:13:18.500Z, 1.5 s ago, ran 0.5 s",
        "Events (* came after the build of what is held):",
        (
            "  * 00:00:00.000Z, 19700 days ago: session_list_changed, all profiles, reason session_changed"
            " (another process, script:2)"
        ),
        (
            "  * 22:13:19.500Z, 0.5 s ago: session_list_changed, profile here, reason session_rename,"
            " session_id s1 (another process, 01234567:7)"
        ),
        (
            "    00:00:00.000Z, 19700 days ago: stream_started, all profiles, stream_id turn"
            " (another process, script:1)"
        ),
        "Built from:",
        "  content: 1",
        "  settings: 1",
        "  streams: turn",
    ]


def test_a_story_of_what_nobody_read_is_short() -> None:
    """J7"""
    told = told_of(CoreScript())

    assert str(told) == "profile here at 22:13:20.000Z\nNothing is held."
