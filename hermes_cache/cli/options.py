"""The options that several commands share, and the home and the policy that count without them."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import click

from hermes_cache.arguments import bus_name
from hermes_cache.core.events import SESSIONS
from hermes_cache.core.policy import Policy

_Command = TypeVar("_Command", bound=Callable[..., object])

SERVE_POLICY: Final = Policy(ttl=7.5, poll_interval=5.0, stop_timeout=1.5, repeat_window=60.0)
"""The page polls every 5 s, so a list lives longer than that; and the command must end within that time."""


journal_option: Final = click.option(
    "--journal",
    "url",
    envvar="HERMES_CACHE_JOURNAL",
    show_envvar=True,
    required=True,
    metavar="URL",
    help="The journal: sqlite:////path/to/journal.db, or postgresql://...",
)
"""Names the journal; the command gets it as `url`."""

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
"""Asks for JSON; the command gets it as `as_json`."""


def bus_option(help_text: str, *, default: str | None = SESSIONS) -> Callable[[_Command], _Command]:
    """Return an option that names a bus; the command gets it as `bus`."""
    return click.option("--bus", metavar="NAME", default=default, callback=_bus_name, help=help_text,
                        show_default=default is not None)  # fmt: skip


def _bus_name(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    try:
        return None if given is None else bus_name(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


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
