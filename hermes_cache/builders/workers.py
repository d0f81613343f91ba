"""Worker processes: how one starts, is called and ends, also before there is a cache to use it.

A worker takes as long to import what it needs as its parent does. So a program that will need one starts it first
(`start_ahead`), and imports the rest meanwhile; this module imports no more than that takes.
Source: rules B6, L2, X14.
"""

import multiprocessing
import os
import select
import signal
import time
from collections import deque
from collections.abc import Hashable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import resource_tracker as pythons_tracker
from multiprocessing.process import BaseProcess
from threading import Lock, Thread
from typing import Any, Final

from loky.backend import get_context
from loky.backend import resource_tracker as lokys_tracker
from loky.process_executor import BrokenProcessPool, ProcessPoolExecutor, ShutdownExecutorError

from hermes_cache.errors import UnsupportedError
from hermes_cache.log_output import LogSettings, active_settings
from hermes_cache.surroundings import open_closed_streams, refuse_frozen
from hermes_cache.threads.forks import after_fork_in_child, before_exit, come_first_at_exit
from hermes_cache.tracing import tracing

_DESK: Final = "hermes_cache.builders.desk"
"""It runs in workers alone, and is imported there."""

_PARENTS_SIGNALS: Final = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
"""What terminals and service managers send to all processes at once. The parent decides what comes of them: a
worker that ended by itself would take a build with it, of a parent that may let its readers finish, or go on."""

_LOOKS_EVERY_S: Final = 5.0
"""If the system cannot say that the parent ended, a worker looks so often."""

_FEEDER_WAIT_S: Final = 1.0
"""How long the thread that sends calls may take to notice that nobody reads them any more."""


class WorkerGoneError(Exception):
    """A worker died, or was killed, over a call."""


class Worker:
    """One worker process, which starts at once; it is not waited for.

    Args:
        modules: What it imports first.

    Attributes:
        seen: Up to where its builder has what was noticed here; see `NoticingBuilder`.

    Raises:
        WorkerGoneError: It died already.
    """

    def __init__(self, *modules: str) -> None:
        # The start of a process writes to them, and the process inherits them.
        open_closed_streams()
        self._is_gone = False
        self._threads: tuple[Thread, Any] | None = None
        self._joining = Lock()
        self.seen: Hashable = None
        with _left_to_parent():
            _start_trackers()
        with _left_to_parent(), _as_worker_gone():
            self._pool = ProcessPoolExecutor(
                max_workers=1, context=get_context("loky"), initializer=_stay_with, initargs=(os.getpid(),)
            )
            calls = self._pool._call_queue  # noqa: SLF001 - nobody else names it
            self._pool.submit(_arrive, active_settings(), modules)
            # The thread of the pool, and what a second one feeds.
            self._threads = (self._pool._executor_manager_thread, calls)  # noqa: SLF001
        # The pool registered a hook of its own, which waits for its worker.
        come_first_at_exit()

    @property
    def is_gone(self) -> bool:
        """Whether it died, also while it had nothing to do, or was killed."""
        # The pool itself notices a moment later.
        is_dead = any(not process.is_alive() for process in self._processes())
        return self._is_gone or is_dead or self._pool._flags.broken is not None  # noqa: SLF001 - nobody else knows

    def call(self, spec: bytes, method: str, *args: object) -> object:
        """Have the desk of a builder answer a call; see `desk.call`.

        Raises:
            WorkerGoneError: The worker died over it, or before.
        """
        tracer = tracing.tracer
        do = _call if tracer is None else tracer.carried(_call)
        try:
            with _as_worker_gone():
                return self._pool.submit(do, spec, method, *args).result()
        except WorkerGoneError:
            self._is_gone = True
            raise

    def forget(self) -> None:
        """See that a forked child takes it for none of its own."""
        # At a child's exit multiprocessing joins all that it knows, and fails over a sibling.
        multiprocessing.process._children.difference_update(self._processes())  # type: ignore[attr-defined]  # noqa: SLF001

    def _processes(self) -> list[BaseProcess]:
        return list((self._pool._processes or {}).values())  # noqa: SLF001 - nobody else names them

    def kill(self, *, wait: bool) -> None:
        """End it, whatever it does.

        Args:
            wait: Whether to wait for its process and for the threads of its pool. If the interpreter ended while
                one of them frees a semaphore, the tracker would print that it leaked.
        """
        self._is_gone = True
        self._pool.shutdown(wait=wait, kill_workers=True)
        if wait:
            self._join()

    def _join(self) -> None:
        with self._joining:
            if self._threads is None:
                return
            manager, calls = self._threads
            # The pool waits for it, too, but not after it was asked to end without a wait.
            manager.join()
            # A call that is still being sent fails then.
            calls._reader.close()  # noqa: SLF001 - the pool leaves it open
            feeder: Thread | None = calls._thread  # noqa: SLF001
            if feeder is not None:
                feeder.join(_FEEDER_WAIT_S)
            if feeder is None or not feeder.is_alive():
                self._threads = None


class _Ahead:
    """The workers of this process that nobody has taken yet. Any thread may call."""

    def __init__(self) -> None:
        self._workers: deque[Worker] = deque()
        self._inherited: list[Worker] = []
        after_fork_in_child(self._start_anew)
        before_exit(self._end)

    def start(self, *modules: str) -> None:
        # If it cannot start, the cache tries again, and says why.
        with suppress(WorkerGoneError, OSError):
            self._workers.append(Worker(*modules))

    def take(self) -> Worker | None:
        try:
            return self._workers.popleft()
        except IndexError:
            return None

    def _end(self) -> None:
        while (worker := self.take()) is not None:
            worker.kill(wait=True)

    def _start_anew(self) -> None:
        for worker in self._workers:
            worker.forget()
        self._inherited.extend(self._workers)
        self._workers = deque()


_ahead: Final = _Ahead()


def start_ahead(*modules: str) -> None:
    """Start a worker for the next cache that asks for one, and have it import what that will need.

    Args:
        modules: By name, such as that of the builder.
    """
    # Where no worker can start, the cache says why.
    with suppress(UnsupportedError):
        refuse_frozen()
        _ahead.start(*modules)


def a_worker() -> Worker:
    """Return a worker that was started ahead, else start one."""
    return _ahead.take() or Worker()


@contextmanager
def _left_to_parent() -> Iterator[None]:
    """Have the processes that this thread starts meanwhile inherit that the parent's signals wait."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # A handler of another signal may raise in each of these calls, before or after its work.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _PARENTS_SIGNALS)
        yield
    finally:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_trackers() -> None:
    """Start the two processes that free what a killed process leaves, unless they run.

    The start of a worker would do so, too. But the one of Python lets signals through when it has started, and the
    worker after it would inherit that.
    """
    for tracker in (pythons_tracker, lokys_tracker):
        # If one died, this warns, and a filter may make that an error; then the next call starts another.
        with suppress(UserWarning):
            tracker.ensure_running()
        tracker.ensure_running()


def _stay_with(parent: int) -> None:
    """Begin a worker: it ends with its parent, and not before, whatever signals come.

    It is done before the worker waits for its first call, because a parent that was killed makes none.
    """
    for number in _PARENTS_SIGNALS:
        # A handler, because a child would inherit that they are ignored; what a builder starts obeys them.
        signal.signal(number, lambda _number, _frame: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PARENTS_SIGNALS)
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    try:
        select.select([os.pidfd_open(parent)], [], [])
    except (AttributeError, OSError):
        # No such call on this system, or no such process any more.
        while os.getppid() == parent:
            time.sleep(_LOOKS_EVERY_S)
    os._exit(0)


def _arrive(log: LogSettings | None, modules: tuple[str, ...]) -> None:
    for module in (_DESK, *modules):
        import_module(module)
    import_module(_DESK).arrive(log)


def _call(spec: bytes, method: str, *args: object) -> object:
    answer: object = import_module(_DESK).call(spec, method, *args)
    return answer


@contextmanager
def _as_worker_gone() -> Iterator[None]:
    try:
        yield
    except (BrokenProcessPool, ShutdownExecutorError, CancelledError) as gone:
        raise WorkerGoneError from gone
