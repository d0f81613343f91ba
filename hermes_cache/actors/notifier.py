"""The notifier: one thread that runs foreign receivers, so that no thread that runs a mailbox has to.

Putting is safe wherever code runs, in a signal handler too: no lock of ours is taken. Source: rule E6.
"""

import queue
from collections.abc import Callable
from itertools import count
from threading import Thread, current_thread
from typing import Final

from hermes_cache.forks import after_fork_in_child
from hermes_cache.logs import QuietLogger

_logger: Final = QuietLogger(__name__)

_END: Final = object()


class Notifier:
    """Sends items in order on a thread of its own, which starts with the first and sleeps while there are none.

    Args:
        send: Called with one item at a time; what it raises is logged.
        size: Items that may wait; past it the oldest go.
    """

    def __init__(self, send: Callable[[object], None], *, size: int = 1024) -> None:
        self._send = send
        self._size = size
        self._dropped = 0
        self._stopping = False
        self._cut_short = False
        self._started = False
        self._begin()
        after_fork_in_child(self._begin)

    @property
    def dropped(self) -> int:
        """How many items went unsent since the queue was full."""
        return self._dropped

    def put(self, item: object) -> None:
        """Queue an item; never waits, runs no foreign code, and does nothing once it is stopped."""
        if self._stopping:
            return
        self._queue.put(item)
        if self._queue.qsize() > self._size:
            self._drop_oldest()
        # Drawing from a counter is one step: of two first puts, one starts the thread.
        if not self._started and next(self._starts) == 0:
            self._start()

    def stop(self, timeout_s: float) -> None:
        """Send what is left, then end; what is not sent in time is dropped. Stopping twice is no error.

        Called on its own thread, by a receiver, it does not wait: the rest is sent after that receiver returned.
        """
        self._stopping = True
        self._queue.put(_END)
        if self._started and self._thread is not current_thread():
            self._thread.join(timeout_s)
            self._cut_short = True

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:
            # No threads are left, or the interpreter is ending: the next item tries again.
            self._starts = count()
            _logger.warning("hermes_cache.notifier_not_started", exc_info=True)
            return
        self._started = True

    def _drop_oldest(self) -> None:
        try:
            oldest = self._queue.get_nowait()
        except queue.Empty:
            return
        if oldest is _END:
            self._queue.put(_END)
            return
        self._dropped += 1

    def _run(self) -> None:
        while (item := self._queue.get()) is not _END and not self._cut_short:
            try:
                self._send(item)
            except (Exception, SystemExit, GeneratorExit):
                # A receiver that ends its thread would end all news here, for everybody.
                _logger.warning("hermes_cache.notice_failed", exc_info=True)

    def _begin(self) -> None:
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._starts = count()
        self._started = False
        self._thread: Thread = Thread(target=self._run, name="hermes_cache.notifier", daemon=True)
