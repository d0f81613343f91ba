"""Sources that are one callable of the key (rules S4, H1)."""

from collections import Counter
from collections.abc import Hashable
from typing import Any

import pytest

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.testing import GatedBuilder
from tests.waiting import WAIT_S

WORK, CRON = SessionListKey("work"), SessionListKey("work", show_cron=True)
_POLICY = Policy(ttl=600, streaming_ttl=600, stamp_interval=0, max_build_duty=1, owner_wait=WAIT_S)


class Stamps:
    """A value for each key, which a test moves, and how often each was asked for."""

    def __init__(self) -> None:
        self.values: dict[SessionListKey, Hashable] = {}
        self.asked: Counter[SessionListKey] = Counter()

    def __call__(self, key: SessionListKey) -> Hashable:
        self.asked[key] += 1
        return self.values.get(key, 0)


def test_a_callable_says_of_each_key_by_itself_whether_its_sources_moved(bus: Bus) -> None:
    """S4, R4: keys of one profile share nothing"""
    stamps = Stamps()
    builder = GatedBuilder(is_open=True)
    with SessionListCache(builder, bus=bus, sources=stamps, policy=_POLICY) as cache:
        cache.get(WORK)
        cache.get(CRON)
        stamps.values[CRON] = ("inode", 7)

        work, cron = cache.lookup(WORK), cache.lookup(CRON)

    assert (work.outcome, work.stamp["source"]) == ("hit", 0)
    assert (cron.outcome, cron.reason, cron.stamp["source"]) == ("built", "source", ("inode", 7))
    assert builder.calls() == 3


def test_a_callable_is_not_called_while_a_stream_holds_its_key_down(bus: Bus) -> None:
    """H1, H2"""
    stamps = Stamps()
    with SessionListCache(GatedBuilder(is_open=True), bus=bus, sources=stamps, policy=_POLICY) as cache:
        cache.get(WORK)
        bus.stream_started.send(stream_id="turn", profile="work")
        cache.get(WORK)
        stamps.asked.clear()
        stamps.values[WORK] = 1
        held = cache.lookup(WORK)
        assert stamps.asked[WORK] == 0

        bus.stream_stopped.send(stream_id="turn")
        after = cache.lookup(WORK)

    assert held.outcome == "hit"
    assert (after.outcome, after.stamp["source"]) == ("built", 1)


def test_a_value_without_a_hash_fails_the_check_and_not_the_read(bus: Bus) -> None:
    """S4"""
    unhashable: Any = [1]
    with SessionListCache(
        GatedBuilder(is_open=True), bus=bus, sources=lambda _key: unhashable, policy=_POLICY
    ) as cache:
        assert cache.get(WORK)["sessions"] == []
        assert "sources" in cache.health().failing_callables


@pytest.mark.parametrize("given", ["state.db", 7])
def test_what_can_say_nothing_of_a_key_is_refused_where_it_is_given(given: Any) -> None:
    """S4"""
    with pytest.raises(TypeError, match="sources is"):
        SessionListCache(GatedBuilder(), bus=Bus(), sources=given)
