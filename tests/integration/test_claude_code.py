"""Proves rules X11 and L2 for the store of Claude Code on real files: what is read, and what bad input costs."""

import json
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import pytest

from hermes_cache import SourceError
from hermes_cache.payload.rows import encoded_json
from hermes_cache.samples.claude_code import append_message, make_transcripts
from hermes_cache.stores import ClaudeCode, growing_files
from hermes_cache.stores.growing_files import opened
from hermes_cache.stores.session_store import LOOK_EVERY_S, MOVES_EVERY_S
from hermes_cache.testing import ManualClock

_MOST_READ_BYTES = 64 * 2**10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "projects"


@pytest.fixture
def file(root: Path) -> Path:
    file = root / "folder" / "a.jsonl"
    file.parent.mkdir(parents=True)
    append_message(file, "First")
    return file


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_s=time.time() + 60)


def _titles(store: ClaudeCode) -> list[object]:
    return [row["title"] for row in store.rows()]


def test_one_append_reads_little_of_a_large_transcript_and_is_seen_at_the_look(root: Path) -> None:
    """X11"""
    (file,) = make_transcripts(root, sessions=1, size_bytes=20 * 2**20)
    store = ClaudeCode(root)
    before, read = store.rows()[0], store.bytes_read
    append_message(file, "One more", at_s=2e9)

    was_moved = store.look([file])
    (after,) = store.rows()

    assert was_moved
    assert (before["updated_at"] != 2e9, after["updated_at"]) == (True, 2e9)
    assert 0 < store.bytes_read - read <= _MOST_READ_BYTES


def test_a_look_that_finds_nothing_reads_nothing(root: Path, clock: ManualClock) -> None:
    """X11"""
    make_transcripts(root, sessions=50)
    store = ClaudeCode(root, clock=clock)
    rows, read = store.rows(), store.bytes_read

    for _ in range(3):
        clock.advance(LOOK_EVERY_S)
        assert store.rows() is rows

    assert store.bytes_read == read


def test_the_stamp_is_returned_without_reading_a_transcript(root: Path, file: Path, clock: ManualClock) -> None:
    """X11"""
    store = ClaudeCode(root, clock=clock)
    stamp = store.stamp()
    append_message(file, "Second")
    clock.advance(LOOK_EVERY_S)

    assert store.stamp() != stamp
    assert (store.bytes_read, store.is_read) == (0, False)


def test_without_a_notification_all_is_looked_at_once_in_five_seconds(
    root: Path, file: Path, clock: ManualClock
) -> None:
    """X11"""
    store = ClaudeCode(root, clock=clock)
    store.rows()
    append_message(file.with_name("b.jsonl"), "Other", at_s=2e9)

    clock.advance(LOOK_EVERY_S - 0.1)
    early = _titles(store)
    clock.advance(0.2)

    assert (early, _titles(store)) == (["First"], ["Other", "First"])


def test_looks_at_everything_take_little_of_a_processor(
    file: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X11: a look that takes long is followed by a longer pause."""
    spent_s = iter(range(1_000))
    monkeypatch.setattr("hermes_cache.stores.claude_code.thread_time", lambda: 0.1 * next(spent_s))
    store = ClaudeCode(file.parent.parent, clock=clock)
    store.rows()
    append_message(file.with_name("b.jsonl"), "Other", at_s=2e9)

    clock.advance(49.9)
    early = _titles(store)
    clock.advance(0.2)

    assert (early, _titles(store)) == (["First"], ["Other", "First"])


def test_a_stamp_does_not_wait_for_a_look_that_takes_long(
    file: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X11, S4: a thread looks, and a later stamp tells of what it found."""
    spent_s = iter(range(1_000))
    monkeypatch.setattr("hermes_cache.stores.claude_code.thread_time", lambda: 0.01 * next(spent_s))
    store = ClaudeCode(file.parent.parent, clock=clock)
    before = store.stamp()
    append_message(file, "More")
    clock.advance(LOOK_EVERY_S)

    with store._scanning:
        unmoved = [store.stamp(), store.stamp()]
        clock.advance(MOVES_EVERY_S)
        unmoved.append(store.stamp())
    _await(lambda: store.stamp() != before)

    assert unmoved == [before] * 3
    assert store.rows()[0]["message_count"] == 2


def _await(is_true: Callable[[], bool]) -> None:
    gives_up_at_s = time.monotonic() + 20.0
    while not is_true():
        assert time.monotonic() < gives_up_at_s
        Event().wait(0.005)


def test_a_notification_moves_the_stamp_once_that_may_move(root: Path, file: Path, clock: ManualClock) -> None:
    """X11"""
    store = ClaudeCode(root, clock=clock)
    stamps = [store.stamp()]

    for _ in range(2):
        append_message(file, "More")
        store.look([file])
        stamps.append(store.stamp())
    clock.advance(MOVES_EVERY_S)
    stamps.append(store.stamp())

    assert stamps[0] == stamps[1] == stamps[2] != stamps[3]
    assert store.rows()[0]["message_count"] == 3


@pytest.mark.parametrize("notified", [True, False])
def test_symlinks_and_what_is_no_transcript_are_passed_over(root: Path, file: Path, *, notified: bool) -> None:
    """X11: also in loops, and when a notification names them; a pipe blocks nobody."""
    (root / "loop").symlink_to(root)
    others = [
        file.with_name(name) for name in ("link.jsonl", "pipe.jsonl", "folder.jsonl", "a.json", "loop.jsonl")
    ]
    others[0].symlink_to(file)
    os.mkfifo(others[1])
    others[2].mkdir()
    others[3].write_bytes(file.read_bytes())
    others[4].symlink_to(others[4])
    deep = file.parent / "deep" / "b.jsonl"
    deep.parent.mkdir()
    deep.write_bytes(file.read_bytes())
    linked = root / "loop" / "folder" / "a.jsonl"
    store = ClaudeCode(root)
    store.rows()

    if notified:
        store.look([*others, deep, linked, root, root.parent])

    assert _titles(store) == ["First"]


def test_a_root_that_is_a_symlink_is_passed_over(root: Path, file: Path) -> None:
    """X11"""
    link = root.with_name("link")
    link.symlink_to(root)

    assert ClaudeCode(link).rows() == ()
    assert file.exists()


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_line_of_100_mb_costs_no_other_line(root: Path, file: Path, *, is_ended: bool) -> None:
    """X11: nor memory beyond the bound for lines; it may have an end or none yet."""
    with file.open("ab") as opened:
        for _ in range(100):
            opened.write(b'{"x": "' + b"y" * 2**20)
        if is_ended:
            opened.write(b"\n")
    append_message(file, "after it")
    append_message(file, "and another")

    (row,) = ClaudeCode(root).rows()

    assert (row["title"], row["message_count"]) == ("First", 3 if is_ended else 2)


@pytest.mark.parametrize(
    "line",
    [
        bytes(range(1, 256)) * 100, b"\x00" * 10_000, b"\xff\xfe{\x00}\x00", b"[" * 100_000, b'{"a":' * 100_000,
        b"[1, 2]", b'"text"', b"null", b"{}", b'{"message": 7, "messages": "x"}', b'{"messages": [null, 7, {}]}',
        b'{"role": "user", "content": "later", "timestamp": NaN}', b'{"role": {}, "content": "no role"}',
        b'{"message": {"role": "tool", "content": {"content": {"content": []}}}, "timestamp": [1e999]}',
    ],
    ids=lambda line: line[:12].decode("ascii", "replace"),
)  # fmt: skip
def test_a_line_that_is_binary_or_odd_costs_itself_alone(root: Path, file: Path, line: bytes) -> None:
    """X11"""
    file.write_bytes(line + b"\n" + file.read_bytes() + line + b"\n")
    append_message(file, "The last", at_s=2e9)

    (row,) = ClaudeCode(root).rows()

    assert (row["title"], row["updated_at"]) == ("First" if b"later" not in line else "later", 2e9)
    assert json.loads(encoded_json(dict(row)))["session_id"] == row["session_id"]


@pytest.mark.parametrize(
    "moment", ['"soon"', "5e246", "-1", "0", "1790000000000", "null", '"9999-99-99T00:00:00Z"']
)
def test_one_absurd_time_among_good_ones_costs_that_value_alone(root: Path, file: Path, moment: str) -> None:
    """X11"""
    file.write_bytes(b"")
    append_message(file, "First", at_s=1e9)
    with file.open("a") as opened:
        opened.write(f'{{"role": "assistant", "content": "Answer", "timestamp": {moment}}}\n')
    append_message(file, "Last", at_s=1e9 + 60)

    (row,) = ClaudeCode(root).rows()

    assert (row["created_at"], row["updated_at"], row["message_count"]) == (1e9, 1e9 + 60, 3)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("word " * 200_000, ("word " * 200_000)[:80]),
        ("x" * 2**20, "x" * 80),
        ("\u202eabc\u202c \u200b\ufeff def", "\u202eabc\u202c \u200b\ufeff def"),
        ("before\x00after", "before\x00after"),
        (" \n\t " * 2_000 + "after blanks", "after blanks"),
        ("\ud800 lone", "? lone"),
    ],
    ids=["words", "one word", "bidi", "nul", "blanks", "surrogate"],
)
def test_a_title_of_a_megabyte_or_of_odd_signs_is_a_title(root: Path, file: Path, text: str, title: str) -> None:
    """X11, X12"""
    file.write_text(json.dumps({"summary": text}) + "\n" + file.read_text())

    (row,) = ClaudeCode(root).rows()

    assert row["title"] == title
    assert json.loads(encoded_json(dict(row)))["title"] == title


def test_a_transcript_that_shrinks_or_goes_while_it_is_read_costs_itself_alone(
    root: Path, file: Path, clock: ManualClock
) -> None:
    """X11: what is read ends where the file ends now; the next look reads it anew."""
    others = make_transcripts(root.with_name("others"), sessions=1, size_bytes=3 * 2**20)
    large = file.with_name("large.jsonl")
    large.write_bytes(others[0].read_bytes())
    with opened(str(large), None) as reading:
        lines = reading.lines()
        next(lines)
        os.truncate(large, 100)
        rest = list(lines)
        large.unlink()
        again = reading.read()
    store = ClaudeCode(root, clock=clock)

    assert len(rest) < len(others[0].read_bytes().splitlines())
    assert again.end <= 2**20
    assert _titles(store) == ["First"]


def test_an_open_line_that_grows_is_not_read_again_and_again(
    root: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X11"""
    monkeypatch.setattr(growing_files, "LONGEST_LINE_BYTES", 2**21)
    store = ClaudeCode(root)
    store.rows()
    read = [store.bytes_read]
    for _ in range(8):
        with file.open("ab") as opened:
            opened.write(b"y" * 2**20)
        store.look([file])
        store.rows()
        read.append(store.bytes_read)
    with file.open("ab") as opened:
        opened.write(b"\n")
    append_message(file, "after it")
    store.look([file])

    # The first whole reading finds that the line has no end; from then on only what is new is searched.
    assert max(later - earlier for earlier, later in pairwise(read[1:])) <= 2**20 + 2**15
    assert store.rows()[0]["message_count"] == 2


def test_a_transcript_of_wrong_clocks_is_read_like_any_other(root: Path, file: Path, clock: ManualClock) -> None:
    """X11: the clock of the files is a day ahead, or years behind."""
    for at_s in (time.time() + 86_400, 0.0):
        os.utime(file, (at_s, at_s))
        store = ClaudeCode(root, clock=clock)
        assert _titles(store) == ["First"]
        read = store.bytes_read
        clock.advance(LOOK_EVERY_S)
        store.rows()
        clock.advance(LOOK_EVERY_S)

        append_message(file, "More")
        os.utime(file, (at_s, at_s))
        clock.advance(LOOK_EVERY_S)

        assert store.rows()[0]["message_count"] == len(file.read_bytes().splitlines())
        assert store.bytes_read - read <= 3 * _MOST_READ_BYTES


def test_the_time_of_a_file_stands_in_exactly_as_the_system_tells_it(root: Path, file: Path) -> None:
    """X7, X11"""
    file.write_bytes(b'{"role": "user", "content": "no time"}\n')
    os.utime(file, ns=(1_795_879_212_587_543_637, 1_795_879_212_587_543_637))

    (row,) = ClaudeCode(root).rows()

    assert row["updated_at"] == file.stat().st_mtime


def test_files_and_folders_that_go_while_they_are_read_cost_themselves(root: Path) -> None:
    """X11"""
    files = make_transcripts(root, sessions=60, size_bytes=2**20)
    store = ClaudeCode(root)
    store.look()
    for file in files[::2]:
        file.unlink()

    assert len(store.rows()) == 30


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_stays_as_it_was(root: Path, file: Path, clock: ManualClock) -> None:
    """X11"""
    store = ClaudeCode(root, clock=clock)
    store.rows()
    file.parent.chmod(0)
    try:
        clock.advance(LOOK_EVERY_S)
        assert _titles(store) == ["First"]
    finally:
        file.parent.chmod(0o700)


def test_a_change_of_the_setting_remakes_all_rows(root: Path, file: Path, clock: ManualClock) -> None:
    """X12: and nothing is read for it."""
    redacts = [True]
    append_message(file.with_name("b.jsonl"), "password=hunter2", at_s=2e9)
    store = ClaudeCode(root, redacts=lambda: redacts[0], clock=clock)
    masked, since, read = _titles(store), store.stamp(), store.bytes_read

    redacts[0] = False
    clock.advance(LOOK_EVERY_S)
    changes = store.changes(since)

    assert (masked, _titles(store)) == (["password=***", "First"], ["password=hunter2", "First"])
    assert changes is not None
    assert [row["title"] for row in changes.rows] == ["password=hunter2"]
    assert store.bytes_read == read


def test_threads_that_come_at_once_share_one_reading(root: Path) -> None:
    """X11"""
    make_transcripts(root, sessions=200, size_bytes=2**21)
    store = ClaudeCode(root)
    counts: list[int] = []
    threads = [Thread(target=lambda: counts.append(len(store.rows()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts == [200] * 8
    assert store.bytes_read < 2 * 2**21


def test_a_forked_child_reads_on_its_own(root: Path, file: Path) -> None:
    """L2: also if another thread holds the locks meanwhile."""
    store = ClaudeCode(root)
    store.rows()
    append_message(file, "More")
    with _held(store):
        child = os.fork()
        if not child:
            os._exit(0 if store.rows()[0]["message_count"] == 2 else 1)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0


@contextmanager
def _held(store: ClaudeCode) -> Iterator[None]:
    with store._scanning, store._looking, store._reading:
        yield


def test_a_store_that_was_pickled_reads_the_same_files(root: Path, file: Path) -> None:
    """B8"""
    store = ClaudeCode(root, redacts=_never)
    append_message(file.with_name("b.jsonl"), "password=hunter2", at_s=2e9)

    copy = pickle.loads(pickle.dumps(store))  # noqa: S301 - ours

    assert copy.rows() == store.rows()


def _never() -> bool:
    return False


def test_the_folder_is_found_as_the_front_end_finds_it(
    root: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X11, S5"""
    monkeypatch.setenv("HERMES_WEBUI_CLAUDE_PROJECTS_DIR", str(root))
    named = ClaudeCode()
    monkeypatch.delenv("HERMES_WEBUI_CLAUDE_PROJECTS_DIR")
    monkeypatch.setenv("HOME", "/home/somebody")

    assert (named.path, ClaudeCode().path) == (root, Path("/home/somebody/.claude/projects"))
    assert file.exists()


def test_without_a_home_folder_the_error_says_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """S5"""
    missing: Callable[[Path], Path] = _raise_that_there_is_no_home
    monkeypatch.setattr(Path, "expanduser", missing)

    with pytest.raises(SourceError, match="name the folder of the projects"):
        ClaudeCode()


def _raise_that_there_is_no_home(_path: Path) -> Path:
    raise RuntimeError("Could not determine home directory.")
