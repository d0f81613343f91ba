"""Exceptions that signal handlers raise in the main thread: they end its call, and nothing else (rule L6).

Once at random moments, by real alarms in a program of its own; once at every moment at which the interpreter looks
for signals, one after the other, by a trace function that raises there. A moment is known by the calls that lead
to it, not by its number in a call: calls take different ways, since other threads run beside them.
"""

import dis
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache as remembered
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeAlias

import pytest

import hermes_cache
from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.bus import topic
from hermes_cache.errors import CacheStoppedError
from hermes_cache.journal.memory import MemoryJournal
from hermes_cache.ports import Position
from hermes_cache.testing import VersionedSources
from hermes_cache.threads.aside import Aside, aside
from tests.integration.thrown import without_collector
from tests.waiting import WAIT_S

_POLICY = Policy(ttl=3_600.0, stop_timeout=WAIT_S)
"""A stop takes milliseconds, and would take all of its time if it waited for the interrupted call."""
_STORM = Path(__file__).with_name("interrupt_storm.py")
_PACKAGE = str(Path(hermes_cache.__file__).parent)
_KEY = SessionListKey("work")

_Calls: TypeAlias = tuple[tuple[int, int], ...]
_Moment: TypeAlias = tuple[_Calls, int]
"""The calls that lead to it, and the how many-th time in a call it is."""


class AlarmError(Exception):
    """What a plain alarm raises."""


@pytest.mark.parametrize("kind", ["AlarmError", "KeyboardInterrupt", "RuntimeError", "TimeoutError"])
@pytest.mark.parametrize("folders", [0, 1], ids=["alone", "with a journal"])
@pytest.mark.parametrize("seconds", [2, pytest.param(30, marks=[pytest.mark.long, pytest.mark.timeout(200)])])
def test_a_storm_of_interrupts_harms_only_the_calls_that_it_hits(
    kind: str, folders: int, seconds: int, tmp_path: Path
) -> None:
    """L6: none swallowed, none outdated, none half published, no wrong error, no lost build, nobody hung"""
    command = [sys.executable, str(_STORM), str(seconds), kind, *[str(tmp_path)] * folders]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=True)  # noqa: S603 - our own
    told = json.loads(ended.stdout)

    assert told.pop("unhealthy because of") == ""
    assert told.pop("raised") > 0
    assert told.pop("reads") > 0
    assert told.pop("events") > 0
    del told["reads of the main thread"]
    assert told.pop("errors") == {}
    assert told == dict.fromkeys(told, 0)


class House:
    """A cache with a journal, sources and a receiver, and what was applied, kept and built."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.applied: list[str] = []
        self.bus.attach(lambda event: self.applied.append(str(event.id)))
        self.bus.session_list_changed.connect(lambda _sender, event: event)
        self.journal = MemoryJournal()
        self.changes = 0
        self.cache = SessionListCache(
            self.build, sources=VersionedSources(), bus=self.bus, journal=self.journal, policy=_POLICY
        )
        self.elsewhere = ThreadPoolExecutor(1)

    def build(self, _key: SessionListKey) -> Mapping[str, object]:
        return {"changes": self.changes, "sessions": [{"session_id": "s"}]}

    def kept(self) -> list[str]:
        return [
            str(each.event.id) for each in self.journal.read(Position(self.journal.end().journal), limit=100_000)
        ]

    def change_and_read(self) -> bool:
        """Change the list, and say whether a read that begins after that sees it."""
        self.changes += 1
        self.cache.invalidate("work")
        return self.cache.get(_KEY)["changes"] == self.changes

    def is_sound(self) -> bool:
        """Say whether other threads, and this one, go on as if nothing had happened."""
        by_others = self.elsewhere.submit(self.change_and_read).result(WAIT_S)
        return by_others and self.change_and_read() and self.applied == self.kept()


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    with made.cache:
        assert made.is_sound()
        yield made
    made.elsewhere.shutdown()


def _subscribe(house: House) -> None:
    subscription = house.cache.subscribe("work")
    subscription.get(timeout=0)
    subscription.close()


_CALLS: dict[str, Callable[[House], object]] = {
    "publish": lambda house: house.bus.session_list_changed.send(None, profile="work"),
    "ticket": lambda house: house.cache.get(_KEY, at_least=house.cache.invalidate("work")),
    "start a stream": lambda house: house.bus.stream_started.send(None, stream_id="turn", profile="work"),
    "hit": lambda house: house.cache.get(_KEY),
    "fresh": lambda house: house.cache.get(_KEY, freshness="fresh"),
    "bounded": lambda house: house.cache.get(_KEY, timeout=5.0),
    "lookup": lambda house: house.cache.lookup(_KEY),
    "render": lambda house: house.cache.render(_KEY),
    "miss": lambda house: house.cache.get(SessionListKey("work", show_cron=True), freshness="fresh"),
    "subscribe": _subscribe,
    "explain": lambda house: (house.cache.explain(_KEY), house.cache.stats(), house.cache.health()),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", _CALLS)
def test_an_interrupt_at_any_moment_of_a_call_ends_that_call_and_nothing_else(house: House, name: str) -> None:
    """L6"""
    moments = _Moments()

    while moments.strike(lambda: _CALLS[name](house)):
        assert house.is_sound()

    assert moments.seen > 0
    _wait_until(lambda: not (house.cache.stats().waiting or house.cache.stats().building))
    assert house.cache.health().healthy


@pytest.mark.timeout(300)
def test_a_stop_that_is_interrupted_at_any_moment_is_finished_by_the_next() -> None:
    """L1, L6"""
    moments, struck = _Moments(), True
    while struck:
        house = House()
        house.cache.start()
        struck = moments.strike(house.cache.stop)
        house.cache.stop()
        house.elsewhere.shutdown()
        _wait_until(lambda: not _threads())

    assert moments.seen > 0


def test_a_following_whose_close_is_interrupted_at_any_moment_is_closed_by_the_next(house: House) -> None:
    """L6, R13: it neither counts as one of `max_followers` for good, nor is built for."""
    moments, struck = _Moments(), True
    while struck:
        following = house.cache.follow(_KEY)
        assert following.get(WAIT_S)

        struck = moments.strike(following.close)
        following.close()

        assert house.cache.stats().followers == 0
        _wait_until(lambda: not house.cache._state().followed)
    assert moments.seen > 0


@pytest.mark.timeout(300)
def test_a_start_that_is_interrupted_at_any_moment_can_be_stopped_or_done_again() -> None:
    """L1, L6"""
    moments, struck = _Moments(), True
    while struck:
        house = House()
        struck = moments.strike(house.cache.start)
        assert house.is_sound()
        house.cache.stop()
        house.elsewhere.shutdown()
        _wait_until(lambda: not _threads())

    assert moments.seen > 0


def _divide_the_step(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Aside, "do", lambda _self, act, _patience_s=0.0: act())


def _take_an_alarm_for_a_receivers_own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(topic, "belongs_to_caller", lambda _error: False)


@pytest.mark.parametrize("plant", [_divide_the_step, _take_an_alarm_for_a_receivers_own])
def test_a_planted_bug_is_found_at_some_moment(
    house: House, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """I18: these tests can fail"""
    plant(monkeypatch)

    def go_through_all_moments() -> None:
        moments = _Moments()
        while moments.strike(lambda: _CALLS["publish"](house)):
            assert house.is_sound(), "half published"

    with pytest.raises(AssertionError, match=r"swallowed|half published"):
        go_through_all_moments()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", _CALLS)
def test_a_signal_handler_may_publish_and_read_at_any_moment_of_a_call(house: House, name: str) -> None:
    """L5, L6"""
    handled: list[bool] = []
    moments = _Moments()

    while moments.handle(lambda: _CALLS[name](house), lambda: handled.append(house.is_sound())):
        pass

    assert len(handled) > 0
    assert all(handled)
    assert house.is_sound()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["start", *_CALLS])
def test_a_signal_handler_may_stop_the_cache_at_any_moment_of_a_call(name: str, step: int) -> None:
    """L1: it waits for nothing that the interrupted call holds, and a stop that interrupts a start wins"""
    moments, struck = _Moments(step), True
    while struck:
        house = House()
        if name != "start":
            house.cache.start()
        struck = moments.handle(partial(_call_or_stopped, house, name), partial(_stop_at_once, house))
        running = house.cache.health().running
        house.cache.stop()
        house.elsewhere.shutdown()
        _wait_until(lambda: not _threads())
        assert not (struck and running)

    assert moments.seen > 0


def _call_or_stopped(house: House, name: str) -> None:
    with suppress(CacheStoppedError):
        house.cache.start() if name == "start" else _CALLS[name](house)


def _stop_at_once(house: House) -> None:
    began_s = time.monotonic()
    house.cache.stop()
    assert time.monotonic() - began_s < _POLICY.stop_timeout


class _Moments:
    """The moments of a call at which the interpreter would handle a signal, one for each time that it is made.

    Attributes:
        seen: How many moments the calls had so far.

    Args:
        step: Of the moments, every so many-th is taken.
    """

    def __init__(self, step: int = 1) -> None:
        self._step = step
        self._seen: set[_Moment] = set()

    @property
    def seen(self) -> int:
        return len(self._seen)

    def handle(self, call: Callable[[], object], handle: Callable[[], object]) -> bool:
        """Call, and do something as a signal handler would at a moment that is new; say whether there was one."""
        return self._at_a_new_one(call, handle) is not None

    def strike(self, call: Callable[[], object]) -> bool:
        """Call, and raise at a moment that is new; say whether there was one.

        Raises:
            AssertionError: What was raised there did not come out of the call.
        """

        def strike() -> None:
            raise AlarmError

        try:
            where = self._at_a_new_one(call, strike)
        except AlarmError:
            return True
        assert where is None, f"the interrupt was swallowed: {where}"
        return False

    def _is_next(self, moment: _Moment) -> bool:
        if moment in self._seen:
            return False
        self._seen.add(moment)
        return self.seen % self._step == 1 % self._step

    def _at_a_new_one(self, call: Callable[[], object], handle: Callable[[], object]) -> str | None:
        """Call, and handle a signal at a new moment; say where that was, if there was one."""
        times: Counter[_Calls] = Counter()
        handled_at: list[str] = []
        passed: dict[FrameType, str] = {}

        def trace(frame: Any, event: Any, _value: Any = None) -> Any:
            if not frame.f_code.co_filename.startswith(_PACKAGE):
                return None
            frame.f_trace_opcodes = True
            if event == "exception":
                # A call that raises looks for no signals, and a strike there would leave its exception behind.
                passed.pop(frame, None)
            elif event == "opcode":
                before = passed.get(frame, "")
                passed[frame] = _names(frame.f_code).get(frame.f_lasti, "")
                if not handled_at and before.startswith(("CALL", "RESUME", "JUMP_BACKWARD")):
                    calls = _calls_to(frame)
                    times[calls] += 1
                    if self._is_next((calls, times[calls])):
                        handled_at.append(f"{frame.f_code.co_filename}:{frame.f_lineno}, {frame.f_code.co_name}")
                        handle()
            return trace

        tracer, handler = sys.gettrace(), signal.signal(signal.SIGUSR1, trace)  # by which it is known as a handler
        # Python 3.12 traces opcodes only if a frame wanted that before the tracing began.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(trace)
        try:
            with without_collector():
                call()
        finally:
            sys.settrace(tracer)
            signal.signal(signal.SIGUSR1, handler)
            passed.clear()
        return handled_at[0] if handled_at else None


def _calls_to(frame: FrameType | None) -> _Calls:
    """Return the code and the offset in it of each frame from one outwards, as far as they are the package's."""
    calls: list[tuple[int, int]] = []
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        calls.append((id(frame.f_code), frame.f_lasti))
        frame = frame.f_back
    return tuple(calls)


@remembered
def _names(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}


def _threads() -> list[str]:
    aside.end_threads()
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("hermes_cache")]


def _wait_until(holds: Callable[[], bool]) -> None:
    ends = threading.Event()
    for _ in range(2_000):
        if holds():
            return
        ends.wait(0.01)
    raise AssertionError("it never came to rest")
