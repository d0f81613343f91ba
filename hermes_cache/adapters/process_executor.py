"""Runs builders in worker processes, so that a build never holds this process's interpreter lock.

Each place is a pool of one worker: a scope always goes to the same place, where its projection lives, and a worker
that hangs is killed with its pool, which harms no other. An all-profiles build joins its profiles' refreshes:
their places give what changed, and the joining place adopts it. Source: rules B6, B8, L2, L3.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from itertools import repeat
from typing import Final, cast

import cloudpickle
from loky.backend import get_context
from loky.process_executor import BrokenProcessPool, ProcessPoolExecutor, ShutdownExecutorError

from hermes_cache.adapters import desk
from hermes_cache.adapters.parcels import Parcel, ReceivedRows, SentRow
from hermes_cache.core.content import Content
from hermes_cache.core.state import Target
from hermes_cache.errors import WorkerError
from hermes_cache.forks import after_fork_in_child, before_exit
from hermes_cache.ports import Builder, ScopedBuilder

_MOST_SCOPES: Final = 4_096
_TRIES: Final = 2
"""A worker that died costs one full read, no error; a builder that kills its worker twice is told."""


class ProcessExecutor:
    """`ports.Executor` on worker processes.

    Args:
        spec: The cache's own builder, `pickled`; None where every read brings one.
        places: How many workers.
        scoped: Whether that builder keeps something for each scope.
    """

    def __init__(self, spec: bytes | None, places: int, *, scoped: bool) -> None:
        self._spec = spec
        self._is_scoped = scoped
        self._count = places
        self._inherited: list[object] = []
        self._begin()
        after_fork_in_child(self._begin_in_child)

    def start(self) -> None:
        """Start the workers; they are ready some time later."""
        for place in self._places:
            with suppress(_WorkerGoneError), place.turn():
                pass

    def check(self, builder: Builder) -> None:
        """See that a reader's own builder can go to a worker.

        Raises:
            TypeError: It cannot be pickled.
        """
        pickled(builder)

    def build(self, build_id: int, target: Target, builder: Builder | None) -> Content:
        """Build a key's content in a worker.

        Raises:
            WorkerError: The worker died, twice, or was killed since the build was given up.
            Exception: Whatever the builder raised.
        """
        spec = self._spec if builder is None else pickled(builder)
        if spec is None:
            raise TypeError("there is no builder; give one to SessionListCache, or to the read")
        scoped = self._is_scoped if builder is None else is_scoped(builder)
        for _ in range(_TRIES):
            place = self._place_of(target.reach) if scoped else self._free_place()
            content = self._try(place, build_id, spec, target)
            if content is not None:
                return content
            if self._is_stopped or build_id in self._given_up:
                self._given_up.discard(build_id)
                break
        raise WorkerError(target.key)

    def give_up(self, build_id: int) -> None:
        """Kill the worker that runs a build."""
        # Noted first: its thread must not try again with another worker.
        self._given_up.add(build_id)
        if not any(map(_Place.kill, self._places, repeat(build_id))):
            self._given_up.discard(build_id)

    def stop(self) -> None:
        """End all workers."""
        self._is_stopped = True
        for place in self._places:
            place.stop()

    def _try(self, place: "_Place", build_id: int, spec: bytes, target: Target) -> Content | None:
        """Build once; None where a worker died over it."""
        try:
            with place.turn(build_id) as worker:
                shares = self._shares(worker, spec, target)
                parcel = cast("Parcel", worker.call(spec, "build", target.key, shares))
                missing = self._received.missing(parcel)
                rows = cast("dict[bytes, SentRow]", worker.call(spec, "rows", missing)) if missing else {}
        except _WorkerGoneError:
            return None
        return self._received.content(parcel._replace(rows={**parcel.rows, **rows}))

    def _shares(self, worker: "_Worker", spec: bytes, target: Target) -> dict[Hashable, bytes]:
        """Have the scopes that a scope joins refreshed where they live, and give what the worker lacks of them."""
        if not target.key.all_profiles:
            return {}
        shares: dict[Hashable, bytes] = {}
        for part in cast("tuple[Hashable, ...]", worker.call(spec, "parts", target.key)):
            owner = self._place_of(part)
            if owner.worker is not worker:
                with owner.turn() as other:
                    told = other.call(spec, "share", part, worker.seen.get(part))
                worker.seen[part], shares[part] = cast("tuple[Hashable, bytes]", told)
        return shares

    def _free_place(self) -> "_Place":
        return next((place for place in self._places if not place.is_taken()), self._places[0])

    def _place_of(self, scope: Hashable) -> "_Place":
        """Give the place where a scope lives: the one with the fewest, from then on."""
        with self._lock:
            place = self._homes.get(scope)
            if place is None:
                counts = Counter(self._homes.values())
                place = min(self._places, key=lambda each: counts[each])
                if len(self._homes) >= _MOST_SCOPES:
                    self._homes.clear()
                self._homes[scope] = place
            return place

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._is_stopped = False
        self._given_up: set[int] = set()
        self._places = tuple([_Place(self.stop) for _ in range(self._count)])
        self._homes: dict[Hashable, _Place] = {}
        self._received = ReceivedRows()

    def _begin_in_child(self) -> None:
        """Begin anew after a fork: the workers are the parent's."""
        self._inherited.append(self._places)
        self._begin()


class _WorkerGoneError(Exception):
    """A worker died, or was killed, over a call."""


@contextmanager
def _gone_is_told() -> Iterator[None]:
    try:
        yield
    except (BrokenProcessPool, ShutdownExecutorError, CancelledError) as gone:
        raise _WorkerGoneError from gone


class _Worker:
    """One worker process, and what it has adopted of scopes that live elsewhere."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(max_workers=1, context=get_context("loky"), timeout=None)
        self.seen: dict[Hashable, Hashable] = {}

    def warm_up(self) -> None:
        """Start the process; it is not waited for."""
        with _gone_is_told():
            self._pool.submit(desk.arrive, os.getpid())

    def call(self, spec: bytes, method: str, *args: object) -> object:
        with _gone_is_told():
            return self._pool.submit(desk.call, spec, method, *args).result()

    def kill(self, *, wait: bool) -> None:
        self._pool.shutdown(wait=wait, kill_workers=True)


class _Place:
    """Where the builds of some scopes run, one at a time. Its worker starts with the first."""

    def __init__(self, on_exit: Callable[[], None]) -> None:
        self.worker: _Worker | None = None
        self._on_exit = on_exit
        self._turn = threading.Lock()
        self._build_id: int | None = None
        self._stopped = False

    def is_taken(self) -> bool:
        return self._turn.locked()

    @contextmanager
    def turn(self, build_id: int | None = None) -> Iterator[_Worker]:
        """Wait for the worker to be free, and use it; one that died over it is replaced at the next turn."""
        with self._turn:
            if self._stopped:
                raise _WorkerGoneError
            self._build_id = build_id
            try:
                yield self._running()
            except _WorkerGoneError:
                self.worker = None
                raise
            finally:
                self._build_id = None

    def _running(self) -> _Worker:
        if self.worker is None:
            self.worker = _Worker()
            self.worker.warm_up()
            # Registered after the pool's own, so called before it: that one waits for its worker, however long.
            before_exit(self._on_exit)
        return self.worker

    def kill(self, build_id: int) -> bool:
        """Kill the worker if it runs this build; say whether it did."""
        worker = self.worker
        if worker is None or self._build_id != build_id:
            return False
        worker.kill(wait=False)
        return True

    def stop(self) -> None:
        self._stopped = True
        worker = self.worker
        if worker is not None:
            worker.kill(wait=True)


def pickled(builder: Builder | str) -> bytes:
    """Give a builder as bytes that a worker can read.

    Raises:
        TypeError: It cannot be pickled.
    """
    try:
        spec: bytes = cloudpickle.dumps(builder)
    except Exception as failure:
        wanted = "it must be one that can be pickled, or be named as 'package.module:function'"
        raise TypeError(f"builder is {builder!r}, which cannot go to a worker process: {wanted}") from failure
    return spec


def is_scoped(builder: object) -> bool:
    """Say whether a builder keeps something for each scope, so that a scope must always go to the same worker."""
    return isinstance(builder, ScopedBuilder)
