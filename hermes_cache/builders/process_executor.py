"""Runs builders in worker processes, so that a build never holds this process's interpreter lock.

Each slot is a pool of one worker: a scope always goes to the same slot, where its projection lives, and a worker
that hangs is killed with its pool, which harms no other. An all-profiles build joins its profiles' refreshes:
their slots return what changed, and the joining slot adopts it. Source: rules B6, B8, L2, L3.
"""

import threading
from collections import Counter
from collections.abc import Callable, Container, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, cast

import cloudpickle

from hermes_cache.builders.parcels import Changes, Parcel, ReceivedRows, SentRow, Share
from hermes_cache.builders.workers import Worker, WorkerGoneError, a_worker
from hermes_cache.core.state import Target
from hermes_cache.core.versions import ALL_PROFILES
from hermes_cache.errors import UnsupportedError, WorkerError, shown
from hermes_cache.payload.content import Content
from hermes_cache.payload.rows import ListShape
from hermes_cache.ports import BuildContext, Builder, NoticingBuilder, ScopedBuilder
from hermes_cache.threads.callables import no_builder
from hermes_cache.threads.forks import after_fork_in_child, before_exit
from hermes_cache.threads.interrupts import belongs_to_caller

_MOST_SCOPES: Final = 4_096
"""Scopes whose slot is remembered; the names of the others choose theirs. None ever moves: what a slot adopted
of a scope that it has to read itself would stay as it was, and two joining builds could wait for each other."""

_MOST_DEATHS: Final = 2
"""A worker that died costs one full read, no error; a builder that kills the worker of a slot twice fails."""


class ProcessExecutor:
    """`ports.Executor` on worker processes.

    Args:
        spec: The cache's own builder, `pickled`; None if every read brings one.
        slots: How many workers.
        shape: How lists lie in the payloads.
        context: What every builder runs inside of, in its worker; None for nothing.
        builder: That builder itself.
    """

    _slots: tuple["_Slot", ...]
    _has_built: bool

    def __init__(
        self,
        spec: bytes | None,
        slots: int,
        shape: ListShape,
        context: BuildContext | None = None,
        *,
        builder: Builder | None,
    ) -> None:
        self._spec = spec
        self._shape = shape
        self._context = context
        self._is_scoped = is_scoped(builder)
        self._notices = builder if isinstance(builder, NoticingBuilder) else None
        self._count = slots
        self._inherited: list[object] = []
        self._begin()
        after_fork_in_child(self._start_anew)
        before_exit(self._end)

    def start(self) -> None:
        """Start the first worker; it is ready some time later. The others start with the second build.

        Until the first build is over, they would only take the processor from it.
        """
        self._slots[0].start()

    def check(self, builder: Builder) -> None:
        """See that a reader's own builder can go to a worker.

        Raises:
            TypeError: It cannot be pickled.
        """
        pickled(builder, self._shape, self._context)

    def build(self, build_id: int, target: Target, builder: Builder | None) -> Content:
        """Build a key's content in a worker.

        Raises:
            UnsupportedError: The main thread ended, and the workers with it.
            WorkerError: The worker died, twice, or was killed since the build was given up.
            Exception: Whatever the builder raised.
        """
        spec = self._spec if builder is None else pickled(builder, self._shape, self._context)
        if spec is None:
            raise no_builder()
        scoped = self._is_scoped if builder is None else is_scoped(builder)
        for slot in self._slots if self._has_built else ():
            slot.start()
        try:
            return self._persist(build_id, spec, target, scoped=scoped)
        finally:
            self._has_built = True
            self._given_up.discard(build_id)

    def give_up(self, build_id: int) -> None:
        """Kill the workers that run a build; one that has none yet gets none."""
        # Noted first: whoever does not find the build at a worker is found by the turn that it takes next.
        self._given_up.add(build_id)
        for slot in self._slots:
            slot.kill(build_id)

    def _end(self) -> None:
        """End all workers, as the main thread ended: a thread that waits for one would keep the process alive."""
        self._has_ended = True
        try:
            self.stop()
        finally:
            # A signal handler may have ended the first one, and a worker that lives is waited for without end.
            self.stop()

    def stop(self) -> None:
        """End all workers."""
        self._is_stopped = True
        for slot in self._slots:
            slot.stop()

    def _persist(self, build_id: int, spec: bytes, target: Target, *, scoped: bool) -> Content:
        # By slot: what kills all workers at once, such as a lack of memory, is met once in each that is joined.
        deaths: Counter[_Slot] = Counter()
        while max(deaths.values(), default=0) < _MOST_DEATHS:
            slot = self._slot_of(target.reach) if scoped else self._free_slot()
            try:
                return self._try(slot, build_id, spec, target)
            except _SlotEmptyError as empty:
                deaths[empty.slot] += 1
            if self._has_ended:
                reason = "the main thread ended, and the worker processes ended with it"
                raise UnsupportedError(
                    "executor='processes'", reason, "let the main thread wait, or use executor='threads'"
                )
            if self._is_stopped or build_id in self._given_up:
                break
        raise WorkerError(target.key)

    def _try(self, slot: "_Slot", build_id: int, spec: bytes, target: Target) -> Content:
        """Build once.

        Raises:
            _SlotEmptyError: A worker died over it.
        """
        key = target.key
        with slot.turn(build_id, self._given_up) as worker:
            shares = self._shares(slot, worker, build_id, spec, target)
            if spec is self._spec:
                self._pass_on(worker, spec)
            last = self._received.last(key)
            sent = worker.call(spec, "build", key, shares, last.list_id if last else None)
            if last is not None and isinstance(sent, Changes):
                return self._received.changed(key, last.content, sent)
            parcel = cast("Parcel", sent)
            held = self._received.held(key, parcel)
            missing = parcel.missing(held)
            rows = cast("dict[bytes, SentRow]", worker.call(spec, "rows", missing)) if missing else {}
        return self._received.content(key, parcel._replace(rows={**parcel.rows, **rows}), held)

    def _shares(
        self, slot: "_Slot", worker: Worker, build_id: int, spec: bytes, target: Target
    ) -> dict[Hashable, Share]:
        """Have the joined scopes refreshed in their slots, and return what the worker lacks of them."""
        if target.reach != ALL_PROFILES:
            return {}
        shares: dict[Hashable, Share] = {}
        seen = cast("dict[Hashable, Hashable]", worker.call(spec, "parts", target.key))
        for part, token in seen.items():
            owner = self._slot_of(part)
            if owner is not slot:
                with owner.turn(build_id, self._given_up) as other:
                    shares[part] = cast("Share", other.call(spec, "share", target.key, part, token))
        return shares

    def _pass_on(self, worker: Worker, spec: bytes) -> None:
        """Send a worker what was noticed here since the last call."""
        if self._notices is not None:
            seen, news = self._notices.noticed(worker.seen)
            if news is not None:
                worker.call(spec, "notice", news)
            worker.seen = seen

    def _free_slot(self) -> "_Slot":
        return next((slot for slot in self._slots if not slot.is_taken()), self._slots[0])

    def _slot_of(self, scope: Hashable) -> "_Slot":
        """Return the slot where a scope lives: the one with the fewest, from then on."""
        with self._lock:
            slot = self._homes.get(scope)
            if slot is None:
                if len(self._homes) >= _MOST_SCOPES:
                    return self._slots[hash(scope) % len(self._slots)]
                counts = Counter(self._homes.values())
                slot = min(self._slots, key=lambda each: counts[each])
                self._homes[scope] = slot
            return slot

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._is_stopped = False
        self._has_ended = False
        self._has_built = False
        self._given_up: set[int] = set()
        self._slots = tuple([_Slot() for _ in range(self._count)])
        self._homes: dict[Hashable, _Slot] = {}
        self._received = ReceivedRows()

    def _start_anew(self) -> None:
        """Begin anew after a fork: the workers are the parent's."""
        for slot in self._slots:
            slot.forget()
        self._inherited.append(self._slots)
        self._begin()


class _SlotEmptyError(Exception):
    """The worker of a slot died over a call, or none could start."""

    def __init__(self, slot: "_Slot") -> None:
        super().__init__()
        self.slot = slot


class _Slot:
    """Where the builds of some scopes run, one at a time. Its worker starts with the first."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._turn = threading.Lock()
        self._starting = threading.Lock()
        self._build_id: int | None = None
        self._stopped = False

    def is_taken(self) -> bool:
        return self._turn.locked()

    @contextmanager
    def turn(self, build_id: int | None = None, given_up: Container[int] = ()) -> Iterator[Worker]:
        """Wait for the worker to be free, and use it; one that died over it is replaced at the next turn.

        Args:
            build_id: For which build; None for none.
            given_up: The builds that get no turn any more.

        Raises:
            _SlotEmptyError: The worker died meanwhile, or the slot has none any more.
        """
        with self._turn:
            self._build_id = build_id
            try:
                yield self._running(build_id, given_up)
            except WorkerGoneError as gone:
                raise _SlotEmptyError(self) from gone
            finally:
                self._build_id = None

    def start(self) -> None:
        """Start its worker if it never had one; it is not waited for."""
        with self._starting, suppress(WorkerGoneError):
            if self._worker is None and not self._stopped:
                self._worker = a_worker()

    def _running(self, build_id: int | None, given_up: Container[int]) -> Worker:
        # A stop comes before a worker was begun, or finds it.
        with self._starting:
            if self._stopped:
                raise WorkerGoneError
            if self._worker is not None and self._worker.is_gone:
                self._worker.kill(wait=True)
                self._worker = None
            if self._worker is None:
                self._worker = a_worker()
            # Looked at last: a build that is given up from now on is found with its worker, and killed.
            if build_id in given_up:
                raise WorkerGoneError
            return self._worker

    def forget(self) -> None:
        """See that a forked child takes the worker for none of its own."""
        if self._worker is not None:
            self._worker.forget()

    def kill(self, build_id: int) -> None:
        """Kill the worker if it runs this build."""
        worker = self._worker
        if worker is not None and self._build_id == build_id:
            worker.kill(wait=False)

    def stop(self) -> None:
        with self._starting:
            self._stopped = True
        if self._worker is not None:
            self._worker.kill(wait=True)


def new_executors(
    builder: Builder | str | None,
    resolved: Builder | None,
    slots: int,
    shape: ListShape,
    context: BuildContext | None = None,
) -> Callable[[object], ProcessExecutor]:
    """Return what makes an executor, as `executors` does; `resolved` is the builder itself."""
    if context is not None:
        _pickled(context, f"build_context is {shown(context)}", "it must be one that can be pickled")
    spec = None if builder is None else pickled(builder, shape, context)
    # Workers run coroutines themselves.
    return lambda _coroutines: ProcessExecutor(spec, slots, shape, context, builder=resolved)


def pickled(builder: Builder | str, shape: ListShape, context: BuildContext | None = None) -> bytes:
    """Return a builder, the shape of its lists and its context as bytes that a worker can read.

    Raises:
        TypeError: It cannot be pickled.
    """
    wanted = "it must be one that can be pickled, or be named as 'package.module:function'"
    return _pickled((builder, shape, context), f"builder is {shown(builder)}", wanted)


def _pickled(value: object, what: str, wanted: str) -> bytes:
    try:
        spec: bytes = cloudpickle.dumps(value)
    except Exception as failure:
        if belongs_to_caller(failure):
            raise
        raise TypeError(f"{what}, which cannot go to a worker process: {wanted}") from failure
    return spec


def is_scoped(builder: object) -> bool:
    """Say whether a builder keeps something for each scope, so that a scope must always go to the same worker."""
    return isinstance(builder, ScopedBuilder)
