"""The first change after a calm is built at once (rules B9, R3, R4), whatever was refreshed by age before."""

from hermes_cache.core.policy import Policy
from hermes_cache.core.stamps import Check, Parts
from hermes_cache.core.state import Build, Target
from tests.simulation.core_script import CoreScript, target_of

HERE, OTHER = target_of(watched=True), target_of(show_cron=True, watched=True)
FIRST: Parts = (("content", 1),)
SECOND: Parts = (("content", 2),)
THIRD: Parts = (("content", 3),)


def _held(*targets: Target, took_s: float = 1.0) -> CoreScript:
    """Hold payloads that were built in a second each, then let their age pass."""
    script = CoreScript(Policy())
    for target in targets:
        script.hold(target, FIRST, took_s=took_s)
    script.now_s += 2.5
    script.check(HERE, FIRST, read_since=True)
    return script


def _refreshing_by_age(script: CoreScript, target: Target) -> Build:
    """Have a read begin the refresh of an aged payload, and the build take its check."""
    script.read(target)
    build = script.running(target)
    script.check(target, FIRST, read_since=True)
    return build


def _finish(script: CoreScript, build: Build, parts: Parts, *, after_s: float = 1.0) -> None:
    began_s = build.began_s or 0.0
    script.now_s = max(script.now_s, began_s + after_s)
    script.finish(build, check=Check(began_s, parts=parts))


def test_a_commit_soon_after_a_refresh_by_age_is_built_at_once() -> None:
    """B9, R3"""
    script = _held(HERE)
    _finish(script, _refreshing_by_age(script, HERE), FIRST)
    script.now_s += 0.1
    script.check(HERE, SECOND, read_since=True)

    read = script.read(HERE)

    assert [build.reason for build in script.started()] == ["source"]
    assert read.reader not in script.answers


def test_a_refresh_by_age_soon_after_another_waits_for_the_pause() -> None:
    """B9"""
    script = _held(HERE)
    _finish(script, _refreshing_by_age(script, HERE), FIRST)
    script.now_s += 2.5
    script.check(HERE, FIRST, read_since=True)

    aged = script.read(HERE)
    held_back = script.started()
    script.wait(1.5)

    assert (script.served(aged).reason, held_back) == ("age", [])
    assert [build.reason for build in script.started()] == ["age"]


def test_a_commit_while_a_refresh_by_age_runs_is_built_when_that_ends_and_its_reader_waits_on() -> None:
    """R3, R4, B9"""
    script = _held(HERE, took_s=0.05)
    build = _refreshing_by_age(script, HERE)
    script.now_s += 0.02
    script.check(HERE, SECOND, read_since=True)
    read = script.read(HERE)

    _finish(script, build, FIRST, after_s=0.05)
    waits_on = read.reader not in script.answers
    (again,) = script.started()
    script.now_s += 0.05
    script.finish(again, check=Check(again.began_s or 0.0, parts=SECOND))

    assert waits_on
    assert (again.reason, script.served(read).outcome) == ("source", "waited")
    assert script.served(read).entry.build_id == again.id


def test_a_reader_that_waits_on_gets_the_newer_stale_payload_at_its_bound() -> None:
    """R4"""
    script = _held(HERE, took_s=0.05)
    build = _refreshing_by_age(script, HERE)
    script.now_s += 0.02
    script.check(HERE, SECOND, read_since=True)
    read = script.read(HERE)
    _finish(script, build, FIRST, after_s=0.05)

    script.wait(0.1)

    assert (script.served(read).outcome, script.served(read).entry.build_id) == ("stale", build.id)


def test_a_commit_found_while_a_refresh_by_age_runs_is_built_at_once_for_another_key() -> None:
    """B9, R3"""
    script = _held(HERE, OTHER)
    _refreshing_by_age(script, HERE)
    script.now_s += 0.1
    script.check(HERE, SECOND, read_since=True)

    script.read(OTHER)

    assert [(build.target, build.reason) for build in script.started()] == [(OTHER, "source")]


def test_a_commit_soon_after_a_refresh_by_source_is_held_back_and_built_at_the_end_of_the_pause() -> None:
    """B9"""
    script = _held(HERE, OTHER)
    script.check(HERE, SECOND, began_s=script.now_s + 0.001, read_since=True)
    script.read(HERE)
    _finish(script, script.running(HERE), SECOND)
    script.now_s += 0.1
    script.check(HERE, THIRD, read_since=True)

    reads = [script.read(HERE), script.read(OTHER)]
    held_back = script.started()
    script.wait(3.9)

    assert ([script.served(read).reason for read in reads], held_back) == (["source", "source"], [])
    assert [build.target for build in script.started()] == [HERE, OTHER]


def test_the_title_that_is_committed_after_a_turn_is_built_at_once() -> None:
    """B9, H2"""
    script = CoreScript(Policy())
    script.start_stream("turn", HERE.reach)
    script.hold(HERE, took_s=1.0)
    script.stop_stream("turn")
    script.read(HERE)
    _finish(script, script.running(HERE), FIRST)
    script.now_s += 0.2
    script.check(HERE, SECOND, read_since=True)

    script.read(HERE)

    assert [build.reason for build in script.started()] == ["source"]


def test_the_title_that_is_committed_while_the_refresh_for_the_stop_runs_is_built_when_that_ends() -> None:
    """B9, H2"""
    script = CoreScript(Policy())
    script.start_stream("turn", HERE.reach)
    script.hold(HERE, took_s=1.0)
    script.stop_stream("turn")
    script.read(HERE)
    build = script.running(HERE)
    script.now_s += 0.2
    script.check(HERE, SECOND, read_since=True)

    _finish(script, build, FIRST)

    assert [build.reason for build in script.started()] == ["source"]
