"""The notifier: one thread that runs foreign receivers, so that no thread that runs a mailbox has to.

Putting is safe wherever code runs, in a signal handler too: no lock of ours is taken. Source: rules E6, L7.
"""

import queue
from collections.abc import Callable
from typing import Final

from hermes_cache.logs import QuietLogger
from hermes_cache.threads.forks import after_fork_in_child
from hermes_cache.threads.kept_thread import KeptThread

_logger: Final = QuietLogger(__name__)

_END: Final = object()


class Notifier:
    """Sends items in order on a thread of its own, which starts with the first and sleeps while there are none.

    Args:
        send: Called with one item at a time; what it raises is logged.
        name: The name of the thread.
        size: Items that may wait; past it the oldest go.
    """

    def __init__(
        self, send: Callable[[object], None], *, name: str = "hermes_cache.notifier", size: int = 1024
    ) -> None:
        self._send = send
        self._size = size
        self._dropped = 0
        self._stopping = False
        self._cut_short = False
        self._thread = KeptThread(self._run, name)
        self._start_anew()
        after_fork_in_child(self._start_anew)

    @property
    def dropped(self) -> int:
        """How many items went unsent since the queue was full."""
        return self._dropped

    @property
    def missing_threads(self) -> frozenset[str]:
        """The name of its thread, if that should run and does not."""
        return frozenset({self._thread.name} if self._thread.is_missing else ())

    def put(self, item: object) -> None:
        """Queue an item; never waits, runs no foreign code, and does nothing once it is stopped."""
        if self._stopping:
            return
        self._queue.put(item)
        if self._queue.qsize() > self._size:
            self._drop_oldest()
        self._thread.ensure_running()

    def stop(self, timeout_s: float) -> None:
        """Send what is left, then end; what is not sent in time is dropped. Stopping twice is no error.

        Called on its own thread, by a receiver, it does not wait: the rest is sent after that receiver returned.
        """
        self._stopping = True
        if not self._queue.empty():
            self._thread.ensure_running()
        self._thread.end()
        self._queue.put(_END)
        if not self._thread.is_current:
            self._thread.join(timeout_s)
            self._cut_short = True

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
        while not self._is_over():
            try:
                if (item := self._queue.get()) is not _END and not self._cut_short:
                    self._send(item)
            except BaseException:
                # A receiver that ends its thread would end all news here, for everybody.
                _logger.warning("hermes_cache.notice_failed", exc_info=True)

    def _is_over(self) -> bool:
        return self._cut_short or (self._stopping and self._queue.empty())

    def _start_anew(self) -> None:
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._thread.forget()
