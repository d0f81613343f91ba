"""What is known of aliases and scopes, and for how long (K3)."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from hermes_cache import Bus, Rendered, SessionListKey
from hermes_cache.cache import targets as targets_module
from hermes_cache.cache.list_cache import ListCache
from hermes_cache.cache.targets import Targets
from hermes_cache.core.state import Target
from hermes_cache.sessions.session_list_cache import SessionLists
from hermes_cache.threads.callables import Inside

_KINNI = SessionListKey("kinni")
_PATIENCE_S = 20.0


@contextmanager
def _asking(is_root_profile: Callable[[str], bool]) -> Iterator[Targets]:
    targets = Targets(SessionLists(), None, is_root_profile, Inside(), watched=False)
    yield targets
    assert targets.stop(_PATIENCE_S)


def _named(target: Target) -> str | None:
    assert isinstance(target.key, SessionListKey)
    return target.key.profile


def _profile(targets: Targets, settings: int) -> str | None:
    target = targets.find(_KINNI, settings, _PATIENCE_S)
    return _named(target) if target else None


def test_an_answer_is_kept_until_settings_change() -> None:
    """K3"""
    asked: list[str] = []

    def is_root_profile(name: str) -> bool:
        asked.append(name)
        return len(asked) == 1

    with _asking(is_root_profile) as targets:
        before = [_profile(targets, 0), _profile(targets, 0), targets.canonical("kinni", 0)]
        known = targets.known(_KINNI, 1)
        after = [_profile(targets, 1), targets.canonical("kinni", 1)]

    assert before == ["default"] * 3
    assert known is None
    assert after == ["kinni"] * 2
    assert asked == ["kinni"] * 2


def test_an_answer_from_before_the_last_change_of_settings_is_neither_kept_nor_used() -> None:
    """K3: one that is asked for, or comes, too late for its time."""
    asked, goes_on = threading.Event(), threading.Event()
    answers = iter([True, False])

    def is_root_profile(_name: str) -> bool:
        answer = next(answers)
        if answer:
            asked.set()
            goes_on.wait(_PATIENCE_S)
        return answer

    with _asking(is_root_profile) as targets:
        late = targets.question(_KINNI, 0)
        assert asked.wait(_PATIENCE_S)
        newer = targets.question(_KINNI, 1)
        goes_on.set()
        assert late.wait(_PATIENCE_S)
        assert newer.wait(_PATIENCE_S)

        assert _named(late.result()) == "default"
        assert _named(newer.result()) == "kinni"
        assert targets.canonical("kinni", 1) == "kinni"
        assert targets.known(_KINNI, 0) is None


def test_who_asks_as_of_earlier_settings_changes_nothing_that_is_known() -> None:
    """K3"""
    asked: list[str] = []

    def is_root_profile(name: str) -> bool:
        asked.append(name)
        return len(asked) > 1

    with _asking(is_root_profile) as targets:
        newer = _profile(targets, 1)
        older = _profile(targets, 0)

        assert (newer, older) == ("kinni", "default")
        assert _profile(targets, 1) == "kinni"
        assert len(asked) == 2


def test_readers_of_one_key_share_a_question() -> None:
    """R6"""
    goes_on, asked = threading.Event(), []

    def is_root_profile(name: str) -> bool:
        asked.append(name)
        return goes_on.wait(_PATIENCE_S)

    with _asking(is_root_profile) as targets:
        found = [targets.find(_KINNI, 0, 0.0) for _ in range(100)]
        questions = {id(targets.question(_KINNI, 0)) for _ in range(100)}
        goes_on.set()
        assert targets.question(_KINNI, 0).wait(_PATIENCE_S)

    assert found == [None] * 100
    assert len(questions) == 1
    assert asked == ["kinni"]


def test_past_their_bound_the_oldest_name_is_forgotten_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """K3"""
    monkeypatch.setattr(targets_module, "_MOST", 3)
    keys = [SessionListKey(f"profile {number}") for number in range(4)]
    asked: list[str] = []

    def is_root_profile(name: str) -> bool:
        asked.append(name)
        return False

    with _asking(is_root_profile) as targets:
        for key in keys:
            assert targets.find(key, 0, _PATIENCE_S)
        known = [targets.known(key, 0) is not None for key in keys]
        asked.clear()
        for key in reversed(keys):
            targets.canonical(key.profile, 0, _PATIENCE_S)

    assert known == [False, True, True, True]
    assert asked == ["profile 0"]


class _OneScope:
    """Sources that never move."""

    def scope(self, _key: str, /) -> str:
        return "all"

    def stamp(self, _key: str, /, *, held: bool) -> Mapping[str, bool]:  # noqa: ARG002 - the port's name
        return {"content": True}


@pytest.mark.parametrize(
    "given", [{"sources": _OneScope()}, {"is_root_profile": bool}], ids=["sources", "aliases"]
)
def test_keys_without_profiles_are_read_and_followed(given: dict[str, Any]) -> None:
    """K5: `profile_of` need not be given, whoever else is asked about a key"""
    with ListCache[str](lambda key: {"of": key}, bus=Bus(), **given) as cache:
        read = [cache.get("got", timeout=_PATIENCE_S), asyncio.run(cache.aget("awaited", timeout=_PATIENCE_S))]
        with cache.follow("followed") as following:
            followed = following.get(_PATIENCE_S)

    assert [payload["of"] for payload in read] == ["got", "awaited"]
    assert isinstance(followed, Rendered)
    assert orjson.loads(followed.body)["of"] == "followed"
