"""A turn that streams while a journal is followed.

One thread makes tokens. Beside it a cache follows an SQLite journal for a subscriber, which takes the changes;
another process says nothing, or publishes some 50 events a second. Compared is the rate without the cache, in
turns; the other process publishes all the while.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_cache import Bus, Policy, SessionListCache
from tests.benchmarks.figures import Figure
from tests.benchmarks.timing import Benchmark
from tests.benchmarks.tokens import compared, record_streams
from tests.integration import journal_acts as acts
from tests.integration.journal_members import Member

pytestmark = pytest.mark.long

_ROUNDS = 10
_SPAN_S = 2.0
_PAUSE_S = 0.015
"""Between two foreign events; a commit takes a few milliseconds more."""


@pytest.mark.timeout(300)
def test_a_stream_beside_a_still_journal(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path
) -> None:
    """J3"""
    streams = compared(benchmark, lambda: _followed(tmp_path), rounds=_ROUNDS, span_s=_SPAN_S)

    assert [len(kind) for kind in streams] == [_ROUNDS, _ROUNDS]
    record_streams(record, "tokens beside a journal that is followed", streams, ">= 97 %")


@pytest.mark.timeout(300)
def test_a_stream_beside_foreign_events(
    benchmark: Benchmark, record: Callable[[Figure], None], tmp_path: Path
) -> None:
    """J3"""
    stop = tmp_path / "stop"

    with Member(_url(tmp_path), tmp_path, Policy()) as there:
        there.begin(acts.publish_until, stop, tmp_path / "acked", pause_s=_PAUSE_S)
        streams = compared(benchmark, lambda: _followed(tmp_path), rounds=_ROUNDS, span_s=_SPAN_S)
        stop.touch()
        there.end(acts.publish_until)

    assert (tmp_path / "acked").stat().st_size > 0
    record_streams(record, "tokens beside a journal with 50 foreign events a second", streams, ">= 97 %")


@contextmanager
def _followed(folder: Path) -> Iterator[None]:
    with SessionListCache(_build, bus=Bus(), journal=_url(folder)) as cache:
        subscription = cache.subscribe()
        taker = threading.Thread(target=lambda: [None for _ in subscription])
        taker.start()
        yield
        subscription.close()
        taker.join()


def _build(_key: object) -> dict[str, object]:
    return {"sessions": []}


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/journal.db"
