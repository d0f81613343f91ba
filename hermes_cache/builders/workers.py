"""Workers: a few actors that run jobs, each on a thread of its own.

A job may hang: its worker can be given up, and another takes its slot. Threads are daemons, so that none keeps
the interpreter from exiting, and they sleep without wake-ups.
"""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, TypeAlias

import pykka

from hermes_cache.builders.turns import Turns
from hermes_cache.logs import QuietLogger
from hermes_cache.threads import Gate

logger = QuietLogger(__name__)

Job: TypeAlias = Callable[[], None]
Refused: TypeAlias = Callable[[Exception], object]


class Worker(pykka.ThreadingActor):
    """An actor that runs jobs, one after the other."""

    def __init__(self, workers: "Workers") -> None:
        super().__init__()
        self._workers = workers
        self.thread = threading.Thread(target=self._actor_loop, name=workers.name, daemon=True)

    @staticmethod
    def _create_actor_inbox() -> "queue.SimpleQueue[Any]":
        # A finalizer may strike while another kind of queue is locked.
        return queue.SimpleQueue()

    def _start_actor_loop(self) -> None:

        self.thread.start()

    def on_receive(self, message: deque[Job]) -> None:
        """Run a job, and those that wait. The message is emptied: pykka holds it until the next comes."""
        while (job := self._workers.next_job(self, message)) is not None:
            _run(job)
            del job


class Workers:
    """At most so many workers, and the jobs that wait for one.

    Args:
        name: Of the threads.
        limit: How many jobs run at once; infinity leaves the bound to the caller.
    """

    def __init__(self, name: str, limit: float = inf) -> None:
        self.name = name
        self._limit = limit
        self._turns = Turns()
        self._idle: list[Worker] = []
        self._busy: dict[Worker, object] = {}
        self._waiting: deque[tuple[object, Job]] = deque()
        self._stopped = False

    def run(self, job: Job, tag: object = None, refused: Refused | None = None) -> None:
        """Run a job on a worker, soon.

        Args:
            job: What to run; what it raises is logged.
            tag: To give it up by.
            refused: Told of a refusal that comes after this call returned.

        Raises:
            RuntimeError: The machine refuses a thread.
        """

        def late(_: None, error: Exception | None) -> None:
            if error is not None and refused is not None:
                refused(error)

        self._turns.do(lambda: self._take(job, tag), late)

    def _take(self, job: Job, tag: object) -> None:
        if self._stopped:
            return
        if not self._idle and len(self._busy) >= self._limit:
            self._waiting.append((tag, job))
            return
        while not self._give(self._idle.pop() if self._idle else self._start(), tag, job):
            pass

    def _give(self, worker: Worker, tag: object, job: Job) -> bool:
        """Return a worker a job; false if it ended by what somebody threw into its thread."""
        self._busy[worker] = tag
        # A part of the step, so that a stop comes after it.
        try:
            worker.actor_ref.tell(deque([job]))
        except pykka.ActorDeadError:
            del self._busy[worker]
            return False
        return True

    def give_up(self, tag: object) -> None:
        """Fill the slot of the worker that runs a job; it ends when the job does."""
        self._turns.do(lambda: self._let_go(tag))

    def _let_go(self, tag: object) -> None:
        for worker in [worker for worker, running in self._busy.items() if running == tag]:
            del self._busy[worker]

    def next_job(self, worker: Worker, given: deque[Job]) -> Job | None:
        """Return a worker its next job; None where there is none for it now, or no more."""
        if given:
            return given.pop()

        def late(job: Job | None, _: Exception | None) -> None:
            if job is not None:
                worker.actor_ref.tell(deque([job]))

        return self._turns.do(lambda: self._next(worker), late)

    def _next(self, worker: Worker) -> Job | None:
        if worker not in self._busy:
            worker.stop()
            return None
        if self._waiting:
            self._busy[worker], job = self._waiting.popleft()
            return job
        del self._busy[worker]
        self._idle.append(worker)
        return None

    def stop(self, timeout_s: float) -> bool:
        """End all workers but those given up; say whether they ended in time. A worker may call it, and twice."""
        ends_at_s = time.monotonic() + timeout_s
        workers: list[Worker] = []
        told = Gate()
        self._turns.do(lambda: self._end(workers, told))
        if not told.wait(timeout_s):
            return False
        late = [worker for worker in workers if not _ended(worker, ends_at_s)]
        return not late

    def _end(self, workers: list[Worker], told: Gate) -> None:
        self._stopped = True
        self._waiting.clear()
        workers += [*self._idle, *self._busy]
        for worker in workers:
            # One that is given up meanwhile may have ended by itself.
            with contextlib.suppress(pykka.ActorDeadError):
                worker.stop()
        told.open()

    def _start(self) -> Worker:
        worker = Worker(self)
        worker._start_actor_loop()  # noqa: SLF001 - what `Worker.start` does, but for the registry
        return worker


def _run(job: Job) -> None:
    try:
        job()
    except BaseException:  # a SystemExit here would make pykka stop every actor of the process
        logger.exception("hermes_cache.job_failed")


def _ended(worker: Worker, ends_at_s: float) -> bool:
    if worker.thread is threading.current_thread():
        return True
    worker.thread.join(max(0.0, ends_at_s - time.monotonic()))
    return not worker.thread.is_alive()
