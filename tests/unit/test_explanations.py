"""Rule J7: why a key is as it is."""

from hermes_cache.core.explanations import explain
from hermes_cache.testing.core_script import CoreScript, target_of

HERE = target_of(watched=True)


def test_nothing_is_known_of_a_key_that_was_never_read() -> None:
    """J7"""
    script = CoreScript()

    told = explain(script.state, HERE, script.now_s)

    assert (told.age_s, told.version, told.stamp, told.moved_parts, told.waiting, told.failures) == (
        None, None, {}, (), 0, 0,
    )  # fmt: skip


def test_the_parts_that_moved_are_named() -> None:
    """J7"""
    script = CoreScript()
    script.hold(HERE, (("content", 1), ("settings", 1)))
    script.now_s += 1.0
    script.check(HERE, (("content", 2), ("settings", 1)))
    script.start_stream("turn")

    told = explain(script.state, HERE, script.now_s)

    assert told.moved_parts == ("content", "streams")
    assert told.stamp["content"] == 1
    assert told.age_s == 1.0


def test_a_check_from_before_the_entrys_own_moves_no_part() -> None:
    """J7, B3"""
    script = CoreScript()
    script.hold(HERE, (("content", 2),))

    script.check(HERE, (("content", 1),), began_s=script.now_s - 1.0)

    assert explain(script.state, HERE, script.now_s).moved_parts == ()


def test_a_build_under_way_is_told_with_what_overtook_it() -> None:
    """J7"""
    script = CoreScript()
    script.read(HERE)
    event = script.invalidate()
    script.now_s += 0.25

    told = explain(script.state, HERE, script.now_s)

    assert (told.building_for_s, told.overtaken_by, told.waiting) == (0.25, event.id, 1)
    assert told.current_version == 1


def test_failures_in_a_row_are_told() -> None:
    """J7"""
    script = CoreScript()
    script.read(HERE)
    script.fail(script.running(HERE))

    told = explain(script.state, HERE, script.now_s)

    assert (told.failures, told.failure) == (1, "locked")
