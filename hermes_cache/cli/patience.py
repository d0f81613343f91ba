"""A word to people at a terminal when work takes long; scripts hear nothing of it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Final

import click

_LONG_S: Final = 1.0


@contextmanager
def told_when_long(what: str) -> Iterator[None]:
    """Say on standard error, where that is a terminal, what is being done once it takes longer than a second."""
    timer = Timer(_LONG_S, click.echo, [f"{what} ..."], {"err": True})
    timer.daemon = True
    if sys.stderr is not None and sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
