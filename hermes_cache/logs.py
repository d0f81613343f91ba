"""The log of the package: a record that cannot be written harms nobody.

A log handler is foreign code. What it raises reaches neither the code that logs nor the thread that runs it.
Source: rules E4, L7.
"""

import logging
import time
from collections.abc import Callable, Mapping
from math import inf
from typing import TypeAlias

from hermes_cache.interrupts import belongs_to_caller

_Trace: TypeAlias = bool | BaseException

_CALLER: int = 3
"""Frames between the caller of `warning` and its like and the logging module: records name the caller."""


class QuietLogger:
    """A logger of the standard library whose calls raise nothing that its handlers raise.

    Args:
        name: The logger's; usually the module's `__name__`.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def log(
        self, level: int, event: str, *, extra: Mapping[str, object] | None = None, exc_info: _Trace = False
    ) -> None:
        """Record what another library says at a level of its own."""
        self._log(level, event, extra, exc_info=exc_info)

    def debug(self, event: str, *, extra: Mapping[str, object] | None = None) -> None:
        """Record a decision."""
        self._log(logging.DEBUG, event, extra, exc_info=False)

    def info(self, event: str, *, extra: Mapping[str, object] | None = None) -> None:
        """Record a start, a stop or a return to normal."""
        self._log(logging.INFO, event, extra, exc_info=False)

    def warning(self, event: str, *, extra: Mapping[str, object] | None = None, exc_info: _Trace = False) -> None:
        """Record that something is served worse than asked."""
        self._log(logging.WARNING, event, extra, exc_info=exc_info)

    def error(self, event: str, *, extra: Mapping[str, object] | None = None, exc_info: _Trace = False) -> None:
        """Record that work was lost."""
        self._log(logging.ERROR, event, extra, exc_info=exc_info)

    def exception(self, event: str, *, extra: Mapping[str, object] | None = None) -> None:
        """Record that work was lost, with the exception that is being handled."""
        self._log(logging.ERROR, event, extra, exc_info=True)

    def _log(self, level: int, event: str, extra: Mapping[str, object] | None, *, exc_info: _Trace) -> None:
        try:
            self._logger.log(level, event, extra=extra, exc_info=exc_info, stacklevel=_CALLER)
        except BaseException as error:
            if belongs_to_caller(error):
                raise


class SparseLogger:
    """A logger that writes each event at most once in a while, so that an attacker cannot fill a disk.

    A record says how many of its kind were left out since the one before.

    Args:
        name: The logger's; usually the module's `__name__`.
        every_s: The shortest time between two records of one event.
        clock: Returns monotonic seconds.
    """

    def __init__(self, name: str, *, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = QuietLogger(name)
        self._every_s = every_s
        self._clock = clock
        self._written_at_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, event: str, *, extra: Mapping[str, object] | None = None, exc_info: _Trace = False) -> None:
        """Record that something is served worse than asked."""
        if (counted := self._counted(event, extra)) is not None:
            self._logger.warning(event, extra=counted, exc_info=exc_info)

    def failure(self, event: str, error: BaseException, *, extra: Mapping[str, object] | None = None) -> None:
        """Record that work was lost, with the error that it was lost by."""
        if (counted := self._counted(event, extra)) is not None:
            self._logger.error(event, extra=counted, exc_info=error)

    def _counted(self, event: str, extra: Mapping[str, object] | None) -> dict[str, object] | None:
        """Return what a record of an event has beside it; None if it is left out."""
        now_s = self._clock()
        if now_s - self._written_at_s.get(event, -inf) < self._every_s:
            self._left_out[event] = self._left_out.get(event, 0) + 1
            return None
        self._written_at_s[event] = now_s
        left_out = self._left_out.pop(event, 0)
        return {**(extra or {}), "hermes_cache.left_out": left_out}
