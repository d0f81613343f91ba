"""Counts the calls inside the package that three trips make, and the functions and modules that they reach.

It is a program of its own, which runs with the measured tree first on PYTHONPATH and prints JSON. It uses public
names alone, so that it can measure older trees. A call is what `sys.setprofile` reports, in all threads, from the
call of the public method until that returns; comprehensions do not count. Each trip is made several times and the
result is the median, because a thread or a timer that wakes up makes a single trip longer.
"""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Final, TypeAlias

import hermes_cache
from hermes_cache import Bus, Policy, SessionListCache, SessionListKey

_PACKAGE: Final = str(Path(hermes_cache.__file__).parent)
_TIMES: Final = 15

Hops: TypeAlias = tuple[int, int, int]
"""Calls, distinct functions, distinct modules."""

_CALM: Final = Policy(
    ttl=600.0, stamp_interval=60.0, journal_interval=2.0, owner_wait=60.0, follower_wait=60.0, journal_wait=30.0
)
"""With these spans the cache does nothing during a trip that the trip does not ask for."""


class _Sources:
    """Sources that never change."""

    def scope(self, key: SessionListKey) -> str | None:
        return key.profile

    def stamp(self, _key: SessionListKey, *, held: bool) -> dict[str, int]:
        return {} if held else {"content": 1}


class _Counter:
    """Counts calls between `begin` and `end`, in every thread that was started after this was made."""

    def __init__(self) -> None:
        self._counts = False
        self._called: list[CodeType] = []
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def count(self, trip: Callable[[], object]) -> Hops:
        """Return the hops of one trip."""
        self._called.clear()
        self._counts = True
        trip()
        self._counts = False
        called = self._called.copy()
        return len(called), len(set(called)), len({code.co_filename for code in called})

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        is_ours = code.co_filename.startswith(_PACKAGE) and (code.co_name[0] != "<" or code.co_name == "<lambda>")
        if self._counts and event == "call" and is_ours:
            self._called.append(code)


def measure() -> dict[str, Hops]:
    """Return the hops by trip."""
    counter = _Counter()
    with TemporaryDirectory() as folder:
        with SessionListCache(_build, sources=_Sources(), bus=Bus(), policy=_CALM) as cache:
            keys = [SessionListKey(profile=f"profile {number}") for number in range(_TIMES + 1)]
            misses = [counter.count(lambda key=key: cache.get(key)) for key in keys]  # type: ignore[misc]
            hits = [counter.count(lambda: cache.get(keys[0])) for _ in keys]
        bus = Bus()
        with SessionListCache(_build, bus=bus, policy=_CALM, journal=f"sqlite:///{folder}/journal.db"):
            sends = [counter.count(lambda: bus.session_list_changed.send(None, profile="work")) for _ in keys]
    return {
        "a hit": _middle(hits),
        "a miss, thread builders and sources": _middle(misses),
        "a send, SQLite journal": _middle(sends),
    }


def _build(_key: SessionListKey) -> dict[str, list[dict[str, str]]]:
    return {"sessions": [{"session_id": "1", "title": "one"}]}


def _middle(hops: list[Hops]) -> Hops:
    # The first trip also makes what is made once.
    calls, functions, modules = map(median_low, zip(*hops[1:], strict=True))
    return calls, functions, modules


def main() -> None:
    """Measure on a thread that is not the main one, as a gateway reads, and print."""
    figures: dict[str, Hops] = {}
    thread = threading.Thread(target=lambda: figures.update(measure()))
    thread.start()
    thread.join()
    print(json.dumps({"package": _PACKAGE, "figures": figures}))  # noqa: T201 - a program that prints


if __name__ == "__main__":
    main()
