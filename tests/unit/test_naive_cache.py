"""The naive cache of the demo has the faults that it is there to show. Rule W2."""

from collections.abc import Mapping

import pytest

from hermes_cache.samples.naive_cache import TTL_S, NaiveCache
from hermes_cache.testing import ManualClock

RENAMED = {"reason": "session_rename", "session_id": "a"}


class Home:
    """Builds take a second, in which an event may come."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cache = NaiveCache(self.build, self.clock.monotonic_s)
        self.title = "before"
        self.renames_amid_build = False

    def build(self) -> Mapping[str, object]:
        read = self.title
        self.clock.advance(0.5)
        if self.renames_amid_build:
            self.renames_amid_build = False
            self.title = "after"
            self.cache.forget(RENAMED)
        self.clock.advance(0.5)
        return {"title": read}


@pytest.fixture
def home() -> Home:
    return Home()


def test_a_list_is_held_until_it_is_too_old_or_an_event_comes(home: Home) -> None:
    """W2"""
    first = home.cache.get()
    home.title = "after"
    held = home.cache.get()
    home.clock.advance(TTL_S)
    old = home.cache.get()
    home.title = "last"
    home.cache.forget(RENAMED)
    forgotten = home.cache.get()

    found = [each.payload["title"] for each in (first, held, old, forgotten)]
    assert found == ["before", "before", "after", "last"]
    assert (home.cache.polls, home.cache.outdated) == (4, 0)
    assert (first.waited_s, held.waited_s, held.age_s) == (1.0, 0.0, 0.0)


def test_a_build_that_an_event_overtook_is_stored_and_served_as_outdated(home: Home) -> None:
    """W2"""
    home.renames_amid_build = True
    amid = home.cache.get()
    home.clock.advance(1.0)
    outdated = home.cache.get()
    home.clock.advance(TTL_S)
    mended = home.cache.get()

    assert (amid.behind, outdated.payload["title"], mended.payload["title"]) == ([], "before", "after")
    assert outdated.behind == [(RENAMED, 1.5)]
    assert (home.cache.polls, home.cache.outdated) == (3, 1)
