"""What stops a command, most often a signal: the first one ends it in order, and later ones change nothing.

Source: rules L1, W6.
"""

import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, Final

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedAtStart(BaseException):
    """A signal came while the command started.

    It is no `KeyboardInterrupt`: if that strikes while the interpreter runs a text, as for a dataclass, the
    interpreter kills itself by SIGINT in the end, though it was caught.
    """


class StopSignals:
    """Turns SIGINT, SIGTERM and SIGHUP into the end of a command.

    While the command starts, the first of them raises `StoppedAtStart` in the main thread. While the command is
    in `wait`, the first signal ends the wait. From then on all are ignored, so that nothing interrupts the end.

    Attributes:
        is_starting: Whether the command starts. The command says so when it does not any more.
        received: The name of the signal that came; empty before.
        has_failed: Whether a part of the command failed that it cannot do without.
    """

    def __init__(self) -> None:
        # Python runs handlers in the main thread alone. If the system gives the signal to another thread, or just
        # before the main thread falls asleep, nothing would wake that. The number that Python itself writes does.
        self._awaited, self._woken = socket.socketpair()
        self.is_starting = True
        self.received = ""
        self.has_failed = False

    def begin(self) -> None:
        """Take over the signals; a SIGHUP that is ignored stays so, because `nohup` means that.

        An ignored SIGINT does not: a shell that starts a command in the background has it ignored.
        """
        self._woken.settimeout(0)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for each in _STOPPING:
            if each is not signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self._receive)

    def wait(self) -> None:
        """Wait for a signal or a failure; one that came before ends the wait at once."""
        self.is_starting = False
        while not self.received and not self.has_failed:
            self._awaited.recv(1)

    def fail(self) -> None:
        """End the wait because a part of the command failed. Any thread may call it."""
        self.has_failed = True
        with suppress(BlockingIOError):  # It is full, so the wait ends anyway.
            self._woken.send(b"\0")

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        sys.unraisablehook = partial(_report, sys.unraisablehook)
        for each in _STOPPING:
            # Ignored, not handled: the interpreter puts handlers back to 'kill the process' while it ends.
            signal.signal(each, signal.SIG_IGN)
        self.received = signal.Signals(number).name
        if self.is_starting:
            raise StoppedAtStart


def _report(report: Callable[[Any], object], unraisable: Any) -> None:
    """Report what Python cannot raise, but for a signal that came just before it was ignored."""
    if not str(unraisable.exc_value).endswith("ignored due to race condition"):
        report(unraisable)
