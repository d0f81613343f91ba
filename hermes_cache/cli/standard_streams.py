"""The standard streams of a command: what was closed by its caller, and what cannot be written.

Source: rules W3, W6.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))

_UNWRITABLE: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT})
"""What is wrong with the output, and not with the command."""


@contextmanager
def unwritable_output_told() -> Iterator[None]:
    """End a command with one line if its output is a pipe that was closed, or a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        forget_output()
        what = error.filename or "the output"
        raise click.ClickException(f"cannot write {what}: {error.strerror}") from error


def open_closed_streams() -> None:
    """Open the null device for each standard stream that the caller closed.

    Else the next file that the process opens becomes its standard output, and whatever prints to it, such as the
    start of a worker process, fails or writes into that file.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, because those before it are open by now. Worker processes inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - its signature
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False, encoding="utf-8", errors="replace"))  # noqa: SIM115 - open for good


def forget_output() -> None:
    """Drop what standard output could not take; else the end of the process tries again, in vain."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open for good
