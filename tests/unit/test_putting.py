"""Rules V2, R1 and P4: what a gateway puts into the cache itself, and takes out."""

import pytest

from hermes_cache.core.effects import Deliver, Release, Served, Tell
from hermes_cache.core.messages import Evict, Follow, Mark, Put, Stop
from hermes_cache.core.notices import EntryEvicted, EntryStored, RowsMoved
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Freshness
from hermes_cache.core.stamps import Check
from hermes_cache.core.state import Target
from hermes_cache.payload.content import Content
from tests.simulation.core_script import CoreScript, content, target_of

HERE, WORK = target_of(), target_of("work")
WATCHED = target_of("watched", watched=True)


def mark(script: CoreScript, target: Target) -> Mark:
    state = script.state
    return Mark(target.key, state.version_of(target), target, state.marker_of(target), script.now_s)


def put(
    script: CoreScript, as_of: Mark, made: Content | None = None, *, moved: frozenset[str] = frozenset()
) -> Content:
    """Hand in a payload, and return it."""
    made = made or content(put=script.now_s)
    held = script.state.held_bytes + made.size_bytes
    script.take(Put(as_of, made, held, moved, script.state.entries))
    return made


def is_held(script: CoreScript, target: Target, made: Content) -> bool:
    entry = script.state.entry_of(target)
    return entry is not None and entry.content is made


def test_what_is_put_is_held_and_served() -> None:
    """V2"""
    script = CoreScript()

    made = put(script, mark(script, HERE), moved=frozenset({"default"}))

    read = script.read(HERE)
    assert (script.served(read).outcome, script.served(read).entry.content) == ("hit", made)


def test_it_is_announced_and_recorded_as_put() -> None:
    """E6, E9, J7"""
    script = CoreScript()
    as_of = mark(script, HERE)
    script.now_s += 2.0

    put(script, as_of, moved=frozenset({"default"}))

    notices = [effect.notice for effect in script.all_of(Tell)]
    assert [type(notice) for notice in notices] == [EntryStored, RowsMoved]
    (past,) = script.state.record.builds[HERE.key]
    assert (past.reason, past.outcome, past.took_s) == ("put", "stored", 2.0)


@pytest.mark.parametrize("profile", [None, "default"])
def test_it_is_not_stored_if_an_event_touched_its_key_since_the_mark(profile: str | None) -> None:
    """V2, R1"""
    script = CoreScript()
    as_of = mark(script, HERE)
    script.invalidate(profile)

    made = put(script, as_of)

    assert HERE.key not in script.state.entries
    assert [effect.content for effect in script.all_of(Release)] == [made]
    assert script.state.record.builds[HERE.key][-1].why == "an event overtook it"


def test_an_event_of_another_profile_is_no_hindrance() -> None:
    """V2"""
    script = CoreScript()
    as_of = mark(script, HERE)
    script.invalidate("work")

    made = put(script, as_of)

    assert is_held(script, HERE, made)


def test_its_stamp_counts_as_moved_whatever_was_checked() -> None:
    """V2, S4"""
    script = CoreScript(Policy(owner_wait=1.0))
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 0.01

    made = put(script, mark(script, WATCHED))
    read = script.read(WATCHED)

    assert is_held(script, WATCHED, made)
    assert [build.reason for build in script.started()] == ["source"]
    script.wait(1.0)
    assert (script.served(read).outcome, script.served(read).entry.content) == ("stale", made)


def test_it_counts_as_moved_while_a_stream_holds_its_key_down_too() -> None:
    """V2, H1"""
    script = CoreScript()
    script.hold(WATCHED, (("content", 1),))
    script.start_stream("turn")
    put(script, mark(script, WATCHED))

    script.read(WATCHED)

    assert [build.reason for build in script.started()] == ["source"]


def test_a_follower_of_what_was_put_gets_what_is_built_next() -> None:
    """V2, R13"""
    script = CoreScript()
    script.take(Follow("somebody", WATCHED))
    script.finish(script.running(WATCHED), check=Check(script.now_s))
    script.now_s += 60.0

    put(script, mark(script, WATCHED))

    assert [build.reason for build in script.started()] == ["source"]


def test_a_build_that_began_before_the_mark_does_not_replace_what_was_put() -> None:
    """V2: what is held was read later"""
    script = CoreScript()
    script.read(HERE)
    build = script.running(HERE)
    script.now_s += 0.1
    as_of = mark(script, HERE)
    made = put(script, as_of)
    script.now_s += 0.1

    script.finish(build)

    assert is_held(script, HERE, made)
    assert script.state.record.builds[HERE.key][-1].why == "what is held was read later"


def test_what_was_read_before_a_build_began_does_not_replace_what_that_built() -> None:
    """V2"""
    script = CoreScript()
    as_of = mark(script, HERE)
    script.now_s += 0.1
    script.hold(HERE)

    made = put(script, as_of)

    assert not is_held(script, HERE, made)
    assert [effect.content for effect in script.all_of(Release)] == [made]


def test_what_is_put_twice_is_stored_once() -> None:
    """V2"""
    script = CoreScript()
    as_of = mark(script, HERE)
    made = put(script, as_of)

    put(script, as_of, made)

    assert script.effects == ()
    assert is_held(script, HERE, made)


def test_a_payload_over_the_bound_answers_and_is_not_stored() -> None:
    """P4"""
    script = CoreScript(Policy(max_bytes=100))
    waiting = script.read(HERE)

    made = put(script, mark(script, HERE), content([{"session_id": "s", "title": "x" * 200}]))

    assert script.served(waiting).entry.content is made
    assert not is_held(script, HERE, made)


def test_readers_who_wait_for_a_build_get_it_and_the_build_goes_on() -> None:
    """V2, R1, B1"""
    script = CoreScript()
    owner, follower = script.read(HERE), script.read(HERE)

    made = put(script, mark(script, HERE))

    for reader in (owner, follower):
        assert (script.served(reader).outcome, script.served(reader).reason) == ("waited", "miss")
        assert script.served(reader).entry.content is made
    assert not script.state.waiting
    build = script.running(HERE)
    script.now_s += 0.1
    script.finish(build)


def test_a_reader_from_after_an_event_waits_on_and_one_from_before_it_is_answered() -> None:
    """R1, B4"""
    script = CoreScript()
    as_of = mark(script, HERE)
    before = script.read(HERE)
    script.invalidate()
    after = script.read(HERE)

    made = put(script, as_of)

    assert script.served(before).entry.content is made
    assert after.reader not in script.answers
    assert HERE.key not in script.state.entries


def test_a_reader_who_insists_gets_it_only_if_it_was_read_after_the_reader_came() -> None:
    """R8"""
    script = CoreScript()
    early = mark(script, HERE)
    script.now_s += 0.1
    insists = script.read(HERE, Freshness.FRESH)
    script.now_s += 0.1
    late = mark(script, HERE)

    put(script, early)
    assert insists.reader not in script.answers

    made = put(script, late)
    assert (script.served(insists).outcome, script.served(insists).entry.content) == ("waited", made)


@pytest.mark.parametrize("is_held_newer", [False, True])
def test_a_reader_of_a_moved_source_waits_on_if_the_mark_is_older_than_the_read(*, is_held_newer: bool) -> None:
    """R1, R4: it falls back to what is held once its wait is over, and not before"""
    script = CoreScript(Policy(owner_wait=1.0))
    early = mark(script, WATCHED)
    script.now_s += 0.1
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 0.2
    as_of = early if is_held_newer else mark(script, WATCHED)
    script.now_s += 0.1
    script.check(WATCHED, (("content", 2),))
    reader = script.read(WATCHED)
    held = script.state.entries[WATCHED.key].content

    made = put(script, as_of)
    assert reader.reader not in script.answers

    script.wait(1.0)
    served = script.served(reader)
    assert (served.outcome, served.reason) == ("stale", "source")
    assert served.entry.content is (held if is_held_newer else made)


def test_a_reader_of_a_moved_source_gets_what_was_marked_after_it_came() -> None:
    """R1"""
    script = CoreScript(Policy(owner_wait=60.0))
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 0.2
    script.check(WATCHED, (("content", 2),))
    reader = script.read(WATCHED)
    script.now_s += 0.1

    made = put(script, mark(script, WATCHED))

    assert (script.served(reader).outcome, script.served(reader).entry.content) == ("waited", made)


def test_a_reader_from_after_a_streams_start_waits_on_if_the_mark_is_older() -> None:
    """H2"""
    script = CoreScript()
    as_of = mark(script, HERE)
    script.start_stream("turn")
    reader = script.read(HERE)

    put(script, as_of)

    assert reader.reader not in script.answers


def test_followers_get_it_unless_they_have_what_was_read_later() -> None:
    """R13"""
    script = CoreScript()
    early = mark(script, HERE)
    script.now_s += 0.1
    script.hold(HERE)
    script.take(Follow("somebody", HERE))
    script.now_s += 0.1

    made = put(script, mark(script, HERE))
    delivered = [effect.answer for effect in script.all_of(Deliver)]
    assert [each.entry.content for each in delivered if isinstance(each, Served)] == [made]

    script.take(Evict())
    put(script, early)
    assert not script.all_of(Deliver)


def test_followers_who_have_what_was_put_get_no_build_that_an_event_overtook_before() -> None:
    """R13, R1"""
    script = CoreScript()
    script.take(Follow("somebody", HERE))
    script.read(HERE)
    build = script.running(HERE)
    script.invalidate()
    script.now_s += 0.1
    put(script, mark(script, HERE))

    script.finish(build)

    assert not [effect for effect in script.all_of(Deliver) if effect.answer is not None]


def test_a_key_without_a_payload_delivers_what_is_put_to_its_followers() -> None:
    """R13"""
    script = CoreScript()
    script.take(Follow("somebody", HERE))

    made = put(script, mark(script, HERE))

    delivered = [effect.answer for effect in script.all_of(Deliver)]
    assert [each.entry.content for each in delivered if isinstance(each, Served)] == [made]


def test_a_cache_that_was_stopped_stores_nothing() -> None:
    """L1"""
    script = CoreScript()
    as_of = mark(script, HERE)
    script.take(Stop())

    made = put(script, as_of)

    assert not script.state.entries
    assert [effect.content for effect in script.all_of(Release)] == [made]


def test_what_is_put_weighs_in_and_pushes_out_what_is_coldest() -> None:
    """P4"""
    script = CoreScript(Policy(max_entries=1))
    script.hold(WORK)

    put(script, mark(script, HERE))

    assert list(script.state.entries) == [HERE.key]


def test_what_is_evicted_is_let_go_and_announced() -> None:
    """P4, E6"""
    script = CoreScript()
    script.hold(HERE)
    script.hold(WORK)

    script.take(Evict((HERE.key, target_of("nobody").key)))

    assert list(script.state.entries) == [WORK.key]
    assert [effect.notice for effect in script.all_of(Tell)] == [EntryEvicted(HERE.key, "asked")]
    assert len(script.all_of(Release)) == 1


def test_all_can_be_evicted() -> None:
    """P4"""
    script = CoreScript()
    script.hold(HERE)
    script.hold(WORK)

    script.take(Evict())

    assert not script.state.entries
    assert not script.state.held_of


def test_a_build_goes_on_while_its_key_is_evicted_and_answers_whoever_waits() -> None:
    """P4, R1, R5"""
    script = CoreScript()
    script.hold(HERE)
    script.invalidate()
    reader = script.read(HERE)
    build = script.running(HERE)

    script.take(Evict((HERE.key,)))
    script.finish(build)

    assert script.served(reader).entry.build_id == build.id
    assert HERE.key in script.state.entries


def test_a_reader_may_still_fall_back_to_what_is_evicted() -> None:
    """R4, P4"""
    script = CoreScript(Policy(owner_wait=1.0))
    script.hold(WATCHED, (("content", 1),))
    script.now_s += 0.2
    script.check(WATCHED, (("content", 2),))
    reader = script.read(WATCHED)
    held = script.state.entries[WATCHED.key].content

    script.take(Evict())
    assert not script.all_of(Release)
    script.wait(1.0)

    assert script.served(reader).entry.content is held
    assert len(script.all_of(Release)) == 1
