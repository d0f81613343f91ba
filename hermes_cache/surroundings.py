"""Where the process runs: what cannot work there is refused at once, by a typed error.

Source: rule L8.
"""

import os
import sys
from importlib import import_module
from typing import Final

from hermes_cache.errors import UnsupportedError

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))

_INTERPRETERS: Final = ("_interpreters", "_xxsubinterpreters")
"""The module that knows of subinterpreters, from Python 3.13 on and before."""


def refuse_subinterpreter() -> None:
    """Raise `UnsupportedError` in an interpreter that is not the main one."""
    for name in _INTERPRETERS:
        try:
            interpreters = import_module(name)
        except ImportError:
            continue
        if interpreters.get_current() != interpreters.get_main():
            raise UnsupportedError(
                "hermes_cache",
                "this is a subinterpreter, where the threads of a cache and the modules that it needs do not run",
                "use it in the main interpreter",
            )
        return


def refuse_frozen() -> None:
    """Raise `UnsupportedError` if a worker process would be this program once more, because it is frozen."""
    if getattr(sys, "frozen", False):
        raise UnsupportedError(
            "executor='processes'",
            f"this program is frozen: {sys.executable} is the program itself, and no Python for worker processes",
            "use executor='threads'",
        )


def open_closed_streams() -> None:
    """Open the null device for each standard stream that the caller of this process closed.

    Else the next file that the process opens becomes its standard output, and whatever prints to it, such as the
    start of a worker process, fails or writes into that file.
    """
    for number, _ in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, because those before it are open by now. Worker processes inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - its signature
    for name, mode in _STREAMS:
        if getattr(sys, name) is None:
            # Not by its number: that may be another file by now.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="replace"))  # noqa: PTH123, SIM115 - open for good
