"""Mounts of a test, in a namespace that ends with its process, so that nothing of the machine changes."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

USED: Final = ("unshare", "nsenter", "mount")


@contextmanager
def namespace(mount: str, folder: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Mount something in a namespace; yields what runs a command there, and the folder as it is seen from here."""
    if os.geteuid() != 0 or not all(map(shutil.which, USED)):
        pytest.skip(f"needs root and {', '.join(USED)}")
    script = f"{mount} && echo ready && read -r _; true"
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(folder)]
    with subprocess.Popen(  # noqa: S603 - our own
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            _, said = holder.communicate(timeout=20)
            pytest.skip(f"no mount can be made here: {said.strip()}")
        try:
            yield ("nsenter", "--mount", f"--target={holder.pid}"), Path(f"/proc/{holder.pid}/root{folder}")
        finally:
            holder.communicate(timeout=20)
