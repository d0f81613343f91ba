"""What comes of a build, a check or an answer may be lost for lack of memory: nobody waits for ever (I4)."""

import asyncio
import threading
from collections.abc import Callable, Hashable, Mapping
from time import monotonic
from typing import Any

import pytest

from hermes_cache import (
    BuildError,
    BuildTimeoutError,
    Bus,
    LookupTimeoutError,
    Policy,
    SessionListCache,
    SessionListKey,
)
from hermes_cache.cache import cache_actor
from hermes_cache.cache.ledger import Ledger
from hermes_cache.cache.life import Reader
from hermes_cache.core.effects import Answer
from hermes_cache.core.messages import Built, Checked, Message, Tick
from hermes_cache.threads.calls import Call
from hermes_cache.threads.loops import Away
from tests.waiting import WAIT_S, answered, until

_KEY = SessionListKey()


def _build(_key: SessionListKey) -> Mapping[str, object]:
    return {"sessions": []}


class Counting:
    """Sources that count how often they are looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def scope(self, key: SessionListKey) -> Hashable:
        return key.profile

    def stamp(self, _key: SessionListKey, *, held: bool) -> Mapping[str, Hashable]:
        self.looks += 1
        return {"held": held}


def _fail_once(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, which: Callable[..., bool]) -> list[bool]:
    """Let a call have no memory, the first time that its arguments are those; return what is left to fail."""
    real, left = getattr(where, name), [True]

    def poor(*args: Any, **options: Any) -> Any:
        if left and which(*args):
            left.pop()
            raise MemoryError
        return real(*args, **options)

    monkeypatch.setattr(where, name, poor)
    return left


def test_what_was_built_arrives_though_there_was_no_memory_for_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """I4, B6"""
    with SessionListCache(_build, bus=Bus()) as cache:
        left = _fail_once(monkeypatch, cache_actor, "decide", lambda _, message, *__: isinstance(message, Built))

        payload = cache.get(_KEY, timeout=WAIT_S)

        assert payload == {"sessions": []}
        assert not left
        assert cache.stats().abandoned == 0


def test_a_build_that_cannot_be_weighed_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """I4, R7"""
    with SessionListCache(_build, bus=Bus()) as cache:
        _fail_once(monkeypatch, Ledger, "add", lambda *_: True)

        with pytest.raises(BuildError, match="MemoryError") as raised:
            cache.get(_KEY, timeout=WAIT_S)

        assert not isinstance(raised.value, BuildTimeoutError)
        assert cache.stats().abandoned == 0


def test_a_scope_is_checked_on_though_there_was_no_memory_for_a_check_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """I4, S4"""

    def is_check(_state: object, message: Message, *_: object) -> bool:
        return isinstance(message, Checked) and not message.by_build

    sources = Counting()
    with SessionListCache(
        _build, sources=sources, bus=Bus(), policy=Policy(stamp_interval=0.02, ttl=600)
    ) as cache:
        cache.get(_KEY)
        left = _fail_once(monkeypatch, cache_actor, "decide", is_check)
        ends_at_s = monotonic() + WAIT_S
        while left and monotonic() < ends_at_s:
            cache.get(_KEY)
        looks = sources.looks
        while sources.looks < looks + 5 and monotonic() < ends_at_s:
            cache.get(_KEY)

        assert not left
        assert sources.looks >= looks + 5
        assert cache.stats().builds == 1


@pytest.mark.parametrize("bounds", [{"timeout": 0.3}, {}], ids=["of the read", "of the policy"])
def test_a_reader_whose_answer_is_lost_for_good_goes_at_its_bound(
    monkeypatch: pytest.MonkeyPatch, bounds: Mapping[str, Any]
) -> None:
    """I4, R6"""

    def lose(_reader: Reader, _answer: object) -> None:
        raise MemoryError

    error = LookupTimeoutError if bounds else BuildTimeoutError
    with SessionListCache(_build, bus=Bus(), policy=Policy(build_timeout=0.5)) as cache:
        monkeypatch.setattr(Reader, "set", lose)

        assert isinstance(_in_time(lambda: cache.get(_KEY, **bounds)), error)
        assert isinstance(_in_time(lambda: asyncio.run(cache.aget(_KEY, **bounds))), error)


def test_a_reader_whose_answer_fails_twice_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """I4"""
    with SessionListCache(_build, bus=Bus()) as cache:
        assert cache._life is not None
        runner, left = cache._life.runner, [1, 2]
        run = runner.run

        def poor(effect: Any, send: Any) -> None:
            if left and isinstance(effect, Answer):
                left.pop()
                raise MemoryError
            run(effect, send)

        monkeypatch.setattr(runner, "run", poor)
        failure = _in_time(lambda: cache.get(_KEY))

    assert isinstance(failure, BuildError)
    assert "its answer was lost: MemoryError" in str(failure)


def test_a_build_that_gets_no_thread_in_time_is_over_once_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """B6: nobody else would ever say so, and it would count as hanging for good."""
    built: list[SessionListKey] = []
    held: list[Call[object]] = []

    def build(key: SessionListKey) -> Mapping[str, object]:
        built.append(key)
        return {"sessions": []}

    with SessionListCache(build, bus=Bus(), policy=Policy(build_timeout=0.5, max_abandoned=1)) as cache:
        assert cache._life is not None
        with monkeypatch.context() as busy:
            busy.setattr(cache._life.runner._builders, "run", held.append)
            assert isinstance(_in_time(lambda: cache.get(_KEY)), BuildTimeoutError)
            until(lambda: cache.stats().builds == 1 and not cache.stats().building and not cache.stats().abandoned)
        for call in held:
            call.run()

        assert built == []
        assert _in_time(lambda: answered(lambda: cache.get(_KEY))) == {"sessions": []}


def test_an_answer_that_fails_once_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """R10"""
    with SessionListCache(_build, bus=Bus()) as cache:
        assert cache._life is not None
        left = _fail_once(monkeypatch, cache._life.runner, "run", lambda effect, _: isinstance(effect, Answer))

        assert _in_time(lambda: cache.get(_KEY)) == {"sessions": []}
        assert not left
        assert sum(cache.stats().outcomes.values()) == 1


def test_a_content_whose_release_gets_no_thread_once_leaves_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """P4"""
    with SessionListCache(_build, bus=Bus(), policy=Policy(max_entries=1)) as cache:
        assert cache._life is not None
        runner = cache._life.runner
        left = _fail_once(monkeypatch, runner._weigher, "run", lambda *_: True)
        for name in ("one", "other", "third"):
            cache.get(SessionListKey(name), timeout=WAIT_S)
        ends_at_s = monotonic() + WAIT_S
        while (runner._leaving or cache.stats().entries > 1) and monotonic() < ends_at_s:
            threading.Event().wait(0.01)

        assert not left
        assert not runner._leaving


def test_what_an_event_loop_asks_for_is_refused_where_there_is_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """L6, R6"""

    async def run() -> object:
        return await away.run(lambda: 7, WAIT_S)

    away = Away()
    _fail_once(monkeypatch, away._threads, "run", lambda *_: True)
    failure = _in_time(lambda: asyncio.run(run()))
    assert away.stop(WAIT_S)

    assert isinstance(failure, MemoryError)


def test_a_timer_that_failed_once_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """I4, B6: nobody reads any more, so nothing but the timer gives the build up."""
    goes_on = threading.Event()

    def build(_key: SessionListKey) -> Mapping[str, object]:
        goes_on.wait(WAIT_S)
        return {"sessions": []}

    with SessionListCache(build, bus=Bus(), policy=Policy(build_timeout=1.0)) as cache:
        with pytest.raises(LookupTimeoutError):
            cache.get(_KEY, timeout=0.05)
        left = _fail_once(monkeypatch, cache_actor, "decide", lambda _, message, *__: isinstance(message, Tick))
        ends_at_s = monotonic() + WAIT_S
        while not cache.stats().abandoned and monotonic() < ends_at_s:
            goes_on.wait(0.01)
        abandoned = cache.stats().abandoned
        goes_on.set()

    assert not left
    assert abandoned == 1


def _in_time(read: Callable[[], object]) -> object:
    """Read on a thread that may hang, and give what came of it; None if nothing did."""
    came: list[object] = []

    def run() -> None:
        try:
            came.append(read())
        except Exception as error:  # noqa: BLE001 - given back
            came.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(WAIT_S)
    return came[0] if came else None
