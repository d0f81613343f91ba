"""Callables of others, given to a cache: coroutine functions are refused, what fails harms nobody (E4, K3)."""

import functools
import logging
from collections.abc import Mapping

import pytest

from hermes_cache import Bus, SessionListCache, SessionListKey
from hermes_cache.ports import Sources

_CALLABLES = ("is_root_profile", "active_stream_ids", "live_sessions", "settings_version")


async def _answer(*_args: object) -> bool:
    return True


def _build(key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": [{"session_id": f"of {key.profile_name}"}]}


class _Sources:
    def scope(self, _key: SessionListKey, /) -> object:
        return None

    def stamp(self, _key: SessionListKey, /, *, held: bool) -> Mapping[str, object]:
        return {"held": held}


class _AsyncScope(_Sources):
    async def scope(self, _key: SessionListKey, /) -> object:
        return None


class _AsyncSettle(_Sources):
    async def settle(self, _key: SessionListKey, /) -> None: ...


class _AwaitedSettle(_Sources):
    def settle(self, key: SessionListKey, /) -> None:
        return _answer(key)  # type: ignore[return-value]  # that is the point


@pytest.mark.parametrize("name", _CALLABLES)
def test_a_coroutine_function_is_refused_by_the_name_of_its_argument(name: str) -> None:
    """E4"""
    given = {name: functools.partial(_answer, "work")}

    with pytest.raises(TypeError, match=f"^{name} is "):
        SessionListCache(_build, bus=Bus(), **given)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(("name", "sources"), [("scope", _AsyncScope()), ("settle", _AsyncSettle())])
def test_a_scope_or_a_settle_that_must_be_awaited_is_refused(name: str, sources: Sources) -> None:
    """E4"""
    with pytest.raises(TypeError, match=rf"^sources\.{name} is "):
        SessionListCache(_build, sources=sources, bus=Bus())


def test_a_settle_that_returns_an_awaitable_counts_as_failed() -> None:
    """E4: what waits for nothing is not passed over in silence."""
    with SessionListCache(_build, sources=_AwaitedSettle(), bus=Bus()) as cache:
        cache.get(SessionListKey())

        assert cache.health().failing_callables == {"sources.settle"}


def test_an_alias_callable_that_returns_an_awaitable_says_no(caplog: pytest.LogCaptureFixture) -> None:
    """E4, K3: each profile has its own list, and the log names the callable."""

    def awaited(name: str) -> bool:
        return _answer(name)  # type: ignore[return-value]  # that is the point

    with (
        caplog.at_level(logging.WARNING),
        SessionListCache(_build, bus=Bus(), is_root_profile=awaited) as cache,
    ):
        lists = [cache.get(SessionListKey(profile))["sessions"] for profile in ("work", "home")]

    assert [rows[0]["session_id"] for rows in lists] == ["of work", "of home"]  # type: ignore[index]  # a list
    assert "is_root_profile" in {vars(record).get("hermes_cache.callable") for record in caplog.records}


def test_live_sessions_that_fail_in_an_unforeseen_way_are_none() -> None:
    """O1, E4"""

    def live() -> dict[str, object]:
        raise SystemExit

    with SessionListCache(_build, bus=Bus(), live_sessions=live) as cache:  # type: ignore[arg-type]
        body = cache.render(SessionListKey()).body

        assert b"of default" in body
        assert cache.health().failing_callables == {"live_sessions"}
