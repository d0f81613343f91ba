"""Rules X10 and X11: a store of another agent is told of what moved, and so is a worker process that reads it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import orjson
import pytest

from hermes_cache import Bus, Following, HermesHome, Patch, Policy, Rendered, SessionListCache, SessionListKey
from hermes_cache.samples.claude_code import append_message
from hermes_cache.samples.home import make_sample_home
from hermes_cache.stores import ClaudeCode
from hermes_cache.stores.session_store import LOOK_EVERY_S
from hermes_cache.testing import ManualClock
from tests.waiting import WAIT_S

_KEY = SessionListKey(show_claude_code=True)
_UNPACED = Policy(max_build_duty=1.0)

Executor = Literal["threads", "processes"]


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    file = tmp_path.resolve() / "projects" / "folder" / "a.jsonl"
    file.parent.mkdir(parents=True)
    append_message(file, "First")
    return file


@pytest.fixture
def clock() -> ManualClock:
    """The clock of a store that never looks by itself again, as its time stands still."""
    return ManualClock(wall_s=2e9)


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Executor:
    found: Executor = request.param
    return found


@pytest.fixture
def cache(tmp_path: Path, transcript: Path, clock: ManualClock, executor: Executor) -> Iterator[SessionListCache]:
    make_sample_home(tmp_path / "home", sessions=5, profiles=())
    home = HermesHome(tmp_path / "home", stores=[ClaudeCode(transcript.parent.parent, clock=clock)])
    watched = SessionListCache(
        home.builder, sources=home.sources, watch=home.watch, policy=_UNPACED, bus=Bus(), executor=executor
    )
    with watched as cache:
        yield cache


def _let_the_stamp_move_again(clock: ManualClock) -> None:
    clock.advance(LOOK_EVERY_S - 1)


def _await_the_whole_view(followed: Following) -> None:
    """Wait for the view; until a busy machine has read the store, it comes without it, and says so."""
    view = followed.get(timeout=WAIT_S)
    assert isinstance(view, Rendered)
    while orjson.loads(view.body).get("stores_loading"):
        news = followed.get(timeout=WAIT_S)
        assert isinstance(news, Patch | Rendered)
        view = view.apply(news) if isinstance(news, Patch) else news


def _patched(cache: SessionListCache, transcript: Path, clock: ManualClock) -> Patch:
    """Follow the view, append a message, and return what the follower gets for it."""
    with cache.follow(_KEY) as followed:
        _await_the_whole_view(followed)
        _let_the_stamp_move_again(clock)
        append_message(transcript, "Second", at_s=2e9)
        found = followed.get(timeout=WAIT_S)
    assert isinstance(found, Patch)
    return found


def test_an_append_to_a_transcript_reaches_who_follows(
    cache: SessionListCache, transcript: Path, clock: ManualClock
) -> None:
    """X10, X11, B8"""
    patch = _patched(cache, transcript, clock)

    assert [(row["title"], row["updated_at"]) for row in patch.rows] == [("First", 2e9)]


def test_a_transcript_in_a_new_folder_reaches_who_follows(
    cache: SessionListCache, transcript: Path, clock: ManualClock
) -> None:
    """X10, X11, B8"""
    folder = transcript.parent.parent / "another"
    folder.mkdir()
    another = folder / "b.jsonl"

    patch = _patched(cache, another, clock)

    assert [row["title"] for row in patch.rows] == ["Second"]


def test_a_folder_that_goes_takes_its_sessions_with_it(
    cache: SessionListCache, transcript: Path, clock: ManualClock
) -> None:
    """X10, X11"""
    with cache.follow(_KEY) as followed:
        _await_the_whole_view(followed)
        _let_the_stamp_move_again(clock)
        shutil.rmtree(transcript.parent)
        found = followed.get(timeout=WAIT_S)

    assert isinstance(found, Patch)
    assert len(found.gone) == 1


def test_what_a_store_holds_back_is_asked_for_when_its_stamp_may_move(
    cache: SessionListCache, transcript: Path, clock: ManualClock
) -> None:
    """X11: the second append comes within the span in which the stamp does not move twice."""
    with cache.follow(_KEY) as followed:
        _await_the_whole_view(followed)
        _let_the_stamp_move_again(clock)
        append_message(transcript, "Second", at_s=2e9)
        followed.get(timeout=WAIT_S)
        append_message(transcript, "Third", at_s=2e9 + 1)
        clock.advance(LOOK_EVERY_S - 1)
        found = followed.get(timeout=WAIT_S)

    assert isinstance(found, Patch)
    assert [row["updated_at"] for row in found.rows] == [2e9 + 1]
