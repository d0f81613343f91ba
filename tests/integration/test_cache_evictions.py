"""More views than the cache holds, each of them read by somebody (rules R4, P4)."""

import itertools
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from hermes_cache import Bus, HermesCacheError, SessionListCache, SessionListKey

_VIEWS = 100
_READS_PER_VIEW = 4


class _MovingSources:
    """Sources that have moved at every look."""

    def __init__(self) -> None:
        self._looks = itertools.count()

    def scope(self, key: SessionListKey) -> str:
        return key.profile_name

    def stamp(self, key: SessionListKey, *, held: bool) -> Mapping[str, int]:
        del key, held
        return {"content": next(self._looks)}


def test_a_hundred_views_that_are_read_again_and_again_give_no_error() -> None:
    """I17, R4: readers whose entry is evicted while they wait for its refresh fall back to it"""
    slowly, between_polls = threading.Event(), threading.Event()

    def build(key: SessionListKey) -> Mapping[str, object]:
        slowly.wait(0.05)
        return {"sessions": [{"session_id": key.profile_name}]}

    def read(number: int) -> Counter[str]:
        key = SessionListKey(f"profile {number}")
        outcomes: Counter[str] = Counter()
        for _ in range(_READS_PER_VIEW):
            # A tab polls; at once it would get the very answer again.
            between_polls.wait(0.2)
            try:
                outcomes[cache.lookup(key).outcome] += 1
            except HermesCacheError as error:
                outcomes[repr(error)] += 1
        return outcomes

    with (
        SessionListCache(build, sources=_MovingSources(), bus=Bus()) as cache,
        ThreadPoolExecutor(_VIEWS) as readers,
    ):
        seen = sum(readers.map(read, range(_VIEWS)), Counter[str]())

    assert seen.keys() <= {"hit", "stale", "built", "waited"}
    assert sum(seen.values()) == _VIEWS * _READS_PER_VIEW
