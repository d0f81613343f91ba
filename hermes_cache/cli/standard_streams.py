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

_UNWRITABLE: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT})
"""What is wrong with the output, and not with the command."""


@contextmanager
def refusing_unwritable_output() -> Iterator[None]:
    """End a command with one line if its output is a pipe that was closed, or a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        forget_output()
        what = error.filename or "the output"
        raise click.ClickException(f"cannot write {what}: {error.strerror}") from error


def forget_output() -> None:
    """Drop what standard output could not take; else the end of the process tries again, in vain."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open for good
