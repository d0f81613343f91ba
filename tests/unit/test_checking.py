"""Rules S4 and B3: when the sources of a scope are looked at, and who waits for that."""

from math import inf

from hermes_cache.core.effects import TakeCheck
from hermes_cache.core.messages import Checked
from hermes_cache.core.policy import Policy
from hermes_cache.core.stamps import Check
from hermes_cache.testing.core_script import CoreScript, target_of

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
