"""What several commands share: how they read their options, which home is meant, and the policy of `serve`."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from hermes_cache.core.policy import Policy

SERVE_POLICY: Final = Policy(ttl=7.5, poll_interval=5.0, stop_timeout=1.5, repeat_window=60.0)
"""The page polls every 5 s, so a list lives longer than that; and the command must end within that time."""


def pairs(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Read options that look like `name=value`."""
    found = [each.partition("=") for each in given]
    wrong = [name + sign + value for name, sign, value in found if not (name and sign)]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} must look like name=value")
    return tuple([(name, value) for name, _, value in found])


def default_home() -> Path:
    """Return the home that is meant if none is named, whether or not it is there."""
    path = Path(os.environ.get("HERMES_HOME") or "~/.hermes")
    with suppress(RuntimeError):  # Nobody's home; the path is named as it was given.
        path = path.expanduser()
    return path
