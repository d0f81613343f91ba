"""The processes of a demo: its server's children, the folder that they share, and whether they end."""

import os
import select
import subprocess
from pathlib import Path

from tests.waiting import PROCESS_S


def children_of(pid: int) -> list[int]:
    """Return the child processes, whichever thread started them."""
    found = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for child in found.split()]


def demo_folder(process: "subprocess.Popen[str]") -> Path:
    """Return the folder of a demo, which its writer has among its arguments."""
    commands = [Path(f"/proc/{child}/cmdline").read_text() for child in children_of(process.pid)]
    arguments = next(command for command in commands if "demo_processes" in command).split("\0")
    return next(Path(each).parent for each in arguments if "hermes-cache-demo-" in each)


def outlives(pid: int) -> bool:
    """Say whether a process is still there after a while; one that has ended unseen counts as gone."""
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    ready, _, _ = select.select([ended], [], [], PROCESS_S)
    os.close(ended)
    return not ready
