"""What this package is called where packages are installed from, which is not its name at import.

The one home of that name: each message that says what to install is made here.
"""

from typing import Final, Literal

DISTRIBUTION: Final = "hermes-session-cache"
"""Indexes already have a `hermescache`, and take no name that differs from another by separators alone."""

Extra = Literal["opentelemetry", "postgres", "processes", "prometheus", "serve", "watch"]
"""The optional parts of the distribution, as `pyproject.toml` has them."""


def install_command(extra: Extra) -> str:
    """Return the command that installs an optional part, for a message."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'


def installed_version() -> str:
    """Return the installed version. It is unknown in a frozen program that left out the facts of its packages."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - slow, and seldom wanted

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0+unknown"
