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


def test_a_signal_that_another_thread_gets_ends_the_wait() -> None:
    """W6"""
    result = subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=PROCESS_S, check=False
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "SIGTERM\n", "")
