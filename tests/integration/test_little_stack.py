"""A publisher at the end of its stack: its event is published whole, or not at all (E5, L6)."""

import sys
import threading
from collections.abc import Callable, Mapping
from itertools import pairwise

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.journal.memory import MemoryJournal
from hermes_cache.ports import Position

_KEY = SessionListKey("work")
_DEEPEST = 160
"""A `send` takes fewer frames than that."""


def _build(_key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": []}


def _with_room_for(frames: int, call: Callable[[], object]) -> bool:
    """Call with room for so many frames; false where that was too little."""

    def descend(left: int) -> object:
        return descend(left - 1) if left else call()

    frame, depth = sys._getframe(), 1
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    try:
        descend(sys.getrecursionlimit() - depth - frames)
    except RecursionError:
        return False
    return True


def test_a_send_that_returns_was_applied_and_kept_however_little_stack_is_left() -> None:
    """E5, L6"""
    journal, bus = MemoryJournal(), Bus()
    applied: list[int] = []
    kept: list[int] = []
    returned: list[bool] = []

    with SessionListCache(_build, bus=bus, journal=journal, policy=Policy(ttl=3_600.0, journal_wait=5.0)) as cache:
        cache.get(_KEY)

        def publish_at_every_depth() -> None:
            for frames in range(_DEEPEST):
                returned.append(
                    _with_room_for(frames, lambda: bus.session_list_changed.send(None, profile="work"))
                )
                applied.append(cache.stats().events)
                kept.append(len(journal.read(Position(journal.end().journal), limit=10_000)))

        publisher = threading.Thread(target=publish_at_every_depth)
        publisher.start()
        publisher.join()

    news = [after > before for before, after in pairwise([0, *applied])]
    assert (returned[0], returned[-1]) == (False, True)
    assert all(applied_now for applied_now, is_returned in zip(news, returned, strict=True) if is_returned)
    assert kept[-1] >= sum(returned)
