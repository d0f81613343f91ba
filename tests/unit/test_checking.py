"""Rules S4 and B3: when the sources of a scope are looked at, and who waits for that."""

from math import inf

from hermes_cache.core.effects import TakeCheck
from hermes_cache.core.messages import Checked, CheckFailed, Stop
from hermes_cache.core.policy import Policy
from hermes_cache.core.stamps import Check
from tests.simulation.core_script import CoreScript, target_of

HERE = target_of(watched=True)
PARTS = (("content", 1),)


def test_a_scope_is_checked_once_however_many_wait() -> None:
    """S4"""
    script = CoreScript()
    script.hold(HERE, PARTS)
    script.now_s += 1.0
    script.read(HERE)
    first = script.all_of(TakeCheck)

    script.read(HERE)

    assert len(first) == 1
    assert script.all_of(TakeCheck) == []


def test_a_hit_arms_the_next_check_at_the_interval() -> None:
    """S4"""
    script = CoreScript()
    script.hold(HERE, PARTS)
    script.now_s += 0.01
    script.read(HERE)
    at_once = script.all_of(TakeCheck)

    script.wait(0.04)

    assert at_once == []
    assert len(script.all_of(TakeCheck)) == 1


def test_the_checker_stops_by_itself_when_nobody_reads() -> None:
    """S4"""
    script = CoreScript()
    script.hold(HERE, PARTS)
    script.read(HERE)
    script.wait(0.05)
    script.take(Checked(HERE, Check(script.now_s, parts=PARTS), read_since=True))
    armed = script.state.scopes[HERE.scope].due_s
    script.wait(0.05)

    script.check(HERE, PARTS)

    assert armed < inf
    assert script.state.scopes[HERE.scope].due_s == inf


def test_without_an_interval_no_check_follows_another() -> None:
    """S4"""
    script = CoreScript(Policy(stamp_interval=0.0))
    script.hold(HERE, PARTS)

    script.take(Checked(HERE, Check(script.now_s, parts=PARTS), read_since=True))

    assert script.state.scopes[HERE.scope].due_s == inf


def test_a_check_that_began_earlier_is_not_kept() -> None:
    """B3"""
    script = CoreScript()
    script.hold(HERE, PARTS)

    script.check(HERE, (("content", 0),), began_s=script.now_s - 1.0)

    kept = script.state.check_of(HERE)
    assert kept is not None
    assert kept.parts == PARTS
    assert script.served(script.read(HERE)).outcome == "hit"


def _failing(script: CoreScript, times: int) -> list[float]:
    """Let checks fail, and give the pauses after which the next ones came."""
    pauses: list[float] = []
    for _ in range(times):
        scope = script.state.scopes[HERE.scope]
        script.take(CheckFailed(HERE, "gone", read_since=True, asked_s=scope.asked_s))
        due_s = script.state.scopes[HERE.scope].due_s
        pauses.append(round(due_s - script.now_s, 6))
        script.wait(due_s - script.now_s)
    return pauses


def test_a_failed_check_is_followed_by_another_after_a_pause_that_grows() -> None:
    """S4"""
    script = CoreScript()
    script.hold(HERE, PARTS)
    script.wait(0.2)
    script.read(HERE)

    assert _failing(script, 8) == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_a_success_ends_the_pauses() -> None:
    """S4"""
    script = CoreScript()
    script.hold(HERE, PARTS)
    script.wait(0.2)
    script.read(HERE)
    _failing(script, 3)
    asked_s = script.state.scopes[HERE.scope].asked_s

    script.take(Checked(HERE, Check(script.now_s, parts=PARTS), read_since=True, asked_s=asked_s))

    scope = script.state.scopes[HERE.scope]
    assert (scope.failure, scope.due_s) == (None, script.now_s + 0.05)


def test_a_reader_that_waited_for_a_failed_check_goes_by_the_last() -> None:
    """S4"""
    script = CoreScript()
    script.hold(HERE, PARTS)
    script.wait(0.2)
    reader = script.read(HERE)

    script.take(CheckFailed(HERE, "gone"))

    assert script.served(reader).outcome == "hit"


def test_while_checks_fail_no_read_waits_for_the_next() -> None:
    """S4"""
    script = CoreScript()
    script.hold(HERE, PARTS)
    script.wait(0.2)
    script.read(HERE)
    script.take(CheckFailed(HERE, "gone"))

    outcome = script.served(script.read(HERE)).outcome

    assert outcome == "hit"
    assert script.state.scopes[HERE.scope].due_s == script.now_s + 0.05


def test_a_check_that_is_not_back_after_a_second_has_failed_and_none_is_begun_beside_it() -> None:
    """S4"""
    script = CoreScript(Policy(ttl=60))
    script.hold(HERE, PARTS)
    script.wait(0.2)
    script.read(HERE)
    asked_s = script.state.scopes[HERE.scope].asked_s
    script.wait(1.0)

    outcome = script.served(script.read(HERE)).outcome

    scope = script.state.scopes[HERE.scope]
    assert outcome == "hit"
    assert script.all_of(TakeCheck) == []
    assert (scope.asked_s, scope.is_late) == (asked_s, True)
    assert scope.failure is not None
    assert scope.failure.why == "it was not back after 1 s"


def test_a_late_check_counts_by_when_it_began() -> None:
    """S4, B3"""
    script = CoreScript(Policy(ttl=60))
    script.hold(HERE, PARTS)
    script.wait(0.2)
    script.read(HERE)
    began_s = script.now_s
    script.wait(5.0)

    script.take(Checked(HERE, Check(began_s, 5.0, (("content", 2),)), asked_s=began_s))

    scope = script.state.scopes[HERE.scope]
    assert scope.check is not None
    assert (scope.check.began_s, scope.is_late, scope.failure) == (began_s, False, None)
    script.read(HERE)
    assert script.state.builds[HERE.key].reason == "source"


def test_a_late_check_that_failed_is_counted_once() -> None:
    """S4"""
    script = CoreScript(Policy(ttl=60))
    script.hold(HERE, PARTS)
    script.wait(0.2)
    script.read(HERE)
    asked_s = script.now_s
    script.wait(5.0)

    script.take(CheckFailed(HERE, "gone", asked_s=asked_s))

    scope = script.state.scopes[HERE.scope]
    assert scope.failure is not None
    assert (scope.failure.count, scope.failure.why, scope.asked_s) == (1, "gone", None)


def test_a_message_of_an_earlier_check_does_not_bring_back_the_one_that_is_out() -> None:
    """S4: messages come late, and twice."""
    script = CoreScript()
    script.hold(HERE, PARTS)
    script.wait(0.2)
    script.read(HERE)
    asked_s = script.now_s

    script.take(Checked(HERE, Check(asked_s - 0.1, parts=PARTS), asked_s=asked_s - 0.1))
    script.take(CheckFailed(HERE, "gone", asked_s=asked_s - 0.1))

    assert script.state.scopes[HERE.scope].asked_s == asked_s


def test_a_stopped_cache_takes_no_failed_check_in() -> None:
    """L1"""
    script = CoreScript()
    script.take(Stop())

    script.take(CheckFailed(HERE, "gone"))

    assert script.state.scopes == {}
