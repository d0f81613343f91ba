"""The log of the package: a record that cannot be written harms nobody.

A log handler is foreign code. What it raises reaches neither the code that logs nor the thread that runs it.
Source: rules E4, L7.
"""

import logging
from collections.abc import Mapping
from typing import TypeAlias

from hermes_cache.threads.interrupts import belongs_to_caller

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
