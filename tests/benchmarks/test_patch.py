"""What one changed row costs the process that serves: its patch in bytes, and CPU.

One key, 5,500 and 55,000 rows of 35 fields, built in one worker process; one client. Each round one row anywhere
in the list is renamed, or gets a message, which moves it to the top; an event says so, and the list is built anew.
It is read twice, so that a third read is a remembered hit. Then the client asks for what changed. The patch is
timed by the CPU of the thread that answers, from the new list to the bytes. *Build and patch* is all CPU of this
process since the event: the event, the message to the worker and back, what is held counted anew, and the patch.
The baseline encodes the list once.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median

import orjson
import pytest

from hermes_cache import Bus, Patch, Policy, SessionListCache, SessionListKey
from hermes_cache.sessions.rows import freeze_row
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.rows import made_rows
from tests.benchmarks.timing import Benchmark, run_once

_ROUNDS = 25
_STEP = 137
"""Rounds change rows so far from one another, all over the list."""


class _Rows:
    """A builder that keeps its rows, as the projection of a home does, and changes one of them for each build."""

    def __init__(self, count: int, *, moves: bool) -> None:
        self._count = count
        self._moves = moves
        self._rows: list[object] = []
        self._builds = 0

    def __call__(self, _key: SessionListKey) -> Mapping[str, object]:
        self._rows = self._rows or [freeze_row(row) for row in made_rows(self._count)]
        self._builds += 1
        at = self._builds * _STEP % self._count
        changed = {**self._rows[at], "text_1": f"renamed by build {self._builds}"}  # type: ignore[dict-item]
        if self._moves:
            del self._rows[at]
            self._rows.insert(0, freeze_row({**changed, "last_message_at": 1_800_000_000.0 + self._builds}))
        else:
            self._rows[at] = freeze_row(changed)
        return {"sessions": list(self._rows), "archived_count": 0}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("rows", [5_500, 55_000])
@pytest.mark.parametrize("moves", [False, True], ids=["renamed", "moved to the top"])
def test_a_patch_of_one_row(
    benchmark: Benchmark, record: Callable[[Figure], None], rows: int, *, moves: bool
) -> None:
    """D3"""
    policy = Policy(ttl=3_600.0, pool_size=1)
    with SessionListCache(_Rows(rows, moves=moves), policy=policy, bus=Bus(), executor="processes") as cache:
        patch_s, all_s, encoding_s, most_bytes = _measured(benchmark, cache)

    what = f"patch of one row of {rows:,} that {'moved' if moves else 'was renamed'}"
    record(at_most(what, patch_s, "encode the list", encoding_s, most=0.2))
    record(at_most(f"{what}, build and patch", all_s, "encode the list", encoding_s))
    record(Figure(f"{what}, bytes", f"{most_bytes:,}", "", "", "<= 2,048", met=most_bytes <= 2_048))


def _measured(benchmark: Benchmark, cache: SessionListCache) -> tuple[float, float, float, int]:
    key = SessionListKey()
    view = cache.render(key)
    plain, edition = orjson.loads(view.body), view.edition
    spans: list[tuple[float, float, float]] = []
    sizes: list[int] = []

    def run() -> None:
        nonlocal edition
        for _ in range(_ROUNDS):
            encoding_s = _cpu_s(lambda: orjson.dumps(plain))
            building_s = _cpu_s(lambda: (cache.invalidate(), cache.lookup(key), cache.lookup(key)))
            began_s = time.thread_time()
            patch = cache.patch(key, since=edition)
            patching_s = time.thread_time() - began_s
            assert isinstance(patch, Patch)
            assert len(patch.rows) == 1
            edition = patch.edition
            sizes.append(len(patch.body))
            spans.append((patching_s, building_s + patching_s, encoding_s))

    run_once(benchmark, run)
    ours_s, all_s, encoding_s = (median(each) for each in zip(*spans, strict=True))
    return ours_s, all_s, encoding_s, max(sizes)


def _cpu_s(do: Callable[[], object]) -> float:
    began_s = time.process_time()
    do()
    return time.process_time() - began_s
