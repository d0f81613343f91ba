"""Rule J7: what is remembered for `explain`, and how much of it."""

from hermes_cache.core.events import EventId, SessionListChanged, SettingsChanged
from hermes_cache.core.policy import Policy
from hermes_cache.core.record import (
    BUILD_BOUNDS_S,
    Counts,
    Durations,
    PastBuild,
    PastOutcome,
    Touch,
    Touches,
)
from hermes_cache.core.versions import ALL_PROFILES
from tests.simulation.core_script import CoreScript, content, target_of

HERE = target_of("here")


def touch(position: int, profile: str | None) -> Touch:
    return Touch(position, SessionListChanged(id=EventId("a", position), at_s=0.0, profile=profile), profile)


def positions(touches: Touches, reach: str) -> list[int]:
    return [each.position for each in touches.of(reach)]


def past_build(
    outcome: PastOutcome, *, took_s: float = 0.0, began_s: float | None = 1.0, overtaken_by: EventId | None = None
) -> PastBuild:
    return PastBuild(1, "miss", began_s, took_s, outcome, None, overtaken_by)


def outcomes(script: CoreScript) -> list[str]:
    return [build.outcome for build in script.state.record.builds[HERE.key]]


def test_an_event_touches_its_profile_and_the_keys_of_all() -> None:
    """J7, V1"""
    touches = Touches().after(touch(1, "here")).after(touch(2, "there")).after(touch(3, None))

    assert positions(touches, "here") == [3, 1]
    assert positions(touches, "there") == [3, 2]
    assert positions(touches, ALL_PROFILES) == [3, 2, 1]
    assert positions(touches, "elsewhere") == [3]


def test_sixteen_events_are_remembered_of_each_reach_whatever_the_others_say() -> None:
    """J7"""
    touches = Touches().after(touch(1, "quiet"))

    for position in range(2, 102):
        touches = touches.after(touch(position, "busy"))

    assert positions(touches, "quiet") == [1]
    assert positions(touches, "busy") == list(range(101, 85, -1))
    assert positions(touches, ALL_PROFILES) == list(range(101, 85, -1))


def test_past_their_bound_the_profile_that_was_quiet_the_longest_is_forgotten() -> None:
    """J7"""
    touches = Touches()
    for position in range(1, 257):
        touches = touches.after(touch(position, f"profile {position}"))

    touches = touches.after(touch(257, "profile 1")).after(touch(258, "new"))

    assert len(touches.of_profiles) == 256
    assert positions(touches, "profile 1") == [257, 1]
    assert positions(touches, "profile 2") == []


def test_settings_are_remembered_as_touching_all() -> None:
    """J7, V1"""
    script = CoreScript()
    event = SettingsChanged(id=script.next_id(), at_s=0.0)

    script.publish(event, None)

    assert [each.event for each in script.state.record.changes.of("here")] == [event]


def test_streams_are_remembered_beside_changes_so_that_neither_pushes_out_the_other() -> None:
    """J7, H2"""
    script = CoreScript()
    script.invalidate("here")

    for number in range(20):
        script.start_stream(f"turn {number}", "here")

    assert len(script.state.record.changes.of("here")) == 1
    assert len(script.state.record.moves.of("here")) == 16


def test_a_stop_touches_what_its_start_did() -> None:
    """J7, H5"""
    script = CoreScript()
    script.start_stream("turn", "here")

    script.stop_stream("turn")
    script.stop_stream("unheard of")

    assert [each.profile for each in script.state.record.moves.of("here")] == [None, "here", "here"]
    assert positions(script.state.record.moves, "there") == [3]


def test_a_sign_of_life_moves_nothing_and_is_not_remembered() -> None:
    """J7, H4"""
    script = CoreScript()
    script.start_stream("turn", "here")

    script.start_stream("turn", "here")

    assert positions(script.state.record.moves, "here") == [1]


def test_a_build_is_remembered_with_what_became_of_it() -> None:
    """J7, B3"""
    script = CoreScript()

    build = script.hold(HERE, took_s=0.5)

    (past,) = script.state.record.builds[HERE.key]
    assert (past.id, past.reason, past.began_s, past.took_s) == (build.id, "miss", build.began_s, 0.5)
    assert (past.outcome, past.why, past.overtaken_by) == ("stored", None, None)


def test_an_overtaken_build_is_remembered_with_the_event_that_did_it() -> None:
    """J7, B4"""
    script = CoreScript()
    script.read(HERE)
    build = script.running(HERE)
    first, _ = script.invalidate("here"), script.invalidate("here")

    script.finish(build)

    (past,) = script.state.record.builds[HERE.key]
    assert (past.outcome, past.why, past.overtaken_by) == ("discarded", "an event overtook it", first.id)


def test_a_payload_that_is_too_large_is_remembered_as_discarded() -> None:
    """J7, P4"""
    script = CoreScript(Policy(max_bytes=100))
    script.read(HERE)

    script.finish(script.running(HERE), content(note="x" * 100))

    (past,) = script.state.record.builds[HERE.key]
    assert past.outcome == "discarded"
    assert past.why == "its 111 bytes are over Policy.max_bytes, 100"


def test_a_failed_build_is_remembered_with_its_error_in_short() -> None:
    """J7, R7"""
    script = CoreScript()
    script.read(HERE)

    script.fail(script.running(HERE), OSError("locked " * 100))

    (past,) = script.state.record.builds[HERE.key]
    assert past.outcome == "failed"
    assert past.why
    assert past.why.startswith("OSError: locked")
    assert len(past.why) == 300


def test_a_build_that_hangs_is_remembered_as_abandoned() -> None:
    """J7, B6"""
    script = CoreScript(Policy(build_timeout=5.0))
    script.read(HERE)

    script.wait(5.0)

    (past,) = script.state.record.builds[HERE.key]
    assert (past.outcome, past.took_s) == ("abandoned", 5.0)


def test_a_build_that_never_began_is_remembered_as_failed() -> None:
    """J7, B6"""
    script = CoreScript(Policy(build_timeout=5.0, pool_size=1, max_abandoned=1))
    script.read(target_of("there"))
    script.read(HERE)

    script.wait(5.0)

    (past,) = script.state.record.builds[HERE.key]
    assert (past.outcome, past.began_s, past.took_s) == ("failed", None, 0.0)
    assert past.why
    assert "max_abandoned" in past.why


def test_eight_builds_are_remembered_of_each_key() -> None:
    """J7"""
    script = CoreScript()

    for _ in range(10):
        script.hold(HERE)
        script.invalidate("here")

    assert [build.id for build in script.state.record.builds[HERE.key]] == list(range(3, 11))
    assert outcomes(script) == ["stored"] * 8


def test_past_their_bound_the_key_that_was_built_least_lately_is_forgotten() -> None:
    """J7"""
    script = CoreScript(Policy(max_entries=1))

    for number in range(257):
        script.hold(target_of(f"profile {number}"))

    assert len(script.state.record.builds) == 256
    assert target_of("profile 0").key not in script.state.record.builds


def test_readers_are_counted_by_key_and_by_what_they_got() -> None:
    """J7, L4"""
    counts = Counts()
    counts.add(HERE.key, "built")
    counts.add_remembered(HERE.key, "hit", 3)
    counts.add(target_of("there").key, "hit")

    assert counts.of(HERE.key) == {"built": 1, "hit": 3}
    assert counts.of(target_of("elsewhere").key) == {}
    assert counts.tally(3).outcomes == {"built": 1, "hit": 4}


def test_another_payload_begins_another_count() -> None:
    """J7"""
    counts = Counts()
    counts.add(HERE.key, "hit")

    counts.begin(HERE.key)
    counts.add(HERE.key, "built")

    assert counts.of(HERE.key) == {"built": 1}
    assert counts.tally().outcomes == {"hit": 1, "built": 1}


def test_reads_that_were_no_hit_are_counted_by_outcome_and_reason() -> None:
    """L4"""
    counts = Counts()
    counts.add(HERE.key, "hit")
    counts.add(HERE.key, "stale", "age")
    counts.add(HERE.key, "stale", "source")
    counts.add(HERE.key, "built", "miss")
    counts.add(HERE.key, "BuildError")

    tally = counts.tally()

    assert tally.outcomes == {"hit": 1, "stale": 2, "built": 1, "BuildError": 1}
    assert tally.reasons == {"stale": {"age": 1, "source": 1}, "built": {"miss": 1}}


def test_builds_are_counted_by_outcome_and_those_that_ran_by_their_duration() -> None:
    """L4"""
    counts = Counts()
    counts.add_build(past_build("stored", took_s=0.0))
    counts.add_build(past_build("discarded", took_s=0.25, overtaken_by=EventId("a", 1)))
    counts.add_build(past_build("abandoned", took_s=61.5))
    counts.add_build(past_build("failed", began_s=None))

    tally = counts.tally()

    assert tally.ended == {"stored": 1, "discarded": 1, "abandoned": 1, "failed": 1}
    assert tally.overtaken == 1
    assert tally.durations == Durations((1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1), 61.75)
    assert len(tally.durations.counts) == len(BUILD_BOUNDS_S) + 1


def test_what_is_counted_is_handed_out_as_a_copy() -> None:
    """J7"""
    counts = Counts()
    counts.add(HERE.key, "hit")

    counts.of(HERE.key)["hit"] += 1

    assert counts.of(HERE.key) == {"hit": 1}


def test_readers_of_so_many_keys_only_are_counted() -> None:
    """J7"""
    counts = Counts()

    for number in range(1_025):
        counts.add(number, "hit")

    assert counts.of(0) == {}
    assert counts.of(1) == {"hit": 1}
