"""Rule R7: reads can raise the builder's own error."""

import asyncio
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest

from hermes_cache import BuildError, BuildTimeoutError, Bus, Interrupted, Policy, SessionListCache, SessionListKey
from hermes_cache.testing import GatedBuilder
from tests.waiting import WAIT_S, await_readers

KEY = SessionListKey("work")


class LockedError(OSError):
    """What many builders raise."""


class QuotaError(Exception):
    """Takes other arguments than it keeps."""

    def __init__(self, used: int, *, limit: int) -> None:
        super().__init__(f"{used} of {limit} used")
        self.limit = limit


class GoneError(OSError):
    """Keeps what the interpreter does not keep in `__dict__`."""

    def __init__(self, path: str) -> None:
        super().__init__(2, "gone", path, None, f"{path}~")
        self.path = path


class SlottedError(Exception):
    """Keeps its code outside `__dict__`."""

    __slots__ = ("__part", "code")

    def __init__(self, code: int, *, part: str) -> None:
        super().__init__(f"failed with {code}")
        self.code, self.__part = code, part

    @property
    def part(self) -> str:
        return self.__part


class SecretiveError(OSError):
    """Says what no copy of it would say."""

    def __init__(self, *, path: str) -> None:
        super().__init__(path)
        _secrets[id(self)] = path

    def __str__(self) -> str:
        return _secrets.get(id(self), "unknown")


_secrets: dict[int, str] = {}


class HostileError(Exception):
    """Nobody can copy it."""

    def __new__(cls, *_arguments: object, really: bool = False) -> Self:
        if not really:
            raise RuntimeError("no copies")
        return super().__new__(cls)

    def __init__(self, **_options: bool) -> None:
        super().__init__("hostile")


def _raising(error: BaseException) -> Any:
    def build(_key: SessionListKey) -> Mapping[str, object]:
        raise error

    return build


def _raised_by(cache: SessionListCache) -> BaseException:
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - the tests say which
        cache.get(KEY)
    return raised.value


def _frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_each_of_many_waiting_readers_raises_a_copy_of_its_own(bus: Bus) -> None:
    """R7"""
    gate, raised = threading.Event(), []

    def build(_key: SessionListKey) -> Mapping[str, object]:
        gate.wait(WAIT_S)
        raised.append(LockedError(11, "locked", "state.db"))
        raised[-1].add_note("seen at night")
        raise raised[-1]

    policy = Policy(retry_delay=60, retry_delay_max=60)
    with SessionListCache(build, bus=bus, policy=policy, reraise=True) as cache, ThreadPoolExecutor(20) as readers:
        reads = [readers.submit(_raised_by, cache) for _ in range(20)]
        await_readers(cache, 20)
        gate.set()
        errors = [each.result(WAIT_S) for each in reads]
        # The next read tries again; from there on the failure that stands answers.
        # On a thread of its own: what this one handles just now would be the context of what is raised.
        later = [readers.submit(_raised_by, cache).result(WAIT_S) for _ in range(6)][1:]

    everything = [*errors, *later]
    assert len(raised) == 2
    assert len({id(error) for error in (*raised, *everything)}) == 27
    assert all(type(error) is LockedError and str(error) == str(raised[0]) for error in everything)
    assert all(error.__notes__ == ["seen at night"] for error in everything)
    assert all("build" in _frames(error) for error in everything)
    assert len({len(_frames(error)) for error in later}) == 1
    assert all(error.__cause__ is None and error.__context__ is None for error in everything)
    later[0].add_note("seen by one reader")
    assert later[1].__notes__ == ["seen at night"]


def test_a_copy_keeps_what_its_class_would_make_otherwise(bus: Bus) -> None:
    """R7"""
    own, cause = QuotaError(9, limit=5), KeyError("limits")
    own.__cause__ = cause
    with SessionListCache(_raising(own), bus=bus, reraise=True) as cache:
        error = _raised_by(cache)

    assert isinstance(error, QuotaError)
    assert error is not own
    assert (str(error), error.limit, error.__cause__) == ("9 of 5 used", 5, cause)


def test_a_copy_keeps_what_lies_outside_the_dict(bus: Bus) -> None:
    """R7: what the interpreter keeps of an `OSError`, and slots"""
    gone, slotted = GoneError("/lists"), SlottedError(7, part="rows")
    with SessionListCache(_raising(gone), bus=bus, reraise=True) as cache:
        first = _raised_by(cache)
    with SessionListCache(_raising(slotted), bus=bus, reraise=True) as cache:
        second = _raised_by(cache)

    assert isinstance(first, GoneError)
    assert (first.errno, first.strerror, first.filename, first.filename2, first.path) == (
        2, "gone", "/lists", "/lists~", "/lists",
    )  # fmt: skip
    assert str(first) == str(gone)
    assert isinstance(second, SlottedError)
    assert (second.code, second.part, str(second)) == (7, "rows", "failed with 7")
    assert gone is not first
    assert slotted is not second


_UNLIKE = (HostileError(really=True), SecretiveError(path="/lists"))


@pytest.mark.parametrize("error", [*_UNLIKE, SystemExit(3), KeyboardInterrupt()])
def test_what_cannot_be_copied_or_is_no_exception_stays_the_cause(bus: Bus, error: BaseException) -> None:
    """R7, B2"""
    with SessionListCache(_raising(error), bus=bus, reraise=True) as cache:
        raised = _raised_by(cache)

    assert isinstance(raised, BuildError)
    assert raised.__cause__ is error


def test_what_the_cache_refuses_stays_a_build_error(bus: Bus) -> None:
    """R7, B7"""
    with SessionListCache(lambda _key: {"sessions": {1}}, bus=bus, reraise=True) as cache:
        raised = _raised_by(cache)

    assert type(raised) is BuildError


def test_a_coroutine_that_the_cache_cancels_stays_a_build_error(bus: Bus) -> None:
    """R7, B2"""

    async def build(_key: SessionListKey) -> Mapping[str, object]:
        raise asyncio.CancelledError

    with SessionListCache(build, bus=bus, reraise=True) as cache:
        raised = _raised_by(cache)

    assert type(raised) is BuildError


def test_a_build_that_hangs_stays_a_timeout(bus: Bus, builder: GatedBuilder) -> None:
    """R7, B6"""
    builder.close()
    with SessionListCache(builder, bus=bus, policy=Policy(build_timeout=0.2), reraise=True) as cache:
        raised = _raised_by(cache)
        builder.open()

    assert type(raised) is BuildTimeoutError


def test_without_it_the_builders_error_is_the_cause(bus: Bus) -> None:
    """R7"""
    own = LockedError("locked")
    with SessionListCache(_raising(own), bus=bus) as cache:
        raised = _raised_by(cache)

    assert isinstance(raised, BuildError)
    assert raised.__cause__ is own


def test_a_read_on_an_event_loop_raises_it_too(bus: Bus) -> None:
    """R7, W4"""

    async def read(cache: SessionListCache) -> None:
        await cache.aget(KEY)

    with (
        SessionListCache(_raising(LockedError("locked")), bus=bus, reraise=True) as cache,
        pytest.raises(LockedError),
    ):
        asyncio.run(read(cache))


def test_a_follower_is_interrupted_by_a_build_error_all_the_same(bus: Bus) -> None:
    """R7, R13"""
    with (
        SessionListCache(_raising(LockedError("locked")), bus=bus, reraise=True) as cache,
        cache.follow(KEY) as following,
    ):
        news = following.get(timeout=WAIT_S)

    assert isinstance(news, Interrupted)
    assert isinstance(news.error, BuildError)


def test_an_error_of_a_worker_process_is_raised_as_it_came_over() -> None:
    """R7, B8"""
    with SessionListCache(
        _raising(LockedError(11, "locked")), bus=Bus(), executor="processes", reraise=True
    ) as cache:
        raised = _raised_by(cache)

    assert isinstance(raised, LockedError)
    assert raised.errno == 11
