"""A log handler that fails."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _RaisingHandler(logging.Handler):
    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self._error = error
        self.events: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.events.append(record.getMessage())
        raise self._error

    def handle(self, record: logging.LogRecord) -> bool:
        self.emit(record)
        return True


@contextmanager
def raising_log_handler(error: type[BaseException]) -> Iterator[list[str]]:
    """Have every record of the package raise; gives the names of those that were written."""
    handler = _RaisingHandler(error)
    logger = logging.getLogger("hermes_cache")
    logger.addHandler(handler)
    try:
        yield handler.events
    finally:
        logger.removeHandler(handler)
