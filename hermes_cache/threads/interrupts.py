"""Says whose an exception is that left foreign code: its own, or that of a signal handler on this thread.

Python runs signal handlers in the main thread alone, at any bytecode, and gives them the frame that they
interrupt. So in the traceback of what a handler raised, one frame has the frame before it among its arguments. No
I/O here. Source: rules E4, L6.
"""

import sys
import threading
from types import FrameType, TracebackType
from typing import Final

_PACKAGE: Final = __name__.partition(".")[0]


def on_main_thread() -> bool:
    """Say whether signal handlers may strike the calling thread."""
    return threading.get_ident() == threading.main_thread().ident


def belongs_to_caller(error: BaseException) -> bool:
    """Say whether an error that came out of a call to foreign code must go on to the caller.

    For calls of receivers, builders and callables; if the code that was called is ours, ask `is_interrupt`.

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
    return _raised_by_handler(error, stop_at_foreign=isinstance(error, Exception))


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


def is_interrupt(error: BaseException) -> bool:
    """Say whether an error that came out of code of ours was raised by a signal handler, wherever it struck."""
    if not on_main_thread():
        return False
    return isinstance(error, KeyboardInterrupt) or _raised_by_handler(error, stop_at_foreign=False)


def _raised_by_handler(error: BaseException, *, stop_at_foreign: bool) -> bool:
    trace: TracebackType | None = error.__traceback__
    before: FrameType | None = None
    while trace is not None:
        frame = trace.tb_frame
        if before is not None and _got(frame, before):
            return True
        if stop_at_foreign and _is_foreign(frame):
            return False
        before, trace = frame, trace.tb_next
    return False


def _got(frame: FrameType, interrupted: FrameType) -> bool:
    """Say whether a function was called with the frame that called it, as signal handlers are."""
    for value in frame.f_locals.values():
        # Not `isinstance`: it asks a value for its class, and a proxy of what is gone raises then.
        if value is interrupted or (type(value) is tuple and any(each is interrupted for each in value)):
            return True
    return False


def _is_foreign(frame: FrameType) -> bool:
    """Say whether code is neither this package's nor the standard library's, which both call."""
    root = str(frame.f_globals.get("__name__")).partition(".")[0]
    return root != _PACKAGE and root not in sys.stdlib_module_names
