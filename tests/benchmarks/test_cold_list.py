"""From `serve` started to the first list, of a home of 5,500 sessions and of one of 55,000 (marked `long`).

The time begins before the process does, and ends with the body of the list that the page asks for. The memory is
the peak of the command, and that of the worker that reads the home.
"""

import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest

from hermes_cache.samples.home import make_sample_home
from tests.benchmarks.figures import Figure, in_units
from tests.benchmarks.timing import Benchmark
from tests.e2e.gateway_process import connect, served


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("sessions", "most_s", "rounds"), [(5_500, 1.0, 5), pytest.param(55_000, 5.0, 3, marks=pytest.mark.long)]
)
def test_a_cold_list(
    benchmark: Benchmark,
    record: Callable[[Figure], None],
    tmp_path: Path,
    sessions: int,
    most_s: float,
    rounds: int,
) -> None:
    """X14"""
    home = make_sample_home(tmp_path / "home", sessions=sessions, profiles=()).path
    spans: list[float] = []
    peaks: list[tuple[int, int]] = []

    def start_and_ask() -> None:
        began_s = time.perf_counter()
        with served("--home", str(home)) as (process, url), closing(connect(url)) as connection:
            connection.request("GET", "/api/sessions")
            response = connection.getresponse()
            body = response.read()
            spans.append(time.perf_counter() - began_s)
            peaks.append((_peak_mib(process.pid), max(map(_peak_mib, _descendants(process.pid)))))
        assert response.status == 200
        assert len(body) > 100 * sessions

    benchmark.pedantic(start_and_ask, rounds=rounds)

    took_s, (own, workers) = median(spans), max(peaks)
    name = f"from `serve` started to the first list, {sessions:,} sessions"
    record(Figure(name, in_units(took_s), "", "", f"<= {most_s:g} s", met=took_s <= most_s))
    record(Figure("the same, peak memory", f"{own} MiB", f"its worker {workers} MiB", ""))


def _peak_mib(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0


def _descendants(pid: int) -> list[int]:
    listed = [(task / "children").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    children = [int(child) for each in listed for child in each]
    return [*children, *(each for child in children for each in _descendants(child))]
