"""What a decision asks for may fail, for lack of memory or of a thread: its readers are answered anyway (I4)."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from hermes_cache import BuildError, Bus, Policy, SessionListCache, SessionListKey
from tests.waiting import WAIT_S

_KEY = SessionListKey()


def _build(_key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": []}


class PoorLoop(asyncio.SelectorEventLoop):
    """An event loop that has no memory for the first call from another thread that it is asked to make."""

    refused = 0

    def call_soon_threadsafe(self, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
        if not self.refused:
            self.refused += 1
            raise MemoryError
        return super().call_soon_threadsafe(*args, **options)


def test_an_answer_that_cannot_be_delivered_at_once_is_delivered_later() -> None:
    """I4"""
    loop = PoorLoop()

    with SessionListCache(_build, bus=Bus()) as cache:
        try:
            payload = loop.run_until_complete(asyncio.wait_for(cache.aget(_KEY), WAIT_S))
        finally:
            loop.close()

    assert payload == {"sessions": []}
    assert loop.refused == 1


def _refusing(times: int, name: str) -> Callable[[threading.Thread], None]:
    """Return a `Thread.start` that refuses threads of a name so many times, as a full machine does."""
    start = threading.Thread.start
    left = [times]

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name and left[0]:
            left[0] -= 1
            raise RuntimeError("can't start new thread")
        start(thread)

    return refuse


def test_a_build_whose_thread_is_refused_once_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """B6"""
    with SessionListCache(_build, bus=Bus()) as cache:
        cache.get(_KEY)
        _take_builders_away(cache)
        monkeypatch.setattr(threading.Thread, "start", _refusing(1, "hermes_cache.builder"))

        payload = cache.get(_KEY, freshness="fresh", timeout=WAIT_S)

    assert payload == {"sessions": []}


def test_a_build_whose_thread_is_refused_for_good_fails_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """B6, R7"""
    with SessionListCache(_build, bus=Bus()) as cache:
        cache.get(_KEY)
        _take_builders_away(cache)
        monkeypatch.setattr(threading.Thread, "start", _refusing(100, "hermes_cache.builder"))

        with pytest.raises(BuildError, match="can't start new thread"):
            cache.get(_KEY, freshness="fresh", timeout=WAIT_S)

    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "hermes_cache.effect_failed"
    ]


def test_a_pool_of_one_keeps_its_slot_though_its_thread_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """I5"""
    with SessionListCache(_build, bus=Bus(), policy=Policy(pool_size=1)) as cache:
        cache.get(_KEY)
        _take_builders_away(cache)
        with monkeypatch.context() as machine:
            machine.setattr(threading.Thread, "start", _refusing(2, "hermes_cache.builder"))
            with pytest.raises(BuildError):
                cache.get(SessionListKey("other"), timeout=WAIT_S)

        payload = cache.get(SessionListKey("other"), timeout=WAIT_S)

    assert payload == {"sessions": []}


def _take_builders_away(cache: SessionListCache) -> None:
    assert cache._life is not None
    for thread in cache._life.runner._builders.end_free():
        thread.join(WAIT_S)
        assert not thread.is_alive()
