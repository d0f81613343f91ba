"""Proves rule X11 for a Hermes home: the sessions of other agents' stores stand in the root profile's lists."""

import os
import pickle
import time
from collections.abc import Hashable, Iterator
from operator import is_
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from hermes_cache import Bus, HermesHome, Lookup, Policy, SessionListCache, SessionListKey
from hermes_cache.samples.claude_code import append_message
from hermes_cache.samples.home import make_sample_home
from hermes_cache.stores import Changes, ClaudeCode
from hermes_cache.stores.hermes import other_stores
from hermes_cache.stores.session_store import LOOK_EVERY_S, Row
from hermes_cache.testing import ManualClock
from tests.waiting import WAIT_S, until

_KEY = SessionListKey(show_claude_code=True)
_POLICY = Policy(ttl=600.0, stamp_interval=0.0, owner_wait=60.0, follower_wait=60.0)


class SlowStore:
    """A store whose first reading waits for the test; then it may fail."""

    def __init__(self) -> None:
        self.may_read, self.fails = Event(), False
        self.calls = 0
        self.more: list[Any] = []

    def rows(self) -> list[Row]:
        self.calls += 1
        assert self.may_read.wait(20.0)
        if self.fails:
            raise RuntimeError("no rows today")
        return [
            {"session_id": "slow_1", "title": "Slow", "source_tag": "claude_code", "message_count": 1},
            *self.more,
        ]

    def stamp(self) -> Hashable:
        self.calls += 1
        return 0

    def changes(self, _since: Hashable, /) -> Changes | None:
        return None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_sample_home(tmp_path / "home", sessions=30).path


@pytest.fixture
def transcript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A transcript for a store; a list waits for its first reading for as long as a busy machine takes."""
    monkeypatch.setattr(other_stores, "_WAIT_S", WAIT_S)
    file = tmp_path.resolve() / "projects" / "folder" / "a.jsonl"
    file.parent.mkdir(parents=True)
    append_message(file, "Ask for password=hunter2", at_s=2e9)
    return file


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_s=time.time() + 60)


@pytest.fixture
def home(root: Path, transcript: Path, clock: ManualClock) -> HermesHome:
    return HermesHome(root, stores=[ClaudeCode(transcript.parent.parent, clock=clock)])


@pytest.fixture
def slow() -> Iterator[SlowStore]:
    store = SlowStore()
    yield store
    store.may_read.set()


def _rows(home: HermesHome, key: SessionListKey = _KEY) -> list[dict[str, Any]]:
    return [*home.builder(key)["sessions"]]  # type: ignore[misc]


def test_the_root_profile_lists_the_sessions_of_a_store_in_no_profile(home: HermesHome) -> None:
    """X11, K1"""
    keys = [_KEY, SessionListKey(all_profiles=True, show_claude_code=True), SessionListKey()]
    keys.append(SessionListKey(profile="work", show_claude_code=True))

    found = [[row for row in _rows(home, key) if row["source_tag"] == "claude_code"] for key in keys]

    assert [len(rows) for rows in found] == [1, 1, 0, 0]
    row = found[0][0]
    assert (row["title"], row["display_title"], row["profile"]) == ("Ask for password=***",) * 2 + (None,)
    assert (row["read_only"], row["is_read_only"], row["is_cli_session"], row["is_streaming"]) == (
        (True, True, True, False)
    )
    other = next(row for row in _rows(home) if row["source_tag"] != "claude_code")
    assert row.keys() >= other.keys() - {"parent_session_id"}
    assert _rows(home)[0] == row


def test_the_envelope_counts_them_and_no_list_says_that_it_loads(home: HermesHome) -> None:
    """X11"""
    with_it, without = home.builder(_KEY), home.builder(SessionListKey())

    assert int(str(with_it["cli_session_count"])) == int(str(without["cli_session_count"])) + 1
    assert "stores_loading" not in with_it


def test_an_append_moves_the_stamp_and_the_list_and_no_other_row(
    home: HermesHome, transcript: Path, clock: ManualClock
) -> None:
    """X11, X5"""
    with SessionListCache(home.builder, sources=home.sources, policy=_POLICY, bus=Bus()) as cache:
        before = cache.lookup(_KEY)
        append_message(transcript, "More", at_s=2.1e9)
        unseen = cache.lookup(_KEY)
        clock.advance(LOOK_EVERY_S)
        seen = cache.lookup(_KEY)

    assert (unseen.outcome, seen.outcome, seen.reason) == ("hit", "built", "source")
    earlier, later = (list(_payload(each)["sessions"]) for each in (before, seen))
    assert [rows[0]["message_count"] for rows in (earlier, later)] == [1, 2]
    assert all(map(is_, earlier[1:], later[1:]))


def _payload(lookup: Lookup) -> Any:
    return lookup.payload


def test_until_a_store_is_read_lists_come_without_it_and_say_so(root: Path, slow: SlowStore) -> None:
    """X11"""
    home = HermesHome(root, stores=[slow])
    without, stamp = home.builder(_KEY), home.sources.stamp(_KEY, held=False)
    plain = home.builder(SessionListKey())

    slow.may_read.set()
    _await(lambda: home.sources.stamp(_KEY, held=False) != stamp)
    with_it = home.builder(_KEY)

    assert [payload.get("stores_loading") for payload in (without, plain, with_it)] == [True, None, None]
    assert _ids(with_it) - _ids(without) == {"slow_1"}


def test_a_store_that_no_view_asks_for_is_not_touched(root: Path, slow: SlowStore) -> None:
    """X11"""
    home = HermesHome(root, stores=[slow])
    plain = SessionListKey(show_cli=True, show_cron=True)
    views = [plain, SessionListKey(all_profiles=True), SessionListKey(profile="work", show_claude_code=True)]

    for key in views:
        home.builder(key)
        home.sources.stamp(key, held=False)
        home.sources.settle(key)
    untouched = slow.calls
    slow.may_read.set()
    scopes = {home.sources.scope(key) for key in (*views, SessionListKey(source_filter="claude_code"), _KEY)}

    assert untouched == 0
    with_it = SessionListKey(show_cli=True, show_cron=True, show_claude_code=True)
    assert _ids(home.builder(with_it)) == _ids(home.builder(plain)) | {"slow_1"}
    assert len(scopes) == 4


def _ids(payload: Any) -> set[str]:
    return {row["session_id"] for row in payload["sessions"]}


def _await(is_true: Any) -> None:
    until(is_true)


def test_a_store_that_fails_keeps_its_last_rows_and_costs_no_others(
    root: Path, slow: SlowStore, caplog: pytest.LogCaptureFixture
) -> None:
    """X11, E4"""
    slow.may_read.set()
    home = HermesHome(root, stores=[slow])
    before = _rows(home)
    slow.fails = True

    assert _rows(home) == before
    assert "hermes_cache.store_failed" in caplog.messages


@pytest.mark.parametrize(
    "odd",
    [{"x": {1}}, {"title": "\ud800"}, {"x": 2**70}, {1: 2}, {"session_id": None}, {"session_id": [1]}, 7, None],
)
def test_a_row_of_a_store_that_cannot_be_shown_costs_no_other(
    root: Path, slow: SlowStore, odd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """X11"""
    slow.may_read.set()
    home = HermesHome(root, stores=[slow])
    before = _rows(home)
    slow.more = [{"session_id": "odd", **odd} if isinstance(odd, dict) else odd]

    assert [_rows(home) for _ in range(2)] == [before] * 2
    assert [record.message for record in caplog.records] == ["hermes_cache.store_failed"]


def test_rows_that_stay_are_not_made_again(home: HermesHome) -> None:
    """X5, X6"""
    snapshots = [home.builder.refresh(home.sources.scope(_KEY)) for _ in range(2)]

    assert snapshots[0] is snapshots[1]


def test_a_change_of_the_setting_remakes_the_rows_of_stores_too(root: Path, home: HermesHome) -> None:
    """X12"""
    settings = root / "webui" / "settings.json"
    titles = [_rows(home)[0]["title"]]
    for text in ('{"api_redact_enabled": false}', "{}"):
        settings.write_text(text)
        titles.append(_rows(home)[0]["title"])

    assert titles == ["Ask for password=***", "Ask for password=hunter2", "Ask for password=***"]


def test_a_pickled_home_reads_the_same_stores(root: Path, transcript: Path) -> None:
    """B8"""
    home = HermesHome(root, stores=[ClaudeCode(transcript.parent.parent)])

    copies = pickle.loads(pickle.dumps((home, home.builder)))  # noqa: S301 - ours

    assert _rows(copies[0]) == _rows(home)
    assert copies[1](_KEY)["sessions"] == home.builder(_KEY)["sessions"]


def test_worker_processes_list_them_in_views_of_one_and_of_all_profiles(root: Path, transcript: Path) -> None:
    """B8, X11"""
    home = HermesHome(root, stores=[ClaudeCode(transcript.parent.parent)])
    keys = (_KEY, SessionListKey(all_profiles=True, show_claude_code=True))
    with SessionListCache(
        home.builder, sources=home.sources, policy=_POLICY, bus=Bus(), executor="processes"
    ) as cache:
        # Until the workers have read the store, lists come without it.
        until(lambda: all(b"Ask for password=***" in cache.render(key, freshness="fresh").body for key in keys))

        assert all(b"Ask for password=***" in cache.render(key).body for key in keys)


def test_a_forked_child_reads_a_store_that_the_parent_was_reading(root: Path, slow: SlowStore) -> None:
    """L2"""
    home = HermesHome(root, stores=[slow])
    home.builder(_KEY)
    child = os.fork()
    if not child:
        slow.may_read.set()
        os._exit(0 if "slow_1" in _ids(home.builder(_KEY)) else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
