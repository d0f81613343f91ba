"""Rule W6: a signal ends the wait of a command, whichever thread the system gives it to."""

import subprocess
import sys

from tests.waiting import PROCESS_S

_PROGRAM = """
import signal, threading
from pathlib import Path
from hermes_cache.cli.stop_signals import StopSignals
from tests.waiting import until

def kill_this_thread():
    main = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")
    until(lambda: main.read_text().rpartition(")")[2].split()[0] == "S" and waits.is_set())
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

stop, waits = StopSignals(), threading.Event()
stop.begin()
threading.Thread(target=kill_this_thread, daemon=True).start()
waits.set()
stop.wait()
print(stop.received)
"""

_STRUCK_IN_A_TEXT = """
import signal
from contextlib import suppress
from hermes_cache.cli.stop_signals import StoppedAtStart, StopSignals

stop = StopSignals()
stop.begin()
with suppress(StoppedAtStart):
    exec("signal.raise_signal(signal.SIGTERM)")
stop.wait()
print(stop.received)
"""

_ALL_AT_ONCE = """
import os, signal
from hermes_cache.cli.stop_signals import StopSignals

ALL = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup may run the tests
stop = StopSignals()
stop.begin()
stop.is_starting = False
signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
for each in ALL:
    os.kill(os.getpid(), each)
signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL)
stop.wait()
print(stop.received)
"""


def test_a_signal_that_another_thread_gets_ends_the_wait() -> None:
    """W6"""
    assert _run(_PROGRAM) == (0, "SIGTERM\n", "")


def test_a_signal_while_a_dataclass_is_made_ends_the_start_in_order() -> None:
    """W6: dataclasses and named tuples are made of texts. `KeyboardInterrupt` would end it by SIGINT."""
    assert _run(_STRUCK_IN_A_TEXT) == (0, "SIGTERM\n", "")


def test_signals_that_come_at_the_same_moment_end_the_wait_in_silence() -> None:
    """W6: the second finds no handler any more, of which Python would print a traceback."""
    assert _run(_ALL_AT_ONCE) == (0, "SIGHUP\n", "")


def _run(program: str) -> tuple[int, str, str]:
    result = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PROCESS_S, check=False
    )
    return result.returncode, result.stdout, result.stderr
