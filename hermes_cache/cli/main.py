"""The command `hermes-cache`. A subcommand is imported when it runs, so that help comes at once."""

import errno
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import click

from hermes_cache.cli.standard_streams import forget_output, open_closed_streams
from hermes_cache.distribution import install_command, installed_version


@dataclass(frozen=True, slots=True)
class _Subcommand:
    """The name of a subcommand, which is also the name of its module, and its line in the overview."""

    name: str
    summary: str

    def load(self) -> click.Command:
        word = self.name.replace("-", "_")
        try:
            command = getattr(import_module(f"hermes_cache.cli.{word}"), word)
        except ModuleNotFoundError as missing:
            raise _missing_extra(self.name, missing) from missing
        if not isinstance(command, click.Command):
            raise TypeError(f"hermes_cache.cli.{word}.{word} is {command!r}; it must be a command")
        return command


_SUBCOMMANDS: Final = (
    _Subcommand("compact", "Fold the oldest events of a journal into its snapshot."),
    _Subcommand("explain", "Say why a list is as it is."),
    _Subcommand("publish", "Publish an event to all processes that share a journal."),
    _Subcommand("replay", "Print the state that the events of a journal lead to."),
    _Subcommand("sample-home", "Make a realistic Hermes home to try things on."),
    _Subcommand("serve", "Serve the session list of a Hermes home over HTTP."),
    _Subcommand("tail", "Print the last events of a journal, and new ones as they come."),
)
_EXTRA_PACKAGES: Final = frozenset({"anyio", "h11", "starlette", "uvicorn"})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def _missing_extra(name: str, missing: ModuleNotFoundError) -> Exception:
    if (missing.name or "").partition(".")[0] not in _EXTRA_PACKAGES:
        return missing
    return click.ClickException(
        f"'{name}' needs {missing.name}, which is not installed; run: {install_command('serve')}"
    )


class _LazyGroup(click.Group):
    """A group that imports a subcommand only when somebody asks for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the subcommands."""
        del ctx
        return [each.name for each in _SUBCOMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        del ctx
        return next((each.load() for each in _SUBCOMMANDS if each.name == cmd_name), None)

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand; one that imports a package of an extra only when it needs it may find it missing."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as missing:
            raise _missing_extra(ctx.invoked_subcommand or "", missing) from missing

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; a disk that is full ends it with one line."""
        open_closed_streams()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            forget_output()
            sys.exit(f"Error: cannot write {error.filename or 'the output'}: {error.strerror}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview, without an import."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(each.name, each.summary) for each in _SUBCOMMANDS])


def _print_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    if wanted and not context.resilient_parsing:
        click.echo(f"hermes-cache, version {installed_version()}")
        context.exit()


@click.command(cls=_LazyGroup)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
              help="Print the version and exit.")  # fmt: skip
def main() -> None:
    """Keep a chat gateway's session list fast and true.

    \b
    Example:
      hermes-cache serve --demo
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
