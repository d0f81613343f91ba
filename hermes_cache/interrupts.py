"""Whose an exception is that foreign code let out: its own, or one that a signal handler raised into this thread.

Python runs signal handlers in the main thread alone, at any bytecode. What they raise stands on the frame of the
handler, so the traceback tells where it came from. No I/O here. Source: rules E4, L6.
"""

import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from types import CodeType, TracebackType
from typing import Final

_PACKAGE: Final = os.path.dirname(__file__)  # noqa: PTH120 - as code objects name their files
_STANDARD: Final = os.path.dirname(os.__file__)  # noqa: PTH120 - likewise


def on_main_thread() -> bool:
    """Say whether signal handlers may strike the calling thread."""
    return threading.get_ident() == threading.main_thread().ident


def belongs_to_caller(error: BaseException) -> bool:
    """Say whether an error that came out of a call to foreign code must go on to the caller.

    Args:
        error: As caught, in the function that made the call.

    Returns:
        True for a `BaseException` that a signal handler raised, and for an `Exception` that one raised before the
        foreign code was entered or after it was left. False for what the foreign code raised itself, and for an
        `Exception` of a handler that struck while it ran: that counts as its own failure. Code of this package and
        of the standard library is not foreign.
    """
    if not on_main_thread():
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    handlers = frozenset(_handlers())
    for code in _codes(error.__traceback__):
        if code in handlers:
            return True
        if isinstance(error, Exception) and _is_foreign(code):
            return False
    return False


class ForeignCode:
    """A block of foreign code: an `Exception` of its own ends the block, and nothing more.

    What a signal handler raised before it was entered or after it was left goes on, like any `BaseException`.
    """

    def __enter__(self) -> None:
        """Begin it."""

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        return isinstance(error, Exception) and not belongs_to_caller(error)


def _is_foreign(code: CodeType) -> bool:
    """Say whether code is neither this package's nor the standard library's, which both call."""
    path = code.co_filename
    ours = path.startswith(_PACKAGE) or (path.startswith(_STANDARD) and "site-packages" not in path)
    return not ours


def is_interrupt(error: BaseException) -> bool:
    """Say whether an error that came out of code of ours was raised by a signal handler, wherever it struck."""
    if not on_main_thread():
        return False
    handlers = frozenset(_handlers())
    return isinstance(error, KeyboardInterrupt) or any(code in handlers for code in _codes(error.__traceback__))


def _codes(trace: TracebackType | None) -> Iterator[CodeType]:
    while trace is not None:
        yield trace.tb_frame.f_code
        trace = trace.tb_next


def _handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        code = _code_of(signal.getsignal(number))
        if code is not None:
            yield code


def _code_of(handler: object) -> CodeType | None:
    while isinstance(handler, partial):
        handler = handler.func
    function = getattr(handler, "__func__", handler)
    code = getattr(function, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None
