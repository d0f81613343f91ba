"""The transcripts of Claude Code: 1,000 of 100 MB, read in full, from memory, after one append, and looked at.

One thread; the files are in the page cache. The floor of a full reading is every file read and every line parsed.
"""

import os
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from hermes_cache.samples.claude_code import append_message, make_transcripts
from hermes_cache.stores import ClaudeCode
from tests.benchmarks.figures import Figure, at_most, faster, in_units
from tests.benchmarks.timing import Benchmark, side_by_side, timed_s

_SESSIONS, _BYTES = 1_000, 100 * 2**20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_transcripts(tmp_path_factory.mktemp("claude") / "projects", sessions=_SESSIONS, size_bytes=_BYTES)


@pytest.mark.timeout(300)
def test_a_full_reading(benchmark: Benchmark, record: Callable[[Figure], None], files: list[Path]) -> None:
    """X11"""
    root = files[0].parent.parent

    def parsed() -> None:
        for file in files:
            for line in file.read_bytes().splitlines():
                orjson.loads(line)

    rows: list[int] = []

    spans = side_by_side(
        benchmark, lambda: rows.append(len(ClaudeCode(root).rows())), parsed, calls=(1, 1), rounds=3
    )

    assert rows == [_SESSIONS] * 3
    record(at_most("read 1,000 transcripts of 100 MB", spans[0], "read and parse", spans[1], most=3))


def test_all_rows_from_memory_and_one_append(
    benchmark: Benchmark, record: Callable[[Figure], None], files: list[Path]
) -> None:
    """X11"""
    store = ClaudeCode(files[0].parent.parent)
    store.rows()
    read, file = store.bytes_read, max(files, key=os.path.getsize)

    def seen() -> object:
        append_message(file, "One more")
        store.look([file])
        return store.rows()

    spans = side_by_side(benchmark, store.rows, seen, store.look, calls=(100, 1, 1), rounds=10)
    append_message(file, "The last")
    before = store.bytes_read
    timed_s(lambda: (store.look([file]), store.rows()))

    assert read < before
    bytes_read = store.bytes_read - before
    record(faster("1,000 rows from memory", spans[0], "one append, seen", spans[1], least=10))
    record(Figure("one append to the largest", f"{bytes_read:,} bytes", "", "", "<= 65,536", bytes_read <= 65_536))
    record(Figure("a look at 1,000 files", in_units(spans[2]), "", ""))
