"""The command `hermes-cache`. A subcommand is imported when it runs, so that help comes at once."""

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final

import click

from hermes_cache.cli.output import escape_what_has_no_sign, refusing_unwritable_output
from hermes_cache.distribution import install_command, installed_version
from hermes_cache.errors import HermesCacheError
from hermes_cache.surroundings import open_closed_streams


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
    _Subcommand("doctor", "Say what is wrong with a home, a journal, a policy or this environment."),
    _Subcommand("explain", "Say why a list is as it is."),
    _Subcommand("publish", "Publish an event to all processes that share a journal."),
    _Subcommand("replay", "Print the state that the events of a journal lead to."),
    _Subcommand("sample-home", "Make a realistic Hermes home to try things on."),
    _Subcommand("serve", "Serve the session list of a Hermes home over HTTP."),
    _Subcommand("stats", "Print what a gateway has counted, or what a journal holds."),
    _Subcommand("tail", "Print the last events of a journal, and new ones as they come."),
)
COMMANDS: Final = tuple(each.name for each in _SUBCOMMANDS)
"""The names of the subcommands."""

_EXTRA_PACKAGES: Final = frozenset({"anyio", "h11", "starlette", "uvicorn"})


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
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        del ctx
        return next((each.load() for each in _SUBCOMMANDS if each.name == cmd_name), None)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand that is named; one that is not there is answered with those that are nearly so."""
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS and not ctx.resilient_parsing:
            close = " or ".join(map(repr, get_close_matches(name, COMMANDS)))
            hint = f"did you mean {close}?" if close else f"there are {', '.join(COMMANDS)}"
            ctx.fail(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line; help and version are printed here already."""
        with refusing_unwritable_output():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand; one that imports a package of an extra only when it needs it may find it missing."""
        try:
            with refusing_unwritable_output():
                return super().invoke(ctx)
        except ModuleNotFoundError as missing:
            raise _missing_extra(ctx.invoked_subcommand or "", missing) from missing
        except HermesCacheError as error:
            raise click.ClickException(str(error)) from error

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        open_closed_streams()
        escape_what_has_no_sign()
        return super().main(*args, **kwargs)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview, without an import."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(each.name, each.summary) for each in _SUBCOMMANDS])


def _print_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    if wanted and not context.resilient_parsing:
        click.echo(f"hermes-cache, version {installed_version()}")
        context.exit()


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
              help="Print the version and exit.")  # fmt: skip
def main() -> None:
    """Keep a chat gateway's session list fast and true.

    \b
    Example:
      hermes-cache serve --demo
    """  # noqa: D301 -- \b is click's mark for lines to be left as they are
