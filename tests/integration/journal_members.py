"""Processes that share a journal: each with a bus, a cache on it, and a list of what it applied.

What a member is asked to do are functions, which run in its process and take its `Inside` first. The truth that
the caches serve is a number per profile in a file, so that a list which is older than it may be is told by its
number.
"""

import os
import signal
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar, Unpack

from hermes_cache import Bus, Policy, SessionListCache, SessionListKey
from hermes_cache.cache.reads import ReadOptions
from hermes_cache.core.events import AppliedEvent
from tests.waiting import PROCESS_S

WAIT_S = 30.0
WORK = "work"
KEY = SessionListKey(WORK)

_Asked = ParamSpec("_Asked")
_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True)
class Truth:
    """A number for each profile, in a folder that all processes see; it starts as 0."""

    folder: Path

    def number(self, /, profile: str = WORK) -> int:
        """Return the number as of now."""
        try:
            return int.from_bytes((self.folder / profile).read_bytes())
        except FileNotFoundError:
            return 0

    def move(self, number: int, profile: str = WORK) -> None:
        """Let the number be another, in one step."""
        file = os.open(self.folder / profile, os.O_RDWR | os.O_CREAT)
        os.pwrite(file, number.to_bytes(8), 0)
        os.close(file)

    def build(self, key: SessionListKey) -> dict[str, object]:
        """Build a key's payload."""
        return {"sessions": [], "number": self.number(key.profile or WORK)}


class _Steady:
    """Sources that never say that anything moved: only events do."""

    def scope(self, key: SessionListKey) -> str | None:
        return key.profile

    def stamp(self, _key: SessionListKey, *, held: bool) -> dict[str, Hashable]:
        return {} if held else {"steady": 0}


class Inside:
    """What a process has.

    Attributes:
        bus: Its own, with the journal.
        cache: On that bus; starts at once.
        truth: What it serves.
        applied: The events that were applied on the bus, in order, with the moments.
    """

    def __init__(self, url: str, folder: Path, policy: Policy) -> None:
        self.bus = Bus()
        self.truth = Truth(folder)
        self.applied: list[tuple[AppliedEvent, float]] = []
        self.cache = SessionListCache(
            self.truth.build, sources=_Steady(), bus=self.bus, journal=url, policy=policy
        )
        self.bus.attach(lambda event: self.applied.append((event, time.monotonic())))
        self.cache.start()
        self.cache.get(KEY)

    def publish(self, session_id: str | None = None, profile: str = WORK) -> tuple[str, bool | None]:
        """Say that a list changed; give the event's id, and whether it is committed."""
        ticket = self.cache.invalidate(profile, session_id=session_id)
        return str(ticket), ticket.committed

    def number(self, /, profile: str = WORK, **options: Unpack[ReadOptions]) -> int:
        """Read a list, and give its number."""
        return int(str(self.cache.get(SessionListKey(profile), **options)["number"]))


class Member:
    """A process of its own, asked for one thing at a time.

    Args:
        url: The journal's.
        folder: The truth's.
        policy: Its cache's.
    """

    def __init__(self, url: str, folder: Path, policy: Policy) -> None:
        spawn = get_context("spawn")
        self._here, there = spawn.Pipe()
        self.process = spawn.Process(target=_live, args=(url, folder, policy, there), daemon=True)
        self.process.start()
        there.close()

    def ask(
        self, act: Callable[Concatenate[Inside, _Asked], _Told], *given: _Asked.args, **named: _Asked.kwargs
    ) -> _Told:
        """Have it do something, and give what came of it."""
        self.begin(act, *given, **named)
        return self.end(act)

    def begin(
        self, act: Callable[Concatenate[Inside, _Asked], object], *given: _Asked.args, **named: _Asked.kwargs
    ) -> None:
        """Have it do something, and go on meanwhile."""
        self._here.send((act, given, named))

    def end(self, _act: Callable[Concatenate[Inside, _Asked], _Told], wait_s: float = WAIT_S) -> _Told:
        """Wait for what was begun, and give what came of it."""
        assert self._here.poll(wait_s), "the member hangs"
        raised, told = self._here.recv()
        if raised:
            raise told
        result: _Told = told
        return result

    def kill(self) -> None:
        """Let it vanish."""
        self.process.kill()
        self.process.join(WAIT_S)

    def suspend(self) -> None:
        """Let all its threads stand still, where they are."""
        os.kill(self.process.pid or 0, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        os.kill(self.process.pid or 0, signal.SIGCONT)

    def __enter__(self) -> Self:
        """Wait until it has its position in the journal."""
        self.begin(Inside.number)
        self.end(Inside.number, PROCESS_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self.resume()
            self._here.send(None)
        self.process.join(WAIT_S if error is None else 0.1)
        ended = self.process.exitcode
        self.kill()
        self._here.close()
        assert error is not None or ended in (0, -signal.SIGKILL), f"a member ended with {ended}"


@contextmanager
def inside(url: str, folder: Path, policy: Policy) -> Iterator[Inside]:
    """Let this process be one of those that share a journal."""
    here = Inside(url, folder, policy)
    try:
        yield here
    finally:
        here.cache.stop()


def members(stack: ExitStack, url: str, folder: Path, policy: Policy, *, number: int) -> list[Member]:
    """Start some processes that end with a stack."""
    return [stack.enter_context(Member(url, folder, policy)) for _ in range(number)]


def _live(url: str, folder: Path, policy: Policy, asked: Connection) -> None:
    with inside(url, folder, policy) as here, suppress(EOFError):
        while (request := asked.recv()) is not None:
            act, given, named = request
            try:
                asked.send((False, act(here, *given, **named)))
            except Exception as error:  # noqa: BLE001 - told to who asked
                asked.send((True, error))
