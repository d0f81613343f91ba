"""Remembered hits: until when the answer to one read answers the next ones (rules R1, R2, S4, H2, B5)."""

from hermes_cache.core.hits import Hits
from hermes_cache.core.messages import Stop
from hermes_cache.core.policy import Policy
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import State, Target
from tests.simulation.core_script import CoreScript, target_of

HERE, WORK = target_of(), target_of("work")
WATCHED, SAME_SCOPE = target_of(watched=True), target_of(watched=True, show_cron=True)
_PARTS = (("content", 1),)


class _Remembering:
    """A core whose hits are remembered."""

    def __init__(self, *targets: Target, policy: Policy | None = None) -> None:
        self.script = CoreScript(policy)
        self.hits = Hits(self.script.policy)
        self._before: State = self.script.state
        for target in targets:
            self.script.hold(target, _PARTS if target.watched else ())
            self._remember(target)

    def _remember(self, target: Target) -> None:
        read = self.script.read(target)
        self._before = self.script.state
        self.hits.remember(self.script.state, self.script.served(read), self.script.now_s)

    def stands(self, target: Target) -> bool:
        """Say whether a hit of a key stands, all that happened taken in."""
        self.hits.follow(self._before, self.script.state)
        self._before = self.script.state
        return self.hits.at(target.key, self.script.now_s) is not None


def test_a_hit_stands_until_its_entry_is_as_old_as_the_ttl() -> None:
    """R2"""
    remembering = _Remembering(HERE)
    young = remembering.stands(HERE)

    remembering.script.now_s += 2.5

    assert young
    assert not remembering.stands(HERE)


def test_an_event_a_stream_a_stored_entry_and_a_stop_each_end_all_hits() -> None:
    """R1, H2"""
    stand = []
    for number in range(4):
        remembering = _Remembering(HERE)
        script = remembering.script
        acts = (
            lambda script=script: script.invalidate("work"),
            lambda script=script: script.start_stream("turn", "work"),
            lambda script=script: script.hold(WORK),
            lambda script=script: script.take(Stop()),
        )
        acts[number]()
        stand.append(remembering.stands(HERE))

    assert stand == [False] * 4


def test_a_hit_of_a_watched_key_stands_for_as_long_as_its_check_is_trusted() -> None:
    """S4"""
    remembering = _Remembering(WATCHED)
    trusted = remembering.stands(WATCHED)

    remembering.script.now_s += 0.11

    assert trusted
    assert not remembering.stands(WATCHED)


def test_a_check_that_finds_the_same_carries_on_all_hits_of_its_scope() -> None:
    """S4"""
    remembering = _Remembering(WATCHED)
    remembering.script.now_s += 0.06
    remembering.script.read(WATCHED)
    message = remembering.script.check(WATCHED, _PARTS, read_since=True)
    remembering.hits.renew(remembering.script.state, message.target)

    remembering.script.now_s += 0.09

    assert remembering.stands(WATCHED)


def test_a_check_that_no_other_follows_and_one_that_finds_another_end_the_hits_of_their_scope() -> None:
    """S4, R4"""
    stand = []
    for read_since, parts in ((False, _PARTS), (True, (("content", 2),))):
        remembering = _Remembering(WATCHED)
        remembering.script.now_s += 0.06
        remembering.script.check(WATCHED, parts, read_since=read_since)
        remembering.hits.renew(remembering.script.state, WATCHED)
        remembering.hits.renew(remembering.script.state, WATCHED)
        stand.append(remembering.stands(WATCHED))

    assert stand == [False, False]


def test_a_check_that_came_late_changes_nothing() -> None:
    """B3"""
    remembering = _Remembering(WATCHED)
    remembering.script.check(WATCHED, (("content", 2),), began_s=1.0)

    remembering.hits.renew(remembering.script.state, WATCHED)

    assert remembering.stands(WATCHED)


def test_a_hit_that_is_not_compared_with_the_last_check_is_not_remembered() -> None:
    """B3, S4: the next check may find it moved"""
    remembering = _Remembering(WATCHED)
    script = remembering.script
    script.invalidate()
    script.read(WATCHED)
    script.now_s += 0.01
    script.finish(script.running(WATCHED), check=Check(script.now_s, parts=(("content", 2),)))
    read = script.read(WATCHED)
    remembering.hits.remember(script.state, script.served(read), script.now_s)

    assert script.served(read).outcome == "hit"
    assert remembering.hits.at(WATCHED.key, script.now_s) is None


def test_an_answer_that_is_delivered_late_is_remembered_only_if_it_is_still_a_hit() -> None:
    """R1, H2"""
    stand = []
    for number in range(3):
        remembering = _Remembering()
        script = remembering.script
        script.hold(HERE)
        served = script.served(script.read(HERE))
        acts = (
            lambda script=script: script.invalidate(),
            lambda script=script: script.start_stream("turn"),
            lambda script=script: script.take(Stop()),
        )
        acts[number]()
        remembering.hits.remember(script.state, served, script.now_s)
        stand.append(remembering.hits.get(HERE.key))

    assert stand == [None] * 3


def test_nothing_is_remembered_where_every_read_is_checked() -> None:
    """S4"""
    remembering = _Remembering(policy=Policy(stamp_interval=0))
    script = remembering.script
    script.hold(WATCHED, _PARTS)
    script.check(WATCHED, _PARTS)

    remembering.hits.remember(script.state, script.served(script.read(WATCHED)), script.now_s)

    assert remembering.hits.get(WATCHED.key) is None


def test_one_check_carries_on_the_hits_of_all_keys_of_its_scope_at_once() -> None:
    """B5, I19"""
    remembering = _Remembering(WATCHED, SAME_SCOPE)
    both = remembering.script.state
    remembering.hits.forget()
    for target in (WATCHED, SAME_SCOPE):
        served = remembering.script.served(remembering.script.read(target))
        remembering.hits.remember(both, served, remembering.script.now_s)

    looks = {id(hit.look) for target in (WATCHED, SAME_SCOPE) if (hit := remembering.hits.get(target.key))}

    assert len(looks) == 1
