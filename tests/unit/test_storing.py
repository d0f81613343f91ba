"""Rules P4, E6 and E9: what is held, what has to go, and who hears of it."""

import pytest

from hermes_cache.core.effects import Release, Tell
from hermes_cache.core.messages import Weighed
from hermes_cache.core.notices import BuildDiscarded, EntryEvicted, EntryStored, RowsMoved
from hermes_cache.core.policy import Policy
from hermes_cache.core.requests import Freshness
from tests.simulation.core_script import CoreScript, content, target_of

HERE, WORK, HOME = target_of(), target_of("work"), target_of("home")


def _rows_moved(script: CoreScript) -> list[str | None]:
    """Return the profiles whose rows moved, as the last message tells subscribers."""
    return [tell.notice.profile for tell in script.all_of(Tell) if isinstance(tell.notice, RowsMoved)]


def test_the_least_recently_used_goes_first() -> None:
    """P4"""
    script = CoreScript(Policy(max_entries=2))
    script.hold(HERE)
    script.hold(WORK)
    script.read(HOME)

    script.finish(script.running(HOME), recency=(WORK.key, HERE.key))

    assert script.state.entries.keys() == {HERE.key, HOME.key}
    assert EntryEvicted(WORK.key, "entries") in [tell.notice for tell in script.all_of(Tell)]


def test_more_bytes_than_allowed_let_entries_go() -> None:
    """P4"""
    script = CoreScript(Policy(max_bytes=60))
    script.read(HERE)
    script.finish(script.running(HERE), content(text="x" * 30))
    script.read(WORK)

    script.finish(script.running(WORK), content(text="x" * 30))

    assert script.state.entries.keys() == {WORK.key}
    assert EntryEvicted(HERE.key, "bytes") in [tell.notice for tell in script.all_of(Tell)]


def test_a_new_measure_lets_go_of_what_is_over_the_bound() -> None:
    """P4"""
    script = CoreScript(Policy(max_bytes=60))
    script.hold(HERE)
    script.hold(WORK)

    script.take(Weighed(61, (HERE.key, WORK.key)))

    assert script.state.entries.keys() == {WORK.key}
    assert len(script.all_of(Release)) == 1


def test_what_is_still_leaving_does_not_push_out_the_last_entry() -> None:
    """P4"""
    script = CoreScript(Policy(max_bytes=60))
    script.hold(HERE)

    script.take(Weighed(61, (HERE.key,), leaving=True))

    assert script.state.entries.keys() == {HERE.key}


def test_a_last_entry_that_grew_over_the_bound_is_let_go_once_all_is_settled() -> None:
    """P4: decoded rows weigh more than their bytes"""
    script = CoreScript(Policy(max_bytes=60))
    script.hold(HERE)

    script.take(Weighed(61, (HERE.key,)))

    assert script.state.entries == {}


def test_a_payload_over_the_bound_is_returned_and_not_stored() -> None:
    """P4"""
    script = CoreScript(Policy(max_bytes=20))
    read = script.read(HERE)
    large = content(text="x" * 30)

    script.finish(script.running(HERE), large)

    assert script.served(read).entry.content is large
    assert script.state.entries == {}
    assert script.all_of(Release) == [Release(large)]
    assert any(isinstance(tell.notice, BuildDiscarded) for tell in script.all_of(Tell))


def test_a_replaced_payload_is_let_go() -> None:
    """P4, E6"""
    script = CoreScript()
    script.read(HERE)
    old, new = content(n=1), content(n=2)
    script.finish(script.running(HERE), old)
    script.read(HERE, Freshness.FRESH)

    script.finish(script.running(HERE), new)

    assert script.all_of(Release) == [Release(old)]
    assert script.state.held_bytes == new.size_bytes
    assert EntryStored(HERE.key, 0, new.size_bytes) in [tell.notice for tell in script.all_of(Tell)]


def test_a_payload_that_is_built_again_as_the_same_object_is_not_let_go() -> None:
    """P4: as the builder of a home does, as long as nothing moved there; overtaken or not, it is counted once."""
    script = CoreScript()
    script.read(HERE)
    same = content(n=1)
    script.finish(script.running(HERE), same)

    script.read(HERE, Freshness.FRESH)
    script.finish(script.running(HERE), same)
    released = script.all_of(Release)
    script.read(HERE, Freshness.FRESH)
    build = script.running(HERE)
    script.invalidate()
    script.finish(build, same)

    assert released == []
    assert script.all_of(Release) == []


def test_the_reader_of_an_older_entry_lets_go_of_nothing_that_is_held() -> None:
    """P4, R4"""
    watched = target_of(watched=True)
    script = CoreScript(Policy(ttl=60.0))
    build = script.hold(watched)
    held = script.state.entries[watched.key].content
    script.now_s += 0.1
    script.check(watched, (("content", 2),))
    waiting = script.read(watched)
    assert script.state.waiter_of(waiting)
    script.finish(script.running(watched), held)

    assert script.state.entries[watched.key].build_id != build.id
    assert script.all_of(Release) == []


def test_subscribers_hear_of_moved_rows_at_once_and_then_every_two_seconds() -> None:
    """E9"""
    script = CoreScript()
    told = []
    for _ in range(3):
        script.read(HERE, Freshness.FRESH)
        script.finish(script.running(HERE), moved=("default",))
        told.append(_rows_moved(script))
        script.now_s += 0.5

    script.wait(0.5)

    assert told == [["default"], [], []]
    assert _rows_moved(script) == ["default"]
    script.wait(10.0)
    assert _rows_moved(script) == []


@pytest.mark.parametrize("moved", [("work", None), (None, "work")])
def test_each_profile_is_announced_for_itself(moved: tuple[str | None, ...]) -> None:
    """E9"""
    script = CoreScript()
    script.read(HERE)

    script.finish(script.running(HERE), moved=moved)

    assert set(_rows_moved(script)) == {"work", None}
