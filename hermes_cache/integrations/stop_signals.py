"""What is to be done when a signal tells a server to stop.

Servers wait for their open answers, and an event stream has no end of its own. So streams end at that signal. The
server's own handler runs, too. Source: rules W1, W4, L1.
"""

import signal
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from hermes_cache.threads.interrupts import on_main_thread

_NUMBERS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGQUIT") if hasattr(signal, name)
)
"""The last one is how gunicorn tells its workers that nobody waits for answers; some systems lack it."""


def at_stop_signals(act: Callable[[], object]) -> Callable[[], None] | None:
    """Do something at each signal that tells the process to stop.

    Only the main thread can handle signals. A signal that nobody handles ends the process by itself, and is left
    alone.

    Args:
        act: What to do; it runs inside the signal handler, so it must wait for nothing.

    Returns:
        What takes this back; None if there is no signal to act at, or this is not the main thread.
    """
    if not on_main_thread():
        return None
    found = {number: signal.getsignal(number) for number in _NUMBERS}
    before = {number: earlier for number, earlier in found.items() if callable(earlier)}
    ours = {number: partial(_handle, act, earlier) for number, earlier in before.items()}

    def take_back() -> None:
        for number, handler in ours.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, before[number])

    for number, handler in ours.items():
        signal.signal(number, handler)
    return take_back if ours else None


def _handle(act: Callable[[], object], earlier: Callable[[int, Any], object], number: int, frame: Any) -> None:
    act()
    earlier(number, frame)
